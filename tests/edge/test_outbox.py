"""The outbox: what it keeps, lets go, drops, and survives."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keng_contracts.receipts import DeadLettered, Receipt
from keng_contracts.telemetry import Clock, Reading, decode
from keng_edge.outbox.file import translated
from keng_edge.outbox.outbox import (
    MAX_PACK_READINGS,
    Batch,
    Outbox,
    OutboxDamaged,
    OutboxUnavailable,
    damaged,
    inspect,
)
from keng_edge.outbox.salvage import open_outbox
from tests.support.outbox import BIG, LEVEL, NOW, RAIN, alarm, append, boot, plain, readings, seqs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge-outbox.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    one = Outbox(path, boot(), BIG)
    yield one
    one.close()


def test_a_pack_is_what_will_be_published(outbox: Outbox) -> None:
    (stored,) = append(outbox, plain(3))
    pack = decode(stored.payload)
    assert (pack.boot, pack.seq, pack.clock, pack.made_ms) == (boot().id, 0, Clock.SYNCED, NOW)
    assert list(pack.readings) == readings(3)
    assert outbox.next_batch(10) == [stored]


def test_alarms_come_first_then_oldest_first(outbox: Outbox) -> None:
    append(outbox, plain())
    append(outbox, plain())
    append(outbox, alarm(), plain())
    append(outbox, alarm())
    assert seqs(outbox.next_batch(10)) == [2, 4, 0, 1, 3]


def test_what_is_under_way_is_left_out(outbox: Outbox) -> None:
    packs = append(outbox, *(plain() for _ in range(5)))
    assert seqs(outbox.next_batch(2, {packs[0].id, packs[2].id})) == [1, 3]


def test_many_readings_are_cut_into_packs(outbox: Outbox) -> None:
    made = append(outbox, plain(2 * MAX_PACK_READINGS + 1))
    assert [len(decode(pack.payload).readings) for pack in made] == [MAX_PACK_READINGS, MAX_PACK_READINGS, 1]


def test_only_a_receipt_deletes(outbox: Outbox) -> None:
    append(outbox, plain(2), plain(3), alarm(4), plain(5))
    settled = outbox.receipted([Receipt(boot=boot().id, stored=[(1, 2)])])
    assert len(settled.ids) == 2
    assert seqs(outbox.next_batch(10)) == [0, 3]
    assert (outbox.depth.packs, outbox.depth.readings) == (2, 7)


def test_a_receipt_of_another_run_or_of_nothing_deletes_nothing(outbox: Outbox) -> None:
    append(outbox, plain())
    settled = outbox.receipted(
        [Receipt(boot="f" * 16, stored=[(0, 2**53 - 1)]), Receipt(boot=boot().id, stored=[(7, 9)])]
    )
    assert settled.ids == [] and outbox.depth.packs == 1


def test_a_receipt_for_everything_deletes_everything_of_its_run_alone(path: Path) -> None:
    first = Outbox(path, boot(1), BIG)
    append(first, plain(), alarm())
    first.close()
    second = Outbox(path, boot(2), BIG)
    append(second, plain(), alarm())
    assert second.receipted([Receipt(boot=boot(1).id, stored=[(0, 2**53 - 1)])]).ids
    assert {decode(pack.payload).boot for pack in second.next_batch(10)} == {boot(2).id}
    second.close()


def test_dead_lettered_packs_are_deleted_and_counted(outbox: Outbox) -> None:
    append(outbox, plain(2), plain(3))
    receipt = Receipt(
        boot=boot().id, stored=[(1, 1)], dead=[DeadLettered(seq=1, reason="x"), DeadLettered(seq=0, reason="y")]
    )
    settled = outbox.receipted([receipt])
    assert settled.dead == ["x", "y"]
    assert (outbox.depth.packs, outbox.depth.dead) == (0, 2), "a pack in both is stored, but for some records"


def test_the_ledger_counts_what_was_ever_committed_over_restarts(path: Path) -> None:
    for number in (1, 2):
        outbox = Outbox(path, boot(number), BIG)
        append(outbox, plain(3), alarm(2))
        outbox.receipted([Receipt(boot=boot(number).id, stored=[(0, 9)])])
        outbox.close()
    depth, ledger = inspect(path)
    assert ledger == {LEVEL: 4, RAIN: 6}
    assert (depth.committed, depth.packs, depth.readings) == (10, 0, 0)


def test_two_runs_never_share_a_name(path: Path) -> None:
    first = Outbox(path, boot(1), BIG)
    append(first, plain())
    first.close()
    second = Outbox(path, boot(2), BIG)
    append(second, plain())
    packs = [decode(pack.payload) for pack in second.next_batch(10)]
    assert [(pack.boot, pack.seq) for pack in packs] == [(boot(1).id, 0), (boot(2).id, 0)], "oldest run first"
    second.close()


def test_the_age_is_that_of_the_oldest_reading_of_either_kind(outbox: Outbox) -> None:
    assert outbox.depth.oldest_ms is None
    append(outbox, plain(1, NOW + 500), alarm(1, NOW + 100))
    assert outbox.depth.oldest_ms == NOW + 100
    outbox.receipted([Receipt(boot=boot().id, stored=[(1, 1)])])
    assert outbox.depth.oldest_ms == NOW + 500


# -- its size ---------------------------------------------------------------------------------------------------------


def test_a_full_outbox_drops_the_oldest_telemetry_and_keeps_every_alarm(path: Path) -> None:
    outbox = Outbox(path, boot(), 250_000)
    append(outbox, *(alarm(20) for _ in range(5)))
    for i in range(300):
        append(outbox, plain(20, NOW + 1000 * i))
    held = [decode(pack.payload) for pack in outbox.next_batch(10_000)]
    kept = [pack.seq for pack in held if pack.readings[0].series == RAIN]
    assert sum(pack.readings[0].series == LEVEL for pack in held) == 5
    assert kept == list(range(305 - len(kept), 305)), "the newest are there, without a gap"
    assert outbox.depth.bytes <= 250_000
    assert outbox.depth.dropped == 20 * (300 - len(kept)) > 0
    assert outbox.depth.committed == 20 * 305
    outbox.close()
    assert sum(file.stat().st_size for file in path.parent.glob("edge-outbox.db")) <= 250_000


def test_an_alarm_gives_way_to_a_newer_alarm_only(path: Path) -> None:
    outbox = Outbox(path, boot(), 100_000)
    for i in range(200):
        append(outbox, alarm(20, NOW + 1000 * i))
    alarms = seqs(outbox.next_batch(10_000))
    assert alarms == list(range(200 - len(alarms), 200))
    for _ in range(100):
        append(outbox, plain(20))
    held = [decode(pack.payload) for pack in outbox.next_batch(10_000)]
    assert [pack.seq for pack in held if pack.readings[0].series == LEVEL] == alarms, "none gives way to telemetry"
    assert outbox.depth.dropped == 20 * (300 - len(held))
    outbox.close()


@settings(deadline=None, max_examples=30)
@given(steps=st.lists(st.tuples(st.sampled_from("ppppparr"), st.integers(1, 60), st.integers(0, 200)), max_size=150))
def test_whatever_comes_it_stays_within_its_bytes_and_every_reading_is_accounted_for(
    steps: list[tuple[str, int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder) / "x.db", boot(), 80_000)
        receipted = 0
        for what, count, seq in steps:
            if what == "r":
                before = outbox.depth.readings
                outbox.receipted([Receipt(boot=boot().id, stored=[(seq, seq + count)])])
                receipted += before - outbox.depth.readings
            else:
                append(outbox, alarm(count) if what == "a" else plain(count))
            depth = outbox.depth
            assert depth.bytes <= 80_000
            assert depth.committed == depth.readings + depth.dropped + receipted
            assert sum(len(decode(pack.payload).readings) for pack in outbox.next_batch(1000)) == depth.readings
        outbox.close()


def test_what_was_dropped_is_remembered_over_restarts(path: Path) -> None:
    outbox = Outbox(path, boot(), BIG)
    outbox.append([plain()], made_ms=NOW, clock=Clock.SYNCED, sync=False, lost=7)
    outbox.close()
    assert Outbox(path, boot(2), BIG).depth.dropped == 7


# -- its disk ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_takes_nothing_and_loses_nothing(outbox: Outbox) -> None:
    append(outbox, plain(5))
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    before = outbox.depth
    with pytest.raises(OutboxUnavailable, match="the disk is full"):
        append(outbox, plain(MAX_PACK_READINGS))
    assert outbox.depth == before
    assert outbox.ledger() == {RAIN: 5}
    outbox._db.execute("PRAGMA max_page_count = 1000000")
    append(outbox, plain(MAX_PACK_READINGS))
    assert outbox.ledger() == {RAIN: 5 + MAX_PACK_READINGS}


def test_a_commit_that_fails_half_way_leaves_nothing(outbox: Outbox) -> None:
    append(outbox, plain(5))
    before = outbox.depth
    no_number = Batch([Reading(RAIN, NOW, float("nan"), "mm")], alarm=False)
    with pytest.raises(ValueError):
        append(outbox, plain(3), no_number)
    assert outbox.depth == before
    assert outbox.ledger() == {RAIN: 5}
    assert seqs(outbox.next_batch(10)) == [0]


def test_a_folder_that_is_not_there_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(OutboxUnavailable):
        open_outbox(tmp_path / "no" / "edge-outbox.db", boot(), BIG, "now")


@pytest.mark.parametrize("what", ["text", "head", "middle", "zeros", "another database"])
def test_a_damaged_outbox_is_moved_aside_and_a_new_one_begun(path: Path, what: str) -> None:
    outbox = Outbox(path, boot(), BIG)
    append(outbox, *(plain(50) for _ in range(100)))
    outbox.close()
    whole = path.read_bytes()
    broken = {
        "text": b"this is no database\n" * 50,
        "head": b"\xff" * 100 + whole[100:],
        "middle": whole[:4096] + b"\xff" * 4096 + whole[8192:],
        "zeros": bytes(len(whole)),
    }
    if what == "another database":
        path.unlink()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE packs (x)")
        db.close()
        broken[what] = path.read_bytes()
    path.write_bytes(broken[what])
    fresh = open_outbox(path, boot(2), BIG, "20251117T020000Z")
    assert fresh.depth.packs == (100 if what == "middle" else 0), "what is whole is taken over"
    assert fresh.ledger() == ({RAIN: 5000} if what == "middle" else {})
    assert append(fresh, plain())
    fresh.close()
    (aside,) = damaged(path)
    assert aside.name == "edge-outbox.db.damaged-20251117T020000Z"
    assert aside.read_bytes() == broken[what]


def test_of_damaged_outboxes_the_newest_few_are_kept_whatever_the_clock_says(path: Path) -> None:
    def again(stamp: str, size: int = 1000, max_bytes: int = BIG) -> None:
        path.write_bytes(b"x" * size)
        Path(f"{path}-wal").write_bytes(b"y")
        open_outbox(path, boot(), max_bytes, stamp).close()

    def left() -> list[str]:
        return [file.name.partition(".damaged-")[2] for file in damaged(path)]

    for hour in range(5):
        again(f"20251117T0{hour}0000Z")
    assert left() == ["20251117T020000Z", "20251117T030000Z", "20251117T040000Z"]
    again("19700101T000007Z")
    assert left() == ["19700101T000007Z", "20251117T030000Z", "20251117T040000Z"], "that of now, by a wrong clock"
    again("20251118T000000Z", size=BIG)
    assert left() == ["20251118T000000Z"], "it is as large as all may be"
    assert len(list(path.parent.iterdir())) <= 5, "journals go with them"


def test_an_empty_file_is_a_new_outbox(path: Path) -> None:
    path.touch()
    open_outbox(path, boot(), BIG, "now").close()
    assert damaged(path) == []


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (sqlite3.SQLITE_FULL, OutboxUnavailable),
        (sqlite3.SQLITE_IOERR_WRITE, OutboxUnavailable),
        (sqlite3.SQLITE_IOERR_SHORT_READ, OutboxDamaged),
        (sqlite3.SQLITE_CORRUPT, OutboxDamaged),
    ],
)
def test_a_disk_that_takes_nothing_now_is_told_apart_from_a_file_that_is_no_more(
    code: int, what: type[Exception]
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    with pytest.raises(what), translated():
        raise error


def test_damage_that_shows_later_is_told_apart_from_a_full_disk(path: Path) -> None:
    outbox = Outbox(path, boot(), BIG)
    append(outbox, *(plain(50) for _ in range(100)))
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._db.execute("PRAGMA cache_size = 0")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(OutboxDamaged):
        outbox.next_batch(1000)
    outbox.close()
