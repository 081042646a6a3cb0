"""Keeps the programme: plays what is due, whether there is a link or not, and says what became of each occurrence.

The rim around :mod:`programme` (what is to be done), :mod:`timeline` (what time it is), :mod:`diary` (what was done).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from keng_contracts.commands import Item, Play, Priority, Siren
from keng_contracts.judging import Refusal
from keng_contracts.registry import Registry
from keng_loudspeaker.alone.copy import ProgrammeCopy
from keng_loudspeaker.alone.diary import Diary
from keng_loudspeaker.alone.programme import AHEAD_MS, Begin, Skip, decide, next_ms
from keng_loudspeaker.alone.timeline import Sight, Timeline
from keng_loudspeaker.hours import Hours
from keng_loudspeaker.playing.jobs import Jobs
from keng_loudspeaker.proving.reports import Clockwork, Evidence, Order
from keng_loudspeaker.sounding.media import Media
from keng_runtime.clock import machine_boot, now_ms, up_ms
from keng_runtime.signing import TrustStore

log = logging.getLogger(__name__)

#: The clocks are looked at this often.
LOOK_S = 0.5
#: Media that could not be had are asked for again after this time.
AGAIN_S = 600.0
#: How the plays of the button are named.
BUTTON = "nut-bam-"
#: Within this the wall clock is the programme's time, and a start can be given to the player ahead, in ms.
AGREE_MS = 250


class Keeper:
    """Keeps the programme of one node. ``hours`` gives the commune's."""

    def __init__(
        self,
        trust: TrustStore,
        state: Path,
        commune: str,
        speaker: str,
        *,
        clock: Clockwork,
        evidence: Evidence,
        media: Media,
        hours: Callable[[], Hours],
    ) -> None:
        self._copy = ProgrammeCopy(trust, state / "programme.jws", commune, speaker)
        self._diary = Diary(state / "programme.sqlite")
        self._timeline = Timeline(*self._diary.started)
        self._clock = clock
        self._evidence = evidence
        self._media = media
        self._hours = hours
        self._news = asyncio.Event()  # a programme to look at
        self._to_fetch = asyncio.Event()  # a programme whose media are to be had
        self._timeless = False
        self._objection = ""

    @property
    def emergency(self) -> list[Item]:
        """What the programme says that the button plays."""
        return list(self._copy.current.emergency) if self._copy.current else []

    @property
    def version(self) -> int:
        return self._copy.current.version if self._copy.current else 0

    @property
    def waits(self) -> bool:
        """Whether there is a programme, and no time to play it by."""
        return self._timeless and self._copy.current is not None

    def offer(self, token: bytes) -> None:
        """A programme as it came. What the one before it had due until then is still played late, or skipped."""
        before = self._copy.current
        objection = self._copy.offer(token)
        if objection is None and (programme := self._copy.current) is not None:
            if before is not None:
                self._diary.leave(before, programme.from_ms)
            self._evidence.programme(f"programme/{programme.version}", len(programme.occurrences))
            self._news.set()
            self._to_fetch.set()
        elif objection and objection != self._objection:  # it is retained, and comes at every connect
            self._objection = objection
            reason, _, detail = objection.partition(": ")
            log.warning("a programme is not taken: %s", objection)
            self._evidence.programme_refused(Refusal(reason), detail)

    async def keep(self, jobs: Jobs) -> None:
        """Play what is due, until cancelled. The jobs go by the programme's time from now on, and what they say of an
        occurrence is written down."""
        jobs.time_ms, jobs.over = self.time_ms, self._diary.over
        for play in self._diary.broken_off:
            if play not in jobs.ended:
                self._evidence.broken_off(play)
            self._diary.over(play)
        fetching = asyncio.create_task(self._have_media())
        try:
            while True:
                wait_s = self._look(jobs)
                with_news = asyncio.create_task(self._news.wait())
                await asyncio.wait([with_news], timeout=wait_s)
                with_news.cancel()
                self._news.clear()
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    def close(self) -> None:
        self._diary.close()

    def time_ms(self) -> int | None:
        """The programme's time, ms since 1970 UTC; None if nobody knows it."""
        return self._timeline.now_ms(Sight(now_ms(), up_ms(), machine_boot(), self._clock.state()))

    def _look(self, jobs: Jobs) -> float:
        """Do what is due; returns how long to wait for the next look, in seconds."""
        at_ms = self.time_ms()
        self._keep_start()
        programme = self._copy.current
        if programme is None:
            return LOOK_S
        if at_ms is None:
            if not self._timeless:
                log.error("the programme waits: nobody keeps this machine's clock (NTP, or clock = 'trusted')")
            self._timeless = True
            return LOOK_S
        self._timeless = False
        # The player waits by the wall clock; if that is another, the occurrence begins when it is handed over.
        ahead_ms = AHEAD_MS if abs(now_ms() - at_ms) <= AGREE_MS and self._clock.trusted() else 0
        begun, skipped = self._diary.begun, self._diary.skipped
        left = list(self._diary.left.values())
        for step in decide(programme, begun, skipped, at_ms, self._hours(), ahead_ms, left):
            if isinstance(step, Begin):
                self._begin(step, programme.version, at_ms, jobs, ahead_ms > 0)
            else:
                self._skip(step, programme.version)
        due_ms = next_ms(programme, begun, at_ms + ahead_ms)
        left_s = LOOK_S if due_ms is None else (due_ms - ahead_ms - at_ms) / 1000
        return min(LOOK_S, max(0.01, left_s))

    def _begin(self, step: Begin, version: int, at_ms: int, jobs: Jobs, together: bool) -> None:
        occurrence, entry = step.occurrence, step.entry
        play = Play(
            play=occurrence.play,
            priority=entry.priority,
            items=[*entry.items],
            gong=entry.gong,
            resume=entry.resume,
            night=entry.night,
            start_ms=occurrence.at_ms if together and occurrence.at_ms > at_ms else None,
        )
        self._diary.begin(occurrence.play, occurrence.at_ms)  # on disk before it sounds
        note = f"late: {round(step.late_ms / 1000)} s" if step.late_ms else ""
        order = Order(play, f"programme/{version}", time.monotonic(), due_ms=occurrence.at_ms, note=note)
        jobs.play(order, jobs.keep_ended)

    def _skip(self, step: Skip, version: int) -> None:
        occurrence = step.occurrence
        log.warning("%s is not played: %s", occurrence.play, step.reason)
        self._diary.skip(occurrence.play, occurrence.at_ms)
        self._evidence.skipped(
            occurrence.play, f"programme/{version}", step.entry.priority, step.reason, occurrence.at_ms
        )

    def _keep_start(self) -> None:
        boot, started_ms = self._timeline.boot, self._timeline.started_ms
        kept_boot, kept_ms = self._diary.started
        if started_ms is not None and (boot != kept_boot or kept_ms is None or abs(started_ms - kept_ms) > 100):
            self._diary.keep_start(boot, started_ms)

    async def _have_media(self) -> None:
        """Have all sounds of the programme on disk before they are due, and say so, or which can't be had."""
        told: tuple[int, list[str]] = (0, [])
        while True:
            programme, failed = self._copy.current, []
            self._to_fetch.clear()
            if programme is not None:
                items = [item for entry in programme.entries for item in entry.items]
                failed = await self._media.prepare("programme", items)
                failed += await self._media.prepare("button", programme.emergency)
                for reason in failed:
                    log.error("a sound of the programme can't be had: %s", reason)
                if (items or programme.emergency) and told != (programme.version, failed):
                    self._evidence.prepared(f"programme/{programme.version}", failed)
                told = (programme.version, failed)
            try:
                async with asyncio.timeout(AGAIN_S if failed else None):
                    await self._to_fetch.wait()
            except TimeoutError:
                continue


def button_play(items: list[Item], registry: Registry | None, at_ms: int) -> Play:
    """What the button at the loudspeaker plays: the programme's emergency set, else the registry's longest siren, else
    Huế's for a flood above báo động 3."""
    if not items and registry is not None and registry.sirens:
        longest = max(registry.sirens, key=lambda s: s.blasts * (s.blast_s + s.gap_s) * s.repeats)
        items = [Siren(pattern=longest.id, **longest.model_dump(include={"blasts", "blast_s", "gap_s", "repeats"}))]
    items = items or [Siren(pattern="khan-cap", blasts=5, blast_s=30, gap_s=5, repeats=3)]
    return Play(play=f"{BUTTON}{at_ms}", priority=Priority.EMERGENCY, rank=9, items=items)
