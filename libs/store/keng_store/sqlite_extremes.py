"""The lowest and highest row of each of many buckets, without reading every row of a year.

The answer is always what :func:`keng_store.protocol.extremes` makes of the raw rows. Where roll-ups are as new as the
rows (no mark) and know of all of them (none flagged bad), they tell which row it is: a year in a tenth of the time.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterator

from keng_store.protocol import bucket_width
from keng_store.rollup import TEN_MINUTES_MS

#: Time, value, flag.
Point = tuple[int, float, int]

#: Buckets below this width are quicker read row by row.
WIDE_MS = 12 * TEN_MINUTES_MS

#: Of points of one bucket the smallest by this is the extreme; of equals the first.
_ORDER: dict[str, Callable[[Point], tuple[float, int]]] = {
    "min": lambda point: (point[1], point[0]),
    "max": lambda point: (-point[1], point[0]),
}


def extremes(db: sqlite3.Connection, series_id: int, start_ms: int, end_ms: int, max_points: int) -> Iterator[Point]:
    """Extremes of equal buckets of ``start_ms <= time < end_ms``, in rising order; to be called in a transaction."""
    width = bucket_width(start_ms, end_ms, max_points)
    known = _known(db, series_id, start_ms, end_ms) if width >= WIDE_MS else None
    for bucket in range(start_ms, end_ms, width):
        end = min(bucket + width, end_ms)
        kept = {_extreme(db, series_id, bucket, end, which, known) for which in ("min", "max")}
        yield from sorted(point for point in kept if point is not None)


class _Known:
    """The span in which roll-ups can be trusted, and the buckets in it that have bad readings."""

    def __init__(self, start_ms: int, end_ms: int, bad: list[int]) -> None:
        self.start_ms, self.end_ms, self._bad = start_ms, end_ms, bad

    def whole(self, start_ms: int, end_ms: int) -> tuple[int, int] | None:
        """The ten-minute buckets within a range, if roll-ups can answer for them."""
        first = max(start_ms, self.start_ms)
        first += -first % TEN_MINUTES_MS
        last = min(end_ms, self.end_ms)
        last -= last % TEN_MINUTES_MS
        at = bisect_left(self._bad, first)
        if first >= last or (at < len(self._bad) and self._bad[at] < last):
            return None
        return first, last


def _known(db: sqlite3.Connection, series_id: int, start_ms: int, end_ms: int) -> _Known:
    raw_from = db.execute("SELECT raw_from_ms FROM series WHERE id = ?", (series_id,)).fetchone()[0]
    marked = db.execute(
        "SELECT min(start_ms) FROM touched WHERE series_id = ? AND start_ms > ?",
        (series_id, start_ms - TEN_MINUTES_MS),
    ).fetchone()[0]
    bad = db.execute(
        "SELECT start_ms FROM rollup WHERE series_id = ? AND width_ms = ? AND start_ms >= ? AND start_ms < ? AND bad",
        (series_id, TEN_MINUTES_MS, start_ms, end_ms),
    )
    until = end_ms if marked is None else min(marked, end_ms)
    return _Known(max(start_ms, raw_from), until, [row[0] for row in bad])


def _extreme(
    db: sqlite3.Connection, series_id: int, start_ms: int, end_ms: int, which: str, known: _Known | None
) -> Point | None:
    whole = known.whole(start_ms, end_ms) if known else None
    if whole is None:
        return _of_rows(db, series_id, start_ms, end_ms, which)
    found = (
        _of_rows(db, series_id, start_ms, whole[0], which),
        _of_rollups(db, series_id, *whole, which),
        _of_rows(db, series_id, whole[1], end_ms, which),
    )
    return min((point for point in found if point is not None), key=_ORDER[which], default=None)


def _of_rows(db: sqlite3.Connection, series_id: int, start_ms: int, end_ms: int, which: str) -> Point | None:
    """With a single min() or max() SQLite takes the other columns from the row that has it, the first of equals."""
    if start_ms >= end_ms:
        return None
    found: Point = db.execute(
        f"SELECT time_ms, {which}(value), flag FROM reading WHERE series_id = ? AND time_ms >= ? AND time_ms < ?",
        (series_id, start_ms, end_ms),
    ).fetchone()
    return found if found[0] is not None else None


def _of_rollups(db: sqlite3.Connection, series_id: int, start_ms: int, end_ms: int, which: str) -> Point | None:
    at, _ = db.execute(
        f"SELECT start_ms + {which}_after_ms, {which}({which}) FROM rollup"
        " WHERE series_id = ? AND width_ms = ? AND start_ms >= ? AND start_ms < ?",
        (series_id, TEN_MINUTES_MS, start_ms, end_ms),
    ).fetchone()
    if at is None:
        return None
    found: Point = db.execute(
        "SELECT time_ms, value, flag FROM reading WHERE series_id = ? AND time_ms = ?", (series_id, at)
    ).fetchone()
    return found
