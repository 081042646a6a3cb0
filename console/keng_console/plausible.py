"""Documents that are well-formed and still can't be meant: infinities, times past the year 2100, absurd counts.

Whoever sends one is faulty or hostile; neither may break a page for everyone else. Times before 2020 pass: a node
without a clock honestly believes them.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel

from keng_contracts.telemetry import LATEST_MS

_LARGEST = 1 << 53


def require(document: BaseModel) -> None:
    """Raise ValueError, naming the field, if a number in the document or below it is impossible."""
    for name, value in document:
        _check(name, value)


def _check(name: str, value: Any) -> None:
    if isinstance(value, BaseModel):
        require(value)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(name, item)
    elif isinstance(value, float):
        if not math.isfinite(value) or abs(value) > 1e12:
            raise ValueError(f"{name}: {value} is impossible")
    elif isinstance(value, int):
        if name.endswith("_ms") and not 0 <= value < LATEST_MS:
            raise ValueError(f"{name}: the time {value} ms is impossible")
        if not -_LARGEST < value < _LARGEST:
            raise ValueError(f"{name}: the number is impossible")
