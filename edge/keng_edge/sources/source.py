"""What every source promises, and how it is faring.

A source is anything that measures: a Modbus line, text on a UART, SDI-12, a LoRa radio are the same to the rest of the
agent. It measures on its own, hands over each sample the moment it has it, and survives whatever its hardware does:
what fails is counted in its health and tried again. ``kinds`` has a row for each; ``polled`` is the loop of those that
are asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from keng_contracts.errors import Problem
from keng_contracts.status import SourceHealth
from keng_edge.pipeline.pipeline import Sample

log = logging.getLogger(__name__)


P = TypeVar("P")


@dataclass(frozen=True)  # no slots: with a generic's alias, Python 3.11 can't make one
class Sensor(Generic[P]):
    """One sensor on a line. What ``address`` and ``profile`` are is its kind's affair."""

    id: str
    address: int | str | None
    interval_s: float
    profile: P


class Failure(Exception):
    """A measurement that did not come about. ``todo`` is for the person who looks after the sensor."""

    def __init__(self, what: str, *, todo: str = "", where: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo
        self.where = where


class BadSetting(Problem):
    """A ``setting`` of a sensor, or of a line, with which it can't run."""

    def __init__(
        self, what: str, *, setting: str, line: str = "", sensor: str = "", where: str = "", todo: str = ""
    ) -> None:
        super().__init__(what, where=where, todo=todo)
        self.setting = setting
        self.line = line
        self.sensor = sensor


class Outcome(NamedTuple):
    """What one sensor said when asked once: a sample, or why there is none (or, beside good values, not all)."""

    source: str
    sample: Sample | None
    failure: Failure | None


class Source(Protocol):
    """One line, radio or feed with one or more sensors on it."""

    async def run(self, deliver: Callable[[Sample], None]) -> None:
        """Measure until cancelled; ``deliver`` never blocks. Raises nothing for what hardware does."""
        ...

    async def read_once(self) -> list[Outcome]:
        """Ask every sensor once, now: for a person at the command line."""
        ...


class Health:
    """How each sensor is faring. ``changed`` is called when one fails or works again."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._sources = {id_: SourceHealth(id=id_, ok=False, error="not read yet") for id_ in ids}
        self._in_a_row: dict[str, int] = dict.fromkeys(self._sources, 0)
        self.changed: Callable[[], None] = lambda: None
        #: Seconds between two readings that hold now instead of a sensor's own, by its id.
        self.intervals: dict[str, float] = {}
        self._repaced = asyncio.Event()

    def good(self, id_: str, time_ms: int) -> None:
        source = self._sources[id_]
        source.last_reading_ms = time_ms
        if not source.ok:
            if self._in_a_row[id_] > 1:
                log.info("%s: works again", id_)
            source.ok, source.error = True, ""
            self._in_a_row[id_] = 0
            self.changed()

    def failed(self, id_: str, failure: Failure) -> None:
        """Counted each time; logged once an outage, when it fails for the second time (lines have noise)."""
        source = self._sources[id_]
        source.errors += 1
        self._in_a_row[id_] += 1
        if self._in_a_row[id_] == 2:
            log.warning("%s", Problem(failure.what, where=failure.where or id_, todo=failure.todo, retried=True))
        if source.ok or source.error != failure.what:
            source.ok, source.error = False, failure.what
            self.changed()

    def pace(self, id_: str, interval_s: float) -> None:
        """From now on that many seconds between two readings."""
        if interval_s != self.intervals.get(id_):
            self.intervals[id_] = interval_s
            self._repaced.set()
            self._repaced = asyncio.Event()

    async def repaced(self, within_s: float) -> bool:
        """Wait; True as soon as any sensor has another pace, False when the time is over."""
        try:
            async with asyncio.timeout(within_s):
                return await self._repaced.wait()
        except TimeoutError:
            return False

    def note(self, outcome: Outcome) -> None:
        """A failure beside good values (some quantities make no sense) is a failure."""
        if outcome.failure is not None:
            self.failed(outcome.source, outcome.failure)
        elif outcome.sample is not None:
            self.good(outcome.source, outcome.sample.time_ms)

    def report(self) -> list[SourceHealth]:
        return [source.model_copy() for source in self._sources.values()]
