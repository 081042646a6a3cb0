"""The tables of the SQLite file, as scripts from one version to the next."""

from __future__ import annotations

#: Marks the file as ours (PRAGMA application_id).
APPLICATION_ID = int.from_bytes(b"KENG", "big")

#: One script a schema version, run in order; PRAGMA user_version counts them.
SCHEMA = (
    """
    CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE reading (
        series_id INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        value REAL NOT NULL CHECK (value BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308),
        flag INTEGER NOT NULL,
        PRIMARY KEY (series_id, time_ms)
    ) WITHOUT ROWID;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
    # Roll-ups (width 600000 ms, or 0 for a day of the commune), and the marks of what is to be rolled up.
    """
    ALTER TABLE series ADD COLUMN raw_from_ms INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE rollup (
        series_id INTEGER NOT NULL,
        width_ms INTEGER NOT NULL,
        start_ms INTEGER NOT NULL,
        min REAL NOT NULL,
        mean REAL NOT NULL,
        max REAL NOT NULL,
        count INTEGER NOT NULL,
        bad INTEGER NOT NULL,
        worst INTEGER NOT NULL,
        min_after_ms INTEGER NOT NULL,
        max_after_ms INTEGER NOT NULL,
        PRIMARY KEY (series_id, width_ms, start_ms)
    ) WITHOUT ROWID;
    CREATE TABLE touched (
        series_id INTEGER NOT NULL,
        start_ms INTEGER NOT NULL,
        token INTEGER NOT NULL,
        PRIMARY KEY (series_id, start_ms)
    ) WITHOUT ROWID;
    INSERT INTO touched SELECT DISTINCT series_id, time_ms - time_ms % 600000, 0 FROM reading
    """,
)
