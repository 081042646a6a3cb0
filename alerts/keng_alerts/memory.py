"""What alerts remembers: on disk before anything is said, so that a crash forgets nothing and says nothing twice.

One SQLite file: the state of each gauge and the window of its quality control, each alert's document, the command
counter, and the commands that the broker does not have yet. A change of level, its document and its command become
durable in one transaction; a command that was signed before a crash goes out after it with the same id and counter, so
a loudspeaker that had it refuses the copy.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from keng_alerts.data import Data
from keng_alerts.hazard import State
from keng_contracts.alerts import AlertDocument
from keng_contracts.errors import Problem
from keng_signals.quality import Window

#: The state of a gauge as it is written down.
STATE = TypeAdapter(State)
_DATA = TypeAdapter(Data)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS gauge (series TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quality (series TEXT PRIMARY KEY, window TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS data (series TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alert (id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outgoing (
    counter INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, expires_ms INTEGER NOT NULL,
    sent INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS journal (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, sensor TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL
);
"""


class Outgoing(NamedTuple):
    """A signed command on its way to the broker."""

    counter: int
    topic: str
    payload: bytes
    expires_ms: int


class Entry(NamedTuple):
    """A line of the journal: what was decided about a sensor, when (ms since 1970 UTC), and on what ground."""

    at_ms: int
    sensor: str
    what: str
    detail: str


class Memory:
    """The file. :meth:`keep` is one durable transaction."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise Problem(
                f"the alert state can't be opened ({error})",
                where=str(path),
                todo="if it is damaged, move it aside: alerts then starts with every gauge at normal",
            ) from None

    def states(self) -> dict[str, State]:
        """The state of every gauge, by series."""
        return {s: STATE.validate_json(t) for s, t in self._db.execute("SELECT series, state FROM gauge")}

    def windows(self) -> dict[str, Window]:
        """The window of every gauge's quality control, by series."""
        return {s: Window.load(json.loads(t)) for s, t in self._db.execute("SELECT series, window FROM quality")}

    def data(self) -> dict[str, Data]:
        """The state of every gauge's data, by series."""
        return {s: _DATA.validate_json(t) for s, t in self._db.execute("SELECT series, state FROM data")}

    def alerts(self) -> dict[str, AlertDocument]:
        """Every alert's document, by id."""
        rows = self._db.execute("SELECT id, document FROM alert")
        return {id_: AlertDocument.model_validate_json(text) for id_, text in rows}

    def counter(self) -> int:
        """The highest command counter ever used."""
        return int(self._db.execute("SELECT coalesce(max(counter), 0) FROM outgoing").fetchone()[0])

    def outgoing(self) -> list[Outgoing]:
        """Commands that the broker does not have yet, in the order in which they were signed."""
        rows = self._db.execute(
            "SELECT counter, topic, payload, expires_ms FROM outgoing WHERE NOT sent ORDER BY counter"
        )
        return [Outgoing(counter, topic, bytes(payload), expires) for counter, topic, payload, expires in rows]

    def journal(self) -> list[Entry]:
        """Everything that was decided, the oldest first."""
        return [Entry(*row) for row in self._db.execute("SELECT at_ms, sensor, what, detail FROM journal ORDER BY id")]

    def keep(
        self,
        states: Mapping[str, State],
        windows: Mapping[str, Window],
        data: Mapping[str, Data],
        alerts: Iterable[AlertDocument],
        commands: Iterable[Outgoing],
        journal: Iterable[Entry],
    ) -> None:
        """Make all of it durable, or none of it (then sqlite3.Error is raised)."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT INTO gauge VALUES (?, ?) ON CONFLICT (series) DO UPDATE SET state = excluded.state",
                [(series, STATE.dump_json(state).decode()) for series, state in states.items()],
            )
            self._db.executemany(
                "INSERT INTO quality VALUES (?, ?) ON CONFLICT (series) DO UPDATE SET window = excluded.window",
                [(series, json.dumps(window.dump(), allow_nan=False)) for series, window in windows.items()],
            )
            self._db.executemany(
                "INSERT INTO data VALUES (?, ?) ON CONFLICT (series) DO UPDATE SET state = excluded.state",
                [(series, _DATA.dump_json(state).decode()) for series, state in data.items()],
            )
            self._db.executemany(
                "INSERT INTO alert VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document",
                [(document.id, document.model_dump_json()) for document in alerts],
            )
            self._db.executemany("INSERT INTO outgoing VALUES (?, ?, ?, ?, 0)", list(commands))
            self._db.executemany("INSERT INTO journal (at_ms, sensor, what, detail) VALUES (?, ?, ?, ?)", list(journal))
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def sent(self, counter: int) -> None:
        """The broker has this command; its row stays, for the counter and for the record."""
        self._db.execute("UPDATE outgoing SET sent = 1 WHERE counter = ?", (counter,))

    def close(self) -> None:
        self._db.close()
