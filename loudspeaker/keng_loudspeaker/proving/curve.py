"""The level of what sounded as a curve of few points, however long it lasts. Pure.

When there are :data:`MOST` points, neighbours are merged in pairs and each stands for twice the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MOST = 48
#: A point stands for so many samples at first: a quarter of a second.
FIRST = 12_000
FLOOR_DBFS = -120


@dataclass(slots=True)
class Curve:
    """Fed with the energy of block after block, of any length. ``samples`` is what a point stands for."""

    samples: int = FIRST
    _energies: list[float] = field(default_factory=list)
    _energy: float = 0.0
    _count: int = 0

    def add(self, energy: float, samples: int) -> None:
        """``samples`` samples whose squares add up to ``energy``."""
        self._energy += energy
        self._count += samples
        if self._count < self.samples:
            return
        self._energies.append(self._energy / self._count)
        self._energy, self._count = 0.0, 0
        if len(self._energies) == MOST:
            pairs = zip(self._energies[::2], self._energies[1::2], strict=True)
            self._energies = [(one + other) / 2 for one, other in pairs]
            self.samples *= 2

    @property
    def levels(self) -> list[int]:
        """RMS level of each point in dB below full scale, the last one for what is left."""
        rest = [self._energy / self._count] if self._count else []
        return [_dbfs(mean) for mean in (*self._energies, *rest)]


def _dbfs(mean: float) -> int:
    return max(FLOOR_DBFS, round(10 * math.log10(mean / 32768**2))) if mean > 0 else FLOOR_DBFS
