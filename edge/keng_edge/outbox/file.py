"""The file behind the outbox: what is in it, and what SQLite says of it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

#: The bit of a pack's id that is set for telemetry, and the place of the run in it, see ``outbox``.
PLAIN = 1 << 62
RUN = 32
SEQ = (1 << RUN) - 1

#: "Keng" and the version of the schema, in the file's header.
APPLICATION_ID = 0x4B4E6701
#: Half of SQLite's own: a commit writes whole pages, that of a single alarm too, and a card wears by what is written.
#: An outbox that has other pages keeps them.
PAGE_BYTES = 2048

_SCHEMA = """
CREATE TABLE IF NOT EXISTS packs (id INTEGER PRIMARY KEY, readings INTEGER, first_ms INTEGER, payload BLOB);
CREATE TABLE IF NOT EXISTS held (id INTEGER PRIMARY KEY, readings INTEGER, first_ms INTEGER, payload BLOB);
CREATE TABLE IF NOT EXISTS boots (run INTEGER PRIMARY KEY, boot TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS ledger (series TEXT PRIMARY KEY, readings INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, readings INTEGER) WITHOUT ROWID;
"""
#: What came to a table later; in an older file these columns are NULL.
_ADDED = [("boots", "machine TEXT"), ("boots", "spoke INTEGER"), ("packs", "crc INTEGER"), ("held", "crc INTEGER")]

#: By table, what no row has that this program wrote. SQLite checks how pages hang together, not what is in them.
_ROW = (
    "id < 0 OR typeof(readings) <> 'integer' OR readings NOT BETWEEN 1 AND 10000 OR typeof(first_ms) <> 'integer' "
    "OR first_ms NOT BETWEEN -253402300800000 AND 253402300800000 OR typeof(payload) <> 'blob' "
    f"OR typeof(crc) NOT IN ('integer', 'null') OR (id & ~{PLAIN}) >> {RUN} NOT IN (SELECT run FROM boots)"
)
_COUNT = "typeof({}) <> 'text' OR typeof(readings) <> 'integer' OR readings < 0"
_NEVER = {
    "packs": _ROW,
    "held": _ROW,
    "boots": f"run NOT BETWEEN 0 AND {(1 << 62 - RUN) - 2} OR typeof(boot) <> 'text' "
    "OR typeof(machine) NOT IN ('text', 'null') OR typeof(spoke) NOT IN ('integer', 'null')",
    "ledger": _COUNT.format("series"),
    "totals": _COUNT.format("name"),
}

#: Primary result codes (sqlite.org/rescode.html) of a disk that does not take or give now. Our statements are right, so
#: any other error tells of a file that will never be right again; so does a short read, of one that is cut off (since
#: SQLite 3.45, which reads a long row's pages from the file itself, that is how it says so).
_UNAVAILABLE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_READONLY: "the disk is read-only",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened",
    sqlite3.SQLITE_PERM: "the file can't be opened",
    sqlite3.SQLITE_BUSY: "another program holds the file",
    sqlite3.SQLITE_LOCKED: "another program holds the file",
    sqlite3.SQLITE_PROTOCOL: "another program holds the file",
    sqlite3.SQLITE_NOMEM: "no memory is left",
}


class OutboxUnavailable(Exception):
    """The disk does not take or give now. Nothing was changed; it may work later."""


class OutboxDamaged(Exception):
    """The file is no outbox any more."""


class Row(NamedTuple):
    """One pack as it lies in ``packs`` or ``held``. ``crc`` is None where an older agent wrote it."""

    id: int
    readings: int
    first_ms: int
    payload: bytes
    crc: int | None

    @classmethod
    def of(cls, id_: int, readings: int, first_ms: int, payload: bytes) -> Row:
        return cls(id_, readings, first_ms, payload, _checksum(id_, readings, first_ms, payload))

    @property
    def run(self) -> int:
        return (self.id & ~PLAIN) >> RUN

    def is_whole(self) -> bool:
        """Whether all of it is what was committed."""
        if self.crc is not None:
            return self.crc == _checksum(*self[:4])
        try:
            records = json.loads(self.payload)
            head = records[0]
            return (head["seq"], len(records), round(head["bt"] * 1000)) == (
                self.id & SEQ,
                self.readings,
                self.first_ms,
            )
        except (ValueError, LookupError, TypeError):
            return False

    def checked(self) -> Row:
        """Itself; raises :class:`OutboxDamaged` if it is not whole."""
        if not self.is_whole():
            raise OutboxDamaged(f"pack {self.id:x} is not what was committed")
        return self


#: The columns of a :class:`Row`.
COLUMNS = "id, readings, first_ms, payload, crc"


def _checksum(id_: int, readings: int, first_ms: int, payload: bytes) -> int:
    """CRC-32 of a row, less 2³¹: SQLite keeps that in four bytes."""
    return zlib.crc32(payload, zlib.crc32(b"%d %d %d " % (id_, readings, first_ms))) - (1 << 31)


def insert(db: sqlite3.Connection, table: str, row: Row) -> None:
    db.execute(f"INSERT INTO {table} ({COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)


def sign(db: sqlite3.Connection) -> None:
    """Say whose file it is, before anything else is in it: a power cut right after this must not leave one that nobody
    knows."""
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def lay_out(db: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older agent up to date; within a transaction."""
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    for table, column in _ADDED:
        if column.split()[0] not in [row[1] for row in db.execute(f"PRAGMA table_info({table})")]:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def examine(db: sqlite3.Connection) -> None:
    """Raise :class:`OutboxDamaged` for a row that is nonsense; whether packs are whole is seen when they are read."""
    for table, never in _NEVER.items():
        if one(db, f"SELECT 1 FROM {table} WHERE {never} LIMIT 1"):
            raise OutboxDamaged(f"a row of {table} makes no sense")
    if (fault := one(db, "PRAGMA integrity_check(boots)")) != "ok":  # quick_check does not look into its index
        raise OutboxDamaged(str(fault))
    for text in ("boot, machine FROM boots", "series FROM ledger", "name FROM totals"):
        db.execute(f"SELECT {text}").fetchall()  # fails for what is no UTF-8


@dataclass(frozen=True, slots=True)
class Depth:
    """What the outbox holds, and what became of the rest. All but ``packs``, ``bytes`` and time count readings.

    ``waiting`` of the readings can't be sent before the clock is known.
    """

    packs: int = 0
    readings: int = 0
    waiting: int = 0
    oldest_ms: int | None = None
    bytes: int = 0
    committed: int = 0
    dropped: int = 0
    dead: int = 0


def depth_of(db: sqlite3.Connection) -> Depth:
    count = "SELECT count(*), coalesce(sum(readings), 0) FROM"
    packs, readings = db.execute(f"{count} packs").fetchone()
    held, waiting = db.execute(f"{count} held").fetchone() if has_held(db) else (0, 0)
    totals = dict(db.execute("SELECT name, readings FROM totals"))
    return Depth(
        packs=packs + held,
        readings=readings + waiting,
        waiting=waiting,
        oldest_ms=oldest_of(db),
        bytes=used(db),
        committed=sum(ledger_of(db).values()),
        dropped=totals.get("dropped", 0),
        dead=totals.get("dead", 0),
    )


def has_held(db: sqlite3.Connection) -> bool:
    """An outbox that an older agent left behind has no such table yet when it is only looked at."""
    return bool(one(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'held'"))


def oldest_of(db: sqlite3.Connection) -> int | None:
    heads = db.execute(
        "SELECT first_ms FROM (SELECT first_ms FROM packs WHERE id < ?1 ORDER BY id LIMIT 1) "
        "UNION ALL SELECT first_ms FROM (SELECT first_ms FROM packs WHERE id >= ?1 ORDER BY id LIMIT 1)",
        (PLAIN,),
    )
    return min((ms for (ms,) in heads), default=None)


def ledger_of(db: sqlite3.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT series, readings FROM ledger ORDER BY series"))


def used(db: sqlite3.Connection) -> int:
    pages = pragma(db, "page_count") - pragma(db, "freelist_count")
    return pages * pragma(db, "page_size")


def pragma(db: sqlite3.Connection, name: str) -> int:
    return int(one(db, f"PRAGMA {name}"))


def one(db: sqlite3.Connection, query: str, *values: object) -> Any:
    row = db.execute(query, values).fetchone()
    return None if row is None else row[0]


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """SQLite's errors as what they mean here; any other error is ours and stays as it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0)  # text that is no UTF-8 has no code
        if code & 0xFF in _UNAVAILABLE and code != sqlite3.SQLITE_IOERR_SHORT_READ:
            raise OutboxUnavailable(_UNAVAILABLE[code & 0xFF]) from error
        if isinstance(error, sqlite3.ProgrammingError):
            raise
        raise OutboxDamaged(str(error)) from error
    except UnicodeDecodeError as error:  # of what SQLite found wrong, in the words of the file
        raise OutboxDamaged("a name in it is no text") from error


def inspect(path: Path) -> tuple[Depth, dict[str, int]]:
    """Depth and ledger of an outbox, read beside a running agent; one that it has only begun to make is empty.

    Raises as :class:`Outbox` does.
    """
    with translated(), contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        begun = not pragma(db, "page_count") or pragma(db, "application_id") == APPLICATION_ID
        if begun and not one(db, "SELECT count(*) FROM sqlite_schema"):
            return Depth(), {}
        return depth_of(db), ledger_of(db)
