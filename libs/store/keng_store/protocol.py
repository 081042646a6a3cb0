"""What a store of readings promises, whichever it is.

A row is named by its series and time: writing it again changes nothing but takes the newer value and flag, so a
pack that comes twice leaves one row. ``write`` returns only when the rows are durable; that is what receipts rest on.
All calls block and may be made from any thread, one at a time for each store object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from keng_contracts.telemetry import Flag


class Row(NamedTuple):
    """One stored reading: ``<commune>/<station>/<quantity>``, ms since 1970 UTC, value in the sensor's unit, flag."""

    series: str
    time_ms: int
    value: float
    flag: Flag


class Resolution(Enum):
    """Widths of roll-ups. Ten minutes by UTC; a day is the commune's own, from midnight to midnight."""

    TEN_MINUTES = "10m"
    DAY = "1d"


class Aggregate(NamedTuple):
    """The readings of one series in one bucket of time, kept for ever.

    ``min``, ``mean`` and ``max`` (in the sensor's unit) leave out readings flagged BAD or MISSING, unless there are no
    others: one faulty reading must not be a day's maximum for ever. ``count`` is how many readings the bucket has,
    ``bad`` how many of them are so flagged, ``worst`` the highest flag. ``min_ms`` and ``max_ms`` are when the extremes
    were first reached; all times are ms since 1970 UTC.
    """

    series: str
    start_ms: int
    min: float
    mean: float
    max: float
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody asks for
    bad: int
    worst: Flag
    min_ms: int
    max_ms: int


class Touched(NamedTuple):
    """A ten-minute bucket that was written to since it was rolled up; ``token`` names that state of it."""

    series: str
    start_ms: int
    token: int


class Span(NamedTuple):
    """Times of the oldest and the newest that there is of a series, ms since 1970 UTC."""

    first_ms: int
    last_ms: int


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
    """Readings by series and time, and what was made of them.

    The second half serves :class:`keng_store.maintenance.Maintenance`: every write leaves a mark on the ten-minute
    buckets that it touched, and a mark goes only when a roll-up that has seen the write is durable.
    """

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

    def spans(self, resolution: Resolution | None = None) -> dict[str, Span]:
        """Every series that has rows, or roll-ups of a resolution, of all communes, with the times of its oldest and
        newest (of roll-ups: their starts)."""
        ...

    def rollups(self, series: str, resolution: Resolution, start_ms: int, end_ms: int) -> list[Aggregate]:
        """Roll-ups whose bucket starts in ``start_ms <= start < end_ms``, in rising order."""
        ...

    def touched(self, now_ms: int, limit: int) -> list[Touched]:
        """Up to ``limit`` buckets that are over and were written to since they were rolled up."""
        ...

    def settle(self, rollups: Mapping[Resolution, Sequence[Aggregate]], done: Sequence[Touched]) -> bool:
        """Keep roll-ups (in place of those of the same bucket) and take the marks ``done`` off, durably. False, and
        nothing has changed, if one of these buckets was written to in the meantime."""
        ...

    def forget(self, before_ms: int, limit: int) -> int:
        """Remove rows older than ``before_ms``, of up to ``limit`` series, and only of series all of whose older rows
        are rolled up. How many series that were; 0 when there is no more to do now."""
        ...

    def raw_from(self, series: str) -> int:
        """The time before which rows of a series were removed, 0 if none ever was. Roll-ups before it are final."""
        ...

    def seal(self, series: str, raw_from_ms: int) -> None:
        """Declare the roll-ups of a series before that time final, as after :meth:`forget`; for copying a store."""
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
