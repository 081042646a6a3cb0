"""When a sensor is asked next. Pure; times are seconds of a clock that only goes forward.

An answer keeps the grid of the interval. A failure is tried again soon, then ever more rarely, so that a dead sensor
costs its line neighbours less and less:

>>> turn = Turn(interval_s=60.0, due=100.0)
>>> turn.answered(100.3); turn.due
160.0
>>> turn.paced(10.0); turn.due
110.0
>>> turn.paced(60.0)
>>> pauses = []
>>> for _ in range(9):
...     before = turn.due
...     turn.failed(before)
...     pauses.append(turn.due - before)
>>> pauses
[0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
"""

from __future__ import annotations

from dataclasses import dataclass

#: The first pause after a failure (never longer than the interval), and the longest (never shorter than it).
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


@dataclass(slots=True)
class Turn:
    """The turn of one sensor on its line."""

    interval_s: float
    due: float
    failures: int = 0

    def answered(self, now: float) -> None:
        """It answered: next time on the grid. Beats that were missed meanwhile are not made up for."""
        self.failures = 0
        missed = max(0, int((now - self.due) / self.interval_s))
        self.due += (missed + 1) * self.interval_s

    def paced(self, interval_s: float) -> None:
        """Another interval holds, from its last answer on."""
        if not self.failures:
            self.due += interval_s - self.interval_s
        self.interval_s = interval_s

    def failed(self, now: float) -> None:
        """It did not answer: the pause doubles with each failure in a row."""
        first = min(FIRST_PAUSE_S, self.interval_s)
        longest = max(LONGEST_PAUSE_S, self.interval_s)
        self.due = now + min(first * 2 ** min(self.failures, 32), longest)
        self.failures += 1
