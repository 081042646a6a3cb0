"""The outbox: what is kept on disk until ingest has said that the store holds it.

One row is one pack, as it will be published. Its id is its place in the order of sending, so that the table needs no
other index and a receipt finds its rows at once:

====  =========  ============================================================
bit   62         0: a sensor that an alert depends on, 1: other telemetry
bits  32 to 61   the run of the agent; ``boots`` has the boot id of each
bits  0 to 31    the pack's sequence number within that run
====  =========  ============================================================

In rising order that is: alarms first, then telemetry, each oldest first. What is at stake:

- A row is written before the pack is published and deleted by a receipt alone.
- ``ledger`` counts, in the same transaction, what was ever committed of each series, so that it can be compared
  with the store; ``totals`` counts what was dropped and what ingest could not use.
- The pages in use never exceed ``max_bytes``. The oldest telemetry is dropped first, an alarm only for a newer alarm.
  What is older than ``max_age_ms`` is dropped too, by a clock that is trusted.
- A pack whose times ingest would refuse lies in ``held``, under the id that it will have in ``packs`` when the clock is
  known (see ``timeline``).
- A row carries its check sum (SQLite has none): a pack that is given out is the one that was committed.
- A file that is damaged is moved aside, and a new one begun with what is still whole in it (see ``salvage``); nothing
  else ever deletes a file.

All calls block; one thread at a time.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import Clock, Pack, Reading, encode
from keng_edge.outbox import mending
from keng_edge.outbox.aside import damaged
from keng_edge.outbox.file import (
    APPLICATION_ID,
    COLUMNS,
    PLAIN,
    RUN,
    SEQ,
    Depth,
    OutboxDamaged,
    OutboxUnavailable,
    Row,
    depth_of,
    examine,
    insert,
    inspect,
    lay_out,
    ledger_of,
    oldest_of,
    one,
    pragma,
    sign,
    translated,
    used,
)
from keng_edge.outbox.timeline import Stamp, impossible

__all__ = [
    "MAX_PACK_READINGS",
    "Batch",
    "Boot",
    "Depth",
    "Outbox",
    "OutboxDamaged",
    "OutboxUnavailable",
    "Settled",
    "Stored",
    "Taken",
    "batches",
    "damaged",
    "inspect",
]

#: Most readings in one pack, so that it stays some tens of kilobytes.
MAX_PACK_READINGS = 500
#: Rows that are dropped at a time when the outbox is full.
_DROP_STEP = 16

#: Ids of packs that are gone, with how many readings each had.
Gone = list[tuple[int, int]]


class Boot:
    """This run of the agent: its boot id, the machine's start in which it runs, and its packs' sequence numbers."""

    def __init__(self, id_: str, machine: str = "") -> None:
        self.id = id_
        self.machine = machine
        self._next = 0

    def next_seq(self) -> int:
        """A number that no other pack of this run has. It may stay unused: only its uniqueness counts."""
        self._next += 1
        return self._next - 1


class Stored(NamedTuple):
    """A pack in the outbox. ``id`` is its place in the order of sending."""

    id: int
    payload: bytes


class Batch(NamedTuple):
    """Readings that are to be committed together: ``alarm`` says whether an alert depends on them.

    ``stamp`` is the stretch of time in which all of them were taken.
    """

    readings: Sequence[Reading]
    alarm: bool
    stamp: Stamp | None = None


#: A reading and the stretch of time in which it was taken; None for a time that is not this machine's.
Taken = tuple[Stamp | None, Reading]


def batches(taken: Sequence[Taken], alarm: bool) -> list[Batch]:
    """One batch for each stretch of time."""
    return [Batch([one for _, one in part], alarm, stamp) for stamp, part in groupby(taken, key=itemgetter(0))]


class Settled(NamedTuple):
    """What receipts let go: the packs' ids, and the reasons of those that ingest could not use."""

    ids: list[int]
    dead: list[str]


