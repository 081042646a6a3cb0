"""Samples of a series, as the sums over them take and give them: in rising order of time, each time once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from keng_contracts.telemetry import Flag


class Sample(NamedTuple):
    """A value (in the unit that the function names) at a time (ms since 1970 UTC), with its quality flag."""

    time_ms: int
    value: float
    flag: Flag = Flag.GOOD


def usable(samples: Iterable[Sample]) -> list[Sample]:
    """Without those that say nothing: bad and missing ones."""
    return [s for s in samples if s.flag is not Flag.BAD and s.flag is not Flag.MISSING]


def flag_of(suspect: bool) -> Flag:
    """The flag of a result: suspect if anything that it rests on is."""
    return Flag.SUSPECT if suspect else Flag.GOOD
