"""Reading for people: any span in a bounded number of points, with what is missing shown as missing.

seen = view(store, "quang-tho/phu-oc/level", start_ms, end_ms, max_points=600)
seen.rows      # extremes are kept: no peak is averaged away
seen.sources   # from where: raw readings, ten-minute roll-ups, or both
gaps(seen.rows, interval_ms=60_000, start_ms=start_ms, end_ms=end_ms, width_ms=seen.width_ms)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from keng_store.protocol import Aggregate, Resolution, Row, Store, bucket_width, extremes
from keng_store.rollup import Interval

DAY_MS = 86_400_000
#: A gap is where this many readings in a row did not come.
MISSED = 2


class View(NamedTuple):
    """Rows in rising order, and how they were got.

    ``sources`` says what they were taken from: ``("raw",)``, ``("10m",)``, ``("1d",)``, or one before the other where
    older raw rows were removed. Each row of a roll-up is a reading as it was, at its own time; only its flag is the
    worst of its bucket. ``width_ms`` is the width of the buckets of which two rows each are shown, 0 when all are.
    """

    rows: list[Row]
    sources: tuple[str, ...]
    width_ms: int


def view(store: Store, series: str, start_ms: int, end_ms: int, max_points: int = 0) -> View:
    """A range in at most ``max_points`` rows (0: all), raw as far back as raw rows go, before that by roll-ups."""
    raw_from = store.raw_from(series)
    if start_ms >= raw_from:
        rows = store.range(series, start_ms, end_ms, max_points)
        return View(rows, ("raw",), bucket_width(start_ms, end_ms, max_points) if max_points else 0)
    line = min(raw_from, end_ms)
    resolution = Resolution.TEN_MINUTES
    if max_points and bucket_width(start_ms, end_ms, max_points) > 2 * DAY_MS:
        resolution = Resolution.DAY
    rolled = store.rollups(series, resolution, start_ms, line)
    held = {row.time_ms: row for row in of_extremes(rolled)}
    held.update((row.time_ms, row) for row in store.range(series, start_ms, end_ms))  # also what came too late
    kept = [held[at] for at in sorted(held)]
    sources = (resolution.value, "raw") if line < end_ms else (resolution.value,)
    if not max_points:
        return View(kept, sources, 0)
    return View(extremes(kept, start_ms, end_ms, max_points), sources, bucket_width(start_ms, end_ms, max_points))


def of_extremes(rollups: Iterable[Aggregate]) -> Iterable[Row]:
    """The lowest and the highest reading of each bucket, at the times at which they were measured."""
    for one in rollups:
        both = {Row(one.series, one.min_ms, one.min, one.worst), Row(one.series, one.max_ms, one.max, one.worst)}
        yield from sorted(both, key=lambda row: row.time_ms)


def gaps(
    rows: Sequence[Row], interval_ms: int, start_ms: int, end_ms: int, *, width_ms: int = 0, missed: int = MISSED
) -> list[Interval]:
    """Where readings that should come every ``interval_ms`` did not: intervals between neighbours further apart than
    ``missed`` readings explain, and at both ends of the range. ``width_ms`` is that of a down-sampled view: two rows of
    neighbouring buckets may be two widths apart, and finer gaps can't be seen in it.

    >>> from keng_contracts.telemetry import Flag
    >>> rows = [Row("a/b/c", t * 60_000, 1.0, Flag.GOOD) for t in (0, 1, 2, 9, 10)]
    >>> gaps(rows, 60_000, 0, 660_000)
    [Interval(start_ms=120000, end_ms=540000)]
    """
    longest = (missed + 1) * interval_ms + 2 * width_ms
    times = [start_ms, *(row.time_ms for row in rows), end_ms]
    return [Interval(before, after) for before, after in pairwise(times) if after - before >= longest]


def broken(rows: Sequence[Row], holes: Sequence[Interval]) -> list[list[Row]]:
    """The rows in pieces between the gaps: one line of a chart each, none drawn where nothing is known."""
    pieces: list[list[Row]] = [[]]
    ends = iter(sorted(hole.end_ms for hole in holes))
    end = next(ends, None)
    for row in rows:
        while end is not None and row.time_ms >= end:
            pieces.append([])
            end = next(ends, None)
        pieces[-1].append(row)
    return [piece for piece in pieces if piece]
