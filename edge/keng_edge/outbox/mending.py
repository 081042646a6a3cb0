"""Mending times in an outbox once the clock is known: the two statements of what may be moved, and where to.

- What this run stamped with an unknown clock and has not sent is moved by the step of the clock.
- What was held, because its times were impossible, goes out at last. If the machine has not been started anew since,
  its time is known to the millisecond. If it has, all that is known is that it was before: the readings of each
  earlier start are put right before those of the next one, in their order and at their distances, and are suspect.

Both run inside the outbox's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator

from keng_contracts.telemetry import Clock, Flag
from keng_edge.outbox.file import PLAIN
from keng_edge.outbox.timeline import Stamp, moved

#: The place of the run in an id, as in ``outbox``.
_RUN = 32
#: Packs that are in memory at a time.
_STEP = 200

_HEAD = "json_extract(CAST(payload AS TEXT), '$[0].up')"
_LAST = "coalesce(json_extract(CAST(payload AS TEXT), '$[#-1].t'), 0)"


def release(db: sqlite3.Connection, machine: str, now: Stamp) -> int:
    """Give everything in ``held`` a time, and let it be sent; how many readings."""
    count = 0
    places = _places(db, machine, now) if db.execute("SELECT 1 FROM held LIMIT 1").fetchone() else {}
    while rows := db.execute(
        f"SELECT id, readings, first_ms, payload, {_HEAD} FROM held ORDER BY id LIMIT ?", (_STEP,)
    ).fetchall():
        for id_, readings, first_ms, payload, up in rows:
            offset_ms, mine = places[_run(id_)]
            by_ms = round(up * 1000) + offset_ms - first_ms
            clock, flag = (Clock.HOLDOVER, None) if mine else (Clock.UNKNOWN, Flag.SUSPECT)
            new = moved(payload, by_ms, clock, flag)
            db.execute("INSERT INTO packs VALUES (?, ?, ?, ?)", (id_, readings, first_ms + by_ms, new))
            db.execute("DELETE FROM held WHERE id = ?", (id_,))
            count += readings
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
            (PLAIN, _RUN),
        )
    }
    for run, name in db.execute("SELECT run, machine FROM boots ORDER BY run DESC"):
        if name != later and name in spans:
            first_ms, last_ms = spans[name]
            offset_ms = before_ms - 1 - last_ms
            before_ms, later = first_ms + offset_ms, name
        places[run] = (now.offset_ms, True) if name == machine else (offset_ms, False)
    return places


def move(db: sqlite3.Connection, run: int, now: Stamp, sent: Collection[int]) -> int:
    """Move the packs of ``run`` that an unknown clock stamped, but those in ``sent``; how many readings."""
    count = 0
    for id_, readings, first_ms, payload, up in _unknown(db, run):
        if id_ not in sent:
            by_ms = round(up * 1000) + now.offset_ms - first_ms
            db.execute(
                "UPDATE packs SET first_ms = ?, payload = ? WHERE id = ?",
                (first_ms + by_ms, moved(payload, by_ms, Clock.HOLDOVER), id_),
            )
            count += readings
    return count


def _unknown(db: sqlite3.Connection, run: int) -> Iterator[tuple[int, int, int, bytes, float]]:
    for kind in (0, PLAIN):
        after, end = (kind | run << _RUN) - 1, kind | (run + 1) << _RUN
        while rows := db.execute(
            f"SELECT id, readings, first_ms, payload, {_HEAD} FROM packs WHERE id > ? AND id < ? "
            f"AND json_extract(CAST(payload AS TEXT), '$[0].clock') = ? AND {_HEAD} IS NOT NULL ORDER BY id LIMIT ?",
            (after, end, Clock.UNKNOWN.value, _STEP),
        ).fetchall():
            yield from rows
            after = rows[-1][0]


def _run(id_: int) -> int:
    return (id_ & ~PLAIN) >> _RUN
