"""What alerts remembers: on disk before anything is said, so that a crash forgets nothing and says nothing twice.

One SQLite file: the state of each gauge and the window of its quality control, each alert's document and what has been
done about it, the timeline, the command counter, and the commands that the broker does not have yet. A change of level,
its document and its command become durable in one transaction; a command that was signed before a crash goes out after
it with the same id and counter, so a loudspeaker that had it refuses the copy.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from pydantic import TypeAdapter

from keng_alerts.gauge.data import Data
from keng_alerts.gauge.forecast import Track
from keng_alerts.gauge.hazard import State
from keng_alerts.gauge.response import Response
from keng_contracts.alerts import AlertDocument
from keng_contracts.errors import Problem
from keng_signals.quality import Window

#: The state of a gauge as it is written down.
STATE = TypeAdapter(State)
RESPONSE = TypeAdapter(Response)
TRACK = TypeAdapter(Track)
_DATA = TypeAdapter(Data)
#: For so long the commands that were sent stay on record.
KEPT_MS = 30 * 86_400_000
#: Lines of the timeline that are kept; a flood with twenty loudspeakers makes some hundreds.
MAX_TIMELINE = 50_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS gauge (series TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quality (series TEXT PRIMARY KEY, window TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS data (series TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS track (series TEXT PRIMARY KEY, samples TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarm (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alert (id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outgoing (
    counter INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, expires_ms INTEGER NOT NULL,
    sent INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS response (alert TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS obeyed (issuer TEXT PRIMARY KEY, counter INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS timeline (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, alert TEXT NOT NULL, episode INTEGER NOT NULL, what TEXT NOT NULL,
    by TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS timeline_of ON timeline (alert, id);
"""
#: The journal of the first version becomes the beginning of the timeline.
_FROM_JOURNAL = """
BEGIN IMMEDIATE;
INSERT INTO timeline (at_ms, alert, episode, what, by, detail)
    SELECT at_ms, replace(sensor, '/', '-'), 0, what, '', json_object('note', detail) FROM journal ORDER BY id;
DROP TABLE journal;
COMMIT;
"""


class Outgoing(NamedTuple):
    """A signed command on its way to the broker."""

    counter: int
    topic: str
    payload: bytes
    expires_ms: int


class Entry(NamedTuple):
    """A line of the timeline of an alert: what happened, when (ms since 1970 UTC), by whom, and on what ground."""

    at_ms: int
    alert: str
    episode: int
    what: str
    by: str
    detail: dict[str, Any]


@dataclass(slots=True)
class Changes:
    """What is made durable as one: states by series, responses and alarms by alert, counters by issuer."""

    states: dict[str, State] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    data: dict[str, Data] = field(default_factory=dict)
    responses: dict[str, Response] = field(default_factory=dict)
    documents: dict[str, AlertDocument] = field(default_factory=dict)
    commands: list[Outgoing] = field(default_factory=list)
    revoked: list[int] = field(default_factory=list)
    timeline: list[Entry] = field(default_factory=list)
    obeyed: dict[str, int] = field(default_factory=dict)
    alarms: dict[str, Any] = field(default_factory=dict)
    tracks: dict[str, Track] = field(default_factory=dict)

    def __bool__(self) -> bool:
        decided = self.responses or self.documents or self.timeline or self.obeyed
        return bool(decided or self.windows or self.data or self.alarms)


