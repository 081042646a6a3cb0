"""History as a file for others: CSV, or Parquet where pyarrow is installed (``pip install 'keng-store[parquet]'``).

A file is made under another name and gets its own when it is whole. Times are UTC.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from keng_contracts.errors import Problem
from keng_store.protocol import Aggregate, Resolution, Row, Store

DAY_MS = 86_400_000
#: How much of a series is read at once.
WINDOW_MS = {None: 5 * DAY_MS, Resolution.TEN_MINUTES: 100 * DAY_MS, Resolution.DAY: 10_000 * DAY_MS}

ROW_COLUMNS = ("series", "time", "value", "flag")
ROLLUP_COLUMNS = ("series", "start", "min", "mean", "max", "count", "bad", "worst", "min_time", "max_time")


class Wanted(NamedTuple):
    """Which series (all if none), ``start_ms <= time < end_ms``, raw or a resolution."""

    series: Sequence[str]
    start_ms: int
    end_ms: int
    resolution: Resolution | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return ROW_COLUMNS if self.resolution is None else ROLLUP_COLUMNS


def parts(store: Store, wanted: Wanted) -> Iterator[list[tuple[Any, ...]]]:
    """The lines, a window of a series at a time; times in ms. Raises Problem for a series that is not there."""
    spans = store.spans(wanted.resolution)
    unknown = [name for name in wanted.series if name not in spans]
    if unknown:
        known = ", ".join(list(spans)[:5]) or "none"
        raise Problem(
            "has no readings" if wanted.resolution is None else "has no roll-ups",
            where=unknown[0],
            todo=f"there are: {known}{' …' if len(spans) > 5 else ''}",
        )
    for name in wanted.series or spans:
        start, end = max(wanted.start_ms, spans[name].first_ms), min(wanted.end_ms, spans[name].last_ms + 1)
        for at in range(start, end, WINDOW_MS[wanted.resolution]):
            until = min(at + WINDOW_MS[wanted.resolution], end)
            found: Iterable[Row | Aggregate] = (
                store.range(name, at, until)
                if wanted.resolution is None
                else store.rollups(name, wanted.resolution, at, until)
            )
            yield [_plain(one) for one in found]


def _plain(one: Row | Aggregate) -> tuple[Any, ...]:
    if isinstance(one, Row):
        return (*one[:3], one.flag.value)
    return (*one[:7], one.worst.value, *one[8:])


def to_csv(store: Store, wanted: Wanted, target: Path | None) -> int:
    """Write CSV (RFC 4180, UTF-8, times as 2025-11-16T05:00:00.000Z) to ``target`` or standard output; the lines."""
    is_time = [_is_time(column) for column in wanted.columns]
    lines = 0
    with _made(target) as partial, contextlib.ExitStack() as open_file:
        file = (
            sys.stdout if partial is None else open_file.enter_context(partial.open("w", encoding="utf-8", newline=""))
        )
        writer = csv.writer(file)
        for part in parts(store, wanted):
            if not lines:
                writer.writerow(wanted.columns)
            writer.writerows(
                [_iso(value) if time else value for value, time in zip(line, is_time, strict=True)] for line in part
            )
            lines += len(part)
    return lines


def to_parquet(store: Store, wanted: Wanted, target: Path) -> int:
    """Write Parquet (times as UTC timestamps in ms, one row group a window) to ``target``; the lines."""
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Problem(
            "Parquet needs pyarrow, which is not installed",
            todo="install it with: pip install 'keng-store[parquet]', or take --format csv",
        ) from None
    integer = {"flag": arrow.int8(), "worst": arrow.int8(), "count": arrow.int64(), "bad": arrow.int64()}
    types = {"series": arrow.string(), **integer}
    time = arrow.timestamp("ms", tz="UTC")
    schema = arrow.schema(
        [(column, time if _is_time(column) else types.get(column, arrow.float64())) for column in wanted.columns]
    )
    lines = 0
    with _made(target) as partial, parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
        for part in parts(store, wanted):
            if part:
                columns = [
                    arrow.array(values, field.type)
                    for values, field in zip(zip(*part, strict=True), schema, strict=True)
                ]
                writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
            lines += len(part)
    return lines


def _is_time(column: str) -> bool:
    return column == "start" or column.endswith("time")


def _iso(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


@contextlib.contextmanager
def _made(target: Path | None) -> Iterator[Path | None]:
    if target is None:
        yield None
        return
    partial = target.with_name(f".{target.name}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise Problem(f"can't be written ({error.strerror})", where=str(target), todo="check the folder") from None
    finally:
        partial.unlink(missing_ok=True)
