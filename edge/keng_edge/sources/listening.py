"""A serial port on which sensors speak unasked: text on a UART, a LoRa radio.

What was heard goes to the protocol (:meth:`ListeningBus.heard`), which cuts it into frames and says what each is worth.
A sensor from which nothing came for too long has failed, for silence is all that a dead one says.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from keng_edge.pipeline.pipeline import Sample
from keng_edge.sources.polled import REOPEN_S, reopened
from keng_edge.sources.serialport import SerialPort, vanished
from keng_edge.sources.source import Failure, Health, Outcome, Sensor

#: A sensor may be late by its interval twice, and is not called silent before this time.
SILENCE_INTERVALS, SILENCE_LEAST_S = 3, 10.0
#: A person at the command line waits no longer than that.
ONCE_LONGEST_S = 15.0

P = TypeVar("P")


class ListeningBus(Generic[P]):
    """A port and its sensors, as one source. ``silence_s`` None: three intervals of the sensor, at least 10 s."""

    def __init__(
        self, port: SerialPort, sensors: Sequence[Sensor[P]], health: Health, silence_s: float | None = None
    ) -> None:
        self._port = port
        self._sensors = sensors
        self._health = health
        self._silence_s = {
            sensor.id: silence_s or max(SILENCE_INTERVALS * sensor.interval_s, SILENCE_LEAST_S) for sensor in sensors
        }
        self._last: dict[str, float] = {}

    @abstractmethod
    def heard(self, data: bytes, time_ms: int) -> Iterable[Outcome]:
        """What came over the port, in whatever pieces; ``time_ms`` is that of its last byte. Raises
        :class:`Failure` only when what is at the port must be prepared again."""

    async def prepare(self) -> None:
        """Set up what is at the port, each time it is opened. Raises :class:`Failure`."""

    def tick(self) -> Iterable[Outcome]:
        """Called at least once a second while the port is open, before what was heard."""
        return ()

    async def run(self, deliver: Callable[[Sample], None]) -> None:
        try:
            while True:
                await reopened(self._port, [sensor.id for sensor in self._sensors], self._health)
                try:
                    await self.prepare()
                    await self._listen(deliver)
                except Failure as failure:
                    for sensor in self._sensors:
                        self._health.failed(sensor.id, failure)
                    self._port.close()
                    await asyncio.sleep(REOPEN_S)
        finally:
            self._port.close()

    async def _listen(self, deliver: Callable[[Sample], None]) -> None:
        self._last = dict.fromkeys(self._silence_s, time.monotonic())
        while True:
            for outcome in await self._next():
                if outcome.sample is not None:
                    deliver(outcome.sample)
                self._health.note(outcome)
            for outcome in self._silent(time.monotonic()):
                self._health.note(outcome)

    async def _next(self) -> list[Outcome]:
        """What came next, or nothing within a second. Raises :class:`Failure` when the port is lost."""
        if not self._port.heard:
            if not self._port.is_open:
                raise vanished(self._port.port)
            soonest = min(self._last[id_] + self._silence_s[id_] for id_ in self._last)
            await self._port.more(min(1.0, max(0.01, soonest - time.monotonic())))
        outcomes = list(self.tick())
        data, time_ms = self._port.take()
        outcomes += self.heard(data, time_ms) if data else ()
        now = time.monotonic()
        self._last.update((outcome.source, now) for outcome in outcomes)
        return outcomes

    def _silent(self, now: float) -> list[Outcome]:
        late = [id_ for id_, last in self._last.items() if now - last >= self._silence_s[id_]]
        self._last.update((id_, now) for id_ in late)  # and counted again after as long
        return [Outcome(id_, None, _nothing(self._silence_s[id_])) for id_ in late]

    async def read_once(self) -> list[Outcome]:
        """Listen until every sensor was heard, or for as long as one may be silent, 15 s at most."""
        patience = min(ONCE_LONGEST_S, max(self._silence_s.values()))
        found: dict[str, Outcome] = {}
        try:
            await self._port.open()
            await self.prepare()
            self._last = dict.fromkeys(self._silence_s, time.monotonic())
            deadline = time.monotonic() + patience
            while len(found) < len(self._sensors) and time.monotonic() < deadline:
                for outcome in await self._next():
                    if outcome.sample is not None or outcome.source not in found:
                        found[outcome.source] = outcome
                    if outcome.sample is None and time.monotonic() < deadline - patience / 2:
                        found.pop(outcome.source)  # noise; there is time for a better one
        except Failure as failure:
            return [found.get(sensor.id, Outcome(sensor.id, None, failure)) for sensor in self._sensors]
        finally:
            self._port.close()
        return [found.get(sensor.id, Outcome(sensor.id, None, _nothing(patience))) for sensor in self._sensors]


def _nothing(seconds: float) -> Failure:
    return Failure(f"no answer: nothing was heard for {seconds:.3g} s", todo="check power, wiring and speed")