class Outbox:
    """The outbox in ``path`` for one run of the agent. Raises OutboxDamaged, OutboxUnavailable."""

    def __init__(self, path: Path, boot: Boot, max_bytes: int, max_age_ms: int | None = None) -> None:
        self._boot = boot
        self._max_bytes = max_bytes
        self._max_age_ms = max_age_ms
        with translated():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            with translated():
                self._prepare(path)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, path: Path) -> None:
        for row in self._db.execute("PRAGMA quick_check(1)"):
            if row[0] != "ok":
                raise OutboxDamaged(row[0])
        if not pragma(self._db, "page_count") and path.stat().st_size:  # SQLite takes less than a page for a new file
            raise OutboxDamaged("it is cut off")
        if pragma(self._db, "page_count") and pragma(self._db, "application_id") != APPLICATION_ID:
            raise OutboxDamaged("it is no outbox of this program")
        sign(self._db)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA wal_autocheckpoint = 2000")
        self._db.execute("PRAGMA journal_size_limit = 4194304")
        self._page = pragma(self._db, "page_size")
        with self._transaction(sync=True):
            lay_out(self._db)
            examine(self._db)
            runs = "SELECT DISTINCT (id & ~?1) >> ?2 AS run FROM (SELECT id FROM packs UNION ALL SELECT id FROM held)"
            newest = self._one(f"SELECT max(run) FROM ({runs})", PLAIN, RUN) or 0
            self._db.execute(f"DELETE FROM boots WHERE run NOT IN ({runs})", (PLAIN, RUN))
            mine = self._one("SELECT run FROM boots WHERE boot = ?", self._boot.id)  # this run opened one before
            self._run = newest + 1 if mine is None else mine
            if mine is None:
                row = (self._run, self._boot.id, self._boot.machine)
                self._db.execute("INSERT INTO boots (run, boot, machine, spoke) VALUES (?, ?, ?, 0)", row)
        self.depth = depth_of(self._db)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    # -- in -----------------------------------------------------------------------------------------------------

    def append(
        self,
        batches: Iterable[Batch],
        *,
        made_ms: int,
        clock: Clock,
        sync: bool,
        lost: int = 0,
        forget: bool = True,
    ) -> list[Stored]:
        """Commit readings in one transaction and return their packs, oldest first.

        With ``sync`` they survive a power cut once this returns, else a crash of the program. ``lost`` readings were
        dropped elsewhere and are counted here. A pack for which there is no room is dropped and not returned. With
        ``forget`` what is too old by ``made_ms`` is dropped.
        """
        made: list[Stored] = []
        with translated(), self._transaction(sync):
            depth = self._count(self.depth, "dropped", lost)
            for batch in batches:
                self._enter(batch.readings)
                depth = replace(depth, committed=depth.committed + len(batch.readings))
                for at in range(0, len(batch.readings), MAX_PACK_READINGS):
                    part = tuple(batch.readings[at : at + MAX_PACK_READINGS])
                    pack = self._pack(part, made_ms, clock, batch.stamp)
                    payload = encode(pack)
                    depth, fits = self._make_room(depth, len(payload), batch.alarm)
                    if not fits:
                        depth = self._count(depth, "dropped", len(part))
                        continue
                    stored = Stored((0 if batch.alarm else PLAIN) | self._run << RUN | pack.seq, payload)
                    waits = batch.stamp is not None and impossible(pack)
                    self._insert("held" if waits else "packs", stored.id, pack, payload)
                    depth = replace(depth, packs=depth.packs + 1, readings=depth.readings + len(part))
                    if waits:
                        depth = replace(depth, waiting=depth.waiting + len(part))
                    else:
                        made.append(stored)
            if forget:
                depth = self._forget_old(depth, made_ms, clock)
        self.depth = self._measured(depth)
        return made

    def _pack(self, readings: tuple[Reading, ...], made_ms: int, clock: Clock, stamp: Stamp | None) -> Pack:
        seq = self._boot.next_seq()
        if stamp is None:
            return Pack(self._boot.id, seq, clock, made_ms, readings)
        up_ms = readings[0].time_ms - stamp.offset_ms
        return Pack(self._boot.id, seq, stamp.clock, made_ms, readings, up_ms=up_ms)

    def _insert(self, table: str, id_: int, pack: Pack, payload: bytes) -> None:
        insert(self._db, table, Row.of(id_, len(pack.readings), pack.readings[0].time_ms, payload))

    def _enter(self, readings: Sequence[Reading]) -> None:
        counts: dict[str, int] = {}
        for reading in readings:
            counts[reading.series] = counts.get(reading.series, 0) + 1
        self._db.executemany(
            "INSERT INTO ledger VALUES (?, ?) "
            "ON CONFLICT (series) DO UPDATE SET readings = readings + excluded.readings",
            counts.items(),
        )

    def _count(self, depth: Depth, name: str, readings: int) -> Depth:
        if not readings:
            return depth
        self._db.execute(
            "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET readings = readings + excluded.readings",
            (name, readings),
        )
        return replace(depth, **{name: getattr(depth, name) + readings})

    def _make_room(self, depth: Depth, size: int, alarm: bool) -> tuple[Depth, bool]:
        """Drop the oldest until a pack of ``size`` bytes fits; False when it has to give way itself."""
        needed = size + 2 * self._page  # its row may open a leaf, and a page of the tree above it
        while self._used() + needed > self._max_bytes:
            for which in (">=", "<") if alarm else (">=",):  # telemetry, then alarms; what is held is the newest
                dropped = self._delete(f"id {which} ? ORDER BY id LIMIT ?", (PLAIN, _DROP_STEP))
                held = [] if dropped else self._delete(f"id {which} ? ORDER BY id LIMIT ?", (PLAIN, _DROP_STEP), "held")
                if dropped or held:
                    break
            else:
                return depth, False
            depth = self._dropped(depth, dropped, held)
        return depth, True

    def _dropped(self, depth: Depth, dropped: Gone, held: Gone) -> Depth:
        waiting = sum(count for _, count in held)
        readings = waiting + sum(count for _, count in dropped)
        depth = replace(
            depth,
            packs=depth.packs - len(dropped) - len(held),
            readings=depth.readings - readings,
            waiting=depth.waiting - waiting,
        )
        return self._count(depth, "dropped", readings)

    def _forget_old(self, depth: Depth, now_ms: int, clock: Clock) -> Depth:
        """Drop what is older than it may be. By a clock that is not trusted nothing is old."""
        if self._max_age_ms is None or clock is Clock.UNKNOWN:
            return depth
        oldest_ms = now_ms - self._max_age_ms
        for which in ("id >= ?1", "id < ?1"):  # each kind lies in the order of its making: the first are the oldest
            first = f"SELECT id, first_ms FROM packs WHERE {which} ORDER BY id LIMIT ?2"
            old = f"id IN (SELECT id FROM ({first}) WHERE first_ms < ?3)"
            depth = self._dropped(depth, self._delete(old, (PLAIN, _DROP_STEP, oldest_ms)), [])
        return depth

    # -- time ---------------------------------------------------------------------------------------------------

    def rebase(self, now: Stamp, now_ms: int, sent: Collection[int]) -> int:
        """The clock is known now: move what a wrong clock had stamped; how many readings. See ``mending``.

        Packs in ``sent`` may be in the store already and stay as they are, as do those of earlier runs that
        :meth:`spoke`.
        """
        with translated(), self._transaction(sync=True):
            mending.recall(self._db, self._boot.machine, self._run, now, now_ms, sent)
            count = mending.release(self._db, self._boot.machine, now)
            self.depth = depth_of(self._db)
        return count

    def spoke(self) -> None:
        """Packs of this run may be in the store from now on, whatever becomes of the run."""
        with translated(), self._transaction(sync=True):
            self._db.execute("UPDATE boots SET spoke = 1 WHERE run = ?", (self._run,))

    # -- out ----------------------------------------------------------------------------------------------------

    def next_batch(self, limit: int, exclude: Collection[int] = ()) -> list[Stored]:
        """The first packs in the order of sending but those in ``exclude``: alarms first, then oldest first."""
        with translated():
            rows = self._db.execute("SELECT id FROM packs ORDER BY id LIMIT ?", (limit + len(exclude),))
            ids = [id_ for (id_,) in rows if id_ not in exclude][:limit]
            return [Stored(id_, self._row(id_).payload) for id_ in ids]

    def _row(self, id_: int) -> Row:
        """A pack that is there, as it was committed."""
        (found,) = self._db.execute(f"SELECT {COLUMNS} FROM packs WHERE id = ?", (id_,))
        return Row(*found).checked()

    def receipted(self, receipts: Iterable[Receipt]) -> Settled:
        """Let go of the packs that these receipts name, of this run or an earlier one."""
        ids: list[int] = []
        reasons: list[str] = []
        with translated(), self._transaction(sync=False):
            depth = self.depth
            for receipt in receipts:
                run = self._one("SELECT run FROM boots WHERE boot = ?", receipt.boot)
                if run is None:
                    continue
                stored = [gone for first, last in receipt.stored for gone in self._take(run, first, last)]
                dead = [gone for one in receipt.dead for gone in self._take(run, one.seq, one.seq)]
                reasons += [one.reason for one in receipt.dead]
                depth = self._count(depth, "dead", sum(count for _, count in dead))
                gone = stored + dead
                ids += [id_ for id_, _ in gone]
                readings = sum(count for _, count in gone)
                depth = replace(depth, packs=depth.packs - len(gone), readings=depth.readings - readings)
        self.depth = self._measured(depth)
        return Settled(ids, reasons)

    def _take(self, run: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        if first > SEQ:
            return
        for priority in (0, PLAIN):
            base = priority | run << RUN
            yield from self._delete("id BETWEEN ? AND ?", (base | first, base | min(last, SEQ)))

    def _delete(self, which: str, values: tuple[int, ...], table: str = "packs") -> Gone:
        """Delete packs; their ids and reading counts."""
        return self._db.execute(
            f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {which}) RETURNING id, readings", values
        ).fetchall()

    # -- about --------------------------------------------------------------------------------------------------

    def ledger(self) -> dict[str, int]:
        """How many readings of each series were ever committed."""
        with translated():
            return ledger_of(self._db)

    def _measured(self, depth: Depth) -> Depth:
        return replace(depth, oldest_ms=oldest_of(self._db), bytes=self._used())

    def _used(self) -> int:
        return used(self._db)

    def _one(self, query: str, *values: object) -> Any:
        return one(self._db, query, *values)

    @contextlib.contextmanager
    def _transaction(self, sync: bool) -> Iterator[None]:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself on a full disk
                self._db.execute("ROLLBACK")
            raise
