"""The jobs of a node: what the playlist decides is done here, and every step is told and remembered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

from keng_contracts import commands
from keng_contracts.commands import Item, Live, Priority
from keng_contracts.judging import Refusal
from keng_contracts.playback import What
from keng_loudspeaker.hours import Hours
from keng_loudspeaker.obeying.memory import Memory
from keng_loudspeaker.playing import together
from keng_loudspeaker.playing.live import LiveVoice
from keng_loudspeaker.playing.performance import Begin, Manner, Performance, Place
from keng_loudspeaker.playing.playlist import Already, Cut, Drop, Effect, Job, Playlist, Start, Wait
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.meter import Hearing
from keng_loudspeaker.proving.reports import Evidence, Order
from keng_loudspeaker.sounding.media import Clip, Media, Stream
from keng_runtime.clock import now_ms

log = logging.getLogger(__name__)

#: Takes the names of jobs that are over by a decision, and writes them down before it returns.
Remember = Callable[[list[str]], None]


class Jobs:
    """Plays orders as the playlist decides. ``changed`` is called whenever something else sounds, or nothing, and
    ``finished`` when an item was played to its end, ``over`` once a job is over and that was said. ``time_ms`` is the
    time that the hours go by, None if nobody knows it."""

    def __init__(
        self,
        stage: Stage,
        media: Media,
        evidence: Evidence,
        memory: Memory,
        hours: Callable[[], Hours],
        changed: Callable[[], None],
        live: Callable[[Live], LiveVoice],
    ) -> None:
        self._stage = stage
        self._media = media
        self._evidence = evidence
        self._memory = memory
        self._hours = hours
        self._changed = changed
        self._live = live
        self.finished: Callable[[Order, int, Hearing], None] = lambda order, item, hearing: None
        self.over: Callable[[str], None] = lambda play: None
        self.time_ms: Callable[[], int | None] = now_ms
        self._playlist = Playlist.remembering(memory.ended())
        self._orders: dict[str, Order] = {}
        self._places: dict[str, Place] = {}  # where to go on, of jobs that were cut and resume
        self._playing: dict[str, tuple[Performance, asyncio.Task[bool]]] = {}

    @property
    def playing(self) -> str:
        """The job that sounds, empty if none does."""
        return self._playlist.playing.play if self._playlist.playing else ""

    @property
    def ended(self) -> frozenset[str]:
        """Names of jobs that have ended, as far as they are remembered."""
        return frozenset(self._memory.ended())

    def keep_ended(self, plays: list[str]) -> None:
        """Remember jobs that are over by a decision that came with no command."""
        self._memory.end(plays)

    def play(self, order: Order, remember: Remember) -> None:
        """Play it now, later, or not: evidence says which."""
        play = order.play
        effects = self._playlist.offer(Job(play.play, play.priority, play.rank, play.resume), order.came_s)
        if not any(isinstance(effect, Already) for effect in effects):
            self._orders[play.play] = order
        reasons = {Already: "already", Wait: "waiting"}
        reason = next((reasons[type(e)] for e in effects if type(e) in reasons), "")
        log.info("%s is ordered%s", play.play, f" ({reason})" if reason else "")
        self._evidence.accepted(order, reason)
        remember(_over(effects))
        self._act(effects)

    def stop(self, play: str, now_s: float, remember: Remember) -> None:
        """Stop one job, or with ``play`` empty all."""
        effects = self._playlist.stop(play, now_s)
        log.info("%s is to stop", play or "everything")
        remember([*_over(effects), *([play] if play else [])])
        self._act(effects)

    async def leave(self, why: str) -> None:
        """Silence what sounds, and say so of it and of what waits."""
        tasks = []
        for name, order in self._orders.items():
            if name in self._playing:
                performance, task = self._playing[name]
                performance.cut(why)
                tasks.append(task)
            else:
                self._evidence.dropped(order, why)
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in self._orders:
            self.over(name)

    async def close(self) -> None:
        """Leave nothing behind."""
        tasks = [task for _, task in self._playing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _act(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start(play):
                    ordered = self._orders[play].play  # one that begins at five is handed over before
                    at_ms = self.time_ms()  # where nobody knows it, what was decided when it came stands
                    if at_ms is None or self._hours().may_sound(ordered, max(at_ms, ordered.start_ms or 0) / 1000):
                        self._start(self._orders[play])
                    else:  # it came by day, and its turn is in the night
                        self._places.pop(play, None)
                        self._evidence.dropped(self._orders.pop(play), Refusal.QUIET_HOURS.value)
                        self._memory.end([play])
                        self.over(play)
                        self._act(self._playlist.ended(play, time.monotonic()))
                case Cut(play, why, by, resumes):
                    performance = self._playing[play][0]
                    if resumes:
                        self._places[play] = performance.place
                    else:
                        del self._orders[play]
                    performance.cut(f"{why.value}: {by}" if by else why.value)
                case Drop(play, why):
                    self._places.pop(play, None)
                    self._evidence.dropped(self._orders.pop(play), why.value)
                    self.over(play)
        self._changed()

    def _start(self, order: Order) -> None:
        def say(what: What, item: int, *, reason: str = "", hearing: Hearing | None = None) -> None:
            self._evidence.step(order, what, item, reason, hearing)
            if what is What.FINISHED and hearing is not None:
                self.finished(order, item, hearing)

        play = order.play
        hurry = play.priority is Priority.EMERGENCY

        async def part(number: int, item: Item) -> Clip | Stream | LiveVoice:
            if isinstance(item, Live):
                return self._live(item)
            there = not isinstance(item, commands.Media) or self._media.has(item)
            made = await self._media.part(item, hurry=hurry)
            if not there:
                say(What.FETCHED, number)
            return made

        clips = [partial(part, number, item) for number, item in enumerate(play.items)]
        place = self._places.pop(play.play, Place())
        begin: Begin | None = None
        if play.start_ms is not None:
            begin = partial(together.begin, start_s=play.start_ms / 1000, clock=self._evidence.clock)
        manner = Manner(
            repeats=play.repeats,
            volume=self._volume(play.priority),
            gap_s=play.gap_s,
            fade_in_s=play.fade_in_s,
            fade_out_s=play.fade_out_s,
            gong=self._media.gong if play.gong and place == Place() else None,
            begin=begin,
        )
        performance = Performance(clips, self._stage, say, manner, place)
        task = performance.start()
        self._playing[play.play] = (performance, task)
        task.add_done_callback(lambda done: self._ended(order, performance, done))

    def _volume(self, priority: Priority) -> int | None:
        share = self._hours().volume(priority, (self.time_ms() or now_ms()) / 1000)
        return None if share is None else round(self._stage.volume * share / 100)

    def _ended(self, order: Order, performance: Performance, task: asyncio.Task[bool]) -> None:
        """A performance is over: by itself, or cut. A job of which nothing was heard may be ordered again."""
        name, heard = order.play.play, False
        if name in self._playing and self._playing[name][0] is performance:
            del self._playing[name]
        if task.cancelled():  # the playlist knows: it has cut it
            if not performance.began:
                self._evidence.dropped(order, performance.why)
            if name not in self._orders:
                self.over(name)
            return
        if (fault := task.exception()) is not None:
            log.error("playing %s failed: %r", name, fault)
            self._evidence.broken(order, f"fault: {type(fault).__name__}")
        else:
            heard = task.result()
        if self._orders.get(name) is order:
            del self._orders[name]
            self._places.pop(name, None)
            if heard:
                self._memory.end([name])
            self.over(name)
            self._act(self._playlist.ended(name, time.monotonic(), again=not heard))


def _over(effects: Iterable[Effect]) -> list[str]:
    """Names of jobs that these effects end for good."""
    return [e.play for e in effects if isinstance(e, Drop) or (isinstance(e, Cut) and not e.resumes)]
