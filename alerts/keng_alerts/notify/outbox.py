"""What the notifier remembers: on disk before anything is sent, so that a crash tells nobody twice and forgets nobody.

A page's duties, its words and one delivery for each address are one transaction; only then is anything sent. A
delivery is claimed before it is handed to its child process, and the child writes down how it ended, so that even a
notifier that was killed meanwhile finds out.

============  =====================================================================  ======================
a delivery    when                                                                   then
============  =====================================================================  ======================
WAITING       its time has come and a place is free                                  SENDING, until a deadline
WAITING       all that it tells of is over, or it was tried for too long             DROPPED
SENDING       the gateway took it                                                    SENT
SENDING       the gateway refused it, or the child ended without a word              WAITING, after a longer pause
SENDING       the deadline has passed, and its child was killed long before          WAITING, at once
============  =====================================================================  ======================

A test (``notify test``) is a message without duties: nothing but the asker waits for it, so it is tried once.

The one gap: power fails after a gateway took a message and before the child wrote so. Then it is sent again, for to be
told twice is better than not to be told; the page's number at its end shows that it is the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from keng_alerts.notify.occasions import Occasion
from keng_alerts.notify.plan import HOUR_MS, Duty, Open, Page, Told
from keng_alerts.notify.settings import Severity
from keng_contracts.errors import Problem

WAITING, SENDING, SENT, DROPPED = "waiting", "sending", "sent", "dropped"
#: The pause after the first failure and the longest one.
PAUSE_MS, LONGEST_PAUSE_MS = 10_000, 900_000
#: What is over stays on record for so long.
KEPT_MS = 90 * 24 * HOUR_MS

_OCCASION = TypeAdapter(Occasion)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS occasion (
    key TEXT PRIMARY KEY, alert TEXT NOT NULL, first_ms INTEGER NOT NULL, over_ms INTEGER, document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person TEXT NOT NULL, severity INTEGER NOT NULL, made_ms INTEGER NOT NULL,
    title TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS duty (
    occasion TEXT NOT NULL, step INTEGER NOT NULL, person TEXT NOT NULL, message INTEGER NOT NULL,
    PRIMARY KEY (occasion, step, person)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery (
    message INTEGER NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_ms INTEGER NOT NULL, ended_ms INTEGER, error TEXT NOT NULL, PRIMARY KEY (message, address)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS delivery_open ON delivery (next_ms) WHERE state IN ('waiting', 'sending');
CREATE INDEX IF NOT EXISTS duty_message ON duty (message);
"""


class Delivery(NamedTuple):
    """A message on its way to one address of a person."""

    message: int
    address: str
    person: str
    attempts: int
    severity: int
    title: str
    body: str


class Tried(NamedTuple):
    """How far one delivery has come. ``error`` is the reason of the last failure."""

    address: str
    state: str
    attempts: int
    error: str


class Figures(NamedTuple):
    """How the outbox stands. ``troubles`` are addresses that fail now: address, attempts, reason."""

    waiting: int
    oldest_ms: int | None
    sent: int
    dropped: int
    troubles: list[tuple[str, int, str]]


