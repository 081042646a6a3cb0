"""What the node must remember over a restart: the counters it has obeyed, the jobs that have ended, the refusals.

One small SQLite file, written through to the disk before anything is played: a command that was obeyed can't be played
back to the node after a power cut.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from keng_contracts.errors import Problem
from keng_loudspeaker.playing.playlist import MAX_ENDED
from keng_runtime.files import write_atomically

log = logging.getLogger(__name__)

Step = tuple[str, tuple[str | int, ...]]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counter (issuer TEXT PRIMARY KEY, ctr INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ended (number INTEGER PRIMARY KEY AUTOINCREMENT, play TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS refused (count INTEGER NOT NULL);
"""


#: Of each database so many pages are kept free in the file and in its journal, for what is written on a full disk; and
#: so many bytes beside it, enough to make all of that anew: a database that was closed has no journal.
FREE_PAGES, BESIDE = 16, 1 << 18


def open_database(path: Path, schema: str, loses: str) -> sqlite3.Connection:
    """Open or make a database that is written through, and small writes go on for long on a disk that has become full.
    A damaged one is moved aside, with a line that says what is lost by it: a loudspeaker goes on. Raises
    :class:`Problem` if the folder can't be used at all."""
    room = path.with_name(f"{path.name}-room")
    aside: Path | None = None
    for attempt in range(4):
        database = None
        try:
            database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            if attempt >= 2:  # at least what is there can be read: this needs no file for memory shared with others
                database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            if database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("damaged")
            database.executescript(schema)
            _keep_room(database, room)
            return database
        except sqlite3.OperationalError as error:
            if database is not None:
                database.close()
            if attempt >= 2:
                todo = "check owner, mode and room"
                raise Problem(f"can't be opened ({error})", where=str(path), todo=todo) from None
            with contextlib.suppress(OSError):
                room.unlink()
        except sqlite3.DatabaseError as error:
            if database is not None:
                database.close()
            if aside is not None:
                break
            aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
            path.rename(aside)
            for companion in (f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(companion).unlink(missing_ok=True)
            log.error("%s is damaged (%s) and was moved to %s: %s", path, error, aside.name, loses)
    raise Problem("can't be made", where=str(path), todo="check the disk")


def _keep_room(database: sqlite3.Connection, room: Path) -> None:
    """Raises sqlite3.OperationalError where what lies beside it would help."""
    database.execute(f"PRAGMA wal_autocheckpoint={FREE_PAGES * 3 // 4}")  # or the journal would grow beyond it
    try:
        database.execute("CREATE TABLE IF NOT EXISTS room (filler BLOB)")
        database.execute("INSERT INTO room VALUES (zeroblob(?))", (FREE_PAGES * 4096,))
        database.execute("DROP TABLE room")
        if not room.exists():
            write_atomically(room, bytes(BESIDE))
    except (sqlite3.OperationalError, OSError) as error:
        if room.exists():
            raise
        log.warning("%s: no room can be kept for a full disk (%s)", room, error)


class Memory:
    """The file, and in memory what it holds. A disk that takes nothing must not silence a siren: what could not be
    written still holds until the node ends."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA, "commands of the last hour could be repeated")
        self._counters: dict[str, int] = dict(self._db.execute("SELECT issuer, ctr FROM counter"))
        row = self._db.execute("SELECT count FROM refused").fetchone()
        self.refused: int = row[0] if row else 0
        self._refused_kept = self.refused

    @property
    def counters(self) -> Mapping[str, int]:
        """The highest counter obeyed, by issuer."""
        return MappingProxyType(self._counters)

    def ended(self) -> list[str]:
        """Names of jobs that have ended, the oldest first."""
        return [play for (play,) in self._db.execute("SELECT play FROM ended ORDER BY number")]

    def obey(self, issuer: str, counter: int, ended: Iterable[str] = ()) -> None:
        """Remember a command and the jobs that it ends; durable when it returns."""
        self._counters[issuer] = max(counter, self._counters.get(issuer, 0))
        row = (issuer, self._counters[issuer])
        self._write([("INSERT OR REPLACE INTO counter VALUES (?, ?)", row), *_end(ended)])

    def end(self, ended: Iterable[str]) -> None:
        """Remember jobs that have ended."""
        self._write(_end(ended))

    def keep_refused(self) -> None:
        """Write the count of refusals, if it has changed."""
        if self.refused != self._refused_kept:
            self._refused_kept = self.refused
            self._write([("DELETE FROM refused", ()), ("INSERT INTO refused VALUES (?)", (self.refused,))])

    def close(self) -> None:
        self.keep_refused()
        self._db.close()

    def _write(self, steps: Iterable[Step]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for query, values in steps:
                self._db.execute(query, values)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            log.error("what was obeyed can't be written down (%s): going on from memory; free the disk", error)


def _end(plays: Iterable[str]) -> list[Step]:
    added: list[Step] = [("INSERT OR REPLACE INTO ended (play) VALUES (?)", (play,)) for play in plays]
    forget = "DELETE FROM ended WHERE number <= (SELECT max(number) FROM ended) - ?"
    return [*added, (forget, (MAX_ENDED,))] if added else []
