"""Mending times in an outbox once the clock is known: what may be moved, and where to.

- What this start of the machine stamped with an unknown clock, or with one that was set since, is wrong; so is what an
  earlier start stamped in the future. What of it nobody can have seen yet is called back and held.
- What is held goes out at last. If the machine has not been started anew since, its time is known to the millisecond.
  If it has, all that is known is that it was before: the readings of each earlier start are put right before those of
  the next one, in their order and at their distances, and are suspect.

Both run inside the outbox's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from keng_contracts.telemetry import Clock, Flag
from keng_edge.outbox.file import COLUMNS, PLAIN, RUN, Row, insert
from keng_edge.outbox.timeline import FAR_MS, Stamp, moved

#: Packs that are in memory at a time.
_STEP = 200

_HEAD = "json_extract(CAST(payload AS TEXT), '$[0].up')"
#: What a head says, seen without reading all of it as JSON.
_SAYS = "instr(substr(payload, 1, 250), CAST('{}' AS BLOB)) > 0"
_UNKNOWN, _HAS_UP = _SAYS.format(f'"clock":"{Clock.UNKNOWN}"'), _SAYS.format('"up":')
_STAMPED_OTHERWISE = f"({_UNKNOWN} OR abs(first_ms - {_HEAD} * 1000 - ?) > {FAR_MS})"
_LAST = "coalesce(json_extract(CAST(payload AS TEXT), '$[#-1].t'), 0)"


def recall(db: sqlite3.Connection, machine: str, run: int, now: Stamp, now_ms: int, sent: Collection[int]) -> None:
    """Back into ``held`` with what a wrong clock stamped, but what is in ``sent`` or of an earlier run that spoke."""
    runs = db.execute("SELECT run, machine FROM boots WHERE run = ? OR spoke = 0", (run,)).fetchall()
    for one, its_machine in runs:
        mine = its_machine == machine
        wrong, than = (_STAMPED_OTHERWISE, now.offset_ms) if mine else ("first_ms > ?", now_ms + FAR_MS)
        for kind in (0, PLAIN):
            after, end = (kind | one << RUN) - 1, kind | (one + 1) << RUN
            query = f"SELECT {COLUMNS} FROM packs WHERE id > ? AND id < ? AND {wrong} AND {_HAS_UP} ORDER BY id LIMIT ?"
            while rows := [Row(*row) for row in db.execute(query, (after, end, than, _STEP))]:
                for row in rows:
                    if row.id not in sent:
                        insert(db, "held", row.checked())
                        db.execute("DELETE FROM packs WHERE id = ?", (row.id,))
                after = rows[-1].id


def release(db: sqlite3.Connection, machine: str, now: Stamp) -> int:
    """Give everything in ``held`` a time, and let it be sent; how many readings."""
    count = 0
    places = _places(db, machine, now) if db.execute("SELECT 1 FROM held LIMIT 1").fetchone() else {}
    query = f"SELECT {COLUMNS}, {_HEAD} FROM held ORDER BY id LIMIT ?"
    while rows := [(Row(*row), up) for *row, up in db.execute(query, (_STEP,))]:
        for row, up in rows:
            row.checked()
            offset_ms, mine = places[row.run]
            first_ms = round(up * 1000) + offset_ms
            clock, flag = (Clock.HOLDOVER, None) if mine else (Clock.UNKNOWN, Flag.SUSPECT)
            new = moved(row.payload, first_ms - row.first_ms, clock, flag)
            insert(db, "packs", Row.of(row.id, row.readings, first_ms, new))
            db.execute("DELETE FROM held WHERE id = ?", (row.id,))
            count += row.readings
    return count


def _places(db: sqlite3.Connection, machine: str, now: Stamp) -> dict[int, tuple[int, bool]]:
    """By run: wall − up in ms, and whether it ran in this start of the machine."""
    places: dict[int, tuple[int, bool]] = {}
    before_ms, later, offset_ms = now.offset_ms, machine, now.offset_ms  # the wall time of this start: up was 0
    spans = {
        name: (round(first * 1000), round(last * 1000))
        for name, first, last in db.execute(
            f"SELECT machine, min({_HEAD}), max({_HEAD} + {_LAST}) FROM held JOIN boots "
            "ON run = (id & ~?) >> ? GROUP BY machine",
            (PLAIN, RUN),
        )
    }
    for run, name in db.execute("SELECT run, machine FROM boots ORDER BY run DESC"):
        if name != later and name in spans:
            first_ms, last_ms = spans[name]
            offset_ms = before_ms - 1 - last_ms
            before_ms, later = first_ms + offset_ms, name
        places[run] = (now.offset_ms, True) if name == machine else (offset_ms, False)
    return places