class Outbox:
    """The file. Every method is one durable transaction."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise Problem(
                f"the outbox of pages can't be opened ({error})",
                where=str(path),
                todo="if it is damaged, move it aside: whoever is told of an open alert is then told again",
            ) from None

    def close(self) -> None:
        self._db.close()

    # -- occasions ----------------------------------------------------------------------------------------------

    def opens(self) -> list[Open]:
        rows = self._db.execute("SELECT document, first_ms FROM occasion WHERE over_ms IS NULL")
        return [Open(_OCCASION.validate_json(text), first_ms) for text, first_ms in rows]

    def hear(self, alert: str, occasions: Iterable[Occasion], now_ms: int) -> None:
        """These and no others are open of an alert now. One that was over before opens again with its old time."""
        rows = [(o.key, alert, now_ms, _OCCASION.dump_json(o).decode()) for o in occasions]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            keep = ",".join("?" * len(rows))
            self._db.execute(
                f"UPDATE occasion SET over_ms = ? WHERE alert = ? AND over_ms IS NULL AND key NOT IN ({keep})",
                [now_ms, alert, *(row[0] for row in rows)],
            )
            self._db.executemany(
                "INSERT INTO occasion VALUES (?, ?, ?, NULL, ?) "
                "ON CONFLICT (key) DO UPDATE SET document = excluded.document, over_ms = NULL",
                rows,
            )

    # -- pages --------------------------------------------------------------------------------------------------

    def done(self) -> set[Duty]:
        """Every duty of the occasions that are open, and of those of the same alerts."""
        rows = self._db.execute(
            "SELECT occasion, step, person FROM duty WHERE occasion IN (SELECT key FROM occasion WHERE alert IN "
            "(SELECT alert FROM occasion WHERE over_ms IS NULL))"
        )
        return {Duty(*row) for row in rows}

    def told(self, since_ms: int) -> dict[str, list[Told]]:
        """The pages of each person; a test is none of them, and delays no page."""
        found: dict[str, list[Told]] = {}
        rows = self._db.execute(
            "SELECT person, made_ms, severity FROM message WHERE made_ms >= ? AND id IN (SELECT message FROM duty)",
            (since_ms,),
        )
        for person, made_ms, severity in rows:
            found.setdefault(person, []).append(Told(made_ms, severity))
        return found

    def add(self, page: Page, title: str, body: str, addresses: Iterable[str], now_ms: int) -> int:
        """Keep a page with its duties and deliveries, all or nothing; returns its number."""
        return self._keep(page.person, int(page.severity), page.duties, title, body, addresses, now_ms)

    def _keep(
        self,
        person: str,
        severity: int,
        duties: Iterable[Duty],
        title: str,
        body: str,
        addresses: Iterable[str],
        now_ms: int,
    ) -> int:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            cursor = self._db.execute(
                "INSERT INTO message (person, severity, made_ms, title, body) VALUES (?, ?, ?, ?, ?)",
                (person, severity, now_ms, title, body),
            )
            number = int(cursor.lastrowid or 0)
            self._db.executemany("INSERT INTO duty VALUES (?, ?, ?, ?)", [(*duty, number) for duty in duties])
            self._db.executemany(
                "INSERT INTO delivery VALUES (?, ?, ?, 0, ?, NULL, '')",
                [(number, address, WAITING, now_ms) for address in dict.fromkeys(addresses)],
            )
        return number

    # -- tests --------------------------------------------------------------------------------------------------

    def test(self, person: str, title: str, body: str, addresses: Iterable[str], now_ms: int) -> int:
        """Keep a test message with its deliveries; returns its number."""
        return self._keep(person, int(Severity.MINOR), (), title, body, addresses, now_ms)

    def tried(self, message: int) -> list[Tried]:
        """The deliveries of a message, in the order of their addresses."""
        rows = self._db.execute(
            "SELECT address, state, attempts, error FROM delivery WHERE message = ? ORDER BY address", (message,)
        )
        return [Tried(*row) for row in rows]

    def withdraw(self, message: int, now_ms: int) -> None:
        """Drop what of a message waits: nobody is to get it later, when who asked for it has gone."""
        with self._db:
            self._db.execute(
                "UPDATE delivery SET state = 'dropped', ended_ms = ? WHERE message = ? AND state = 'waiting'",
                (now_ms, message),
            )

    # -- deliveries ---------------------------------------------------------------------------------------------

    def claim(self, now_ms: int, deadline_ms: int, give_up_ms: int, limit: int) -> list[Delivery]:
        """Deliveries to be tried now, the gravest first; each is SENDING until ``deadline_ms``. Those that are of no
        use any more are dropped."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "UPDATE delivery SET state = 'waiting', error = 'its sender vanished' "
                "WHERE state = 'sending' AND next_ms <= ?",
                (now_ms,),
            )
            self._db.execute(
                "UPDATE delivery SET state = 'dropped', ended_ms = :now WHERE state = 'waiting' AND next_ms <= :now "
                "AND (message IN (SELECT id FROM message WHERE made_ms < :oldest) OR attempts > 0 AND NOT EXISTS "
                "(SELECT 1 FROM duty JOIN occasion ON occasion.key = duty.occasion "
                "WHERE duty.message = delivery.message AND occasion.over_ms IS NULL))",
                {"now": now_ms, "oldest": now_ms - give_up_ms},
            )
            rows = self._db.execute(
                "SELECT message, address, person, attempts + 1, severity, title, body FROM delivery "
                "JOIN message ON message.id = delivery.message WHERE state = 'waiting' AND next_ms <= ? "
                "ORDER BY severity DESC, message, address LIMIT ?",
                (now_ms, limit),
            ).fetchall()
            self._db.executemany(
                "UPDATE delivery SET state = 'sending', attempts = attempts + 1, next_ms = ? "
                "WHERE message = ? AND address = ?",
                [(deadline_ms, row[0], row[1]) for row in rows],
            )
        return [Delivery(*row) for row in rows]

    def ended(self, message: int, address: str, error: str, now_ms: int) -> None:
        """How the attempt ended: ``error`` is empty when the gateway took it. A delivery that is not SENDING stays."""
        mine = "message = :message AND address = :address AND state = 'sending'"
        values = {"message": message, "address": address, "error": error, "now": now_ms}
        with self._db:
            if not error:
                self._db.execute(
                    f"UPDATE delivery SET state = 'sent', ended_ms = :now, error = '' WHERE {mine}", values
                )
                return
            pause = f"min({LONGEST_PAUSE_MS}, {PAUSE_MS} << min(attempts - 1, 10))"
            self._db.execute(
                f"UPDATE delivery SET state = 'waiting', next_ms = :now + {pause}, error = :error WHERE {mine}", values
            )

    # -- looking ------------------------------------------------------------------------------------------------

    def figures(self) -> Figures:
        waiting, oldest = self._db.execute(
            "SELECT count(*), min(made_ms) FROM delivery JOIN message ON message.id = delivery.message "
            "WHERE state IN ('waiting', 'sending')"
        ).fetchone()
        counts = dict(self._db.execute("SELECT state, count(*) FROM delivery GROUP BY state"))
        troubles = self._db.execute(
            "SELECT address, max(attempts), max(error) FROM delivery WHERE state IN ('waiting', 'sending') "
            "AND attempts > 0 AND error != '' GROUP BY address ORDER BY address"
        ).fetchall()
        return Figures(waiting, oldest, counts.get(SENT, 0), counts.get(DROPPED, 0), troubles)

    def forget(self, now_ms: int) -> None:
        """Let go what has been over for long."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            before = (now_ms - KEPT_MS,)
            self._db.execute("DELETE FROM occasion WHERE over_ms < ?", before)
            self._db.execute("DELETE FROM duty WHERE occasion NOT IN (SELECT key FROM occasion)")
            for table, number in (("delivery", "message"), ("message", "id")):
                self._db.execute(
                    f"DELETE FROM {table} WHERE {number} IN (SELECT id FROM message WHERE made_ms < ?) "
                    f"AND {number} NOT IN (SELECT message FROM duty)",
                    before,
                )
