"""What an alarm sees of a sensor: readings turned into the value that its rule bounds. Pure.

Readings are judged by :mod:`keng_signals.quality` before they come here. Each measure remembers no more than it needs,
as JSON can hold it, and the same readings in the same order always give the same sights. A reading that is not newer
than the last one is history and shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Protocol

from keng_alerts.alarms.alarms import Seen
from keng_contracts.alerts import Forecast
from keng_contracts.telemetry import Flag, Reading
from keng_signals.air import NOWCAST_HOURS, PARTICLES, index, nowcast
from keng_signals.quality import Verdict
from keng_signals.rain import Counter, credible, gain

HOUR_MS = 3_600_000
#: Parts that a rain total's window is kept in.
_BINS = 60
#: Whole millionths of a millimetre: a sum that was added to and taken from leaves no trace of where it began.
_PER_MM = 1_000_000
#: Readings that the share of doubtful ones is of.
RECENT = 60
#: Hours that stand for "not as far as can be foretold".
NOT_SOON = 99.0


class Measure(Protocol):
    """One view of one thing. ``dump`` and ``load`` are its memory as JSON."""

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        """Take a reading of a series that the measure rests on."""

    def tick(self, now_ms: int, listening_ms: int) -> Seen | None:
        """Let time pass; nobody listened before ``listening_ms``."""

    def dump(self) -> Any: ...

    def load(self, dumped: Any) -> None: ...


class Silent:
    """The half of :class:`Measure` of what sees nothing by itself when time passes, and remembers nothing."""

    def tick(self, now_ms: int, listening_ms: int) -> Seen | None:
        return None

    def dump(self) -> Any:
        return None

    def load(self, dumped: Any) -> None:
        pass


class Value(Silent):
    """The reading itself, or what is made of it alone."""

    def __init__(self, of: Callable[[float], float] = float) -> None:
        self._of = of

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        return Seen(reading.time_ms, self._of(reading.value)) if verdict.flag is Flag.GOOD else None


class Rain(Silent):
    """Rain in mm over the ``window_ms`` up to the newest reading of a counter that only grows.

    A gain is spread evenly over the time between two readings, as in :mod:`keng_signals.rain`. One that can't be
    known, or that was faster than rain is, is left out, and the total is a lower bound until the window has passed it.
    """

    def __init__(self, counter: Counter, window_ms: int) -> None:
        self._counter = counter
        self._window_ms = window_ms
        self._width_ms = max(window_ms // _BINS, 1)
        self._reach_ms = max(window_ms, HOUR_MS)
        self._last: tuple[int, float] | None = None
        self._whole_from_ms = 0
        self._bins: dict[int, int] = {}

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        if verdict.flag is not Flag.GOOD or (self._last is not None and reading.time_ms <= self._last[0]):
            return None
        now_ms = reading.time_ms
        mm: float | None = None
        if self._last is not None and (elapsed_ms := now_ms - self._last[0]) <= self._reach_ms:
            mm = gain(self._last[1], reading.value, elapsed_ms, self._counter)
            if mm is not None and mm > credible(elapsed_ms, self._counter):
                mm = None
        if mm is None:
            self._whole_from_ms = now_ms + self._window_ms
        elif mm and self._last is not None:
            self._spread(round(mm * _PER_MM), self._last[0], now_ms)
        self._last = now_ms, reading.value
        begin_ms = now_ms - self._window_ms
        self._bins = {start: mm for start, mm in self._bins.items() if start + self._width_ms > begin_ms}
        total = sum(self._bins.values())
        oldest = begin_ms - begin_ms % self._width_ms
        if begin_ms > oldest and oldest in self._bins:
            total -= self._bins[oldest] * (begin_ms - oldest) // self._width_ms
        return Seen(now_ms, total / _PER_MM, whole=now_ms >= self._whole_from_ms)

    def _spread(self, amount: int, start_ms: int, end_ms: int) -> None:
        """Add what fell after ``start_ms`` until ``end_ms``, as far as it lies in the window."""
        first = max(start_ms, end_ms - self._window_ms)
        edges = [first, *range(first - first % self._width_ms + self._width_ms, end_ms, self._width_ms), end_ms]
        for left, right in pairwise(edges):
            part = amount * (right - start_ms) // (end_ms - start_ms) - amount * (left - start_ms) // (
                end_ms - start_ms
            )
            place = left - left % self._width_ms
            self._bins[place] = self._bins.get(place, 0) + part

    def dump(self) -> Any:
        return [self._last, self._whole_from_ms, sorted(self._bins.items())]

    def load(self, dumped: Any) -> None:
        last, whole_from_ms, bins = dumped
        self._last = None if last is None else (int(last[0]), float(last[1]))
        self._whole_from_ms = int(whole_from_ms)
        self._bins = {int(start): int(amount) for start, amount in bins}


class Air(Silent):
    """VN_AQI of the last whole hour, seen with the first reading after it; at the place it is the highest of its
    substances. ``substances`` are by series, with the factor into µg/m³."""

    def __init__(self, substances: Mapping[str, tuple[str, float]]) -> None:
        self._substances = substances
        self._hour = 0
        #: Sum and count by substance and hour.
        self._sums: dict[str, dict[int, tuple[float, int]]] = {}

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        if verdict.flag is not Flag.GOOD:
            return None
        name, factor = self._substances[reading.series]
        hour = reading.time_ms // HOUR_MS
        seen = None
        if hour > self._hour:
            found = self._index() if self._hour else None
            self._hour = hour
            self._sums = {
                name: {h: total for h, total in hours.items() if h > hour - NOWCAST_HOURS}
                for name, hours in self._sums.items()
            }
            seen = None if found is None else Seen(reading.time_ms, float(found))
        if hour > self._hour - NOWCAST_HOURS:
            hours = self._sums.setdefault(name, {})
            total, count = hours.get(hour, (0.0, 0))
            hours[hour] = (total + max(reading.value * factor, 0.0), count + 1)
        return seen

    def _index(self) -> int | None:
        """The index of the hour that is over."""
        found = []
        for name, hours in self._sums.items():
            if self._hour not in hours:
                continue
            past = [hours.get(self._hour - i) for i in range(NOWCAST_HOURS if name in PARTICLES else 1)]
            means = [None if mean is None else mean[0] / mean[1] for mean in past]
            concentration = nowcast(means) if name in PARTICLES else means[0]
            if concentration is not None:
                found.append(index(name, concentration))
        return max(found, default=None)

    def dump(self) -> Any:
        return [
            self._hour,
            {name: sorted((h, *total) for h, total in hours.items()) for name, hours in self._sums.items()},
        ]

    def load(self, dumped: Any) -> None:
        hour, sums = dumped
        self._hour = int(hour)
        self._sums = {name: {int(h): (float(total), int(n)) for h, total, n in rows} for name, rows in sums.items()}


class Silence:
    """Intervals since the newest reading, good or not; one that never came is not silent yet. Seen when time passes.

    What was measured while nobody listened may still be on its way: the age counts from then, and as it might be
    greater it clears nothing.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_ms = interval_s * 1000
        self._newest_ms = 0

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        if verdict.test != "time":
            self._newest_ms = max(self._newest_ms, min(reading.time_ms, heard_ms))
        return None

    def tick(self, now_ms: int, listening_ms: int) -> Seen | None:
        if not self._newest_ms:
            return None
        since_ms = max(self._newest_ms, listening_ms)
        return Seen(now_ms, (now_ms - since_ms) / self._interval_ms, whole=since_ms == self._newest_ms)

    def dump(self) -> Any:
        return self._newest_ms

    def load(self, dumped: Any) -> None:
        self._newest_ms = int(dumped)


