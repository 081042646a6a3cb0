"""Evidence of what was played: on disk until the console has receipted it.

An event gets its number when it happens, is written within milliseconds, and is sent; it is sent again after every
connect, and while no receipt comes, in growing intervals. The console knows an event by (boot, seq), so a copy changes
nothing. The file is bounded: when it is full the oldest refusals go first, then the oldest events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.receipts import Receipt
from keng_loudspeaker.obeying.memory import open_database
from keng_runtime.metrics import Metric
from keng_runtime.mqtt import Link, Refused

T = TypeVar("T")
log = logging.getLogger(__name__)

PENDING = Metric("Gauge", "keng_loudspeaker_evidence_pending_events", "Playback events without receipt")
DROPPED = Metric(
    "Counter", "keng_loudspeaker_evidence_dropped_total", "Playback events dropped because there was no room"
)

#: Without a receipt events are sent again after this time, then after twice as long …
AGAIN_MIN_S, AGAIN_MAX_S = 5.0, 120.0
#: Events that are sent again at a time.
BATCH = 200
#: Events that are held in memory at most while the disk takes none.
UNWRITTEN = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, seq INTEGER NOT NULL, refusal INTEGER NOT NULL,
    payload BLOB NOT NULL, UNIQUE (boot, seq)
);
"""


class Outbox:
    """The file. Raises sqlite3.Error when the disk takes nothing."""

    def __init__(self, path: Path, limit: int) -> None:
        self._db = open_database(path, _SCHEMA, "playback events that the console had not receipted")
        self._limit = limit
        self.pending: int = self._db.execute("SELECT count(*) FROM event").fetchone()[0]

    def keep(self, events: list[PlaybackEvent]) -> int:
        """Write events in one durable transaction; returns how many old ones had to go for them."""
        rows = [(e.boot, e.seq, e.what is What.REFUSED, e.to_bytes()) for e in events]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR IGNORE INTO event (boot, seq, refusal, payload) VALUES (?, ?, ?, ?)", rows)
            count = int(self._db.execute("SELECT count(*) FROM event").fetchone()[0])
            excess = max(0, count - self._limit)
            self._db.execute(
                "DELETE FROM event WHERE number IN (SELECT number FROM event ORDER BY refusal DESC, number LIMIT ?)",
                (excess,),
            )
            self._db.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):  # what failed may have been undone with it
                self._db.execute("ROLLBACK")
            raise
        self.pending = count - excess
        return excess

    def oldest(self, limit: int, after: int = 0) -> list[tuple[int, bytes]]:
        """(number, payload) of the first events above ``after``, in the order in which they happened."""
        query = "SELECT number, payload FROM event WHERE number > ? ORDER BY number LIMIT ?"
        return [(number, bytes(payload)) for number, payload in self._db.execute(query, (after, limit))]

    def receipted(self, receipt: Receipt) -> int:
        """Let go of what is safe at the console; returns how many that were."""
        ranges = [*receipt.stored, *((d.seq, d.seq) for d in receipt.dead)]
        query = "DELETE FROM event WHERE boot = ? AND seq BETWEEN ? AND ?"
        gone = sum(self._db.execute(query, (receipt.boot, first, last)).rowcount for first, last in ranges)
        self.pending -= gone
        return gone

    def close(self) -> None:
        self._db.close()


class Courier:
    """Takes events at once and writes and sends them in its own time (:meth:`run`): a slow disk delays no sound."""

    def __init__(self, outbox: Outbox, link: Link, topic: str) -> None:
        self._outbox = outbox
        self._link = link
        self._topic = topic
        self._unwritten: deque[PlaybackEvent] = deque(maxlen=UNWRITTEN)
        self._unsent: deque[PlaybackEvent] = deque(maxlen=UNWRITTEN)
        self._receipts: deque[Receipt] = deque()
        self._wake = asyncio.Event()
        self._again_s = AGAIN_MIN_S
        self._due_s = 0.0  # when everything without receipt is sent again
        self._page: int | None = None  # how far that has come
        self._complaint = ""
        self._writer = ThreadPoolExecutor(1, "evidence")

    @property
    def pending(self) -> int:
        """Events without receipt."""
        return self._outbox.pending

    def add(self, event: PlaybackEvent) -> None:
        self._unwritten.append(event)
        self._unsent.append(event)
        self._wake.set()

    def receipted(self, payload: bytes) -> None:
        """A receipt as it came."""
        try:
            self._receipts.append(Receipt.model_validate_json(payload))
        except ValueError:
            log.warning("a receipt for playback events can't be read and changes nothing")
            return
        self._wake.set()

    def connected(self) -> None:
        """The link is new: what was on its way may be lost."""
        self._again_s, self._due_s, self._page = AGAIN_MIN_S, 0.0, None
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self.work()
            wait_s = self._due_s - time.monotonic() if self._link.connected and self._outbox.pending else AGAIN_MAX_S
            if self._unwritten:
                wait_s = min(wait_s, AGAIN_MIN_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait_s)):
                    await self._wake.wait()
            self._wake.clear()

    async def work(self) -> None:
        """Write what is new, let go of what is receipted, send what is due."""
        try:
            await self._write()
            await self._let_go()
            self._complaint = ""
        except sqlite3.Error as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.error("playback events can't be written (%s): they are sent from memory; free the disk", error)
        PENDING.set(self._outbox.pending)
        if self._link.connected:
            while self._unsent:
                self._send(self._unsent.popleft().to_bytes())
            await self._send_again()

    def close(self) -> None:
        self._writer.shutdown()
        self._outbox.close()

    async def _write(self) -> None:
        new = list(self._unwritten)
        if not new:
            return
        dropped = await self._in_writer(self._outbox.keep, new)
        for _ in new:
            self._unwritten.popleft()
        if math.isinf(self._due_s):
            self._due_s = time.monotonic() + self._again_s
        if dropped:
            DROPPED.inc(dropped)
            log.error("%d playback events without receipt were dropped: there is room for no more", dropped)

    async def _let_go(self) -> None:
        while self._receipts:
            if await self._in_writer(self._outbox.receipted, self._receipts[0]):
                self._again_s = AGAIN_MIN_S
            self._receipts.popleft()
        if not self._outbox.pending:
            self._due_s = math.inf

    async def _send_again(self) -> None:
        """One page at a time, so that what is new need not wait for what is old."""
        if self._page is None:
            if time.monotonic() < self._due_s:
                return
            self._page = 0
        rows = await self._in_writer(self._outbox.oldest, BATCH, self._page)
        sent = [self._send(payload) for _, payload in rows]
        if len(rows) == BATCH:
            await asyncio.wait(sent, timeout=AGAIN_MIN_S)
            self._page = rows[-1][0]
            self._wake.set()
        else:
            self._page = None
            self._due_s = time.monotonic() + self._again_s
            self._again_s = min(2 * self._again_s, AGAIN_MAX_S)

    async def _in_writer(self, work: Callable[..., T], *args: object) -> T:
        """In the one thread that has the file, so that what was cancelled midway is done before what comes next."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, *args)

    def _send(self, payload: bytes) -> asyncio.Future[None]:
        future = self._link.send(self._topic, payload)
        future.add_done_callback(self._log_refusal)
        return future

    def _log_refusal(self, sent: asyncio.Future[None]) -> None:
        if not sent.cancelled() and isinstance(error := sent.exception(), Refused) and str(error) != self._complaint:
            self._complaint = str(error)
            log.error("playback events can't be published: %s; check the broker's acl", error)