class Memory:
    """The file. :meth:`keep` is one durable transaction."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone():
                self._db.executescript(_FROM_JOURNAL)
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

    def tracks(self) -> dict[str, Track]:
        """The last two hours of every gauge, and what they foretell, by series."""
        return {s: TRACK.validate_json(t) for s, t in self._db.execute("SELECT series, samples FROM track")}

    def alarms(self) -> dict[str, Any]:
        """What every alarm by a rule remembers, by its id, as JSON."""
        return {id_: json.loads(text) for id_, text in self._db.execute("SELECT id, state FROM alarm")}

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

    def responses(self) -> dict[str, Response]:
        """What has been done about every alert, by its id."""
        return {a: RESPONSE.validate_json(t) for a, t in self._db.execute("SELECT alert, state FROM response")}

    def obeyed(self) -> dict[str, int]:
        """The highest counter obeyed, by issuer."""
        return dict(self._db.execute("SELECT issuer, counter FROM obeyed"))

    def timeline(self, alert: str = "") -> list[Entry]:
        """What happened, the oldest first; of one alert or of all."""
        return timeline(self._db, alert)

    def keep(self, changes: Changes) -> None:
        """Make all of it durable, or none of it (then sqlite3.Error is raised)."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._put("gauge (series, state)", ((s, STATE.dump_json(v).decode()) for s, v in changes.states.items()))
            windows = ((s, json.dumps(w.dump(), allow_nan=False)) for s, w in changes.windows.items())
            self._put("quality (series, window)", windows)
            self._put("data (series, state)", ((s, _DATA.dump_json(v).decode()) for s, v in changes.data.items()))
            responses = ((a, RESPONSE.dump_json(r).decode()) for a, r in changes.responses.items())
            self._put("response (alert, state)", responses)
            self._put("track (series, samples)", ((s, TRACK.dump_json(t).decode()) for s, t in changes.tracks.items()))
            self._put("alarm (id, state)", ((i, json.dumps(a, allow_nan=False)) for i, a in changes.alarms.items()))
            self._put("alert (id, document)", ((d.id, d.model_dump_json()) for d in changes.documents.values()))
            self._put("obeyed (issuer, counter)", changes.obeyed.items())
            self._db.executemany("INSERT INTO outgoing VALUES (?, ?, ?, ?, 0)", changes.commands)
            self.sent(changes.revoked)
            if changes.commands:
                old_ms = changes.commands[-1].expires_ms - KEPT_MS
                self._db.execute("DELETE FROM outgoing WHERE sent AND expires_ms < ?", (old_ms,))
            self._db.executemany(
                "INSERT INTO timeline (at_ms, alert, episode, what, by, detail) VALUES (?, ?, ?, ?, ?, ?)",
                [(*entry[:5], json.dumps(entry.detail, ensure_ascii=False)) for entry in changes.timeline],
            )
            if changes.timeline:
                oldest = "SELECT max(id) FROM timeline"
                self._db.execute(f"DELETE FROM timeline WHERE id <= ({oldest}) - ?", (MAX_TIMELINE,))
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _put(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write rows of (key, value) over those that are there."""
        self._db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)

    def sent(self, counters: Iterable[int]) -> None:
        """The broker has these commands; their rows stay, for the counter and for the record."""
        self._db.executemany("UPDATE outgoing SET sent = 1 WHERE counter = ?", [(counter,) for counter in counters])

    def close(self) -> None:
        self._db.close()


def read_timeline(path: Path, alert: str = "") -> list[Entry]:
    """The timeline out of a file that a service may be writing; raises :class:`Problem` if there is none to read."""
    try:
        # Without a log beside it nobody has the file open, and a reader must not leave one there that is its own.
        alone = not path.with_name(f"{path.name}-wal").exists()
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro{'&immutable=1' * alone}", uri=True, timeout=10)
        try:
            return timeline(database, alert)
        finally:
            database.close()
    except sqlite3.Error as error:
        todo = "name the service's settings with --settings, and read it as a user who may"
        raise Problem(f"the timeline can't be read ({error})", where=str(path), todo=todo) from None


def timeline(database: sqlite3.Connection, alert: str) -> list[Entry]:
    """The lines of an alert, or of all."""
    rows = database.execute(
        "SELECT at_ms, alert, episode, what, by, detail FROM timeline WHERE ? IN ('', alert) ORDER BY id", (alert,)
    )
    return [Entry(at, of, episode, what, by, json.loads(detail)) for at, of, episode, what, by, detail in rows]
