"""A store that fails in every way that stores fail, late and doubled packs, a broker that dies: nothing is lost."""

import asyncio
import random
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from keng_contracts.telemetry import Flag, Reading
from keng_ingest.dead_letters import DeadLetters
from keng_runtime.clock import now_ms
from keng_store.protocol import Store
from keng_store.settings import StoreSettings, open_store
from tests.support.broker import RunningBroker
from tests.support.influx import Answer, Call, Fault, Front, RunningInflux
from tests.support.processes import Process
from tests.support.registry import sample, signed
from tests.support.services import start_ingest
from tests.support.telemetry import LEVEL, EdgeInATest, edge, retain_registry

DAY_MS = 86_400_000


@pytest.fixture
def broker(broker: RunningBroker) -> RunningBroker:
    asyncio.run(retain_registry(broker, signed(sample(), broker.credentials)))
    return broker


@pytest.fixture
def front(influx: RunningInflux) -> Iterator[Front]:
    with Front(influx.url) as running:
        yield running


def stored(url: str) -> Store:
    return open_store(StoreSettings(url=url), read_only=True)


def times_in(file: Path) -> list[int]:
    """When the gauge's stored readings were measured, in rising order; it is the only series there."""
    store = stored(f"sqlite:///{file}")
    assert store.counts("quang-tho").keys() == {LEVEL}
    return [row.time_ms for row in store.range(LEVEL, 0, 2**42)]


async def twenty(node: EdgeInATest) -> list[int]:
    start = now_ms() - 60_000
    return [await node.level(3.0 + n / 100, start + n) for n in range(20)]


@pytest.mark.parametrize(
    "fault",
    [Answer(500), Answer(503, "", {"Retry-After": "1"}), Answer(429), Answer(404), Fault.CUT, Fault.TAKE_AND_CUT],
    ids=str,
)
async def test_an_influxdb_that_fails_for_a_while_gets_everything_once(
    fault: Answer | Fault, broker: RunningBroker, influx: RunningInflux, front: Front, tmp_path: Path
) -> None:
    behind = influx.new_database()
    failures = iter(range(3))
    front.rule = lambda call: fault if call.path == "/write" and next(failures, None) is not None else None
    with start_ingest(broker, tmp_path, behind.replace(influx.url, front.url)) as ingest:
        ingest.says("taking telemetry")
        async with edge(broker) as node:
            await node.receipt_for(*await twenty(node))
    assert "nothing is lost, next try" in ingest.text()
    assert stored(behind).counts("quang-tho") == {LEVEL: 20}


async def test_one_line_that_influxdb_refuses_does_not_take_the_others_with_it(
    broker: RunningBroker, influx: RunningInflux, front: Front, tmp_path: Path
) -> None:
    def refuse(call: Call) -> Answer | None:
        wrong = call.path == "/write" and "value=66.6," in call.body
        return Answer(400, '{"error":"field type conflict"}') if wrong else None

    front.rule = refuse
    behind = influx.new_database()
    with start_ingest(broker, tmp_path, behind.replace(influx.url, front.url)) as ingest:
        ingest.says("taking telemetry")
        async with edge(broker) as node:
            now = now_ms() - 60_000
            readings = [Reading(LEVEL, now + n, 66.6 if n == 7 else 3.0, "m") for n in range(20)]
            await node.receipt_for(await node.send(readings))
    assert stored(behind).counts("quang-tho") == {LEVEL: 19}
    [letter] = DeadLetters(tmp_path / "ingest" / "dead-letters.sqlite").list()
    assert (letter.topic, letter.reason) == (LEVEL, "store: field type conflict")


def with_sqlite(broker: RunningBroker, folder: Path) -> tuple[Process, Path]:
    file = folder / "readings.sqlite"
    ingest = start_ingest(broker, folder, f"sqlite:///{file}")
    ingest.says("taking telemetry")
    return ingest, file


