"""The keeper: what is committed when, and what happens while the disk takes nothing or the outbox breaks."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import Pack, Reading, decode
from keng_edge.outbox import in_hand
from keng_edge.outbox import keeper as keeper_module
from keng_edge.outbox.keeper import Keeper
from keng_edge.outbox.outbox import Boot, Outbox, Stored, damaged, inspect
from keng_runtime.clock import new_boot_id, now_ms
from tests.support.processes import until

LEVEL, RAIN = "quang-tho/phu-oc/level", "quang-tho/phu-oc/rain"


class Life:
    """A keeper that runs, and what it published."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self.packs: list[Pack] = []
        self.committed: list[bool] = []
        settings = {"max_bytes": 10_000_000, "every_s": 3600.0, "readings": 200, **settings}
        self.boot = new_boot_id()
        self.keeper = Keeper(path, Boot(self.boot), publish=self.publish, **settings)

    def publish(self, packs: Sequence[Stored]) -> None:
        self.packs += [decode(pack.payload) for pack in packs]
        self.committed += [pack.id >= 0 for pack in packs]

    def level(self, count: int = 1) -> None:
        self.keeper.add([Reading(LEVEL, now_ms() + i, 4.57, "m") for i in range(count)], alarm=True)

    def rain(self, count: int = 1) -> None:
        self.keeper.add([Reading(RAIN, now_ms() + i, 53.6, "mm") for i in range(count)], alarm=False)

    @property
    def ledger(self) -> dict[str, int]:
        return inspect(self.path)[1]


@asynccontextmanager
async def living(path: Path, **settings: Any) -> AsyncIterator[Life]:
    life = Life(path, **settings)
    await life.keeper.open()
    task = asyncio.create_task(life.keeper.run())
    try:
        yield life
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])
        await life.keeper.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge-outbox.db"


async def test_an_alarm_is_committed_at_once_and_telemetry_is_gathered(path: Path) -> None:
    async with living(path) as life:
        life.rain(3)
        life.level()
        await until(lambda: life.packs)
        assert [[reading.series for reading in pack.readings] for pack in life.packs] == [[LEVEL]]
        assert life.ledger == {LEVEL: 1}
        assert life.keeper.held == 3


async def test_telemetry_is_committed_together_after_its_time(path: Path) -> None:
    async with living(path, every_s=0.2) as life:
        life.rain(3)
        life.rain(4)
        await until(lambda: life.packs)
        assert [len(pack.readings) for pack in life.packs] == [7]


async def test_telemetry_is_committed_when_there_is_enough(path: Path) -> None:
    async with living(path, readings=10) as life:
        life.rain(9)
        life.rain(1)
        await until(lambda: life.packs)
        assert life.ledger == {RAIN: 10}


async def test_alarms_that_come_during_a_commit_go_together_in_the_next(path: Path) -> None:
    async with living(path) as life:
        for _ in range(100):
            life.level()
            await asyncio.sleep(0)
        await until(lambda: sum(len(pack.readings) for pack in life.packs) == 100)
        assert life.ledger == {LEVEL: 100}
        assert len(life.packs) < 100


async def test_at_the_end_everything_is_on_disk(path: Path) -> None:
    async with living(path) as life:
        life.rain(5)
        life.level(2)
        await life.keeper.flush()
        assert life.ledger == {LEVEL: 2, RAIN: 5}
        assert life.keeper.held == 0


async def test_stopped_in_the_middle_of_a_commit_it_commits_nothing_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    append = Outbox.append

    def slow_card(outbox: Outbox, *batches: Any, **how: Any) -> list[Stored]:
        begun.set()
        assert go_on.wait(10)
        return append(outbox, *batches, **how)

    monkeypatch.setattr(Outbox, "append", slow_card)
    life = Life(path)
    await life.keeper.open()
    task = asyncio.create_task(life.keeper.run())
    life.level(3)
    await until(begun.is_set)
    task.cancel()
    await asyncio.wait([task])
    go_on.set()
    await life.keeper.flush()
    await life.keeper.close()
    assert life.ledger == {LEVEL: 3}
    assert [len(pack.readings) for pack in life.packs] == [3], "and it is published"


