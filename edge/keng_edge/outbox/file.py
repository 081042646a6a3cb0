"""The file behind the outbox: what SQLite says of it, what is in it, and what becomes of one that is damaged."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

#: The bit of a pack's id that is set for telemetry, see ``outbox``.
PLAIN = 1 << 62

#: Primary result codes (sqlite.org/rescode.html) of a disk that does not take or give now …
_UNAVAILABLE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_READONLY: "the disk is read-only",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened",
    sqlite3.SQLITE_BUSY: "another program holds the file",
    sqlite3.SQLITE_NOMEM: "no memory is left",
}
#: … and of a file that will never be right again.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class OutboxUnavailable(Exception):
    """The disk does not take or give now. Nothing was changed; it may work later."""


class OutboxDamaged(Exception):
    """The file is no outbox any more."""


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
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            raise OutboxDamaged(str(error)) from error
        if code in _UNAVAILABLE:
            raise OutboxUnavailable(_UNAVAILABLE[code]) from error
        raise


def quarantine(path: Path, stamp: str, why: str) -> None:
    """Move a damaged outbox aside with its journal, for someone to look at."""
    try:
        for suffix in ("", "-wal", "-shm"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(path.with_name(f"{path.name}.damaged-{stamp}{suffix}"))
    except OSError as error:
        raise OutboxUnavailable(f"the outbox is damaged and can't be moved aside ({error.strerror})") from None
    log.error("the outbox was damaged (%s); it is kept as %s.damaged-%s, and a new one begun", why, path, stamp)


def damaged(path: Path) -> list[Path]:
    """The outboxes that were moved aside and still lie there, oldest first."""
    files = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(file for file in files if not file.name.endswith(("-wal", "-shm")))


def inspect(path: Path) -> tuple[Depth, dict[str, int]]:
    """Depth and ledger of an outbox, read beside a running agent. Raises as :class:`Outbox` does."""
    with translated(), contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        return depth_of(db), ledger_of(db)
