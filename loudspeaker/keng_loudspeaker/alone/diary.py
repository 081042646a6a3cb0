"""What of the programme was done, on disk before it sounds: nothing is played twice, and nothing forgotten."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from keng_contracts.programme import Entry, Occurrence, Programme
from keng_loudspeaker.obeying.memory import open_database

log = logging.getLogger(__name__)

#: Names are remembered for so long after their time: a programme is for seven days.
KEPT_MS = 30 * 86_400_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS occurrence (
    play TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, state TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS left_over (
    play TEXT PRIMARY KEY, occurrence TEXT NOT NULL, entry TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS started (boot TEXT NOT NULL, started_ms INTEGER NOT NULL);
"""


class Diary:
    """The file, and in memory what it holds: a disk that takes nothing must not make an announcement come twice."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA, "an announcement of the last minutes could be repeated")
        rows = self._db.execute("SELECT play, state FROM occurrence").fetchall()
        self.begun = {play for play, state in rows if state != "skipped"}
        self.skipped = {play for play, state in rows if state == "skipped"}
        #: What had begun when the node ended: nobody has said yet what became of it.
        self.broken_off = sorted(play for play, state in rows if state == "begun")
        left = self._db.execute("SELECT play, occurrence, entry FROM left_over").fetchall()
        #: Of programmes that others have replaced, what has neither begun nor been skipped.
        self.left = {p: (Occurrence.model_validate_json(o), Entry.model_validate_json(e)) for p, o, e in left}
        self.started: tuple[str, int | None] = self._db.execute("SELECT boot, started_ms FROM started").fetchone() or (
            "",
            None,
        )

    def begin(self, play: str, at_ms: int) -> None:
        self.begun.add(play)
        self.skipped.discard(play)
        self._settle(play)
        self._write("INSERT OR REPLACE INTO occurrence VALUES (?, ?, 'begun')", play, at_ms)
        self._write("DELETE FROM occurrence WHERE at_ms < ?", at_ms - KEPT_MS)

    def skip(self, play: str, at_ms: int) -> None:
        self.skipped.add(play)
        self._settle(play)
        self._write("INSERT OR REPLACE INTO occurrence VALUES (?, ?, 'skipped')", play, at_ms)

    def leave(self, programme: Programme, from_ms: int) -> None:
        """It is replaced by one that begins then: what it had due before is not forgotten."""
        for due in programme.occurrences:
            if due.at_ms < from_ms and due.play not in self.begun | self.skipped:
                self.left[due.play] = (due, entry := programme.entry(due))
                row = (due.play, due.model_dump_json(), entry.model_dump_json())
                self._write("INSERT OR REPLACE INTO left_over VALUES (?, ?, ?)", *row)

    def over(self, play: str) -> None:
        """It has ended, in whatever way, and that was said."""
        self._write("UPDATE occurrence SET state = 'over' WHERE play = ?", play)

    def keep_start(self, boot: str, started_ms: int) -> None:
        """When the machine started (see :mod:`timeline`), for the next run of the node."""
        self.started = (boot, started_ms)
        self._write("DELETE FROM started")
        self._write("INSERT INTO started VALUES (?, ?)", boot, started_ms)

    def close(self) -> None:
        self._db.close()

    def _settle(self, play: str) -> None:
        if self.left.pop(play, None) is not None:
            self._write("DELETE FROM left_over WHERE play = ?", play)

    def _write(self, query: str, *values: str | int) -> None:
        try:
            self._db.execute(query, values)
        except sqlite3.Error as error:
            log.error("what was played can't be written down (%s): going on from memory; free the disk", error)