class Flat(Silent):
    """Hours for which a value has stood still, within ``tolerance``; a gap ends a standstill."""

    def __init__(self, tolerance: float, gap_ms: float) -> None:
        self._tolerance = tolerance
        self._gap_ms = gap_ms
        self._since_ms = self._last_ms = 0
        self._low = self._high = 0.0

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        # Quality control doubts a value that stands still, and that is what is looked for here.
        if (verdict.flag is not Flag.GOOD and verdict.test != "flat") or reading.time_ms <= self._last_ms:
            return None
        low, high = min(self._low, reading.value), max(self._high, reading.value)
        still = high - low <= self._tolerance + 1e-9 and reading.time_ms - self._last_ms <= self._gap_ms
        if not self._last_ms or not still:
            self._since_ms, low, high = reading.time_ms, reading.value, reading.value
        self._last_ms, self._low, self._high = reading.time_ms, low, high
        return Seen(reading.time_ms, (reading.time_ms - self._since_ms) / HOUR_MS)

    def dump(self) -> Any:
        return [self._since_ms, self._last_ms, self._low, self._high]

    def load(self, dumped: Any) -> None:
        since_ms, last_ms, low, high = dumped
        self._since_ms, self._last_ms, self._low, self._high = int(since_ms), int(last_ms), float(low), float(high)


class Doubt(Silent):
    """Share in % of the last :data:`RECENT` readings that were not good; of fewer there is none."""

    def __init__(self) -> None:
        self._bits = 0
        self._count = 0

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        self._bits = (self._bits << 1 | (verdict.flag is not Flag.GOOD)) & ((1 << RECENT) - 1)
        self._count = min(self._count + 1, RECENT)
        if self._count < RECENT:
            return None
        at_ms = heard_ms if verdict.test == "time" else min(reading.time_ms, heard_ms)
        return Seen(at_ms, 100.0 * self._bits.bit_count() / RECENT)

    def dump(self) -> Any:
        return [self._bits, self._count]

    def load(self, dumped: Any) -> None:
        self._bits, self._count = (int(number) for number in dumped)


class Ahead(Silent):
    """Hours until a gauge reaches ``level`` or a higher one, by its forecast; :data:`NOT_SOON` where none says so."""

    def __init__(self, level: int) -> None:
        self._level = level
        self.forecast: Forecast | None = None

    def hear(self, found: Forecast | None, time_ms: int) -> Seen:
        """Take what the newest sample foretells."""
        self.forecast = found if found is not None and found.level >= self._level else None
        soon = self.forecast
        return Seen(time_ms, NOT_SOON if soon is None else (soon.expected_ms - soon.made_ms) / HOUR_MS)

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        return None
