"""Curves through knots: a smooth one for a river's stage, a straight one for the intensity of rain. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise


class Smooth:
    """A monotone piecewise cubic through the knots (PCHIP), held at both ends.

    Slopes are the weighted harmonic means of Fritsch and Butland (SIAM J. Sci. Stat. Comput. 5 (1984) 300-304), zero
    at a turning point. Between two knots the curve never leaves the band between them, so that it crosses no threshold
    that the two measurements don't; and its rate has no jumps, as a river's has none. A straight line would do the
    former only, an ordinary cubic spline the latter only.

    >>> Smooth([0, 1, 2], [0.0, 1.0, 1.0])(1.5)
    1.0
    """

    def __init__(self, times: Sequence[float], values: Sequence[float]) -> None:
        _check(times, values)
        self.times = tuple(times)
        self.values = tuple(values)
        widths = [b - a for a, b in pairwise(times)]
        rises = [(b - a) / w for (a, b), w in zip(pairwise(values), widths, strict=True)]
        slopes = [rises[0] if rises else 0.0]
        for i in range(1, len(rises)):
            before, after = rises[i - 1], rises[i]
            if before * after <= 0:
                slopes.append(0.0)
            else:
                w1, w2 = 2 * widths[i] + widths[i - 1], widths[i] + 2 * widths[i - 1]
                slopes.append((w1 + w2) / (w1 / before + w2 / after))
        slopes.append(rises[-1] if rises else 0.0)
        self._slopes = slopes

    def __call__(self, t: float) -> float:
        if t <= self.times[0]:
            return self.values[0]
        if t >= self.times[-1]:
            return self.values[-1]
        i = bisect_right(self.times, t) - 1
        h = self.times[i + 1] - self.times[i]
        s = (t - self.times[i]) / h
        y0, y1, d0, d1 = self.values[i], self.values[i + 1], self._slopes[i], self._slopes[i + 1]
        # The cubic Hermite basis.
        return (
            (1 + 2 * s) * (1 - s) ** 2 * y0
            + s * (1 - s) ** 2 * h * d0
            + s * s * (3 - 2 * s) * y1
            + s * s * (s - 1) * h * d1
        )


class Straight:
    """Straight lines through the knots; before the first and after the last the value is 0. Knows its own integral.

    >>> rain = Straight([0, 2, 4], [0.0, 10.0, 0.0])
    >>> rain(1), rain.integral(1), rain.integral(99)
    (5.0, 2.5, 20.0)
    """

    def __init__(self, times: Sequence[float], values: Sequence[float]) -> None:
        _check(times, values)
        self.times = tuple(times)
        self.values = tuple(values)
        self._sums = [0.0]
        for i in range(len(times) - 1):
            self._sums.append(self._sums[-1] + (times[i + 1] - times[i]) * (values[i] + values[i + 1]) / 2)

    def __call__(self, t: float) -> float:
        if not self.times[0] <= t <= self.times[-1]:
            return 0.0
        i = min(bisect_right(self.times, t), len(self.times) - 1) - 1
        if i < 0:
            return self.values[0]
        s = (t - self.times[i]) / (self.times[i + 1] - self.times[i])
        return self.values[i] * (1 - s) + self.values[i + 1] * s

    def integral(self, t: float) -> float:
        """The area under the curve from the first knot to ``t``, in value × time."""
        if t <= self.times[0]:
            return 0.0
        if t >= self.times[-1]:
            return self._sums[-1]
        i = bisect_right(self.times, t) - 1
        return self._sums[i] + (t - self.times[i]) * (self.values[i] + self(t)) / 2


def _check(times: Sequence[float], values: Sequence[float]) -> None:
    if not times or len(times) != len(values):
        raise ValueError("as many values as times are needed, and at least one")
    if any(b <= a for a, b in pairwise(times)):
        raise ValueError("knots must follow each other in time")
