"""SDI-12 through a serial adapter: each sensor is started, measures on its own, and is asked for its values.

With a concurrent measurement (C, the default of a profile) the line is free meanwhile; with M it is not, so a slow
sensor that is started by M holds up its neighbours, as the standard has it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from keng_edge.pipeline.pipeline import Raw, Sample
from keng_edge.plan import PlannedLine
from keng_edge.sources.polled import Later, PolledBus
from keng_edge.sources.sdi12frames import MAX_ANSWER, Promise, Sdi12Profile, answer, numbers, promise
from keng_edge.sources.serialport import SerialPort, vanished
from keng_edge.sources.source import Failure, Health, Outcome, Sensor, Source
from keng_runtime.clock import now_ms

PROFILE = Sdi12Profile
#: A break of 12 ms wakes the sensors, and 8.33 ms of marking follow (section 7.0).
BREAK_S, MARKING_S = 0.0125, 0.009
#: A sensor answers within 15 ms; adapters and USB take more.
MARGIN_S = 0.3
#: A command is tried so often (section 7.2); one whose sensor was silent the last time, once.
TRIES = 3


class Sdi12Line(SerialPort):
    """One port with an SDI-12 adapter. ``timeout_s`` is for one answer; None: from the speed, plus 0.3 s."""

    def __init__(self, port: str, baud: int = 1200, parity: str = "E", timeout_s: float | None = None) -> None:
        # 7E1 is what SDI-12 has on the wire; an adapter that takes 8N1 passes the parity on as bit 7, or keeps it.
        super().__init__(port, baud, "E" if parity == "E" else "N", bits=7 if parity == "E" else 8)
        self._timeout_s = timeout_s or (4 + MAX_ANSWER) * self._byte_s + MARGIN_S

    async def ask(self, address: str, command: str, *, checked: bool = False, tries: int = TRIES) -> str:
        """Send a command to one sensor and return what it says. Raises :class:`Failure`."""
        for left in reversed(range(tries)):
            try:
                await self.wake(BREAK_S, MARKING_S)
                self.write(f"{address}{command}!".encode())
                return await self._await(address, checked)
            except Failure:
                if left == 0 or not self.is_open:
                    raise
        raise AssertionError("there is a first try")

    async def _await(self, address: str, checked: bool, seconds: float = 0.0) -> str:
        deadline = time.monotonic() + (seconds or self._timeout_s)
        while True:
            said = answer(self.heard, address, checked=checked)
            if said is not None:
                return said
            if not self.is_open:
                raise vanished(self.port)
            if not await self.more(deadline - time.monotonic()):
                rest = self.heard.rpartition(b"!")[2].strip(b"\x00")
                if rest:
                    raise Failure(f"a damaged answer, {len(rest)} bytes: {rest[:16]!r}", todo="check wiring and length")
                raise Failure(
                    f"no answer within {seconds or self._timeout_s:.2g} s", todo="check power, wiring and address"
                )

    async def service_request(self, address: str, seconds: float) -> None:
        """Wait until the sensor says that it has its values, or until it must have them."""
        self.take()
        try:
            await self._await(address, False, seconds + MARGIN_S)
        except Failure:
            if not self.is_open:
                raise


class Sdi12Bus(PolledBus[Sdi12Profile]):
    """A line and its sensors, as one source."""

    def __init__(self, line: Sdi12Line, sensors: Sequence[Sensor[Sdi12Profile]], health: Health) -> None:
        super().__init__(line, sensors, health)
        self._line = line
        self._promised: dict[str, Promise] = {}
        self._silent: set[str] = set()

    async def measure(self, sensor: Sensor[Sdi12Profile]) -> Outcome | Later:
        try:
            promised = self._promised.pop(sensor.id, None)
            if promised is None:
                promised = await self._start(sensor)
                if promised.seconds and sensor.profile.concurrent:
                    self._promised[sensor.id] = promised
                    return Later(promised.seconds)
                if promised.seconds:
                    await self._line.service_request(str(sensor.address), promised.seconds)
            time_ms, values = await self._values(sensor, promised)
        except Failure as failure:
            self._silent.add(sensor.id)
            return Outcome(sensor.id, None, failure)
        self._silent.discard(sensor.id)
        decoded = sensor.profile.decode(values)
        fault = Failure("; ".join(decoded.faults), todo="check profile and sensor") if decoded.faults else None
        sample = Sample(sensor.id, time_ms, decoded.values) if decoded.values else None
        return Outcome(sensor.id, sample, fault)

    async def _start(self, sensor: Sensor[Sdi12Profile]) -> Promise:
        tries = 1 if sensor.id in self._silent else TRIES
        said = await self._line.ask(str(sensor.address), sensor.profile.command, tries=tries)
        promised = promise(said, concurrent=sensor.profile.concurrent)
        if promised is None:
            raise Failure(f"a damaged answer to {sensor.profile.command}: {said[:16]!r}", todo="check wiring")
        if promised.values == 0:
            raise Failure(f"it has no measurement {sensor.profile.command}", todo="check the profile")
        return promised

    async def _values(self, sensor: Sensor[Sdi12Profile], promised: Promise) -> tuple[int, list[Raw]]:
        values: list[Raw] = []
        time_ms = 0
        for page in range(10):
            said = await self._line.ask(str(sensor.address), f"D{page}", checked=sensor.profile.checked)
            time_ms = time_ms or now_ms()
            row = numbers(said)
            if row is None:
                raise Failure(f"a damaged answer to D{page}: {said[:16]!r}", todo="check wiring")
            if not row:
                raise Failure("it broke its measurement off", todo="check power and wiring", where=sensor.id)
            values += row
            if len(values) >= promised.values:
                break
        return time_ms, values


def source(line: PlannedLine, health: Health) -> Source:
    """The source of a planned line of this kind."""
    return Sdi12Bus(Sdi12Line(line.port, line.baud, line.parity, line.settings.timeout_s), line.slaves, health)
