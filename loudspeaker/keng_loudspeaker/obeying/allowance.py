"""How often something is told at most. Pure."""

from __future__ import annotations


class Allowance:
    """``at_once`` in a burst, and one more every ``every_s``. Pure."""

    def __init__(self, at_once: int, every_s: float) -> None:
        self._at_once = self._left = float(at_once)
        self._every_s = every_s
        self._then_s: float | None = None

    def take(self, now_s: float) -> bool:
        if self._then_s is not None:
            self._left = min(self._at_once, self._left + (now_s - self._then_s) / self._every_s)
        self._then_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
