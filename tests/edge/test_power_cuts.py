"""A power cut as the file system leaves it behind, a card that rots, and a day without a link."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import Clock, Reading, decode
from keng_edge.outbox import keeper as keeper_module
from keng_edge.outbox.keeper import Keeper
from keng_edge.outbox.outbox import Batch, Outbox, Stored, damaged
from keng_edge.outbox.salvage import open_outbox
from keng_edge.outbox.timeline import Stamp
from keng_runtime.clock import now_ms
from tests.support.outbox import BIG, LEVEL, NOW, RAIN, alarm, append, boot, plain, readings
from tests.support.processes import until


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


def furnished(path: Path, journal: bool) -> list[Stored]:
    """An outbox with all that may be in one, some of it in the journal if ``journal``; the packs that it gives out."""
    outbox = Outbox(path, boot(), BIG)
    for i in range(30):
        long = Batch(readings(200, start_ms=NOW + 1000 * i), alarm=False)  # longer than a page
        append(outbox, plain(3, NOW + 1000 * i), alarm(1, NOW + 1000 * i), *([long] if i % 6 == 0 else []))
    held = Batch([Reading(LEVEL, 5000, 1.0, "m")], True, Stamp(4000, Clock.UNKNOWN))
    outbox.append([held], made_ms=5000, clock=Clock.UNKNOWN, sync=False)
    outbox.receipted([Receipt(boot=boot().id, stored=[(20, 40)])])
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if journal:
        for i in range(5):
            append(outbox, plain(3, NOW + 100_000 + i), alarm(1, NOW + 100_000 + i))
    packs = outbox.next_batch(1000)
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{path}.left{suffix}")
    outbox.close()
    return packs


@st.composite
def damages(draw: st.DrawFn, size: int) -> tuple[str, int, bytes]:
    """How a file of that size is damaged: cut off, or other bytes at a place."""
    if draw(st.integers(0, 4)) == 0:
        return "cut off", draw(st.integers(1, size)), b""  # an empty file is that of a first start
    if draw(st.booleans()):
        at = 512 * draw(st.integers(0, size // 512 - 1))
        count = 512 * draw(st.integers(1, 16))
        return (
            "torn",
            at,
            bytes(count) if draw(st.booleans()) else draw(st.randoms(use_true_random=False)).randbytes(count),
        )
    return "random", draw(st.integers(0, size - 1)), draw(st.binary(min_size=1, max_size=300))


async def life_of(path: Path) -> tuple[list[Stored], Keeper]:
    """What an agent that finds this outbox would publish, until nothing more comes."""
    keeper = Keeper(path, boot(2), max_bytes=BIG)
    await keeper.open()
    running = asyncio.create_task(keeper.run())
    keeper.add([Reading(LEVEL, now_ms(), 1.0, "m")], alarm=True)
    await until(lambda: keeper.held == 0 and keeper.depth.waiting == 0, what="it commits, and mends times")
    given = await keeper.next_batch(1000, ())  # damage that shows only now makes it begin again, with what is whole
    running.cancel()
    await keeper.close()
    return given, keeper


@pytest.fixture(autouse=True)
def clock_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "clock_state", lambda: Clock.SYNCED)


@pytest.mark.parametrize("journal", [False, True], ids=["main file", "main file and journal"])
def test_whatever_is_damaged_in_the_main_file_is_noticed_or_harmless_and_no_pack_is_changed(
    tmp_path: Path, journal: bool
) -> None:
    """The agent starts and commits; what it gives out is byte for byte what was committed; if something is missing, the
    damaged file is kept aside and reported."""
    packs = {pack.id: pack.payload for pack in furnished(tmp_path / "x.db", journal)}
    main, wal = (tmp_path / "x.db.left").read_bytes(), (tmp_path / "x.db.left-wal").read_bytes()

    # Not made smaller: what fails may be a wait that ends with its deadline, each time.
    @settings(deadline=None, max_examples=100, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @given(damage=damages(len(main)))
    @example(damage=("cut off", len(main) - 10_619, b""))  # within a long pack, whose page is in no journal
    @example(damage=("random", main.index(b"CREATE TABLE totals") + 11, b"\xc5\x9f\x9a\x15"))  # in SQLite's words
    def any_damage(damage: tuple[str, int, bytes]) -> None:
        how, at, instead = damage
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "edge-outbox.db"
            path.write_bytes(main[:at] if how == "cut off" else main[:at] + instead + main[at + len(instead) :])
            if journal:
                Path(f"{path}-wal").write_bytes(wal)
            given, keeper = asyncio.run(life_of(path))
            old = [pack for pack in given if decode(pack.payload).boot == boot().id]
            mended = [pack for pack in old if decode(pack.payload).moved_ms]
            for pack in old:
                assert pack in mended or pack.payload == packs[pack.id], "as it was committed"
            complete = {pack.id for pack in old} >= set(packs) and len(mended) == 1
            assert complete or any("damaged" in problem for problem in keeper.problems()), "noticed"

    any_damage()


def test_a_single_torn_sector_costs_the_packs_in_it_and_no_more(tmp_path: Path) -> None:
    """Not a byte of it has to do with how SQLite's pages hang together, so that SQLite sees nothing wrong."""
    path = tmp_path / "x.db"
    outbox = Outbox(path, boot(), BIG)
    packs = [pack for i in range(100) for pack in append(outbox, plain(3, NOW + 1000 * i))]
    outbox.close()
    content = bytearray(path.read_bytes())
    at = content.index(b'"seq":50,')
    content[at + 20 : at + 40] = bytes(20)
    path.write_bytes(content)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    given, keeper = asyncio.run(life_of(path))
    assert set(packs) - set(given) == {packs[50]}
    assert any("damaged" in problem for problem in keeper.problems())


def test_an_outbox_of_an_agent_without_check_sums_still_opens_and_is_checked_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    outbox = Outbox(path, boot(), BIG)
    packs = [pack for i in range(20) for pack in append(outbox, plain(3, NOW + 1000 * i), alarm(1, NOW + 1000 * i))]
    held = Batch([Reading(LEVEL, 5000, 1.0, "m")], True, Stamp(4000, Clock.UNKNOWN))
    outbox.append([held], made_ms=5000, clock=Clock.UNKNOWN, sync=False)
    for table, column in (("packs", "crc"), ("held", "crc"), ("boots", "spoke")):
        outbox._db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    outbox.close()
    again = open_outbox(path, boot(2), BIG, "now")
    assert damaged(path) == [] and sorted(again.next_batch(1000)) == sorted(packs)
    assert again.rebase(Stamp(NOW - 1000, Clock.SYNCED), NOW, ()) == 1
    assert len(append(again, plain())) == 1
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
