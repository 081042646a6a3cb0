"""A day without a link for the whole agent, in compressed time: what it reads comes to ingest once, in its order."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keng_contracts.telemetry import Clock, Pack
from keng_edge import agent, status, uplink
from keng_edge.outbox import keeper
from keng_edge.outbox.outbox import Stored, inspect
from keng_edge.pipeline.pipeline import Raw, Sample
from keng_edge.settings import EdgeSettings
from keng_edge.sources.source import Outcome
from keng_edge.uplink import MAX_UNACKNOWLEDGED, WINDOW, Uplink
from keng_runtime import mqtt
from keng_runtime.settings import load
from tests.support.broker import RunningBroker
from tests.support.compressed import CompressedLoop
from tests.support.edge import bus, edge_settings, ingest, slave
from tests.support.outbox import LEVEL, NOW, RAIN
from tests.support.processes import until

pytestmark = pytest.mark.system

HOUR = 3600.0
#: Simulated seconds in a real one once the broker is back: the gauge is read twice a second.
PACE = 240.0
#: Sensor, quantity, series, seconds between two readings, and what each counts on.
SENSORS = (("muc-nuoc", "level", LEVEL, 120, 1), ("mua", "rain", RAIN, 60, 10))


class Day:
    """The world of the agent: a machine with its two clocks, and a line with a gauge for alarms and a rain gauge."""

    def __init__(self, loop: CompressedLoop) -> None:
        self.loop = loop
        self.started_s, self.starts, self.wrong_ms = 0.0, 1, 0
        self.clock = Clock.SYNCED
        self.handed: Counter[str] = Counter()  # values count, so that each names its reading
        self.quiet = False
        self.most = {"unacknowledged": 0, "window": 0, "held": 0}

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        day = self

        class Watched(Uplink):
            def _send(self, pack: Stored, *, fresh: bool = False) -> None:
                super()._send(pack, fresh=fresh)
                day.note("unacknowledged", len(self._unacknowledged))
                day.note("window", self._window._limit - self._window.room())
                day.note("held", self._keeper.held)

        for module in (status, keeper):
            monkeypatch.setattr(module, "now_ms", self.now_ms)
            monkeypatch.setattr(module, "clock_state", lambda: self.clock)
        monkeypatch.setattr(keeper, "up_ms", lambda: round((self.loop.time() - self.started_s) * 1000))
        for module in (keeper, uplink):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=self.loop.time))
        monkeypatch.setattr(mqtt, "RECONNECT_MAX_S", 1)
        monkeypatch.setattr(agent, "machine_boot", lambda: f"start-{self.starts}")
        monkeypatch.setattr(agent, "sources_of", lambda planned, health: [self])
        monkeypatch.setattr(agent, "Uplink", Watched)

    def note(self, what: str, much: int) -> None:
        self.most[what] = max(self.most[what], much)

    def now_ms(self) -> int:
        return NOW + round(self.loop.time() * 1000) + self.wrong_ms

    def switch_on(self) -> None:
        """The power is back, the time is not."""
        self.starts, self.started_s, self.clock = self.starts + 1, self.loop.time(), Clock.UNKNOWN
        self.wrong_ms = -self.now_ms() + 5000

    async def run(self, deliver: Callable[[Sample], None]) -> None:
        """The line, a source as any other."""
        while True:
            for sensor, quantity, series, every_s, count in SENSORS:
                if round(self.loop.time()) % every_s == 0 and not self.quiet:
                    self.handed[series] += 1
                    deliver(Sample(sensor, self.now_ms(), {quantity: Raw(self.handed[series] * count)}))
            await asyncio.sleep(60 - self.loop.time() % 60)

    async def read_once(self) -> list[Outcome]:
        return []


class Agent:
    """The agent with its state in ``folder/state``, over crashes."""

    def __init__(self, broker: RunningBroker, folder: Path) -> None:
        self.broker, self.folder, self.lives = broker, folder, 0
        self.stop = asyncio.Event()
        self.state = folder / "life-0"
        self.state.mkdir()
        self.start()

    def start(self) -> None:
        file = self.folder / "edge.toml"
        gauge = slave("muc-nuoc", "qdy30a", 1, "phu-oc", alarm=True)
        line = bus("bus-song", self.folder / "port", gauge, slave("mua", "xm9505", 2, "phu-oc"))
        file.write_text(edge_settings(self.broker, self.state, line, "receipt_timeout_s = 3600.0\n"))
        self.task = asyncio.create_task(agent.run(load(EdgeSettings, file), self.stop))

    async def crash(self, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """What lies on the disk at this moment is what the next life finds."""
        self.lives += 1
        left = self.folder / f"life-{self.lives}"
        shutil.copytree(self.state, left)
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        self.state = left
        meanwhile()
        self.start()


def of(series: str, packs: list[Pack], upto: int) -> list[int]:
    """The places among ``packs`` of those with the first ``upto`` readings of a series."""
    return [at for at, pack in enumerate(packs) if pack.readings[0].series == series and pack.readings[0].value <= upto]


def test_a_day_offline_with_two_crashes_and_no_time_comes_to_ingest_once_alarms_and_what_is_new_first(
    broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def day_and_night(loop: CompressedLoop) -> None:
        async with ingest(broker):
            pass  # the broker knows it from now on, and keeps what comes for it
        broker.stop()
        day = Day(loop)
        day.patch(monkeypatch)
        edge = Agent(broker, tmp_path)
        await asyncio.sleep(6 * HOUR + 30)
        await edge.crash()
        await asyncio.sleep(3 * HOUR)
        day.clock = Clock.UNKNOWN  # nobody tells the time for an hour
        await asyncio.sleep(1 * HOUR)
        day.clock = Clock.SYNCED
        await asyncio.sleep(4 * HOUR)
        await edge.crash(day.switch_on)
        await asyncio.sleep(1 * HOUR)
        day.clock, day.wrong_ms = Clock.SYNCED, 0
        await asyncio.sleep(24 * HOUR - loop.time() + 30)
        before = Counter(day.handed)
        assert before == {LEVEL: 24 * 30 + 1, RAIN: 24 * 60 + 1}

        loop.pace = PACE
        broker.start()
        async with ingest(broker, receipting=True) as hearing:
            await until(lambda: len(hearing.packs) >= sum(before.values()))
            day.quiet = True
            await until(lambda: inspect(edge.state / "edge-outbox.db")[0].packs == 0)
            edge.stop.set()
            await edge.task
        depth, ledger = inspect(edge.state / "edge-outbox.db")
        packs = list({(pack.boot, pack.seq): pack for pack in reversed(hearing.packs)}.values())[::-1]
        readings = sorted(reading for pack in packs for reading in pack.readings)
        assert ledger == day.handed and depth.dropped == depth.dead == 0
        for series, count in day.handed.items():
            rows = [(reading.time_ms, reading.value) for reading in readings if reading.series == series]
            assert [value for _, value in rows] == [*range(1, count + 1)], f"{series}: none lost, doubled, out of order"
        assert {pack.boot for pack in packs} == {pack.boot for pack in hearing.packs} and len(
            {p.boot for p in packs}
        ) == 3

        alarms, others = of(LEVEL, packs, before[LEVEL]), of(RAIN, packs, before[RAIN])
        assert max(alarms) < min(others), "of the backlog, alarms first"
        fresh = set(range(len(packs))) - {*alarms, *others}
        assert min(fresh) < max(others), "what is new does not wait for the backlog"
        assert day.most["window"] <= WINDOW and day.most["unacknowledged"] <= MAX_UNACKNOWLEDGED + WINDOW
        assert day.most["held"] < 10

    with asyncio.Runner(loop_factory=CompressedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, CompressedLoop)
        runner.run(day_and_night(loop))
