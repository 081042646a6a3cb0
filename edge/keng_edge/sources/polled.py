"""A line whose sensors answer when they are asked, one at a time.

The sensor that is due next is asked; see ``schedule`` for what a dead one costs the others: its time-out, ever more
rarely. A sensor that needs time to measure says so by :class:`Later`, and the line is its neighbours' meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from keng_edge.pipeline.pipeline import Sample
from keng_edge.sources.schedule import Turn
from keng_edge.sources.serialport import PortLost
from keng_edge.sources.source import Health, Outcome, Sensor

#: A port that is not there is looked for again after this time, doubled up to the longest.
REOPEN_S, REOPEN_LONGEST_S = 0.5, 5.0

P = TypeVar("P")


class Port(Protocol):
    """What is opened before anything can be asked: a serial port, a connection, a folder."""

    @property
    def is_open(self) -> bool: ...

    async def open(self) -> None:
        """Raises :class:`PortLost`."""

    def close(self) -> None: ...


class Later(NamedTuple):
    """Ask the sensor again in so many seconds: it measures."""

    seconds: float


async def reopened(port: Port, ids: Sequence[str], health: Health) -> None:
    """Return when the port is open; meanwhile every sensor on it is counted as failed, at each attempt."""
    pause = REOPEN_S
    while not port.is_open:
        try:
            await port.open()
        except PortLost as failure:
            for id_ in ids:
                health.failed(id_, failure)
            await asyncio.sleep(pause)
            pause = min(2 * pause, REOPEN_LONGEST_S)


class PolledBus(Generic[P]):
    """A line and its sensors, as one source. A protocol says how to ask: :meth:`measure`."""

    def __init__(self, port: Port, sensors: Sequence[Sensor[P]], health: Health) -> None:
        self._port = port
        self._sensors = sensors
        self._health = health

    @abstractmethod
    async def measure(self, sensor: Sensor[P], /) -> Outcome | Later:
        """Ask one sensor. Raises nothing for what hardware does: a failure is an outcome."""

    async def run(self, deliver: Callable[[Sample], None]) -> None:
        try:
            now = time.monotonic()
            turns = [(sensor, Turn(self._interval(sensor), now)) for sensor in self._sensors]
            measuring: dict[str, float] = {}  # when one that measures has its values
            while True:
                await reopened(self._port, [sensor.id for sensor in self._sensors], self._health)
                for sensor, turn in turns:
                    turn.paced(self._interval(sensor))
                due, sensor, turn = min(
                    ((measuring.get(sensor.id, turn.due), sensor, turn) for sensor, turn in turns),
                    key=lambda one: one[0],
                )
                if await self._health.repaced(within_s=max(0.0, due - time.monotonic())):
                    continue
                outcome = await self.measure(sensor)
                now = time.monotonic()
                if isinstance(outcome, Later):
                    measuring[sensor.id] = now + outcome.seconds
                    continue
                measuring.pop(sensor.id, None)
                if outcome.sample is not None:
                    deliver(outcome.sample)
                    turn.answered(now)
                elif isinstance(outcome.failure, PortLost):
                    await asyncio.sleep(REOPEN_S)
                else:
                    turn.failed(now)
                self._health.note(outcome)
        finally:
            self._port.close()

    def _interval(self, sensor: Sensor[P]) -> float:
        return self._health.intervals.get(sensor.id, sensor.interval_s)

    async def read_once(self) -> list[Outcome]:
        try:
            await self._port.open()
            return [await self._patiently(sensor) for sensor in self._sensors]
        except PortLost as failure:
            return [Outcome(sensor.id, None, failure) for sensor in self._sensors]
        finally:
            self._port.close()

    async def _patiently(self, sensor: Sensor[P]) -> Outcome:
        outcome = await self.measure(sensor)
        while isinstance(outcome, Later):
            await asyncio.sleep(outcome.seconds)
            outcome = await self.measure(sensor)
        return outcome
