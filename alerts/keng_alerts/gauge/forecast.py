"""When a gauge will probably reach its next level, by its rate of rise. Pure; for operators only, never a siren.

The rate is the least-squares slope of the good samples of the last two hours, thinned to one in five minutes. A rise
seldom goes on as it is: the trend is damped, so that ``lead`` hours ahead it has added ``rate · T · (1 − e^(−lead/T))``
(the continuous form of E. S. Gardner, Exponential smoothing: the state of the art, 1985). Where that stays below the
threshold, nothing is said. The earliest time lets the rate grow by half and never slow; the latest halves it.

Everything rests on samples up to the newest one. A gap longer than the window forgets them, and a rate that the
samples' own scatter explains, or that is slower than :data:`SLOWEST_PER_H`, is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log, sqrt

from keng_contracts.alerts import Forecast

HOUR_MS = 3_600_000
WINDOW_MS = 2 * HOUR_MS
THIN_MS = 5 * 60_000
#: How far ahead anything is said.
HORIZON_H = 6.0
#: After so many hours a damped rise has done 63 % of all that it will do.
DAMPING_H = 6.0
#: The slowest rise that is worth a word, in m/h: official stations report whole centimetres.
SLOWEST_PER_H = 0.02
#: How much faster and slower than measured the rate may turn out, for the earliest and the latest time.
FASTER, SLOWER = 1.5, 0.5


@dataclass(slots=True)
class Track:
    """The last two hours of a gauge, at most one sample in five minutes beside the newest."""

    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    #: What was foretold by the newest of them.
    foretold: Forecast | None = None

    def add(self, time_ms: int, value: float) -> bool:
        """Take a good sample; whether it was kept. One that is not newer, or too soon after the last, is left out."""
        if self.times and time_ms - self.times[-1] < THIN_MS:
            return False
        if len(self.values) > 1 and _stands_out(self.values[-2], self.values[-1], value):
            del self.times[-1], self.values[-1]
        self.times.append(time_ms)
        self.values.append(value)
        first = next(i for i, t in enumerate(self.times) if t >= time_ms - WINDOW_MS)
        del self.times[:first], self.values[:first]
        return True

    def is_long_enough(self) -> bool:
        """Whether a rate can be had at all: after a start and after a gap not for half an hour."""
        return len(self.times) > 1 and self.times[-1] - self.times[0] >= WINDOW_MS / 4

    def rate_per_h(self) -> float | None:
        """The rate of rise per hour; None if there are too few samples or their scatter is as large as the rise."""
        n = len(self.times)
        if not self.is_long_enough():
            return None
        hours = [(t - self.times[-1]) / HOUR_MS for t in self.times]
        mean_h, mean_v = sum(hours) / n, sum(self.values) / n
        spread = sum((h - mean_h) ** 2 for h in hours)
        slope = sum((h - mean_h) * (v - mean_v) for h, v in zip(hours, self.values, strict=True)) / spread
        if n > 2:
            residual = sum((v - mean_v - slope * (h - mean_h)) ** 2 for h, v in zip(hours, self.values, strict=True))
            if slope < sqrt(residual / (n - 2) / spread):
                return None
        return slope


def forecast(track: Track, thresholds: Mapping[int, float]) -> Forecast | None:
    """The next level above the newest sample and when it is expected; None if the rise doesn't get there.

    >>> track = Track()
    >>> for hour, level in enumerate([3.80, 4.15, 4.43]): _ = track.add(1_763_312_400_000 + hour * HOUR_MS, level)
    >>> found = forecast(track, {1: 1.5, 2: 3.0, 3: 4.5})
    >>> found.level, round((found.expected_ms - found.made_ms) / 60_000)
    (3, 14)
    """
    now_ms, value = track.times[-1], track.values[-1]
    above = [(threshold, level) for level, threshold in thresholds.items() if threshold > value]
    if not above or value <= track.values[0]:
        return None
    rate = track.rate_per_h()
    if rate is None or rate < SLOWEST_PER_H:
        return None
    threshold, level = min(above)
    missing = threshold - value
    expected_h = _damped_h(missing, rate)
    if expected_h is None:
        return None
    latest_h = _damped_h(missing, rate * SLOWER)
    return Forecast(
        level=level,
        made_ms=now_ms,
        expected_ms=now_ms + round(expected_h * HOUR_MS),
        earliest_ms=now_ms + round(missing / (rate * FASTER) * HOUR_MS),
        latest_ms=None if latest_h is None else now_ms + round(latest_h * HOUR_MS),
        rate_per_h=round(rate, 3),
    )


def _stands_out(before: float, value: float, after: float) -> bool:
    """Whether a value lies far off on one side of its neighbours, which agree: no rise goes by it."""
    least = min(abs(value - before), abs(value - after))
    return (value - before) * (value - after) > 0 and least > 4 * abs(after - before)


def _damped_h(missing: float, rate: float) -> float | None:
    """Hours until a damped rise has made up what is missing; None if it doesn't within the horizon."""
    share = missing / (rate * DAMPING_H)
    if share >= 1.0:
        return None
    hours = -DAMPING_H * log(1.0 - share)
    return hours if hours <= HORIZON_H else None
