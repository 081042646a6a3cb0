"""The pipeline: from the number that a sensor sent to a reading. Pure; time is an argument.

Scale, unit, sentinel, flag, offset, and a time that only grows within a series, in this order:

>>> rain = Channel("quang-tho/phu-oc/rain", "mm", scale=0.1, sentinels=frozenset({-9999}))
>>> line = Pipeline({("rain", "rain"): rain})
>>> line.readings(Sample("rain", 1763258400250, {"rain": Raw(536)}))[0].value
53.6
>>> line.readings(Sample("rain", 1763258400250, {"rain": Raw(-9999)}))[0]
Reading(series='quang-tho/phu-oc/rain', time_ms=1763258400251, value=-999.9, unit='mm', flag=<Flag.MISSING: 9>)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from keng_contracts.telemetry import Flag, Reading

#: A clock that steps back by no more than this is followed slowly: readings keep their order, a millisecond apart,
#: until it has caught up. One that steps back further was wrong before, and is taken at its word.
STEP_BACK_MS = 60_000
#: Decimal places that are kept. Binary fractions carry noise far behind them: 3 × 0.1 is 0.30000000000000004.
PLACES = 9


class Raw(NamedTuple):
    """A number as the sensor sent it. ``decimals`` is how many of its digits stand behind the point."""

    number: int | float
    decimals: int = 0


class Sample(NamedTuple):
    """What one source measured at once: its raw numbers by quantity, at ``time_ms`` since 1970 UTC."""

    source: str
    time_ms: int
    values: Mapping[str, Raw]


@dataclass(frozen=True, slots=True)
class Channel:
    """How the raw numbers of one quantity become one series. ``offset`` is in ``unit``."""

    series: str
    unit: str
    scale: float = 1.0
    offset: float = 0.0
    sentinels: frozenset[int | float] = frozenset()

    def measure(self, raw: Raw) -> tuple[float, Flag]:
        """Value and flag. A sentinel keeps its scaled number, without offset, and is flagged as missing."""
        value = raw.number * self.scale / 10**raw.decimals
        if raw.number in self.sentinels:
            return round(value, PLACES), Flag.MISSING
        return round(value + self.offset, PLACES), Flag.NOT_EVALUATED


class Pipeline:
    """The channels of all sources by (source, quantity), and the newest time of each series."""

    def __init__(self, channels: Mapping[tuple[str, str], Channel]) -> None:
        self._channels = channels
        self._newest: dict[str, int] = {}

    def readings(self, sample: Sample) -> list[Reading]:
        """One reading for each quantity of the sample that has a channel."""
        readings = []
        for quantity, raw in sample.values.items():
            channel = self._channels.get((sample.source, quantity))
            if channel is not None:
                value, flag = channel.measure(raw)
                time_ms = self._later(channel.series, sample.time_ms)
                readings.append(Reading(channel.series, time_ms, value, channel.unit, flag))
        return readings

    def _later(self, series: str, time_ms: int) -> int:
        """``time_ms``, or the millisecond after the newest of the series: a row is named by its series and time."""
        newest = self._newest.get(series)
        if newest is not None and newest - STEP_BACK_MS <= time_ms <= newest:
            time_ms = newest + 1
        self._newest[series] = time_ms
        return time_ms
