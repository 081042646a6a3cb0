"""A store that fails in every way that stores fail, under the real ingest: nothing is lost, nothing doubled."""

import asyncio
import random
import resource
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keng_contracts.telemetry import Reading
from keng_ingest.dead_letters import DeadLetters
from keng_runtime.clock import now_ms
from keng_runtime.files import write_atomically
from keng_store.settings import StoreSettings, open_store
from tests.support.broker import RunningBroker
from tests.support.disk import small_disk
from tests.support.influx import Answer, Call, Fault, Front, RunningInflux
from tests.support.processes import Process, free_port, until
from tests.support.services import metrics, settings, start_ingest
from tests.support.telemetry import LEVEL, EdgeInATest, edge

DAY_MS = 86_400_000


@pytest.fixture
def front(influx: RunningInflux) -> Iterator[Front]:
    with Front(influx.url) as running:
        yield running


def times_in(url: str) -> list[int]:
    """When the gauge's stored readings were measured, in rising order; it is the only series there."""
    store = open_store(StoreSettings(url=url), read_only=True)
    assert store.counts("quang-tho").keys() <= {LEVEL}
    return [row.time_ms for row in store.range(LEVEL, 0, 2**42)]


async def send(node: EdgeInATest, times: list[int]) -> list[int]:
    return [await node.level(3.0, time_ms) for time_ms in times]


def twenty() -> list[int]:
    start = now_ms() - 60_000
    return [start + n for n in range(20)]


def row_writes(ruling: Answer | Fault, which: Callable[[int], bool]) -> Callable[[Call], Answer | Fault | None]:
    """A rule for those of the writes of readings, by number from 0, that ``which`` names."""
    seen = iter(range(1 << 30))
    return lambda call: ruling if call.path == "/write" and "precision" in call.query and which(next(seen)) else None


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500),
        Answer(503, "", {"Retry-After": "1"}),
        Answer(429, "", {"Retry-After": "1"}),
        Answer(404),
        Fault.CUT,
        Fault.TAKE_AND_CUT,
    ],
    ids=lambda fault: str(fault.status if isinstance(fault, Answer) else fault.name),
)
async def test_an_influxdb_that_fails_for_a_while_gets_everything_once(
    fault: Answer | Fault, commune_broker: RunningBroker, influx: RunningInflux, front: Front, tmp_path: Path
) -> None:
    behind, times = influx.new_database(), twenty()
    front.rule = row_writes(fault, lambda number: number < 2)
    with start_ingest(commune_broker, tmp_path, behind.replace(influx.url, front.url)) as ingest:
        ingest.says("taking telemetry")
        async with edge(commune_broker) as node:
            await node.receipt_for(*await send(node, times))
    patience = "1.0" if isinstance(fault, Answer) and fault.headers else "0.5"
    assert f"nothing is lost, next try in {patience} s" in ingest.text()
    assert times_in(behind) == times


async def test_while_an_influxdb_hangs_telemetry_is_taken_and_the_canary_flies(
    commune_broker: RunningBroker, influx: RunningInflux, front: Front, tmp_path: Path
) -> None:
    behind, times, port = influx.new_database(), twenty(), free_port()
    front.rule = row_writes(Fault.HANG, lambda number: number == 0)
    url = behind.replace(influx.url, front.url)
    with start_ingest(commune_broker, tmp_path, url, more=f"metrics_port = {port}") as ingest:
        ingest.says("taking telemetry")
        async with edge(commune_broker) as node:
            sent = await send(node, times[:10])
            await until(lambda: any("precision" in call.query for call in front.calls))
            rounds = metrics(port).get("keng_ingest_canary_seconds_count", 0)
            await until(lambda: metrics(port).get("keng_ingest_canary_seconds_count", 0) > rounds)
            sent += await send(node, times[10:])
            assert "does not answer" not in ingest.text() and not node.receipted
            await node.receipt_for(*sent)
    assert "does not answer (ReadTimeoutError)); nothing is lost" in ingest.text()
    assert times_in(behind) == times


