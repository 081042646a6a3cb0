"""An uplink that ChirpStack's broker delivered is forgotten there when its readings are on disk, and not before."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.telemetry import Reading
from keng_edge.outbox.keeper import Keeper
from keng_edge.outbox.outbox import Boot, inspect
from keng_edge.sources.chirpstack import Deliveries
from keng_runtime.clock import new_boot_id, now_ms
from keng_runtime.guest import Guest
from keng_runtime.mqtt import Link, Message
from tests.support.broker import RunningBroker
from tests.support.edge import NODE, ingest, outbox, statuses
from tests.support.feeds import PlainBroker, event
from tests.support.processes import Process, until
from tests.support.services import settings, start

UDL, WTS = "24e124713b456789", "24e124454c456789"
DISTANCE, RAIN = "quang-tho/cong/distance", "quang-tho/cong/rain"


@asynccontextmanager
async def keeping(path: Path, **more: Any) -> AsyncIterator[Keeper]:
    keeper = Keeper(path, Boot(new_boot_id()), max_bytes=10_000_000, every_s=3600.0, **more)
    await keeper.open()
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
        assert not task.done()
    finally:
        task.cancel()
        await keeper.flush()
        await keeper.close()


def reading(series: str = DISTANCE) -> list[Reading]:
    return [Reading(series, now_ms(), 0.5, "m")]


async def test_kept_is_said_after_the_commit(tmp_path: Path) -> None:
    on_disk: list[int] = []
    async with keeping(tmp_path / "outbox.db") as keeper:
        keeper.add(reading(), alarm=False, kept=lambda: on_disk.append(inspect(tmp_path / "outbox.db")[0].committed))
        keeper.add(reading(RAIN), alarm=True, kept=lambda: on_disk.append(inspect(tmp_path / "outbox.db")[0].committed))
        await until(lambda: on_disk)
        assert on_disk == [1], "the alarm alone is on disk"
        await keeper.flush()
        assert on_disk == [1, 2]


async def test_what_gives_no_reading_needs_no_commit(tmp_path: Path) -> None:
    said: list[str] = []
    async with keeping(tmp_path / "outbox.db") as keeper:
        keeper.add([], alarm=False, kept=lambda: said.append("kept"))
        assert said == ["kept"]


async def test_ten_that_wait_are_committed_at_once(tmp_path: Path) -> None:
    said: list[int] = []
    async with keeping(tmp_path / "outbox.db") as keeper:
        for number in range(10):
            assert said == []
            keeper.add(reading(), alarm=False, kept=lambda number=number: said.append(number))  # type: ignore[misc]
        await until(lambda: said == list(range(10)))


async def test_while_the_disk_takes_nothing_the_broker_is_not_made_to_wait(tmp_path: Path) -> None:
    """A broker that waits for our word hands over nothing more, and an alarm must be heard."""
    path, said = tmp_path / "outbox.db", list[str]()
    async with keeping(path) as keeper:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        try:
            keeper.add(reading(), alarm=False, kept=lambda: said.append("before"))
            keeper.add(reading(RAIN), alarm=True, kept=lambda: said.append("alarm"))
            await until(keeper.problems)
            assert sorted(said) == ["alarm", "before"]
            keeper.add(reading(), alarm=False, kept=lambda: said.append("after"))
            assert said[-1] == "after" and keeper.held == 3
        finally:
            blocker.close()


def test_deliveries_are_acknowledged_in_their_order() -> None:
    acknowledged: list[tuple[int, bytes]] = []

    class Noting(Message):
        def ack(self) -> None:
            acknowledged.append((self._mid, self.payload))

    deliveries = Deliveries()
    for number, payload in enumerate((b"first", b"second", b"first")):  # the first comes again
        deliveries.add(Noting("up", payload, retain=False, _mid=number, _qos=1, _epoch=0, _link=None))  # type: ignore[arg-type]
        deliveries.wait(payload)
    deliveries.kept(b"second")
    assert acknowledged == []
    deliveries.kept(b"first")
    assert acknowledged == [(0, b"first"), (1, b"second"), (2, b"first")]


def start_edge(broker: RunningBroker, chirpstack: PlainBroker, folder: Path, commit_every_s: float = 0.2) -> Process:
    text = settings(broker, NODE, folder / "state", f"commit_every_s = {commit_every_s}\nreceipt_timeout_s = 1.0\n")
    text += f'[[buses]]\nid = "lora"\nkind = "lorawan"\nport = "{chirpstack.port}"\n'
    for eui, name, profile in ((UDL, "udl", "lora-em500-udl"), (WTS, "wts", "lora-wts506")):
        text += f'[[buses.slaves]]\nid = "{name}"\nprofile = "{profile}"\naddress = "{eui}"\n'
        text += 'station = "cong"\ninterval_s = 600.0\n'
        text += "".join(f'series.{one} = "{name}-{one}"\n' for one in ("rssi", "snr", "battery"))
    return start("keng-edge", "edge", folder, text)


def distance(number: int, at_ms: int) -> tuple[str, bytes]:
    data = b"\x03\x82" + number.to_bytes(2, "little")
    return f"application/1/device/{UDL}/event/up", event(UDL, data, at_ms)


def rain(number: int, at_ms: int) -> tuple[str, bytes]:
    data = b"\x08\x77" + number.to_bytes(2, "little") + b"\x01"
    return f"application/1/device/{WTS}/event/up", event(WTS, data, at_ms)


@asynccontextmanager
async def chirpstack_of(folder: Path) -> AsyncIterator[tuple[PlainBroker, Link]]:
    broker = PlainBroker(folder)
    try:
        async with Link(Guest("127.0.0.1", broker.number, "chirpstack")) as link:
            yield broker, link
    finally:
        broker.pull_out()


@pytest.mark.system
async def test_an_uplink_that_a_killed_agent_had_in_hand_is_read_again(broker: RunningBroker, tmp_path: Path) -> None:
    at_ms = now_ms()
    async with (
        chirpstack_of(tmp_path) as (chirpstack, link),
        ingest(broker, receipting=True) as hearing,
        statuses(broker) as said,
    ):

        async def taken() -> bool:
            await link.publish(*distance(30, at_ms))  # again and again, for who has not subscribed yet
            return any(source.last_reading_ms for status in said for source in status.sources)

        with start_edge(broker, chirpstack, tmp_path, commit_every_s=60.0) as edge:
            await until(taken)
            edge.kill()
        assert outbox(tmp_path)["committed"] == 0, "it was killed between delivery and commit"
        with start_edge(broker, chirpstack, tmp_path):
            await until(lambda: hearing.rows().get(DISTANCE))
            await until(lambda: outbox(tmp_path)["packs"] == 0)
        assert hearing.rows()[DISTANCE] == {at_ms} and outbox(tmp_path)["ledger"][DISTANCE] == 1


@pytest.mark.system
async def test_however_often_it_is_killed_every_uplink_is_one_row_and_counted_once(
    broker: RunningBroker, tmp_path: Path
) -> None:
    chance, begin_ms = random.Random(3), now_ms() - 1_000_000
    wanted: dict[tuple[str, int], float] = {}
    async with chirpstack_of(tmp_path) as (chirpstack, link), ingest(broker, receipting=True) as hearing:

        async def publish(number: int) -> None:
            at_ms = begin_ms + number * 1000
            wanted[DISTANCE, at_ms], wanted[RAIN, at_ms] = (500 + number) / 1000, (7 * number) / 100
            await link.publish(*distance(500 + number, at_ms))
            await link.publish(*rain(7 * number, at_ms))

        def rows() -> dict[tuple[str, int], set[float]]:
            found: dict[tuple[str, int], set[float]] = {}
            for reading in (reading for pack in hearing.packs for reading in pack.readings):
                if (reading.series, reading.time_ms) in wanted:
                    found.setdefault((reading.series, reading.time_ms), set()).add(reading.value)
            return found

        with start_edge(broker, chirpstack, tmp_path):  # it has subscribed once the first was heard

            async def heard() -> bool:
                await publish(0)
                return bool(hearing.packs)

            await until(heard)
        for life in range(5):
            with start_edge(broker, chirpstack, tmp_path) as edge:
                for number in range(40):
                    await publish(1 + 40 * life + number)
                    await asyncio.sleep(0.01)
                await asyncio.sleep(chance.uniform(0.0, 0.6))
                edge.kill()
        with start_edge(broker, chirpstack, tmp_path):
            await until(lambda: len(rows()) == len(wanted))
        assert rows() == {name: {value} for name, value in wanted.items()}
