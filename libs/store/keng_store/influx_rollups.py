"""Roll-ups in InfluxDB, which knows no transactions: a journal of what was touched, read with a cursor.

``reading_10m``, ``reading_1d``  a bucket; time: its start (10 min of UTC, the commune's day); fields as in Aggregate
``reading_touched``              a mark; time: when, in ns; field ``bucket``: start of the ten-minute bucket in ms
``reading_state``                at time 0; ``raw_from`` of a series in ms; one point without tags has ``cursor`` in ns
                                 (how far the journal is read), ``all_raw_from`` and ``removed_to`` in ms

All but that one point have the tags of ``reading``. On 1.x they live in the retention policy ``for_ever``, and raw
readings in the default one, whose duration :func:`set_retention` widens or narrows to what is rolled up.

A writer marks a bucket before it writes rows to it, at most once in MARK_EVERY_NS: a mark announces what that writer
writes until then. The journal is read no further than SETTLE_NS ago; by then all that a mark announces is there. What
is read twice is computed twice, from the raw rows, and comes out the same. Replicas on machines whose clocks differ by
more than a minute can defeat this; they run NTP anyway.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from keng_contracts.telemetry import Flag
from keng_store.protocol import Aggregate, Resolution, Row, Touched
from keng_store.rollup import TEN_MINUTES_MS

FOR_EVER = "for_ever"
TOUCHED = "reading_touched"
STATE = "reading_state"
MEASUREMENTS = {Resolution.TEN_MINUTES: "reading_10m", Resolution.DAY: "reading_1d"}
FIELDS = "min, mean, max, count, bad, worst, min_ms, max_ms"

GRACE_HOURS = 30 * 24
MARK_EVERY_NS = 600 * 10**9
#: Marked until 600 s ago, a minute for a request on its way, a minute for clocks that differ.
SETTLE_NS = MARK_EVERY_NS + 120 * 10**9


class Marks:
    """What this writer has marked lately."""

    def __init__(self) -> None:
        self._until_ns: dict[tuple[str, int], int] = {}
        self._many = 1000

    def missing(self, rows: Iterable[Row], now_ns: int) -> set[tuple[str, int]]:
        """Series and bucket of rows whose mark is not there or too old."""
        touched = {(series, time_ms - time_ms % TEN_MINUTES_MS) for series, time_ms, _, _ in rows}
        return {key for key in touched if not now_ns < self._until_ns.get(key, 0) <= now_ns + MARK_EVERY_NS}

    def keep(self, marked: Iterable[tuple[str, int]], now_ns: int) -> None:
        """To be called once the marks are durable."""
        if len(self._until_ns) > self._many:
            self._until_ns = {key: until for key, until in self._until_ns.items() if until > now_ns}
            self._many = max(1000, 2 * len(self._until_ns))
        self._until_ns.update(dict.fromkeys(marked, now_ns + MARK_EVERY_NS))


def mark_lines(marks: Iterable[tuple[str, int]], now_ns: int, tags: Callable[[str], str]) -> list[str]:
    """Lines without a precision (ns). Times differ within one call, and by chance between writers, for a point of the
    same series and time would replace the other."""
    times = itertools.count(now_ns + secrets.randbelow(10**6))
    return [f"{TOUCHED},{tags(series)} bucket={bucket}i {next(times)}" for series, bucket in sorted(marks)]


def read_marks(answer: Sequence[Mapping[str, Any]], limit: int) -> list[Touched]:
    """Marks from the answer to ``SELECT bucket, commune, station, quantity … LIMIT limit``; the token is the time.

    Of a list that was cut off those that share its last time are left for the next, unless there are no others.
    """
    points = [point for found in answer for point in found["values"]]
    if len(points) == limit:
        points = [point for point in points if point[0] < points[-1][0]] or points
    return [Touched(f"{commune}/{station}/{quantity}", bucket, at) for at, bucket, commune, station, quantity in points]


def rollup_lines(rollups: Mapping[Resolution, Sequence[Aggregate]], tags: Callable[[str], str]) -> list[str]:
    """Lines with a precision of ms."""
    return [
        f"{MEASUREMENTS[resolution]},{tags(a.series)} min={a.min!r},mean={a.mean!r},max={a.max!r},count={a.count}i,"
        f"bad={a.bad}i,worst={a.worst:d}i,min_ms={a.min_ms}i,max_ms={a.max_ms}i {a.start_ms}"
        for resolution, buckets in rollups.items()
        for a in buckets
    ]


def read_rollups(series: str, points: Iterable[Sequence[Any]]) -> list[Aggregate]:
    """From the points of ``SELECT`` :data:`FIELDS`."""
    return [
        Aggregate(series, start_ms, float(low), float(mean), float(high), count, bad, Flag(worst), min_ms, max_ms)
        for start_ms, low, mean, high, count, bad, worst, min_ms, max_ms in points
    ]


def retention(now_ns: int, before_ms: int) -> str:
    """The duration of 1.x's raw retention policy, by which nothing from ``before_ms`` on is dropped.

    The server's clock goes on while roll-ups stand still, so it gets GRACE_HOURS more: whoever takes longer to get a
    broken ingest going again has 400 days of raw readings to look after first.
    """
    hours = max(-(-(now_ns - before_ms * 10**6) // (3600 * 10**9)), 0) + GRACE_HOURS
    return f"DURATION {hours}h SHARD DURATION 168h"
