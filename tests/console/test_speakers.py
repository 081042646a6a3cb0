"""Commands to loudspeakers: one counter and one order for all who give them, kept before they go out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keng_console.database import Database, DatabaseUnavailable
from keng_console.live import Live
from keng_console.speakers.orders import Order, audiences, reached
from keng_console.speakers.sender import Speakers
from keng_contracts.commands import Command, Stop
from keng_contracts.errors import Problem
from keng_contracts.topics import Channel, Kind, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from tests.support.broker import RunningBroker
from tests.support.registry import sample

STOP = Stop(play="loa-1")


def test_places_are_zones_or_loudspeakers_and_say_whom_they_reach() -> None:
    registry = sample()
    auds = audiences(["ven-song", "loa-niem-pho", "ven-song"], registry)
    assert auds == ["zone/ven-song", "speaker/loa-niem-pho"]
    assert {s.id for s in reached(["zone/toan-xa"], registry)} == {s.id for s in registry.speakers}
    assert [s.id for s in reached(["speaker/loa-niem-pho"], registry)] == ["loa-niem-pho"]
    with pytest.raises(Problem, match="there are: toan-xa, ven-song, loa-phuoc-yen, loa-niem-pho"):
        audiences(["toan-tinh"], registry)


@asynccontextmanager
async def speakers(broker: RunningBroker, folder: Path) -> AsyncIterator[Speakers]:
    """As the console has them; the database is the folder's."""
    live = Live()
    live.adopt(sample())
    database = Database(f"sqlite:///{folder / 'console.sqlite'}")
    async with Link(broker.settings("console")) as link:
        made = Speakers(link, link.credentials.signing_key(), database.engine, live)
        running = asyncio.create_task(made.run())
        if broker.process.running:
            await link.wait_connected()
        yield made
        running.cancel()
    database.close()


@asynccontextmanager
async def ear(broker: RunningBroker) -> AsyncIterator[asyncio.Queue[Command]]:
    """Commands as a loudspeaker hears them, their signature checked."""
    heard: asyncio.Queue[Command] = asyncio.Queue()

    async def listen() -> None:
        async for message in link.messages():
            payload, key = link.credentials.trust().verify(message.payload)
            command = Command.model_validate_json(payload)
            assert command.action.do in key.may
            heard.put_nowait(command)
            message.ack()

    async with Link(broker.settings("loa-phuoc-yen"), session_expiry_s=300) as link:
        await link.subscribe(pattern(Kind.ZONE, Channel.COMMAND))
        task = asyncio.create_task(listen())
        yield heard
        task.cancel()


async def next_of(heard: asyncio.Queue[Command], count: int) -> list[Command]:
    async with asyncio.timeout(20):
        return [await heard.get() for _ in range(count)]


async def test_all_who_order_share_one_counter_and_arrive_in_its_order(broker: RunningBroker, tmp_path: Path) -> None:
    async with ear(broker) as heard, speakers(broker, tmp_path) as ours:
        both = ["zone/toan-xa", "zone/ven-song"]
        sent = await ours.order(both, STOP, "lan", 60)
        assert all(one.taken.result() == "" for one in sent)
        await asyncio.gather(
            *(ours.order(both, STOP, "lan", 60) for _ in range(5)),
            *(ours.keep([Order(aud, STOP) for aud in both], "CAP tinh", 900) for _ in range(5)),
        )
        commands = await next_of(heard, 22)
        counters = [command.ctr for command in commands]
        assert counters == sorted(set(counters)) and abs(counters[0] - now_ms()) < 60_000
        pairs = zip(commands[::2], commands[1::2], strict=True)
        assert all([one.aud, other.aud] == both and other.ctr == one.ctr + 1 for one, other in pairs)
        assert [command.jti for command in commands[:2]] == [one.jti for one in sent]
        assert {command.exp - command.nbf for command in commands} == {60.0, 900.0}


async def test_a_caller_that_goes_away_leaves_a_whole_order(broker: RunningBroker, tmp_path: Path) -> None:
    async with ear(broker) as heard, speakers(broker, tmp_path) as ours:
        leaving = asyncio.create_task(ours.order(["zone/toan-xa"], STOP, "lan", 60))
        await asyncio.sleep(0)
        leaving.cancel()
        await ours.order(["zone/toan-xa"], STOP, "lan", 60)
        first, second = await next_of(heard, 2)
        assert second.ctr > first.ctr


async def test_what_is_kept_goes_out_after_a_crash_and_a_person_is_told_when_the_broker_is_away(
    broker: RunningBroker, tmp_path: Path
) -> None:
    async with ear(broker) as heard:
        broker.stop()
        async with speakers(broker, tmp_path) as ours:
            with pytest.raises(Problem, match="nothing was sent"):
                await ours.order(["zone/toan-xa"], STOP, "lan", 60)
            [one] = await ours.keep([Order("zone/toan-xa", STOP)], "CAP tinh", 900)
            await ours.keep([Order("zone/toan-xa", STOP)], "CAP tinh", 0)
            assert not one.taken.done()
        broker.start()
        async with speakers(broker, tmp_path) as ours:
            [after] = await ours.order(["zone/ven-song"], STOP, "lan", 60)
            commands = await next_of(heard, 2)
            assert [command.ctr for command in commands] == [one.ctr, after.ctr], "what expired never goes out"
            assert after.ctr >= one.ctr + 2


async def test_what_can_not_be_recorded_is_not_sent(broker: RunningBroker, tmp_path: Path) -> None:
    def fails(_: object) -> None:
        raise DatabaseUnavailable("disk full")

    async with ear(broker) as heard, speakers(broker, tmp_path) as ours:
        with pytest.raises(DatabaseUnavailable):
            await ours.keep([Order("zone/toan-xa", STOP)], "CAP tinh", 60, fails)
        await ours.order(["zone/ven-song"], STOP, "lan", 60)
        assert [command.aud for command in await next_of(heard, 1)] == ["zone/ven-song"]
