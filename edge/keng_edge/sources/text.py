"""Lines of text on a UART: whoever speaks, each line goes to the sensor whose profile knows it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from keng_edge.pipeline.pipeline import Sample
from keng_edge.plan import PlannedLine
from keng_edge.sources.listening import ListeningBus
from keng_edge.sources.schedule import Turn
from keng_edge.sources.serialport import SerialPort
from keng_edge.sources.source import Failure, Health, Outcome, Sensor, Source
from keng_edge.sources.textlines import MAX_LINE, Lines, TextProfile

PROFILE = TextProfile


class TextBus(ListeningBus[TextProfile]):
    """A sensor that writes faster than its interval is taken at its interval; what it writes between is not kept."""

    def __init__(
        self, port: SerialPort, sensors: Sequence[Sensor[TextProfile]], health: Health, silence_s: float | None = None
    ) -> None:
        super().__init__(port, sensors, health, silence_s)
        self._turns = {sensor.id: Turn(sensor.interval_s, 0.0) for sensor in sensors}
        self._lines = Lines()

    async def prepare(self) -> None:
        self._lines = Lines()
        for turn in self._turns.values():
            turn.due = time.monotonic()

    def heard(self, data: bytes, time_ms: int) -> Iterator[Outcome]:
        lines, dropped = self._lines.feed(data)
        if dropped:
            what = f"a damaged line: longer than {MAX_LINE} characters"
            for sensor in self._sensors:
                yield Outcome(sensor.id, None, Failure(what, todo="check speed and wiring"))
        for line in lines:
            for sensor in self._sensors:
                decoded = sensor.profile.decode(line)
                if decoded is None:
                    continue
                now, turn = time.monotonic(), self._turns[sensor.id]
                fault = (
                    Failure("; ".join(decoded.faults), todo="check wiring, and the profile") if decoded.faults else None
                )
                if decoded.values and now >= turn.due:
                    turn.answered(now)
                    yield Outcome(sensor.id, Sample(sensor.id, time_ms, decoded.values), fault)
                else:
                    yield Outcome(sensor.id, None, fault)
                break


def source(line: PlannedLine, health: Health) -> Source:
    """The source of a planned line of this kind."""
    return TextBus(SerialPort(line.port, line.baud, line.parity), line.slaves, health, line.settings.timeout_s)
