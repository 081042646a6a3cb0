"""What a store of readings promises, whichever it is.

A row is named by its series and time: writing it again changes nothing but takes the newer value and flag, so a
pack that comes twice leaves one row. ``write`` returns only when the rows are durable; that is what receipts rest on.
All calls block and may be made from any thread, one at a time for each store object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from keng_contracts.telemetry import Flag


class Row(NamedTuple):
    """One stored reading: ``<commune>/<station>/<quantity>``, ms since 1970 UTC, value in the sensor's unit, flag."""

    series: str
    time_ms: int
    value: float
    flag: Flag


class StoreUnavailable(Exception):
    """The store did not take or give the rows now (down, full, locked, overloaded). Nothing is lost by trying again.

    ``retry_after_s`` is how long the store itself asked to be left alone, in seconds, where it did.
    """

    def __init__(self, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s


class RowRefused(Exception):
    """The store will never take one of these rows; ``detail`` is its own word. The others are found by bisecting."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Store(Protocol):
    """Readings by series and time."""

    def write(self, rows: Sequence[Row]) -> None:
        """Keep rows for ever; returns once they are durable. Raises StoreUnavailable or RowRefused, then none of
        them may be taken as kept."""
        ...

    def latest(self, commune: str) -> dict[str, Row]:
        """The newest row of each series of a commune, by series."""
        ...

    def range(self, series: str, start_ms: int, end_ms: int, max_points: int = 0) -> list[Row]:
        """Rows with ``start_ms <= time < end_ms`` in rising order. With ``max_points`` the range is cut into
        ``max_points // 2`` equal buckets and of each the lowest and the highest row are kept: no peak is lost."""
        ...

    def counts(self, commune: str) -> dict[str, int]:
        """How many rows each series of a commune has."""
        ...

    def close(self) -> None: ...


def bucket_width(start_ms: int, end_ms: int, max_points: int) -> int:
    """Width in ms of the ``max_points // 2`` buckets into which a range is cut, rounded up."""
    return max(1, -(-(end_ms - start_ms) // max(1, max_points // 2)))


def extremes(rows: Iterable[Row], start_ms: int, end_ms: int, max_points: int) -> list[Row]:
    """Down-sample rows in rising order to their extremes in equal buckets of time.

    >>> rows = [Row("a/b/c", t, v, Flag.GOOD) for t, v in enumerate([1.0, 9.0, 2.0, 3.0, 0.5, 4.0])]
    >>> [row.value for row in extremes(rows, 0, 6, 4)]
    [1.0, 9.0, 0.5, 4.0]
    """
    width = bucket_width(start_ms, end_ms, max_points)
    kept: list[Row] = []
    current, low, high = -1, None, None

    def flush() -> None:
        if low is not None and high is not None:
            kept.extend(sorted({low, high}, key=lambda row: row.time_ms))

    for row in rows:
        bucket = (row.time_ms - start_ms) // width
        if bucket != current:
            flush()
            current, low, high = bucket, row, row
        elif row.value < low.value:  # type: ignore[union-attr]
            low = row
        elif row.value > high.value:  # type: ignore[union-attr]
            high = row
    flush()
    return kept
