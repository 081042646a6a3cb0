"""How often a gauge is read: faster while the river moves, or is near a level at which somebody has to act. Pure.

Fast when the value is within ``near`` of a threshold, or has changed by ``rate_per_h`` or more, taken over the last
minutes (:data:`SPAN_MS`), so that one splash is no flood. Slow again when the value is half as far again from every
threshold, the change is below half the rate, and both have been so for :data:`CALM_MS`: a river that hangs about a
bound does not make the line switch to and fro.

>>> pace = Pace(slow_s=60.0, fast_s=10.0, thresholds=(4.5,), near=0.5)
>>> [pace.after(at * 60_000, level) for at, level in enumerate([3.0, 3.9, 4.1, 4.4])]
[60.0, 60.0, 10.0, 10.0]
>>> [pace.after(at * 60_000, 3.9) for at in (4, 5)], [pace.after(at * 60_000, 3.5) for at in range(6, 17)][-2:]
([10.0, 10.0], [10.0, 60.0])
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

#: The change is taken over that long, or two and a half readings; of that time no more values than these are kept.
SPAN_MS = 300_000
KEPT = 30
#: So long must all be calm before a gauge is read slowly again.
CALM_MS = 600_000
#: To leave, the value must be that much farther away than to come in, and the rate that much smaller.
FARTHER, SLOWER = 1.5, 0.5


class Pace:
    """The pace of one gauge. ``near`` is in the unit of its values, as are ``thresholds``."""

    def __init__(
        self,
        *,
        slow_s: float,
        fast_s: float,
        thresholds: Sequence[float] = (),
        near: float = 0.0,
        rate_per_h: float | None = None,
    ) -> None:
        self._slow_s = slow_s
        self._fast_s = fast_s
        self._thresholds = thresholds
        self._near = near
        self._rate_per_h = rate_per_h
        self._span_ms = max(SPAN_MS, int(2500 * slow_s))
        self._seen: deque[tuple[int, float]] = deque()
        self._fast = False
        self._calm_since: int | None = None

    def after(self, time_ms: int, value: float) -> float:
        """Seconds to the next reading, after this one."""
        if self._seen and not 0 <= time_ms - self._seen[-1][0] <= self._span_ms:
            self._seen.clear()  # a clock that was set, or a gap: a change over it says nothing about now
            self._calm_since = None
        rate = self._rate(time_ms, value)
        away = min((abs(value - threshold) for threshold in self._thresholds), default=float("inf"))
        if not self._fast:
            self._fast = away <= self._near or self._moves(rate, 1.0)
            self._calm_since = None
        elif away <= self._near * FARTHER or self._moves(rate, SLOWER):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = time_ms
        elif time_ms - self._calm_since >= CALM_MS:
            self._fast = False
        return self._fast_s if self._fast else self._slow_s

    def _moves(self, rate: float, part: float) -> bool:
        return self._rate_per_h is not None and abs(rate) >= self._rate_per_h * part

    def _rate(self, time_ms: int, value: float) -> float:
        """Change per hour against the oldest value of the span."""
        while self._seen and time_ms - self._seen[0][0] > self._span_ms:
            self._seen.popleft()
        if not self._seen or time_ms - self._seen[-1][0] >= self._span_ms // KEPT:
            self._seen.append((time_ms, value))
        first_ms, first = self._seen[0]
        return (value - first) * 3_600_000 / (time_ms - first_ms) if time_ms > first_ms else 0.0
