"""Roll-ups in the SQLite file. The marks are written in the same transaction as the rows that they speak of."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from keng_contracts.telemetry import Flag
from keng_store.protocol import Aggregate, Resolution, Span, Touched
from keng_store.rollup import TEN_MINUTES_MS

_WIDTHS = {Resolution.TEN_MINUTES: TEN_MINUTES_MS, Resolution.DAY: 0}


def mark(db: sqlite3.Connection, bound: Iterable[tuple[int, int, float, int]]) -> None:
    """Mark the buckets of rows (series id, time, value, flag). A token is drawn, not counted: a mark that was taken off
    and made again must not look like the old one."""
    token = secrets.randbits(31)
    db.executemany(
        "INSERT INTO touched VALUES (?, ?, ?) ON CONFLICT (series_id, start_ms) DO UPDATE SET token = excluded.token",
        {(series_id, time_ms - time_ms % TEN_MINUTES_MS, token) for series_id, time_ms, _, _ in bound},
    )


def touched(db: sqlite3.Connection, now_ms: int, limit: int) -> list[Touched]:
    found = db.execute(
        "SELECT name, start_ms, token FROM touched JOIN series ON series.id = series_id"
        " WHERE start_ms <= ? ORDER BY series_id, start_ms LIMIT ?",
        (now_ms - TEN_MINUTES_MS, limit),
    )
    return [Touched(*row) for row in found]


def settle(db: sqlite3.Connection, rollups: Mapping[Resolution, Sequence[Aggregate]], done: Sequence[Touched]) -> bool:
    """To be called in a transaction."""
    names = {one.series for one in done} | {a.series for buckets in rollups.values() for a in buckets}
    ids = {name: _id(db, name) for name in names}
    for one in done:
        kept = db.execute(
            "SELECT 1 FROM touched WHERE series_id = ? AND start_ms = ? AND token = ?",
            (ids[one.series], one.start_ms, one.token),
        )
        if kept.fetchone() is None:
            return False
    db.executemany(
        "DELETE FROM touched WHERE series_id = ? AND start_ms = ?", [(ids[one.series], one.start_ms) for one in done]
    )
    for resolution, buckets in rollups.items():
        db.executemany(
            "INSERT OR REPLACE INTO rollup VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    ids[a.series],
                    _WIDTHS[resolution],
                    a.start_ms,
                    a.min,
                    a.mean,
                    a.max,
                    a.count,
                    a.bad,
                    a.worst.value,
                    a.min_ms - a.start_ms,  # small numbers take little room
                    a.max_ms - a.start_ms,
                )
                for a in buckets
            ],
        )
    return True


def _id(db: sqlite3.Connection, name: str) -> int:
    db.execute("INSERT INTO series (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
    found: int = db.execute("SELECT id FROM series WHERE name = ?", (name,)).fetchone()[0]
    return found


def rollups(db: sqlite3.Connection, series: str, resolution: Resolution, start_ms: int, end_ms: int) -> list[Aggregate]:
    found = db.execute(
        "SELECT start_ms, min, mean, max, count, bad, worst, start_ms + min_after_ms, start_ms + max_after_ms"
        " FROM rollup WHERE series_id = (SELECT id FROM series WHERE name = ?) AND width_ms = ?"
        " AND start_ms >= ? AND start_ms < ? ORDER BY start_ms",
        (series, _WIDTHS[resolution], start_ms, end_ms),
    )
    return [
        Aggregate(series, start, low, mean, high, count, bad, Flag(worst), low_ms, high_ms)
        for start, low, mean, high, count, bad, worst, low_ms, high_ms in found
    ]


def spans(db: sqlite3.Connection, resolution: Resolution | None) -> dict[str, Span]:
    table, time = ("reading", "time_ms") if resolution is None else ("rollup", "start_ms")
    where = "series_id = id" + (f" AND width_ms = {_WIDTHS[resolution]}" if resolution else "")
    found = db.execute(
        f"SELECT name, (SELECT min({time}) FROM {table} WHERE {where}),"
        f" (SELECT max({time}) FROM {table} WHERE {where}) FROM series ORDER BY name"
    )
    return {name: Span(first, last) for name, first, last in found if first is not None}


def forget(db: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """To be called in a transaction, so that no row can come between the question and the removal."""
    # What came behind an earlier line is in no roll-up (see Maintenance._open): it is not touched again.
    found = db.execute(
        "SELECT id, raw_from_ms FROM series WHERE raw_from_ms < :before"
        " AND EXISTS (SELECT 1 FROM reading WHERE series_id = id AND time_ms >= raw_from_ms AND time_ms < :before)"
        " AND NOT EXISTS (SELECT 1 FROM touched WHERE series_id = id AND start_ms < :before) LIMIT :limit",
        {"before": before_ms, "limit": limit},
    ).fetchall()
    for series_id, raw_from_ms in found:
        db.execute(
            "DELETE FROM reading WHERE series_id = ? AND time_ms >= ? AND time_ms < ?",
            (series_id, raw_from_ms, before_ms),
        )
        db.execute("UPDATE series SET raw_from_ms = ? WHERE id = ?", (before_ms, series_id))
    return len(found)


def raw_from(db: sqlite3.Connection, series: str) -> int:
    found = db.execute("SELECT raw_from_ms FROM series WHERE name = ?", (series,)).fetchone()
    return found[0] if found else 0


def seal(db: sqlite3.Connection, series: str, raw_from_ms: int) -> None:
    """To be called in a transaction."""
    db.execute("UPDATE series SET raw_from_ms = max(raw_from_ms, ?) WHERE id = ?", (raw_from_ms, _id(db, series)))
