"""The dead-letter table: what could not be stored, with topic, bytes and reason, so that a fix can replay it."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keng_contracts.errors import Problem
from keng_ingest.sort import DeadLetter
from keng_store.protocol import StoreUnavailable

#: The oldest letters make way when the payloads together are larger than this, in bytes.
MAX_BYTES = 256 << 20

#: What SQLite says of a file, or of those that it makes beside it, that are not for this user.
_FORBIDDEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS dead_letter (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,      -- of topic, bytes and reason: the same letter again only counts
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    reason TEXT NOT NULL,
    readings INTEGER NOT NULL,        -- records of the pack that were not stored; 0 when it could not be read
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    count INTEGER NOT NULL
)
"""


class Kept(NamedTuple):
    """One dead letter as it is kept. Times are ms since 1970 UTC."""

    id: int
    topic: str
    reason: str
    readings: int
    size: int
    first_ms: int
    last_ms: int
    times: int


class DeadLetters:
    """A SQLite file of its own: it must work when the store does not. It never holds more than ``max_bytes`` of
    payloads; :attr:`dropped` counts the letters that this object let go for that."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        try:
            self._db = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(_SCHEMA)
            self._bytes = int(
                self._db.execute("SELECT coalesce(sum(length(payload)), 0) FROM dead_letter").fetchone()[0]
            )
            self.dropped = 0
        except sqlite3.DatabaseError as error:
            forbidden = error.sqlite_errorcode & 0xFF in _FORBIDDEN
            raise Problem(
                f"the dead-letter file can't be opened ({error})",
                where=str(path),
                todo="check owner and mode; use sudo while ingest is stopped"
                if forbidden
                else "move it aside and start again",
            ) from None

    def keep(self, letters: Sequence[DeadLetter], now_ms: int) -> None:
        """Commit letters durably. Raises :class:`StoreUnavailable` if that can't be done now."""
        if not letters:
            return
        rows = []
        for letter in letters:
            digest = hashlib.sha256(
                b"\0".join((letter.topic.encode(), letter.payload, letter.reason.encode()))
            ).digest()
            rows.append((digest, letter.topic, letter.payload, letter.reason, letter.readings, now_ms, now_ms))
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO dead_letter (digest, topic, payload, reason, readings, first_ms, last_ms, count)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 1)"
                " ON CONFLICT (digest) DO UPDATE SET count = count + 1, last_ms = max(last_ms, excluded.last_ms)",
                rows,
            )
            self._bytes += sum(len(letter.payload) for letter in letters)
            dropped = self._make_room() if self._bytes > self._max_bytes else 0
            self._db.execute("COMMIT")
            self.dropped += dropped
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StoreUnavailable(f"the dead-letter file can't be written: {error}") from None

    def _make_room(self) -> int:
        """Drop the letters heard longest ago, down to nine tenths of the bound; how many."""
        sizes = self._db.execute("SELECT id, length(payload) FROM dead_letter ORDER BY last_ms, id").fetchall()
        self._bytes = sum(size for _, size in sizes)  # letters that came again were counted twice
        gone = []
        if self._bytes > self._max_bytes:
            for id_, size in sizes:
                if self._bytes <= self._max_bytes * 9 // 10:
                    break
                gone.append((id_,))
                self._bytes -= size
        self._db.executemany("DELETE FROM dead_letter WHERE id = ?", gone)
        return len(gone)

    def drop(self, ids: Sequence[int]) -> int:
        """Remove letters for ever; how many there were."""
        return sum(self._db.execute("DELETE FROM dead_letter WHERE id = ?", (id_,)).rowcount for id_ in ids)

    def mark(self, id_: int, reason: str) -> None:
        """Note today's reason beside a letter. Its name, the digest, stays that of the reason that it came with."""
        self._db.execute("UPDATE dead_letter SET reason = ? WHERE id = ?", (reason, id_))

    def list(self) -> list[Kept]:
        """All letters, the newest last."""
        rows = self._db.execute(
            "SELECT id, topic, reason, readings, length(payload), first_ms, last_ms, count"
            " FROM dead_letter ORDER BY last_ms"
        )
        return [Kept(*row) for row in rows]

    def payload(self, id_: int) -> bytes:
        """The bytes of a letter as they came; raises Problem if there is no such letter."""
        row = self._db.execute("SELECT payload FROM dead_letter WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise Problem(f"there is no dead letter {id_}", todo="see 'keng ingest dead-letters list'")
        return bytes(row[0])

    def readings(self) -> int:
        """How many readings lie here instead of in the store."""
        return int(self._db.execute("SELECT coalesce(sum(readings), 0) FROM dead_letter").fetchone()[0])

    def close(self) -> None:
        self._db.close()


def local_time(ms: int) -> str:
    """A time for people's eyes, in this machine's zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