async def test_a_full_disk_holds_readings_back_and_loses_none(broker: RunningBroker, tmp_path: Path) -> None:
    ingest, file = with_sqlite(broker, tmp_path)
    with ingest:
        async with edge(broker) as node:
            # A limit of the kernel on the size of its files: writing fails as on a disk that has no room.
            _, most = resource.prlimit(ingest.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(ingest.pid, resource.RLIMIT_FSIZE, (0, most))
            sent = await twenty(node)
            with pytest.raises(TimeoutError):
                await node.receipt_for(*sent, within=1.0)
            resource.prlimit(ingest.pid, resource.RLIMIT_FSIZE, (most, most))
            await node.receipt_for(*sent)
    assert stored(f"sqlite:///{file}").counts("quang-tho") == {LEVEL: 20}


async def test_a_locked_file_holds_readings_back_and_loses_none(broker: RunningBroker, tmp_path: Path) -> None:
    ingest, file = with_sqlite(broker, tmp_path)
    with ingest:
        async with edge(broker) as node:
            other = sqlite3.connect(file, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            sent = await twenty(node)
            with pytest.raises(TimeoutError):
                await node.receipt_for(*sent, within=1.0)
            other.execute("ROLLBACK")
            other.close()
            await node.receipt_for(*sent)
    assert stored(f"sqlite:///{file}").counts("quang-tho") == {LEVEL: 20}


async def test_a_broker_that_dies_between_delivery_and_acknowledgement_delivers_again(tmp_path: Path) -> None:
    with RunningBroker() as broker:
        await retain_registry(broker, signed(sample(), broker.credentials))
        ingest, file = with_sqlite(broker, tmp_path)
        with ingest:
            async with edge(broker) as node:
                other = sqlite3.connect(file, isolation_level=None)
                other.execute("BEGIN IMMEDIATE")
                packs = [[Reading(LEVEL, now_ms() - 60_000 + n, 3.0, "m")] for n in range(20)]
                sent = [await node.send(pack) for pack in packs]
                broker.kill()
                broker.start()
                ingest.says("closed the connection")
                # An edge sends again what has no receipt. Packet ids start anew: acknowledgements of the old
                # connection must not be taken for these.
                for seq, pack in zip(sent, packs, strict=True):
                    await node.send(pack, seq)
                other.execute("ROLLBACK")
                other.close()
                await node.receipt_for(*sent)
        assert stored(f"sqlite:///{file}").counts("quang-tho") == {LEVEL: 20}


async def test_doubled_shuffled_and_day_late_packs_and_clocks_that_step_leave_each_reading_once(
    broker: RunningBroker, tmp_path: Path
) -> None:
    ingest, file = with_sqlite(broker, tmp_path)
    now = now_ms()
    times = [
        *(now - n * 1000 for n in range(20)),
        *(now - DAY_MS - n for n in range(20)),  # a day late
        *(now + 3_600_000 + n for n in range(5)),  # a clock that went an hour ahead, and
        *(now - 7_200_000 + n for n in range(5)),  # two hours back
    ]
    packs = [(seq, [Reading(LEVEL, time_ms, 3.0, "m")]) for seq, time_ms in enumerate(times, 1)] * 2
    random.shuffle(packs)
    with ingest:
        async with edge(broker) as node:
            for seq, pack in packs:
                await node.send(pack, seq)
            await node.receipt_for(*range(1, len(times) + 1))
    rows = stored(f"sqlite:///{file}").range(LEVEL, 0, 2**42)
    assert [row.time_ms for row in rows] == sorted(times)
    assert {row.flag for row in rows if row.time_ms > now + 3_000_000} == {Flag.BAD}


async def test_what_the_broker_holds_for_a_stopped_replica_is_stored_once_by_its_next_run(
    broker: RunningBroker, tmp_path: Path
) -> None:
    times = [now_ms() - 60_000 + n for n in range(7)]
    packs = [[Reading(LEVEL, time_ms, 3.0, "m")] for time_ms in times]
    async with edge(broker) as node:
        ingest, file = with_sqlite(broker, tmp_path)
        with ingest:
            sent = [await node.send(pack) for pack in packs[:5]]
            await node.receipt_for(*sent)
        for seq, pack in zip(sent, packs, strict=False):  # receipts that were lost on the way: sent again
            await node.send(pack, seq)
        sent += [await node.send(pack) for pack in packs[5:]]
        node.receipted.clear()
        ingest, file = with_sqlite(broker, tmp_path)
        with ingest:
            await node.receipt_for(*sent)
    assert times_in(file) == times


async def test_stopping_one_of_two_replicas_under_load_loses_and_doubles_nothing(
    broker: RunningBroker, tmp_path: Path
) -> None:
    ingest, file = with_sqlite(broker, tmp_path)
    with ingest, start_ingest(broker, tmp_path, f"sqlite:///{file}", identity="ingest-2") as second:
        second.says("taking telemetry")
        async with edge(broker) as node:
            start = now_ms() - 60_000
            sent = [await node.level(3.0, start + n) for n in range(50)]
            stopping = asyncio.create_task(asyncio.to_thread(second.stop))
            sent += [await node.level(3.0, start + n) for n in range(50, 150)]
            assert await stopping == 0
            with start_ingest(broker, tmp_path, f"sqlite:///{file}", identity="ingest-2"):
                await node.receipt_for(*sent)
    assert times_in(file) == [start + n for n in range(150)]
