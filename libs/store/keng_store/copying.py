"""Moving history from one store to another, in windows that are compared, mended and compared again.

The comparison is also what makes it resumable: a window that is already the same on both sides is left alone, so that
a copy that was stopped anywhere goes on by being started again. It needs no notes of its own, and can't believe wrong
ones. Rows that come while it runs are for the next run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from keng_store.protocol import Resolution, Row, Store
from keng_store.rollup import Interval
from keng_store.writing import write_all

DAY_MS = 86_400_000
#: A window of raw rows: seven thousand where one comes a minute, six hundred thousand at one a second.
WINDOW_MS = 5 * DAY_MS
ROLLUP_WINDOW_MS = 100 * DAY_MS
#: Rows in one write.
BATCH = 10_000


class Digest(NamedTuple):
    """What two sets of rows are compared by; the sums are exact, so their order does not matter."""

    rows: int
    values: float
    times: int
    flags: int

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Digest:
        held = list(rows)
        try:
            values = math.fsum(row.value for row in held)
        except OverflowError:
            values = math.fsum(row.value / 2**64 for row in held)
        return cls(len(held), values, sum(row.time_ms for row in held), sum(row.flag for row in held))


@dataclass(slots=True)
class Report:
    """Where a copy stands: series done of all, rows seen, of these written, of these in place of another value or flag
    that the target had, roll-ups written; what the target would not take, what differs after all, and what it has that
    the source has not."""

    series: int = 0
    all_series: int = 0
    rows: int = 0
    written: int = 0
    replaced: int = 0
    rollups: int = 0
    refused: int = 0
    reason: str = ""
    differing: int = 0
    extra: int = 0
    values: float = 0.0

    @property
    def is_verified(self) -> bool:
        """Whether all that the source had is in the target, by counts and sums."""
        return not self.refused and not self.differing


def copy(source: Store, target: Store, until_ms: int, told: Callable[[Report], None]) -> Report:
    """Bring all rows before ``until_ms``, and the roll-ups of rows that the source no longer has, into ``target``.

    Roll-ups of rows that it has are left to the target's own Maintenance. ``told`` is called after each window.
    """
    raw, rolled = source.spans(), source.spans(Resolution.DAY)
    report = Report(all_series=len(raw.keys() | rolled.keys()))
    for series in sorted(raw.keys() | rolled.keys()):
        line = source.raw_from(series)
        if series in rolled and line > 0:
            # First: a roll-up that is sealed is not computed again from the few old rows that come after it.
            last = min(line, rolled[series].last_ms + DAY_MS)
            for window in _windows(rolled[series].first_ms - DAY_MS, last, ROLLUP_WINDOW_MS):
                _copy_rollups(source, target, series, window, report)
                told(report)
            target.seal(series, line)
        if series in raw:
            for window in _windows(raw[series].first_ms, min(raw[series].last_ms + 1, until_ms), WINDOW_MS):
                _copy_rows(source, target, series, window, report)
                told(report)
        report.series += 1
        told(report)
    return report


def _copy_rows(source: Store, target: Store, series: str, window: Interval, report: Report) -> None:
    mine = source.range(series, *window)
    digest = Digest.of(mine)
    theirs = target.range(series, *window)
    if Digest.of(theirs) != digest:
        held = set(theirs)
        missing = [row for row in mine if row not in held]
        report.replaced += len({row.time_ms for row in missing} & {row.time_ms for row in theirs})
        for start in range(0, len(missing), BATCH):
            refused = write_all(target, missing[start : start + BATCH])
            report.refused += len(refused)
            report.reason = refused[0][1] if refused else report.reason
            report.written += len(missing[start : start + BATCH]) - len(refused)
        times = {row.time_ms for row in mine}
        theirs = target.range(series, *window)
        same = [row for row in theirs if row.time_ms in times]
        report.extra += len(theirs) - len(same)
        report.differing += Digest.of(same) != digest
    report.rows += digest.rows
    report.values = math.fsum((report.values, digest.values))


def _copy_rollups(source: Store, target: Store, series: str, window: Interval, report: Report) -> None:
    for resolution in Resolution:
        mine = source.rollups(series, resolution, *window)
        held = set(target.rollups(series, resolution, *window))
        missing = [one for one in mine if one not in held]
        if missing:
            target.settle({resolution: missing}, [])
            report.rollups += len(missing)
            report.differing += not set(mine) <= set(target.rollups(series, resolution, *window))


def _windows(start_ms: int, end_ms: int, width_ms: int) -> Iterator[Interval]:
    # At multiples of the width: a second run has the same windows, whatever the oldest row is by then.
    for start in range(start_ms - start_ms % width_ms, end_ms, width_ms):
        yield Interval(max(start, start_ms), min(start + width_ms, end_ms))
