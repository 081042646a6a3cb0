"""The pipeline: from the number that a sensor sent to a reading. Pure; time is an argument.

Scale, unit, sentinel, flag, offset, then what is told of it (the mean of a window; changes alone, and a heartbeat), and
a time that only grows within a series, in this order:

>>> rain = Channel("quang-tho/phu-oc/rain", "mm", scale=0.1, sentinels=frozenset({-9999}))
>>> line = Pipeline({("rain", "rain"): rain})
>>> line.readings(Sample("rain", 1763258400250, {"rain": Raw(536)}))[0].value
53.6
>>> line.readings(Sample("rain", 1763258400250, {"rain": Raw(-9999)}))[0]
Reading(series='quang-tho/phu-oc/rain', time_ms=1763258400251, value=-999.9, unit='mm', flag=<Flag.MISSING: 9>)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """What one source measured at once: its raw numbers by quantity, at ``time_ms`` since 1970 UTC.

    ``kept`` is for a source that can hand it over again: called in the event loop once that is not needed any more.
    """

    source: str
    time_ms: int
    values: Mapping[str, Raw]
    kept: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """How the raw numbers of one quantity become one series. ``offset`` is in ``unit``.

    ``calibration`` lists (from ms since 1970 UTC, offset) in rising order: the last one that has begun is added. With
    ``average_ms`` one reading tells the mean of that long. A value that differs by less than ``dead_band`` from what
    was told last is not told, until ``heartbeat_ms`` after that.
    """

    series: str
    unit: str
    scale: float = 1.0
    offset: float = 0.0
    sentinels: frozenset[int | float] = frozenset()
    calibration: tuple[tuple[int, float], ...] = ()
    average_ms: int = 0
    dead_band: float = 0.0
    heartbeat_ms: int = 3_600_000

    def offset_at(self, time_ms: int) -> float:
        """What is added at that time, in ``unit``."""
        begun = [offset for from_ms, offset in self.calibration if from_ms <= time_ms]
        return self.offset + (begun[-1] if begun else 0.0)

    def measure(self, raw: Raw, time_ms: int = 0) -> tuple[float, Flag]:
        """Value and flag. A sentinel keeps its scaled number, without offset, and is flagged as missing."""
        value = raw.number * self.scale / 10**raw.decimals
        if raw.number in self.sentinels:
            return round(value, PLACES), Flag.MISSING
        return round(value + self.offset_at(time_ms), PLACES), Flag.NOT_EVALUATED


class Teller:
    """What of one series is told: the mean of a window, and changes alone."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._since: int | None = None
        self._sum, self._count = 0.0, 0
        self._told: tuple[int, float, Flag] | None = None

    def tell(self, time_ms: int, value: float, flag: Flag) -> tuple[float, Flag] | None:
        """What is told now; None: nothing. What has a flag is no part of a mean, and is told at once."""
        if self._channel.average_ms and flag is Flag.NOT_EVALUATED:
            mean = self._mean(time_ms, value)
            if mean is None:
                return None
            value = mean
        if self._told is not None and self._channel.dead_band:
            at_ms, last, last_flag = self._told
            same = flag is last_flag and abs(value - last) < self._channel.dead_band
            if same and 0 <= time_ms - at_ms < self._channel.heartbeat_ms:
                return None
        self._told = (time_ms, value, flag)
        return value, flag

    def _mean(self, time_ms: int, value: float) -> float | None:
        """The mean once the window is full, at its last value; a clock that steps begins a new one."""
        length = self._channel.average_ms
        if self._since is None or not 0 <= time_ms - self._since <= 2 * length:
            self._since, self._sum, self._count = time_ms, 0.0, 0
        self._sum, self._count = self._sum + value, self._count + 1
        if time_ms - self._since < length:
            return None
        mean = round(self._sum / self._count, PLACES)
        self._since, self._sum, self._count = time_ms, 0.0, 0
        return mean


class Pipeline:
    """The channels of all sources by (source, quantity), and the newest time of each series."""

    def __init__(self, channels: Mapping[tuple[str, str], Channel]) -> None:
        self._channels = channels
        self._tellers = {channel.series: Teller(channel) for channel in channels.values()}
        self._newest: dict[str, int] = {}

    def readings(self, sample: Sample) -> list[Reading]:
        """One reading for each quantity of the sample that has a channel."""
        readings = []
        for quantity, raw in sample.values.items():
            channel = self._channels.get((sample.source, quantity))
            if channel is not None:
                measured = channel.measure(raw, sample.time_ms)
                told = self._tellers[channel.series].tell(sample.time_ms, *measured)
                if told is not None:
                    time_ms = self._later(channel.series, sample.time_ms)
                    readings.append(Reading(channel.series, time_ms, told[0], channel.unit, told[1]))
        return readings

    def _later(self, series: str, time_ms: int) -> int:
        """``time_ms``, or the millisecond after the newest of the series: a row is named by its series and time."""
        newest = self._newest.get(series)
        if newest is not None and newest - STEP_BACK_MS <= time_ms <= newest:
            time_ms = newest + 1
        self._newest[series] = time_ms
        return time_ms
