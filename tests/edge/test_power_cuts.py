"""A power cut as the file system leaves it behind, and a day without a link."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import Clock, Reading, decode
from keng_edge.outbox.outbox import Batch, Outbox, damaged, open_outbox
from keng_edge.outbox.timeline import Stamp
from tests.support.outbox import BIG, LEVEL, NOW, RAIN, alarm, append, boot, plain


def cut_short(folder: Path, whole: Path) -> Path:
    """A copy of the outbox and its journal, as a power cut leaves them: nobody has closed it."""
    path = folder / "edge-outbox.db"
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{whole}{suffix}", f"{path}{suffix}")
    return path


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_journal_that_is_cut_off_anywhere_or_has_a_torn_page_leaves_a_whole_outbox(
    data: st.DataObject,
) -> None:
    """Commits are there up to the place of the damage, none in part; the outbox is no damaged one."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.db"
        outbox = Outbox(whole, boot(), BIG)
        for i in range(12):
            append(outbox, plain(3, NOW + 10 * i), alarm(1, NOW + 10 * i), sync=i % 3 == 0)
        left = Path(folder) / "left"
        left.mkdir()
        path = cut_short(left, whole)
        outbox.close()
        wal = Path(f"{path}-wal")
        content = wal.read_bytes()
        at = data.draw(st.integers(0, len(content)), label="damage at")
        if data.draw(st.booleans(), label="torn page"):
            torn = content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]
            wal.write_bytes(torn)
        else:
            wal.write_bytes(content[:at])
        again = open_outbox(path, boot(2), BIG, "now")
        assert damaged(path) == []
        packs = [decode(pack.payload) for pack in again.next_batch(1000)]
        levels = sum(pack.readings[0].series == LEVEL for pack in packs)
        rains = sum(len(pack.readings) for pack in packs if pack.readings[0].series == RAIN)
        assert rains == 3 * levels, "a commit is there whole or not at all"
        assert again.depth.readings == 4 * levels == again.depth.committed
        assert append(again, plain())
        again.close()


def test_a_day_without_a_link_is_all_there_in_the_order_of_sending(tmp_path: Path) -> None:
    """24 hours: a gauge a minute, four others a minute in one commit; two power cuts; then receipts in steps."""
    path, stamp = tmp_path / "x.db", Stamp(NOW - 1000, Clock.SYNCED)
    outbox = Outbox(path, boot(1), 250_000_000)
    for minute in range(24 * 60):
        at = NOW + 60_000 * minute
        gauge = Batch([Reading(LEVEL, at, 1.0, "m")], True, stamp)
        others = Batch([Reading(f"quang-tho/uy-ban/q-{i}", at, 1.0, "1") for i in range(4)], False, stamp)
        outbox.append([gauge, others], made_ms=at, clock=Clock.SYNCED, sync=False)
        if minute in (500, 1000):
            outbox.close()
            outbox = Outbox(path, boot(minute), 250_000_000)
    assert outbox.depth.readings == 5 * 24 * 60 and outbox.depth.dropped == 0
    times: dict[bool, list[int]] = {True: [], False: []}
    kinds: list[bool] = []
    while packs := [decode(pack.payload) for pack in outbox.next_batch(100)]:
        for pack in packs:
            kinds.append(pack.readings[0].series == LEVEL)
            times[kinds[-1]].append(pack.readings[0].time_ms)
        settled = outbox.receipted([Receipt(boot=pack.boot, stored=[(pack.seq, pack.seq)]) for pack in packs])
        assert len(settled.ids) == len(packs)
    assert kinds == sorted(kinds, reverse=True), "alarms first"
    for one in times.values():
        assert one == sorted(one) and len(set(one)) == 24 * 60, "oldest first, each once"
    outbox.close()
