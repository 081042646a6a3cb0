"""Between broker and store: deaths between delivery and acknowledgement, replicas that come and go, packs that come
doubled, shuffled, late or damaged. Each reading is stored once."""

import asyncio
import contextlib
import random
from contextlib import closing
from pathlib import Path

import pytest

from keng_contracts.telemetry import Clock, Flag, Pack, Reading, encode
from keng_contracts.topics import Channel
from keng_ingest.dead_letters import DeadLetters
from keng_ingest.sort import Rules, sort
from keng_runtime.clock import now_ms
from keng_store.protocol import Row
from keng_store.settings import StoreSettings, open_store
from tests.support.broker import RunningBroker
from tests.support.influx import Call, Fault, Front, RunningInflux
from tests.support.processes import Process, free_port, until
from tests.support.registry import sample
from tests.support.services import metrics, start_ingest
from tests.support.telemetry import BOOT, LEVEL, edge

DAY_MS = 86_400_000


def with_sqlite(broker: RunningBroker, folder: Path, identity: str = "ingest", more: str = "") -> tuple[Process, Path]:
    file = folder / "readings.sqlite"
    ingest = start_ingest(broker, folder, f"sqlite:///{file}", identity, more)
    ingest.says("taking telemetry")
    return ingest, file


def rows_in(file: Path) -> list[Row]:
    """The gauge's stored readings in rising order; it is the only series there."""
    store = open_store(StoreSettings(url=f"sqlite:///{file}"), read_only=True)
    assert store.counts("quang-tho").keys() == {LEVEL}
    return store.range(LEVEL, 0, 2**42)


