"""Percentiles, the same way in every benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentiles(values: Sequence[float], *wanted: float) -> dict[str, float]:
    """Nearest-rank percentiles by name, e.g. ``{"p50": …, "p99": …, "p999": …}``; empty without values.

    >>> percentiles([5, 1, 3, 2, 4], 50, 99.9)
    {'p50': 3, 'p999': 5}
    """
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"p{p:g}".replace(".", ""): ordered[max(0, math.ceil(p / 100 * len(ordered)) - 1)] for p in wanted}
