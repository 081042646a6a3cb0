"""An outbox in place of a damaged one, with what is still whole in that.

SQLite gives a table up at the first page that makes no sense. So each is read from its start up to the damage, and from
its end down to it; a pack that comes out proves by its check sum that it is the one that was committed. What lies
between two damages stays behind, in the file that is kept. The counts of the ledger have no check sum: one that can't
be read begins with what was taken over.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keng_contracts.telemetry import is_series
from keng_edge.outbox.aside import move_aside
from keng_edge.outbox.file import COLUMNS, OutboxDamaged, OutboxUnavailable, Row, insert, lay_out, sign
from keng_edge.outbox.outbox import Boot, Outbox

log = logging.getLogger(__name__)


def open_outbox(path: Path, boot: Boot, max_bytes: int, stamp: str, max_age_ms: int | None = None) -> Outbox:
    """Open the outbox; for a damaged one see :func:`replaced`."""
    try:
        return Outbox(path, boot, max_bytes, max_age_ms)
    except OutboxDamaged as error:
        return replaced(path, boot, max_bytes, stamp, max_age_ms, why=str(error))


def replaced(path: Path, boot: Boot, max_bytes: int, stamp: str, max_age_ms: int | None = None, *, why: str) -> Outbox:
    """Move a damaged outbox to ``<path>.damaged-<stamp>`` and begin a new one with what is still whole in it."""
    fresh = path.with_name(f"{path.name}.new")
    whole = take_over(path, fresh)  # first: should the power fail now, it is done again at the next start
    move_aside(path, stamp, why, max_bytes)
    if whole:
        try:
            fresh.rename(path)
        except OSError as error:
            raise OutboxUnavailable(f"the disk fails ({error.strerror})") from None
    return Outbox(path, boot, max_bytes, max_age_ms)


def take_over(path: Path, fresh: Path) -> bool:
    """Write what is whole in the outbox ``path`` to the new file ``fresh``; whether that is an outbox now.

    ``path`` is only read. Where ``fresh`` can't be written there is none, and nothing is raised.
    """
    try:
        fresh.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as old,
            contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as new,
        ):
            sign(new)
            new.execute("BEGIN")
            lay_out(new)
            packs, readings = _copy(old, new)
            new.execute("COMMIT")
    except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
        log.error(
            "what is whole in the damaged outbox can't be taken over (%s): it stays in the file that is kept", error
        )
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        return False
    log.warning("%d packs with %d readings of the damaged outbox were whole and are taken over", packs, readings)
    return True


def _copy(old: sqlite3.Connection, new: sqlite3.Connection) -> tuple[int, int]:
    """Copy packs, counts and the names of runs; how many packs and readings."""
    names: dict[int, str] = {}
    packs = readings = 0
    for table in ("packs", "held"):
        for raw in _rows(old, table, "id", COLUMNS):
            row = Row(*raw)
            if row.is_whole() and not new.execute(f"SELECT 1 FROM {table} WHERE id = ?", (row.id,)).fetchone():
                insert(new, table, row)
                packs, readings = packs + 1, readings + row.readings
                if row.run not in names:
                    names[row.run] = json.loads(row.payload)[0]["boot"]
    known = {(run, boot): (machine, spoke) for run, boot, machine, spoke in _rows(old, "boots", "run", _BOOTS)}
    for run, boot in names.items():
        machine, spoke = known.get((run, boot), (None, None))
        row_ = (run, boot, machine if isinstance(machine, str) else None, spoke if spoke == 0 else None)
        new.execute(f"INSERT INTO boots ({_BOOTS}) VALUES (?, ?, ?, ?)", row_)
    ledger = Counter(dict(_counts(old, "ledger", "series")))
    for series, count in (_by_series(new) - ledger).items():
        ledger[series] += count
    new.executemany("INSERT INTO ledger VALUES (?, ?)", sorted(ledger.items()))
    new.executemany("INSERT INTO totals VALUES (?, ?)", dict(_counts(old, "totals", "name")).items())
    return packs, readings


_BOOTS = "run, boot, machine, spoke"


def _rows(db: sqlite3.Connection, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Rows from both ends up to where the table can't be read; some may come twice."""
    for order in ("ASC", "DESC"):
        try:
            there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            chosen = ", ".join(one if one in there else "NULL" for one in columns.split(", "))
            yield from db.execute(f"SELECT {chosen} FROM {table} ORDER BY {key} {order}")
            return
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue


def _counts(db: sqlite3.Connection, table: str, name: str) -> Iterator[tuple[str, int]]:
    for text, count in _rows(db, table, name, f"{name}, readings"):
        named = isinstance(text, str) and (is_series(text) or text in ("dropped", "dead"))
        if named and isinstance(count, int) and 0 <= count < 1 << 53:
            yield text, count


def _by_series(db: sqlite3.Connection) -> Counter[str]:
    """The readings in all packs, by series."""
    found: Counter[str] = Counter()
    for (payload,) in db.execute("SELECT payload FROM packs UNION ALL SELECT payload FROM held"):
        records = json.loads(payload)
        found.update(records[0]["bn"] + record["n"] for record in records)
    return found
