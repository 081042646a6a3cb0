"""Roll-ups: which buckets to compute anew, and what is in one. Pure.

A roll-up is always computed from the raw rows of its whole bucket, never added to: late rows and rows that come twice
can then not be counted twice. Ten-minute buckets go by UTC, days by the commune's time zone.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from keng_contracts.telemetry import Flag
from keng_store.protocol import Aggregate, Row, Touched

TEN_MINUTES_MS = 600_000

_UNUSABLE = {Flag.BAD, Flag.MISSING}


class Interval(NamedTuple):
    """``start_ms <= time < end_ms``."""

    start_ms: int
    end_ms: int


class Unit(NamedTuple):
    """One piece of work: some buckets of one series on one day, and the days that they lie in (two, where midnight is
    within a bucket). ``span`` covers all of them."""

    series: str
    buckets: tuple[Interval, ...]
    days: tuple[Interval, ...]
    done: tuple[Touched, ...]

    @property
    def span(self) -> Interval:
        every = self.buckets + self.days
        return Interval(min(one.start_ms for one in every), max(one.end_ms for one in every))


def bucket_of(time_ms: int) -> int:
    """Start of the ten-minute bucket in which a time lies.

    >>> bucket_of(1_763_258_999_999)
    1763258400000
    """
    return time_ms - time_ms % TEN_MINUTES_MS


def day_of(time_ms: int, zone: ZoneInfo) -> Interval:
    """The day in which a time lies: midnight to midnight, 23 to 25 hours where the clocks change.

    >>> day = day_of(1_763_258_400_000, ZoneInfo("Asia/Ho_Chi_Minh"))
    >>> datetime.fromtimestamp(day.start_ms / 1000, UTC).isoformat(), (day.end_ms - day.start_ms) / 3_600_000
    ('2025-11-15T17:00:00+00:00', 24.0)
    """
    date = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(zone).date()
    start, end = (datetime.combine(date + timedelta(days=n), time(), zone).timestamp() for n in (0, 1))
    return Interval(round(start * 1000), round(end * 1000))


def plan(touched: Iterable[Touched], zone: ZoneInfo) -> list[Unit]:
    """What to compute, so that every touched bucket and each of its days is right again."""
    grouped: dict[tuple[str, Interval], list[Touched]] = defaultdict(list)
    for mark in touched:
        grouped[mark.series, day_of(mark.start_ms, zone)].append(mark)
    units = []
    for (series, day), marks in grouped.items():
        buckets = tuple(Interval(start, start + TEN_MINUTES_MS) for start in sorted({m.start_ms for m in marks}))
        days = (day,) if buckets[-1].end_ms <= day.end_ms else (day, day_of(day.end_ms, zone))
        units.append(Unit(series, buckets, days, tuple(marks)))
    return units


def every_day(series: str, start_ms: int, end_ms: int, zone: ZoneInfo) -> Iterable[Unit]:
    """Units that compute all days from that of ``start_ms`` up to ``end_ms`` anew, marked or not."""
    while start_ms < end_ms:
        day = day_of(start_ms, zone)
        edges = range(bucket_of(day.start_ms), day.end_ms + TEN_MINUTES_MS, TEN_MINUTES_MS)
        buckets = tuple(Interval(*edge) for edge in pairwise(edges) if edge[0] < day.end_ms)
        yield Unit(series, buckets, (day,), ())
        start_ms = day.end_ms


def aggregates(rows: Sequence[Row], intervals: Iterable[Interval]) -> list[Aggregate]:
    """Roll-ups of rows in rising order over intervals; an interval without rows gives none."""
    times = [row.time_ms for row in rows]
    found = []
    for start, end in intervals:
        inside = rows[bisect_left(times, start) : bisect_left(times, end)]
        if inside:
            found.append(aggregate(start, inside))
    return found


def aggregate(start_ms: int, rows: Sequence[Row]) -> Aggregate:
    """What :class:`keng_store.protocol.Aggregate` says of one bucket's rows, of which there must be one.

    >>> rows = [Row("a/b/c", t, v, Flag.GOOD) for t, v in enumerate([1.0, 4.0, 2.5])]
    >>> aggregate(0, [*rows, Row("a/b/c", 3, 99.9, Flag.BAD)])[2:]
    (1.0, 2.5, 4.0, 4, 1, <Flag.BAD: 4>, 0, 1)
    """
    usable = [row for row in rows if row.flag not in _UNUSABLE]
    bad = len(rows) - len(usable)
    usable = usable or list(rows)
    low = min(usable, key=_value)
    high = max(usable, key=_value)
    return Aggregate(
        rows[0].series,
        start_ms,
        low.value,
        _mean([row.value for row in usable]),
        high.value,
        len(rows),
        bad,
        max(row.flag for row in rows),
        low.time_ms,
        high.time_ms,
    )


def _value(row: Row) -> float:
    return row.value


def _mean(values: list[float]) -> float:
    try:
        return math.fsum(values) / len(values)  # exact: whoever computes it again gets the same bits
    except OverflowError:
        return math.fsum(value / len(values) for value in values)