@contextmanager
def full_disk(life: Life) -> Iterator[None]:
    """No page more: SQLite itself refuses, as on a disk without room."""
    outbox = life.keeper._outbox
    assert isinstance(outbox, Outbox)
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        outbox._db.execute("PRAGMA max_page_count = 1000000")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "RETRY_S", 0.1)


async def test_on_a_full_disk_alarms_still_speak_and_nothing_is_lost(
    path: Path, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with living(path, every_s=0.05) as life:
        with full_disk(life):
            life.rain(2000)
            await until(lambda: life.keeper.problems())
            life.level(2)
            await until(lambda: life.packs)
            assert [[reading.series for reading in pack.readings] for pack in life.packs] == [[LEVEL, LEVEL]]
            assert life.committed == [False]
            assert life.keeper.problems() == ["the disk is full: readings are held in memory"]
            assert life.keeper.held == 2002 and life.ledger == {}
            await until(lambda: life.keeper._pause_s >= 0.4)  # it has tried again, in vain
        await until(lambda: not life.keeper.problems())
        assert life.ledger == {LEVEL: 2, RAIN: 2000}
        assert life.keeper.held == 0 and life.keeper.dropped == 0
        names = [(pack.boot, pack.seq) for pack in life.packs]
        assert len(set(names)) == len(names), "what goes out again has a new name"
        life.level()
        await until(lambda: life.ledger == {LEVEL: 3, RAIN: 2000}, what="a new alarm is committed at once again")
    said = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1 and "make room on the disk" in said[0]


async def test_memory_is_bounded_telemetry_gives_way_first_and_what_is_lost_is_counted(
    path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_hand, "MAX_HELD", 1000)
    async with living(path, every_s=0.05) as life:
        with full_disk(life):
            life.level(600)
            life.rain(900)
            await until(lambda: life.keeper.held == 1000)
            assert life.keeper.dropped == 500
        await until(lambda: not life.keeper.problems())
        assert life.ledger == {LEVEL: 600, RAIN: 400}
        assert life.keeper.dropped == 500 and inspect(path)[0].dropped == 500


async def test_the_agent_starts_without_a_disk_and_takes_it_when_it_comes(tmp_path: Path, impatient: None) -> None:
    path = tmp_path / "later" / "edge-outbox.db"
    async with living(path) as life:
        assert life.keeper.problems() == ["the file can't be opened: readings are held in memory"]
        life.level()
        await until(lambda: life.committed == [False])
        path.parent.mkdir()
        await until(lambda: not life.keeper.problems())
        assert life.ledger == {LEVEL: 1}


def ruin(path: Path) -> None:
    """Overwrite all but the head, as a dying card does."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


async def test_an_outbox_that_breaks_while_it_runs_is_replaced_and_the_readings_in_hand_are_kept(path: Path) -> None:
    async with living(path) as life:
        life.rain(2000)
        await life.keeper.flush()
        life.packs.clear()
        ruin(path)
        assert isinstance(life.keeper._outbox, Outbox)
        life.keeper._outbox._db.execute("PRAGMA shrink_memory")  # else it would go on from its cache
        life.level()
        await until(lambda: life.packs)
        (aside,) = damaged(path)
        assert life.ledger == {LEVEL: 1} and life.committed[-1]
        assert life.keeper.problems() == [f"the outbox was damaged; the old one is kept as {aside.name}"]


async def test_a_receipt_lets_go(path: Path) -> None:
    async with living(path) as life:
        life.level()
        await until(lambda: life.packs)
        assert await life.keeper.next_batch(10, frozenset()) != []
        await life.keeper.receipted([Receipt(boot=life.boot, stored=[(0, 0)])])
        assert await life.keeper.next_batch(10, frozenset()) == []
        assert life.keeper.depth.packs == 0