async def test_an_influxdb_that_is_down_gets_everything_once_it_is_up(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    times = twenty()
    with RunningInflux() as influx:
        url = influx.new_database()
        with start_ingest(commune_broker, tmp_path, url) as ingest:
            ingest.says("taking telemetry")
            async with edge(commune_broker) as node:
                sent = await send(node, times[:10])
                await node.receipt_for(*sent)
                influx.kill()
                sent += await send(node, times[10:])
                await asyncio.to_thread(ingest.says, "nothing is lost, next try")
                influx.start()
                await node.receipt_for(*sent)
        assert times_in(url) == times


async def test_an_influxdb_whose_disk_was_full_gets_everything_after_its_restart(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    now = now_ms() - 60_000
    times = [now + n for n in range(2000)]
    readings = [Reading(LEVEL, time_ms, random.random(), "m") for time_ms in times]  # more than a page's rest can hold
    with small_disk(tmp_path / "disk", mib=32) as disk, RunningInflux(home=disk.path) as influx:
        url = influx.new_database()
        with start_ingest(commune_broker, tmp_path, url) as ingest:
            ingest.says("taking telemetry")
            async with edge(commune_broker) as node:
                sent = [await node.send(readings[:1000])]
                await node.receipt_for(*sent)
                disk.fill()
                sent += [await node.send(readings[1000:])]
                await asyncio.to_thread(ingest.says, "make room on its disk, then restart it")
                with pytest.raises(TimeoutError):
                    await node.receipt_for(*sent, within=1.0)
                disk.make_room()
                influx.kill()  # what it held in memory and could not write is gone with it: nothing that has a receipt
                influx.start()
                await node.receipt_for(*sent)
        assert times_in(url) == times


async def test_one_line_that_influxdb_refuses_does_not_take_the_others_with_it(
    commune_broker: RunningBroker, influx: RunningInflux, front: Front, tmp_path: Path
) -> None:
    def refuse(call: Call) -> Answer | None:
        wrong = call.path == "/write" and "value=66.6," in call.body
        return Answer(400, '{"error":"field type conflict"}') if wrong else None

    front.rule = refuse
    behind, times = influx.new_database(), twenty()
    with start_ingest(commune_broker, tmp_path, behind.replace(influx.url, front.url)) as ingest:
        ingest.says("taking telemetry")
        async with edge(commune_broker) as node:
            readings = [Reading(LEVEL, time_ms, 66.6 if n == 7 else 3.0, "m") for n, time_ms in enumerate(times)]
            await node.receipt_for(await node.send(readings))
    assert times_in(behind) == times[:7] + times[8:]
    [letter] = DeadLetters(tmp_path / "ingest" / "dead-letters.sqlite").list()
    assert (letter.topic, letter.reason) == (LEVEL, "store: field type conflict")


async def test_a_full_disk_under_sqlite_holds_readings_back_and_loses_none(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    times = twenty()
    with small_disk(tmp_path / "disk", mib=4) as disk:
        url = f"sqlite:///{disk.path / 'readings.sqlite'}"
        with start_ingest(commune_broker, tmp_path, url) as ingest:
            ingest.says("taking telemetry")
            async with edge(commune_broker) as node:
                sent = await send(node, times[:10])
                await node.receipt_for(*sent)
                disk.fill()
                sent += await send(node, times[10:])
                await asyncio.to_thread(ingest.says, "disk is full")
                assert times_in(url) == times[:10]
                disk.make_room()
                await node.receipt_for(*sent)
        assert times_in(url) == times


async def test_a_file_that_may_not_grow_holds_readings_back_and_loses_none(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    """A limit of the kernel, which needs no right to mount: also the dead-letter table has no room then."""
    url, times = f"sqlite:///{tmp_path / 'readings.sqlite'}", twenty()
    with start_ingest(commune_broker, tmp_path, url) as ingest:
        ingest.says("taking telemetry")
        async with edge(commune_broker) as node:
            _, most = resource.prlimit(ingest.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(ingest.pid, resource.RLIMIT_FSIZE, (0, most))
            sent = await send(node, times)
            with pytest.raises(TimeoutError):
                await node.receipt_for(*sent, within=1.0)
            resource.prlimit(ingest.pid, resource.RLIMIT_FSIZE, (most, most))
            await node.receipt_for(*sent)
    assert times_in(url) == times


async def test_a_locked_file_holds_readings_back_and_loses_none(commune_broker: RunningBroker, tmp_path: Path) -> None:
    file, times = tmp_path / "readings.sqlite", twenty()
    with start_ingest(commune_broker, tmp_path, f"sqlite:///{file}") as ingest:
        ingest.says("taking telemetry")
        async with edge(commune_broker) as node:
            other = sqlite3.connect(file, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            sent = await send(node, times)
            await asyncio.to_thread(ingest.says, "database is locked")
            assert not node.receipted
            other.execute("ROLLBACK")
            other.close()
            await node.receipt_for(*sent)
    assert times_in(f"sqlite:///{file}") == times


#: Ingest on a machine whose clock goes wrong by the milliseconds that a file says.
_STEPPED = """
import sys, time
from pathlib import Path
real, step = time.time_ns, Path(sys.argv.pop(1))
time.time_ns = lambda: real() + int(step.read_text()) * 10**6
from keng_ingest.cli import main
main()
"""


@pytest.mark.parametrize("backend", ["sqlite", "influx"])
async def test_a_clock_of_ingest_that_steps_loses_and_doubles_nothing(
    backend: str, commune_broker: RunningBroker, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'readings.sqlite'}"
    if backend == "influx":
        url = request.getfixturevalue("influx").new_database()
    file, step, times = tmp_path / "ingest.toml", tmp_path / "step", twenty()
    file.write_text(settings(commune_broker, "ingest", tmp_path / "ingest") + f'[store]\nurl = "{url}"\n')
    write_atomically(step, b"0")
    command = [sys.executable, "-c", _STEPPED, step, "run", "--settings", file]
    with Process(command, log=tmp_path / "ingest.log") as ingest:
        ingest.says("taking telemetry")
        async with edge(commune_broker) as node:
            for part, away_ms in enumerate((0, 400 * DAY_MS, -3 * DAY_MS, 3_600_000)):
                write_atomically(step, str(away_ms).encode())
                mine = times[part * 5 : part * 5 + 5]
                sent = await send(node, mine)
                await node.receipt_for(*sent)
                for seq, time_ms in zip(sent, mine, strict=True):  # as after a receipt that was lost
                    await node.send([Reading(LEVEL, time_ms, 3.0, "m")], seq)
                node.receipted.clear()
                await node.receipt_for(*sent)
    assert times_in(url) == times