async def test_doubled_shuffled_and_day_late_packs_and_clocks_that_step_leave_each_reading_once(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    ingest, file = with_sqlite(commune_broker, tmp_path)
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
        async with edge(commune_broker) as node:
            for seq, pack in packs:
                await node.send(pack, seq)
            await node.receipt_for(*range(1, len(times) + 1))
    assert [row.time_ms for row in rows_in(file)] == sorted(times)
    assert {row.flag for row in rows_in(file) if row.time_ms > now + 3_000_000} == {Flag.BAD}


async def test_what_the_broker_holds_for_a_stopped_replica_is_stored_once_by_its_next_run(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    times = [now_ms() - 60_000 + n for n in range(7)]
    packs = [[Reading(LEVEL, time_ms, 3.0, "m")] for time_ms in times]
    async with edge(commune_broker) as node:
        ingest, file = with_sqlite(commune_broker, tmp_path)
        with ingest:
            sent = [await node.send(pack) for pack in packs[:5]]
            await node.receipt_for(*sent)
        for seq, pack in zip(sent, packs, strict=False):  # receipts that were lost on the way: sent again
            await node.send(pack, seq)
        sent += [await node.send(pack) for pack in packs[5:]]
        node.receipted.clear()
        ingest, file = with_sqlite(commune_broker, tmp_path)
        with ingest:
            await node.receipt_for(*sent)
    assert [row.time_ms for row in rows_in(file)] == times


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_ending_one_of_two_replicas_under_load_loses_and_doubles_nothing(
    end: str, commune_broker: RunningBroker, tmp_path: Path
) -> None:
    ingest, file = with_sqlite(commune_broker, tmp_path)
    second, _ = with_sqlite(commune_broker, tmp_path, "ingest-2")
    with ingest, second:
        async with edge(commune_broker) as node:
            start = now_ms() - 60_000
            sent = [await node.level(3.0, start + n) for n in range(50)]
            ending = asyncio.create_task(asyncio.to_thread(second.stop if end == "stopped" else second.kill))
            sent += [await node.level(3.0, start + n) for n in range(50, 150)]
            assert await ending in (0, None)
            with start_ingest(commune_broker, tmp_path, f"sqlite:///{file}", "ingest-2"):
                await node.receipt_for(*sent)
    assert [row.time_ms for row in rows_in(file)] == [start + n for n in range(150)]


async def test_what_a_replica_took_with_it_for_good_goes_to_the_other_when_the_edge_sends_it_again(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    ingest, file = with_sqlite(commune_broker, tmp_path)
    second, _ = with_sqlite(commune_broker, tmp_path, "ingest-2")
    times = [now_ms() - 60_000 + n for n in range(40)]
    with ingest, second:
        async with edge(commune_broker) as node:
            sent = [await node.level(3.0, time_ms) for time_ms in times[:20]]
            second.kill()
            sent += [await node.level(3.0, time_ms) for time_ms in times[20:]]

            async def all_receipted() -> bool:
                with contextlib.suppress(TimeoutError):
                    await node.receipt_for(*sent, within=0.5)
                for seq in set(sent) - node.receipted:
                    await node.send([Reading(LEVEL, times[seq - 1], 3.0, "m")], seq)
                return set(sent) <= node.receipted

            await until(all_receipted)
    assert [row.time_ms for row in rows_in(file)] == times


async def test_an_acknowledgement_that_a_reconnect_made_stale_takes_no_other_message_with_it(
    commune_broker: RunningBroker, influx: RunningInflux, tmp_path: Path
) -> None:
    """Packet ids start anew with a broker that forgot us: that of the reading whose commit outlasts the broker is the
    id of another by then, which would be gone if it were acknowledged before it is stored."""
    url, now = influx.new_database(), now_ms() - 60_000
    old, new, sent = now, [now + n for n in range(1, 11)], list[int]()
    reconnected = False

    def rule(call: Call) -> Fault | None:
        if call.path != "/write" or "precision" not in call.query:
            return None
        if str(old) in call.body:
            return None if reconnected else Fault.CUT
        return Fault.HANG

    def writes_of(time_ms: int) -> int:
        return sum(call.path == "/write" and str(time_ms) in call.body for call in front.calls)

    with Front(influx.url) as front:
        front.rule = rule
        ingest = start_ingest(commune_broker, tmp_path, url.replace(influx.url, front.url))
        with ingest:
            ingest.says("taking telemetry")
            async with edge(commune_broker) as node:
                first = await node.level(3.0, old)
                await until(lambda: writes_of(old))
                commune_broker.kill()
                commune_broker.start()
                await until(lambda: ingest.text().count("connected to broker") == 2)
                while not writes_of(new[0]):
                    sent = [await node.level(3.0, time_ms) for time_ms in new]
                    reconnected = True  # the edge too: it hears the receipt
                    with contextlib.suppress(AssertionError):  # sent before ingest had subscribed again
                        await until(lambda: writes_of(new[0]), within=10)
                await node.receipt_for(first)
                ingest.kill()
                front.rule = lambda _: None
                with start_ingest(commune_broker, tmp_path, url):
                    await node.receipt_for(*sent)
    with closing(open_store(StoreSettings(url=url), read_only=True)) as store:
        assert [row.time_ms for row in store.range(LEVEL, 0, 2**42)] == [old, *new]


async def test_of_damaged_packs_every_record_is_stored_or_a_dead_letter_and_ingest_goes_on(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    chance, now, port = random.Random(20251121), now_ms() - 600_000, free_port()
    ingest, file = with_sqlite(commune_broker, tmp_path, more=f"metrics_port = {port}")
    expected, whole = {LEVEL: {now}}, 0
    with ingest:
        async with edge(commune_broker) as node:
            for seq in range(1, 301):
                readings = tuple(Reading(LEVEL, now + seq * 100 + n, 3.0, "m") for n in range(3))
                payload = bytearray(encode(Pack(BOOT, seq, Clock.SYNCED, now_ms(), readings)))
                for _ in range(chance.randrange(4)):
                    payload[chance.randrange(len(payload))] = chance.randrange(256)
                if chance.random() < 0.2:
                    del payload[chance.randrange(len(payload)) :]
                await node.link.publish(node.topic(Channel.TELEMETRY), bytes(payload))
                outcome = sort([(node.topic(Channel.TELEMETRY), bytes(payload))], Rules.of(sample()), {}, now_ms())
                for row in outcome.rows:
                    expected.setdefault(row.series, set()).add(row.time_ms)
                whole += not outcome.dead
            node.seq = 1000
            last = await node.level(3.5, now)
            await node.receipt_for(last)
            await until(lambda: metrics(port)["keng_ingest_messages_total"] == 301)
            dead = sum(n for name, n in metrics(port).items() if name.startswith("keng_ingest_dead_letters_total"))
    letters = DeadLetters(tmp_path / "ingest" / "dead-letters.sqlite").list()
    store = open_store(StoreSettings(url=f"sqlite:///{file}"), read_only=True)
    assert {name: {row.time_ms for row in store.range(name, 0, 2**42)} for name in store.spans()} == expected
    assert 50 < whole < 250
    assert dead == sum(letter.times for letter in letters) == 300 - whole
