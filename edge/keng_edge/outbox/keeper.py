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
from pathlib import Path
from typing import TypeVar

from keng_contracts.errors import Problem
from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import EARLIEST_MS, LATEST_MS, Clock, Pack, Reading, encode
from keng_edge.outbox import in_hand
from keng_edge.outbox.in_hand import InHand
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
)
from keng_edge.outbox.salvage import open_outbox, replaced
from keng_edge.outbox.timeline import FAR_MS, Stamp, Timeline, impossible
from keng_runtime.clock import clock_state, now_ms, up_ms

log = logging.getLogger(__name__)

#: The disk is tried again after this time, doubled up to the longest.
RETRY_S, RETRY_LONGEST_S = 1.0, 30.0
#: How often the clock is looked at when nothing else happens.
CLOCK_EVERY_S = 10.0
#: By a clock that has not stood so long without a step nothing is too old: it may be years ahead, and go back.
STEADY_MS = 86_400_000
#: Packs without receipt of which we remember that they were sent; beyond that, all may have been.
MAX_SENT = 20_000
_ALL = range(1 << 63)

T = TypeVar("T")


class Keeper:
    """All that touches the outbox. ``publish`` gets packs that are new; ``linked`` says whether they will be sent."""

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
        self._sync_every_s = sync_every_s
        self.publish = publish
        self.linked: Callable[[], bool] = lambda: True
        self.changed: Callable[[], None] = lambda: None  # there is a problem, or it is over

        self._timeline = Timeline()
        self._now = self._stamp()
        self._mended: Stamp | None = None  # the stretch for which the outbox's times are right
        self._sent: set[int] = set()  # what must not be given another time any more
        self._spoken = False  # this run's mark on disk that it has sent something
        self._hand = InHand(readings, every_s)
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
            kept = None
        self._now, up = self._stamp(), up_ms()
        taken = [(self._timeline.of(reading.time_ms, up), reading) for reading in readings]
        if self._hand.add(taken, alarm=alarm, kept=kept, now=time.monotonic()):
            self._wake.set()

    async def run(self) -> None:
        """Commit what is due, until cancelled."""
        while True:
            self._wake.clear()
            await asyncio.shield(self._mend())  # as below
            now = time.monotonic()
            due_at = self._hand.due_at(now)
            if self._opening:
                due_at = None
            elif self._problem:  # what waits for the disk is due when the disk is tried again; a new alarm at once
                due_at = self._retry_at
            if self._hand.urgent or (due_at is not None and now >= due_at):
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
        if now >= self._retry_at and not self._opening:
            chosen = self._hand.choose(plain=plain or bool(self._problem))
            sync = sync or chosen.alarms > 0 or now - self._synced_at >= self._sync_every_s
            try:
                packs = await self._append(self._hand.batches(chosen), sync, chosen.lost)
            except OutboxUnavailable as error:
                self._fail(str(error))
            else:
                self._synced_at = now if sync else self._synced_at
                self._hand.committed(chosen, time.monotonic())
                self._recover()
                if packs and not self._spoken and self.linked():
                    await self._speak()
                self.publish(packs)
                return
        self._publish_uncommitted()
        self._hand.give_way()

    async def _append(self, chosen: list[Batch], sync: bool, lost: int) -> list[Stored]:
        if not chosen and not lost:
            return await self._call(lambda outbox: [])
        clock, made_ms, steady = clock_state(), now_ms(), self._timeline.steady_ms(up_ms()) >= STEADY_MS
        return await self._call(
            lambda outbox: outbox.append(chosen, made_ms=made_ms, clock=clock, sync=sync, lost=lost, forget=steady)
        )

    # -- while the disk takes nothing -----------------------------------------------------------------------------

    def _fail(self, why: str) -> None:
        if not self._problem:
            log.error(
                "%s",
                Problem(
                    f"{why}: readings are held in memory, the newest {in_hand.MAX_HELD}",
                    where=str(self._path),
                    todo="make room on the disk, or replace the card",
                    retried=True,
                ),
            )
            self._pause_s = RETRY_S
            self.changed()
        self._problem = f"{why}: readings are held in memory"
        self._hand.release()
        self._retry_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, RETRY_LONGEST_S)

    def _recover(self) -> None:
        if self._problem:
            log.info("%s: the disk takes readings again", self._path)
            self._problem = ""
            self.changed()

    def _publish_uncommitted(self) -> None:
        fresh = self._hand.unheard()
        for at in range(0, len(fresh), MAX_PACK_READINGS):
            part = tuple(fresh[at : at + MAX_PACK_READINGS])
            pack = Pack(self._boot.id, self._boot.next_seq(), self._now.clock, now_ms(), part)
            if not impossible(pack):
                self.publish([Stored(-1, encode(pack))])

    # -- time ---------------------------------------------------------------------------------------------------

    def _stamp(self) -> Stamp:
        return self._timeline.at(now_ms(), up_ms(), clock_state())

    def sent(self, pack: Stored) -> None:
        """This pack is published now, under the times that it has."""
        if len(self._sent) < MAX_SENT:
            self._sent.add(pack.id)

    async def _speak(self) -> None:
        with suppress(OutboxUnavailable):  # a full disk does not silence us
            await self._call(self._mark_spoken)

    def _mark_spoken(self, outbox: Outbox) -> None:
        outbox.spoke()
        self._spoken = True

    async def _mend(self) -> None:
        """Once the clock is known, or is set anew, give those readings their time that a wrong clock had stamped."""
        self._now, before, at_ms = self._stamp(), self._mended, now_ms()
        now = self._now
        if now.clock is Clock.UNKNOWN or self._opening or not EARLIEST_MS <= at_ms < LATEST_MS:
            self._mended = None if now.clock is Clock.UNKNOWN else before
            return
        if before is not None and abs(now.offset_ms - before.offset_ms) <= FAR_MS and not self._depth.waiting:
            return
        await self._commit(plain=True)  # what was taken before the clock was set is moved with the rest
        sent = frozenset(self._sent) if len(self._sent) < MAX_SENT else _ALL
        try:
            readings = await self._call(lambda outbox: outbox.rebase(now, at_ms, sent))
        except OutboxUnavailable:
            return  # it is tried again when something happens, at the latest when the clock is looked at again
        if readings:
            log.info(
                "the clock is %s now: %d readings that a wrong one had stamped have their time", now.clock, readings
            )
        self._mended = now

    # -- out ----------------------------------------------------------------------------------------------------

    async def next_batch(self, limit: int, exclude: Collection[int]) -> list[Stored]:
        """See :meth:`Outbox.next_batch`; nothing while the disk can't be read."""
        try:
            return await self._call(lambda outbox: self._taken_out(outbox, outbox.next_batch(limit, exclude)))
        except OutboxUnavailable:
            return []

    def _taken_out(self, outbox: Outbox, packs: list[Stored]) -> list[Stored]:
        """In the outbox's thread, so that nothing can move the times of a pack between its being read and sent."""
        if packs and not self._spoken:
            with suppress(OutboxUnavailable):
                self._mark_spoken(outbox)
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
        return self._depth.dropped + self._hand.lost

    @property
    def held(self) -> int:
        """Readings in memory."""
        return len(self._hand)

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
        try:
            if self._outbox is None:
                self._spoken = False
                self._outbox = open_outbox(self._path, self._boot, self._max_bytes, _stamp(), self._max_age_ms)
            try:
                return work(self._outbox)
            except OutboxDamaged as error:
                return work(self._replace(str(error)))
        except OutboxDamaged as error:  # the new one too
            raise OutboxUnavailable(f"the disk damages what it keeps ({error})") from None
        finally:
            if self._outbox is not None:
                self._depth = self._outbox.depth

    def _replace(self, why: str) -> Outbox:
        if self._outbox is not None:
            self._outbox.close()
        self._outbox, self._spoken = None, False
        self._outbox = replaced(self._path, self._boot, self._max_bytes, _stamp(), self._max_age_ms, why=why)
        return self._outbox


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
