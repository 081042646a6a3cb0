"""What plays now, what waits, and what gives way to what. Pure: a state machine with time as an argument.

The rules, and the table that holds their numbers (:data:`RULES`):

1. One job sounds at a time. A job stands higher if its priority does, or, within one priority, its rank: báo động 3
   over báo động 2, and of two items that are *ưu tiên* the one that the operator ranks higher.
2. A job that stands higher than what plays cuts it at once; otherwise it waits its turn, the highest first and, among
   equals, the first come. An emergency therefore never waits for anything but an emergency that stands as high.
3. What was cut is over, unless its order says that it resumes. Then it waits before its equals and goes on where it
   was, for as long as its priority allows. Nothing else is ever started in its place: nothing that people do not
   expect comes out of a loudspeaker (Music Assistant #5913 resumed unrelated music after an announcement).
4. A job that has waited for longer than its priority allows is dropped, and that is said. A live voice does not wait
   at all: who speaks must know at once that nobody hears it.
5. A job is known by its name. What plays, waits, or has ended is not played a second time; what *failed* may be
   ordered again.
6. A stop ends one job or all, playing or waiting. What was stopped by name stays silent even if its order comes late.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from keng_contracts.commands import Priority


class Rule(NamedTuple):
    """``order``: 0 stands highest. ``patience_s``: for how long a job may wait for its turn; ``resume_s``: for how long
    one that was interrupted may wait to go on."""

    order: int
    patience_s: float
    resume_s: float


RULES: dict[Priority, Rule] = {
    #                           order  patience_s  resume_s
    Priority.EMERGENCY: Rule(0, 900, 900),  # siren and message
    Priority.URGENT: Rule(1, 1800, 1800),  # a bulletin that is khẩn cấp
    Priority.LIVE: Rule(2, 0, 0),
    Priority.PRIORITY: Rule(3, 1800, 3600),  # ưu tiên
    Priority.SCHEDULED: Rule(4, 600, 3600),
    Priority.RELAY: Rule(5, 900, 14_400),  # it has an end of its own
}
#: Jobs that wait at most; more are dropped, the lowest and latest first.
MAX_WAITING = 50
#: Names of ended jobs that are remembered at most.
MAX_ENDED = 1000


class Why(StrEnum):
    """Why a job was cut or dropped. The values travel as ``reason`` in evidence."""

    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    WAITED_TOO_LONG = "waited-too-long"
    QUEUE_FULL = "queue-full"
    NODE_STOPPED = "node-stopped"


@dataclass(frozen=True, slots=True)
class Job:
    """What the playlist knows of a job: its name and how high it stands."""

    play: str
    priority: Priority
    rank: int = 0
    resume: bool = False

    @property
    def standing(self) -> tuple[int, int]:
        """Smaller stands higher."""
        return RULES[self.priority].order, -self.rank


@dataclass(frozen=True, slots=True)
class Start:
    """Begin to play it, or go on with it where it was cut."""

    play: str


@dataclass(frozen=True, slots=True)
class Cut:
    """Silence what plays, at once. ``resumes``: keep its place, for it waits to go on."""

    play: str
    why: Why
    by: str = ""
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """It waited and will not be played."""

    play: str
    why: Why


@dataclass(frozen=True, slots=True)
class Wait:
    """It waits for its turn."""

    play: str


@dataclass(frozen=True, slots=True)
class Already:
    """It plays, waits or has ended: nothing to do."""

    play: str


Effect = Start | Cut | Drop | Wait | Already


@dataclass(slots=True)
class _Waiting:
    job: Job
    since_s: float
    number: int
    patience_s: float
    cut: bool = False

    @property
    def turn(self) -> tuple[int, int, int]:
        return (*self.job.standing, self.number)


@dataclass(slots=True)
class Playlist:
    """The state. Every method returns what is to be done, in order; the caller does it."""

    playing: Job | None = None
    _waiting: list[_Waiting] = field(default_factory=list)
    _ended: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _count: int = 0

    @classmethod
    def remembering(cls, ended: Iterable[str]) -> Playlist:
        """A fresh playlist that knows the names of jobs that ended before, oldest first."""
        playlist = cls()
        for play in ended:
            playlist._end(play)
        return playlist

    @property
    def waiting(self) -> list[Job]:
        """What waits, the next one first."""
        return [w.job for w in self._waiting]

    def has_ended(self, play: str) -> bool:
        return play in self._ended

    def offer(self, job: Job, now_s: float) -> list[Effect]:
        """A new order to play. ``now_s``: any clock that only grows."""
        known = {w.job.play for w in self._waiting} | ({self.playing.play} if self.playing else set())
        if job.play in known or job.play in self._ended:
            return [Already(job.play)]
        if self.playing is None:
            self.playing = job
            return [Start(job.play)]
        if job.standing < self.playing.standing:
            cut = self._interrupt(self.playing, job.play, now_s)
            self.playing = job
            return [cut, Start(job.play)]
        if RULES[job.priority].patience_s <= 0:
            self._end(job.play)
            return [Drop(job.play, Why.WAITED_TOO_LONG)]
        self._count += 1
        self._wait(_Waiting(job, now_s, self._count, RULES[job.priority].patience_s))
        effects: list[Effect] = [Wait(job.play)]
        while len(self._waiting) > MAX_WAITING:
            effects.append(self._drop(self._waiting.pop(), Why.QUEUE_FULL))
        return effects

    def stop(self, play: str, now_s: float) -> list[Effect]:
        """A stop of one job, or with ``play`` empty of all."""
        effects: list[Effect] = []
        for waiting in [w for w in self._waiting if play in ("", w.job.play)]:
            self._waiting.remove(waiting)
            effects.append(self._drop(waiting, Why.STOPPED))
        if self.playing is not None and play in ("", self.playing.play):
            effects.append(Cut(self.playing.play, Why.STOPPED))
            self._end(self.playing.play)
            self.playing = None
            effects += self._next(now_s)
        if play:
            self._end(play)
        return effects

    def ended(self, play: str, now_s: float, *, again: bool = False) -> list[Effect]:
        """What played has come to its end by itself; ``again``: it failed, and may be ordered again under its name.

        A late word about a job that has been cut meanwhile changes nothing, but that it need not go on.
        """
        current = self.playing is not None and self.playing.play == play
        cut = [w for w in self._waiting if w.cut and w.job.play == play]
        if (current or cut) and not again:
            self._end(play)
        for waiting in cut:
            self._waiting.remove(waiting)
        if not current:
            return []
        self.playing = None
        return self._next(now_s)

    def _next(self, now_s: float) -> list[Effect]:
        effects: list[Effect] = []
        while self._waiting:
            waiting = self._waiting.pop(0)
            if now_s - waiting.since_s > waiting.patience_s:
                effects.append(self._drop(waiting, Why.WAITED_TOO_LONG))
                continue
            self.playing = waiting.job
            return [*effects, Start(waiting.job.play)]
        return effects

    def _interrupt(self, job: Job, by: str, now_s: float) -> Cut:
        resume_s = RULES[job.priority].resume_s if job.resume else 0.0
        if resume_s <= 0:
            self._end(job.play)
            return Cut(job.play, Why.INTERRUPTED, by)
        self._count += 1
        self._wait(_Waiting(job, now_s, -self._count, resume_s, cut=True))
        return Cut(job.play, Why.INTERRUPTED, by, resumes=True)

    def _wait(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._waiting.sort(key=lambda w: w.turn)

    def _drop(self, waiting: _Waiting, why: Why) -> Drop:
        self._end(waiting.job.play)
        return Drop(waiting.job.play, why)

    def _end(self, play: str) -> None:
        self._ended[play] = None
        self._ended.move_to_end(play)
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
