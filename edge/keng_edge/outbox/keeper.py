"""The keeper: gathers readings, commits them together, and never loses one that it can still keep.

Telemetry is committed every few seconds in one transaction, for SD cards die of small commits. Readings on which an
alert depends are committed at once and synced; those that come while a commit is under way go together in the next.
While the disk takes nothing, the newest readings are held in memory and alarms are published without being
committed: a full disk must not silence a siren. They are committed, and published again, when the disk is back; the
store makes one row of both.

SQLite runs in a thread of its own, so that a slow card delays neither the serial lines nor the time stamps. The check
of a large outbox at the start takes seconds; until it is done, it is as while the disk takes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from keng_contracts.errors import Problem
from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import Clock, Pack, Reading, encode
from keng_edge.outbox.outbox import (
    MAX_PACK_READINGS,
    Batch,
    Boot,
    Depth,
    Outbox,
    OutboxDamaged,
    OutboxUnavailable,
    Settled,
    Stored,
    damaged,
    open_outbox,
    quarantine,
)
from keng_edge.outbox.timeline import Stamp, Timeline, impossible
from keng_runtime.clock import clock_state, now_ms, up_ms

log = logging.getLogger(__name__)

#: Readings held in memory while the disk takes nothing: some megabytes.
MAX_HELD = 20_000
#: The disk is tried again after this time, doubled up to the longest.
RETRY_S, RETRY_LONGEST_S = 1.0, 30.0
#: A source that waits for our word hands over no more than so many without it (a mosquitto at most 20, unless it is
#: told otherwise): half of that is not made to wait for others.
MAX_WAITING = 10
#: How often the clock is looked at when nothing else happens.
CLOCK_EVERY_S = 10.0

T = TypeVar("T")
#: A reading and the stretch of time in which it was taken.
Taken = tuple[Stamp, Reading]


class Keeper:
    """All that touches the outbox. ``publish`` is called in the event loop with packs that are new."""

    def __init__(
        self,
        path: Path,
        boot: Boot,
        *,
        max_bytes: int,
        max_age_ms: int | None = None,
        every_s: float = 2.0,
        readings: int = 200,
        sync_every_s: float = 30.0,
        publish: Callable[[Sequence[Stored]], None] = lambda packs: None,
    ) -> None:
        self._path = path
        self._boot = boot
        self._max_bytes = max_bytes
        self._max_age_ms = max_age_ms
        self._every_s = every_s
        self._readings = readings
        self._sync_every_s = sync_every_s
        self.publish = publish

        self._timeline = Timeline()
        self._now = self._stamp()
        self._mended: Clock = Clock.UNKNOWN  # the state for which the outbox's times are right
        self._sent: set[int] = set()  # while the clock is unknown: what must not be given another time any more
        self._alarms: list[Taken] = []
        self._plain: list[Taken] = []
        self._plain_since: float | None = None
        self._alarms_kept: list[Callable[[], None]] = []
        self._plain_kept: list[Callable[[], None]] = []
        self._published = 0  # that many of the first alarms went out uncommitted
        self._lost = 0
        self._wake = asyncio.Event()
        self._committing = asyncio.Lock()
        self._synced_at = 0.0
        self._retry_at = 0.0
        self._pause_s = RETRY_S
        self._problem = ""

        self._opening = False
        self._outbox: Outbox | None = None
        self._depth = Depth()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")

    # -- in -----------------------------------------------------------------------------------------------------

    def add(self, readings: Sequence[Reading], *, alarm: bool, kept: Callable[[], None] | None = None) -> None:
        """Take readings over, that were taken just now. Returns at once.

        ``kept`` is called when they are committed. While the disk takes nothing, it is called at once: their source
        would soon hand over nothing more, and alarms are heard all the same (docs/decisions/0006).
        """
        if kept is not None and (self._problem or not readings):
            kept()
        elif kept is not None:
            (self._alarms_kept if alarm else self._plain_kept).append(kept)
        stamp = self._now = self._stamp()
        taken = [(stamp, reading) for reading in readings]
        if alarm:
            self._alarms += taken
            self._wake.set()
            return
        if self._plain_since is None:
            self._plain_since = time.monotonic()
            self._wake.set()  # so that run() sees by when they are due
        self._plain += taken
        if self._full():
            self._wake.set()

    def _full(self) -> bool:
        """Whether the telemetry in hand is enough for a commit."""
        return len(self._plain) >= self._readings or len(self._plain_kept) >= MAX_WAITING

    async def run(self) -> None:
        """Commit what is due, until cancelled."""
        while True:
            self._wake.clear()
            await asyncio.shield(self._mend())  # as below
            now = time.monotonic()
            due_at = None if self._plain_since is None else now if self._full() else self._plain_since + self._every_s
            if self._opening:
                due_at = None
            elif self._problem:  # what waits for the disk is due when the disk is tried again; a new alarm at once
                due_at = self._retry_at
            if len(self._alarms) > self._published or (due_at is not None and now >= due_at):
                # Not to be cancelled: its thread would commit all the same, and flush() would do it twice.
                await asyncio.shield(self._commit(plain=due_at is not None and now >= due_at))
                continue
            try:
                async with asyncio.timeout(CLOCK_EVERY_S if due_at is None else min(CLOCK_EVERY_S, due_at - now)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def flush(self) -> None:
        """Commit all that is in memory and sync it, for the end."""
        if self._opening:
            with suppress(OutboxUnavailable):
                await self._call(lambda outbox: None)
            self._opening = False
        self._retry_at = 0.0
        await self._commit(plain=True, sync=True)

    async def _commit(self, *, plain: bool, sync: bool = False) -> None:
        async with self._committing:
            await self._commit_alone(plain, sync)

    async def _commit_alone(self, plain: bool, sync: bool) -> None:
        now = time.monotonic()
        alarms = len(self._alarms)
        gathered = len(self._plain) if plain or self._problem else 0
        kept = len(self._alarms_kept), len(self._plain_kept) if gathered else 0
        if now >= self._retry_at and not self._opening:
            batches = [*_batches(self._alarms[:alarms], True), *_batches(self._plain[:gathered], False)]
            sync = sync or alarms > 0 or now - self._synced_at >= self._sync_every_s
            lost = self._lost
            try:
                packs = await self._append(batches, sync, lost)
            except OutboxUnavailable as error:
                self._fail(str(error))
            else:
                self._lost -= lost
                self._synced_at = now if sync else self._synced_at
                del self._alarms[:alarms], self._plain[:gathered]
                self._published = 0
                self._tell(*kept)
                if gathered:
                    self._plain_since = time.monotonic() if self._plain else None
                self._recover()
                self.publish(packs)
                return
        self._publish_uncommitted()
        self._hold()

    def _tell(self, alarms: int, plain: int) -> None:
        """Tell the first of those that wait for our word that their readings are kept."""
        kept = [*self._alarms_kept[:alarms], *self._plain_kept[:plain]]
        del self._alarms_kept[:alarms], self._plain_kept[:plain]
        for one in kept:
            one()

    async def _append(self, batches: list[Batch], sync: bool, lost: int) -> list[Stored]:
        if not batches and not lost:
            return await self._call(lambda outbox: [])
        clock, made_ms = clock_state(), now_ms()
        return await self._call(
            lambda outbox: outbox.append(batches, made_ms=made_ms, clock=clock, sync=sync, lost=lost)
        )

    # -- while the disk takes nothing -----------------------------------------------------------------------------

    def _fail(self, why: str) -> None:
        if not self._problem:
            log.error(
                "%s",
                Problem(
                    f"{why}: readings are held in memory, the newest {MAX_HELD}",
                    where=str(self._path),
                    todo="make room on the disk, or replace the card",
                    retried=True,
                ),
            )
            self._pause_s = RETRY_S
        self._problem = f"{why}: readings are held in memory"
        self._tell(len(self._alarms_kept), len(self._plain_kept))
        self._retry_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, RETRY_LONGEST_S)

    def _recover(self) -> None:
        if self._problem:
            log.info("%s: the disk takes readings again", self._path)
            self._problem = ""

    def _publish_uncommitted(self) -> None:
        fresh = self._alarms[self._published :]
        self._published = len(self._alarms)
        for at in range(0, len(fresh), MAX_PACK_READINGS):
            part = tuple(reading for _, reading in fresh[at : at + MAX_PACK_READINGS])
            pack = Pack(self._boot.id, self._boot.next_seq(), self._now.clock, now_ms(), part)
            if not impossible(pack):
                self.publish([Stored(-1, encode(pack))])

    def _hold(self) -> None:
        """Keep the newest; telemetry gives way to alarms."""
        over = len(self._alarms) + len(self._plain) - MAX_HELD
        if over > 0:
            plain = min(over, len(self._plain))
            alarms = over - plain
            del self._plain[:plain], self._alarms[:alarms]
            self._published -= alarms
            self._lost += over

    # -- time ---------------------------------------------------------------------------------------------------

    def _stamp(self) -> Stamp:
        return self._timeline.at(now_ms(), up_ms(), clock_state())

    def sent(self, pack: Stored) -> None:
        """This pack is published now, under the times that it has."""
        if self._now.clock is Clock.UNKNOWN:
            self._sent.add(pack.id)

    async def _mend(self) -> None:
        """Once the clock is known, give those readings their time that a clock which wasn't had stamped."""
        now = self._now = self._stamp()
        if now.clock is Clock.UNKNOWN or self._mended is not Clock.UNKNOWN or self._opening:
            self._mended = Clock.UNKNOWN if now.clock is Clock.UNKNOWN else self._mended
            return
        await self._commit(plain=True)  # what was taken before the clock was set is moved with the rest
        try:
            readings = await self._call(lambda outbox: outbox.rebase(now, frozenset(self._sent)))
        except OutboxUnavailable:
            return  # it is tried again when something happens, at the latest when the clock is looked at again
        if readings:
            log.info("the clock is %s now: %d readings that had waited for it have their time", now.clock, readings)
        self._mended = now.clock
        self._sent.clear()

    # -- out ----------------------------------------------------------------------------------------------------

    async def next_batch(self, limit: int, exclude: Collection[int]) -> list[Stored]:
        """See :meth:`Outbox.next_batch`; nothing while the disk can't be read."""
        try:
            return await self._call(lambda outbox: self._taken_out(outbox.next_batch(limit, exclude)))
        except OutboxUnavailable:
            return []

    def _taken_out(self, packs: list[Stored]) -> list[Stored]:
        """In the outbox's thread, so that nothing can move the times of a pack between its being read and sent."""
        for pack in packs:
            self.sent(pack)
        return packs

    async def receipted(self, receipts: Sequence[Receipt]) -> Settled:
        """See :meth:`Outbox.receipted`. What can't be deleted now stays, is sent again and receipted again."""
        try:
            settled = await self._call(lambda outbox: outbox.receipted(receipts))
        except OutboxUnavailable:
            return Settled([], [])
        self._sent.difference_update(settled.ids)
        return settled

    @property
    def depth(self) -> Depth:
        return self._depth

    @property
    def dropped(self) -> int:
        """Readings ever dropped, on disk and in memory."""
        return self._depth.dropped + self._lost

    @property
    def held(self) -> int:
        """Readings in memory."""
        return len(self._alarms) + len(self._plain)

    def problems(self) -> list[str]:
        """What a person should look at."""
        found = [f"the outbox was damaged; the old one is kept as {file.name}" for file in damaged(self._path)]
        if self._depth.waiting:
            found.insert(0, f"the clock was never set: {self._depth.waiting} readings wait for their time")
        return [self._problem, *found] if self._problem else found

    # -- the thread ---------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the outbox now. Where the disk does not allow it, reading goes on and it is tried again."""
        self._opening = True
        try:
            await self._call(lambda outbox: None)
        except OutboxUnavailable as error:
            self._fail(str(error))
        finally:
            self._opening = False
        await self._commit(plain=True)

    async def close(self) -> None:
        if self._outbox is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._outbox.close)
        self._thread.shutdown(wait=False)

    async def _call(self, work: Callable[[Outbox], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[Outbox], T]) -> T:
        if self._outbox is None:
            self._outbox = self._open()
        try:
            return work(self._outbox)
        except OutboxDamaged as error:
            self._outbox.close()
            self._outbox = None
            quarantine(self._path, _stamp(), str(error))
            self._outbox = self._open()
            return work(self._outbox)
        finally:
            if self._outbox is not None:
                self._depth = self._outbox.depth

    def _open(self) -> Outbox:
        return open_outbox(self._path, self._boot, self._max_bytes, _stamp(), self._max_age_ms)


def _batches(taken: list[Taken], alarm: bool) -> list[Batch]:
    """One batch for each stretch of time."""
    stretches = groupby(taken, key=itemgetter(0))
    return [Batch([reading for _, reading in part], alarm, stamp) for stamp, part in stretches]


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
