"""Readings in one SQLite file: the default, for it needs no server and a year of a commune fits in 3 GB.

A row is about 26 bytes: its series is a small integer, and (series, time) is the key of the table itself
(WITHOUT ROWID), so that a day of one series lies together. Write-ahead log with ``synchronous=FULL``: a commit has
reached the disk when it returns, and readers on their own connections never hold up the writer.

What is not there now (file, lock, room on the disk) is StoreUnavailable, and the next call tries afresh; what a
person must mend (corruption, a file that is not ours, no permission) is a Problem.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_store import sqlite_rollups
from keng_store.names import is_series, parts
from keng_store.protocol import (
    Aggregate,
    Resolution,
    Row,
    RowRefused,
    Span,
    StoreUnavailable,
    Touched,
)
from keng_store.sqlite_extremes import extremes
from keng_store.sqlite_schema import APPLICATION_ID, SCHEMA

log = logging.getLogger(__name__)

#: A file up to this size is checked at every start (well under a second); a larger one once a boot of the machine:
#: SQLite survives a kill by design, and it is power cuts and dying cards that tear files.
ALWAYS_CHECK_BYTES = 64 << 20

#: Rows in one statement: Python's lock changes hands with each, which costs more than SQLite's work on a row. Before
#: SQLite 3.32 a statement has up to 999 values.
_AT_ONCE = 200


def _upsert(rows: int) -> str:
    return (
        f"INSERT INTO reading VALUES {', '.join(['(?, ?, ?, ?)'] * rows)}"
        " ON CONFLICT (series_id, time_ms) DO UPDATE SET value = excluded.value, flag = excluded.flag"
    )


_UPSERT, _UPSERT_MANY = _upsert(1), _upsert(_AT_ONCE)
_FLAGS = {flag.value: flag for flag in Flag}
_CODES = {flag: flag.value for flag in Flag}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REFUSED = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG}


class SqliteStore:
    """The store in ``path``. A writer makes the file and its folder; with ``read_only`` nothing is ever changed.

    ``busy_timeout_s`` is how long a call waits for another process's lock. Raises Problem for a file that is corrupt,
    foreign or forbidden; a file that can't be had just now is tried again at each call.
    """

    def __init__(self, path: Path, *, read_only: bool = False, busy_timeout_s: float = 5.0) -> None:
        self._path = path
        self._read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._ids: dict[str, int] = {}
        try:
            with self._connection():
                pass
        except StoreUnavailable as error:
            log.warning("%s; trying again with the next readings", error)

    # -- the protocol -------------------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        with self._connection() as db:
            with _transaction(db):
                new = self._register(db, {row.series for row in rows} - self._ids.keys())
                bound = _bound(rows, {**self._ids, **new} if new else self._ids)
                try:
                    _put(db, bound)
                except OverflowError:
                    raise RowRefused("a time does not fit into 64 bits") from None
                sqlite_rollups.mark(db, bound)
            self._ids.update(new)  # only now: an id that was rolled back is none

    def latest(self, commune: str) -> dict[str, Row]:
        with self._connection() as db:
            found = db.execute(
                "SELECT name, time_ms, value, flag FROM series JOIN reading ON series_id = series.id AND time_ms ="
                " (SELECT max(time_ms) FROM reading WHERE series_id = series.id)"
                " WHERE name > ? AND name < ? ORDER BY name",
                _prefix(commune),
            )
            return {name: Row(name, time_ms, value, _flag(flag)) for name, time_ms, value, flag in found}

    def range(self, series: str, start_ms: int, end_ms: int, max_points: int = 0) -> list[Row]:
        if start_ms >= end_ms or not is_series(series):
            return []
        with self._connection() as db:
            found = db.execute("SELECT id FROM series WHERE name = ?", (series,)).fetchone()
            if found is None:
                return []
            if max_points:
                with _transaction(db, "BEGIN"):  # all its questions are about one moment
                    return _rows(series, extremes(db, found[0], start_ms, end_ms, max_points))
            return _rows(
                series,
                db.execute(
                    "SELECT time_ms, value, flag FROM reading"
                    " WHERE series_id = ? AND time_ms >= ? AND time_ms < ? ORDER BY time_ms",
                    (found[0], start_ms, end_ms),
                ),
            )

    def counts(self, commune: str) -> dict[str, int]:
        with self._connection() as db:
            return dict(
                db.execute(
                    "SELECT name, (SELECT count(*) FROM reading WHERE series_id = series.id) AS n FROM series"
                    " WHERE name > ? AND name < ? AND n > 0 ORDER BY name",
                    _prefix(commune),
                ).fetchall()
            )

    def spans(self, resolution: Resolution | None = None) -> dict[str, Span]:
        with self._connection() as db:
            return sqlite_rollups.spans(db, resolution)

    def rollups(self, series: str, resolution: Resolution, start_ms: int, end_ms: int) -> list[Aggregate]:
        if not is_series(series):
            return []
        with self._connection() as db:
            return sqlite_rollups.rollups(db, series, resolution, start_ms, end_ms)

    def touched(self, now_ms: int, limit: int) -> list[Touched]:
        with self._connection() as db:
            return sqlite_rollups.touched(db, now_ms, limit)

    def settle(self, rollups: Mapping[Resolution, Sequence[Aggregate]], done: Sequence[Touched]) -> bool:
        with self._connection() as db, _transaction(db):
            return sqlite_rollups.settle(db, rollups, done)

    def forget(self, before_ms: int, limit: int) -> int:
        with self._connection() as db, _transaction(db):
            return sqlite_rollups.forget(db, before_ms, limit)

    def raw_from(self, series: str) -> int:
        with self._connection() as db:
            return sqlite_rollups.raw_from(db, series)

    def seal(self, series: str, raw_from_ms: int) -> None:
        with self._connection() as db, _transaction(db):
            sqlite_rollups.seal(db, series, raw_from_ms)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None
        self._ids.clear()

    # -- the connection -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The open file; what SQLite says in the block becomes one of our three exceptions."""
        try:
            if self._db is not None and not self._is_same_file():
                # Somebody moved the file away: rows written to what has no name any more would be lost.
                self.close()
            if self._db is None:
                self._open()
            assert self._db is not None
            yield self._db
        except sqlite3.Error as error:
            raise self._meaning(error) from None
        except OSError as error:
            self.close()
            raise StoreUnavailable(f"{self._path}: {error.strerror}") from None

    def _meaning(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        kind = code & 0xFF if code is not None else None
        if kind in _REFUSED:
            return RowRefused(str(error))
        self.close()  # the next call opens afresh
        if kind in _BROKEN:
            return self._corrupt(str(error))
        return StoreUnavailable(f"{self._path}: {error}")

    def _corrupt(self, detail: str) -> Problem:
        return Problem(
            f"the database is damaged ({detail})",
            where=str(self._path),
            todo="move it aside together with its -wal and -shm files, put the last backup in its place and start again"
            " (without a backup a new one is made)",
        )

    def _is_same_file(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _open(self) -> None:
        if self._read_only and not self._path.exists():
            raise StoreUnavailable(f"{self._path} is not there yet (the first writer makes it)")
        if not self._read_only:
            self._make_room()
        mode = "ro" if self._read_only else "rwc"
        db = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            application = db.execute("PRAGMA application_id").fetchone()[0]
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if application != APPLICATION_ID and tables:
                raise Problem(
                    "is a database, but not one of readings", where=str(self._path), todo="choose another path"
                )
            if version > len(SCHEMA):
                raise Problem(
                    f"was written by a newer version (schema {version}, here {len(SCHEMA)})",
                    where=str(self._path),
                    todo="update this machine",
                )
            if self._read_only and version < len(SCHEMA):
                raise StoreUnavailable(f"{self._path} is not set up yet (the first writer does it)")
            db.execute("PRAGMA cache_size = -16000")
            if self._read_only:
                db.execute("PRAGMA query_only = ON")
            else:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute(f"PRAGMA journal_size_limit = {64 << 20}")
                self._migrate(db)
                self._check(db)
        except BaseException:
            db.close()
            raise
        self._inode = self._path.stat().st_ino
        self._db = db

    def _make_room(self) -> None:
        folder = self._path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Problem(
                f"the folder can't be made ({error.strerror})", where=str(folder), todo="check owner, or choose another"
            ) from None
        target = self._path if self._path.exists() else folder
        if self._path.is_dir() or not os.access(target, os.R_OK | os.W_OK):
            raise Problem(
                "is a folder" if self._path.is_dir() else "can't be written by this user",
                where=str(target),
                todo="name a file" if self._path.is_dir() else "check owner and mode",
            )

    def _migrate(self, db: sqlite3.Connection) -> None:
        if db.execute("PRAGMA user_version").fetchone()[0] == len(SCHEMA):
            return
        with _transaction(db):
            version = db.execute("PRAGMA user_version").fetchone()[0]  # again: another writer may have been faster
            for script in SCHEMA[version:]:
                for statement in script.split(";"):
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(SCHEMA)}")

    def _check(self, db: sqlite3.Connection) -> None:
        """SQLite's own quick_check, see :data:`ALWAYS_CHECK_BYTES`; raises Problem."""
        boot = _machine_boot()
        size = self._path.stat().st_size
        checked = db.execute("SELECT value FROM meta WHERE key = 'checked'").fetchone()
        if size > ALWAYS_CHECK_BYTES and checked is not None and checked[0] == boot:
            return
        if size > ALWAYS_CHECK_BYTES:
            log.info("%s: checking %d MiB, as after every boot", self._path, size >> 20)
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise self._corrupt(verdict.splitlines()[-1])
        if size > ALWAYS_CHECK_BYTES:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('checked', ?)", (boot,))

    def _register(self, db: sqlite3.Connection, names: set[str]) -> dict[str, int]:
        ids: dict[str, int] = {}
        for name in sorted(names):
            parts(name)
            db.execute("INSERT INTO series (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
            ids[name] = db.execute("SELECT id FROM series WHERE name = ?", (name,)).fetchone()[0]
        return ids


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # some errors have rolled back by themselves
            db.execute("ROLLBACK")
        raise


def _put(db: sqlite3.Connection, bound: Sequence[tuple[int, int, float, int]]) -> None:
    """Rows of a series are put in together, for they lie together; of two for the same time the later one wins."""
    ordered = sorted(bound, key=itemgetter(0))
    whole = len(ordered) - len(ordered) % _AT_ONCE
    values = list(chain.from_iterable(ordered[:whole]))
    width = _AT_ONCE * 4
    db.executemany(_UPSERT_MANY, (values[start : start + width] for start in range(0, len(values), width)))
    db.executemany(_UPSERT, ordered[whole:])


def _bound(rows: Sequence[Row], ids: dict[str, int]) -> list[tuple[int, int, float, int]]:
    """The rows as SQLite takes them; raises RowRefused for what it could not."""
    try:
        return [(ids[series], int(time_ms), float(value), _CODES[flag]) for series, time_ms, value, flag in rows]
    except KeyError as error:
        raise RowRefused(f"{error} is not a quality flag") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise RowRefused(str(error)) from None


def _rows(series: str, found: Iterable[tuple[int, float, int]]) -> list[Row]:
    return [Row(series, time_ms, value, _flag(flag)) for time_ms, value, flag in found]


def _flag(code: int) -> Flag:
    return _FLAGS.get(code, Flag.NOT_EVALUATED)


def _prefix(commune: str) -> tuple[str, str]:
    """Bounds of the names that start with ``<commune>/``; "0" is the character after "/"."""
    return f"{commune}/", f"{commune}0"


def _machine_boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
