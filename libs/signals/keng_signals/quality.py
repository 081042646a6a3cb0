"""Streaming quality control of one series: the first checks, in the order in which they are applied.

=========  ========================================================  ===========
test       what it finds                                             flag
=========  ========================================================  ===========
sentinel   the instrument's own word for "no value"                  MISSING (9)
time       a time of measurement that lies in the future             BAD (4)
range      a value that the instrument can't physically mean         BAD (4)
duplicate  another value for a time that already has one             SUSPECT (3)
=========  ========================================================  ===========

The flags and the idea of a gross range test are QARTOD's (IOOS, Manual for Real-Time Quality Control of Water Level
Data, test 3). Raw values are never altered; the flag travels beside them. A reading whose sensor the registry does not
know is NOT_EVALUATED. What the edge itself found wrong stays wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from keng_contracts.registry import Registry, Sensor
from keng_contracts.telemetry import Flag, Reading

#: How far ahead of the judge's clock a time of measurement may lie: clocks of a commune differ by seconds, not minutes.
FUTURE_MS = 120_000

#: From best to worst; the worse of two flags wins.
_ORDER = {Flag.GOOD: 0, Flag.NOT_EVALUATED: 1, Flag.SUSPECT: 2, Flag.BAD: 3, Flag.MISSING: 4}


class Verdict(NamedTuple):
    """A flag and the test that gave it (empty when nothing was found)."""

    flag: Flag
    test: str = ""


class Last(NamedTuple):
    """The newest reading of a series that was judged before: what a duplicate is seen by."""

    time_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What is known of a sensor. ``sentinels`` are compared after scaling, with a tolerance for binary fractions."""

    low: float | None = None
    high: float | None = None
    sentinels: tuple[float, ...] = ()

    @classmethod
    def of(cls, sensor: Sensor) -> Limits:
        low, high = sensor.range or (None, None)
        return cls(low, high, tuple(sensor.sentinels))


def limits_of(registry: Registry) -> dict[str, Limits]:
    """Limits of every sensor of a commune, by full series name."""
    return {registry.series(sensor): Limits.of(sensor) for sensor in registry.sensors}


def assess(reading: Reading, limits: Limits | None, last: Last | None, now_ms: int) -> Verdict:
    """Judge one reading. ``last`` is the newest one of its series before it, None for the first.

    >>> level = Limits(-2.0, 12.0, (-9999.0,))
    >>> assess(Reading("a/b/level", 1_763_258_400_000, 1.65, "m"), level, None, 1_763_258_400_000).flag.name
    'GOOD'
    >>> assess(Reading("a/b/level", 1_763_258_400_000, -9999.0, "m"), level, None, 1_763_258_400_000)
    Verdict(flag=<Flag.MISSING: 9>, test='sentinel')
    """
    if limits is None:
        return Verdict(reading.flag)
    if reading.flag is Flag.MISSING or any(abs(reading.value - s) < 1e-6 for s in limits.sentinels):
        return Verdict(Flag.MISSING, "sentinel")
    if reading.time_ms > now_ms + FUTURE_MS:
        return Verdict(Flag.BAD, "time")
    if (limits.low is not None and reading.value < limits.low) or (
        limits.high is not None and reading.value > limits.high
    ):
        return Verdict(Flag.BAD, "range")
    if last is not None and reading.time_ms == last.time_ms and reading.value != last.value:
        return Verdict(worse(Flag.SUSPECT, reading.flag), "duplicate")
    return Verdict(Flag.GOOD if reading.flag is Flag.NOT_EVALUATED else reading.flag)


def worse(one: Flag, other: Flag) -> Flag:
    """The worse of two flags."""
    return max(one, other, key=_ORDER.__getitem__)
