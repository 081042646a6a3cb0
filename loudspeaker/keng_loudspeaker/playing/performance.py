"""One job as it is played: item after item, watched by ear, with a word about every step.

A step is said when it was heard: started with the first sample at the output, finished with the level of all that
sounded. If the player dies, hangs or stays silent, the item is tried once more with a fresh one. What was cut knows
its place, and another performance may go on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from keng_contracts.errors import Problem
from keng_contracts.playback import What
from keng_loudspeaker.playing.filters import Shape
from keng_loudspeaker.playing.live import LiveVoice
from keng_loudspeaker.playing.player import Device, Player, PlayerFailed, Silent
from keng_loudspeaker.playing.silence import Watch
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.meter import Hearing
from keng_loudspeaker.sounding.media import Clip, Stream, Unplayable

TICK_S = 0.05
#: The player is asked whether it lives, this often.
ASK_S = 1.0
#: What the player has let go of is heard so much later at most.
TAIL_S = 0.06
#: Sound within this time counts as heard now.
RECENT_S = 0.3
#: A file that lasts so much longer than it should does not play.
OVERRUN_S = 5.0
#: Before an item is tried again: if the player failed because the device is going, that is known by then.
AGAIN_S = 0.2
#: So long may a job wait for a device that was lost.
DEVICE_S = 10.0
#: So long may a stream take to be heard.
CONNECT_S = 15.0
#: A stream that failed is tried again after this time, then after twice as long …
RELAY_AGAIN_S, RELAY_AGAIN_MAX_S = 1.0, 30.0
#: So is a player that fails while somebody speaks, from AGAIN_S up to this.
LIVE_AGAIN_MAX_S = 3.0
#: What goes on after an interruption begins so much before the place where it was cut: the word itself was lost.
OVERLAP_S = 1.0

log = logging.getLogger(__name__)
Tell = Callable[[What, str], None]


class Say(Protocol):
    """Takes a step of an item; ``hearing`` is what was heard of it."""

    def __call__(self, what: What, item: int, *, reason: str = "", hearing: Hearing | None = None) -> None: ...


Maker = Callable[[], Coroutine[Any, Any, Clip]]
PartMaker = Callable[[], Coroutine[Any, Any, Clip | Stream | LiveVoice]]
Begin = Callable[[Player, Path, Shape], Coroutine[Any, Any, str]]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a job is played, beside its items: see :class:`keng_contracts.commands.Play`. ``volume`` is in percent, None
    leaves the player's own; ``gong`` makes the gong that comes first, and nothing is told of it. ``begin`` begins what
    sounds first, at a moment of its own, and returns what there is to say of it."""

    repeats: int = 1
    gap_s: float = 0.0
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0
    volume: int | None = None
    gong: Maker | None = None
    begin: Begin | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a job: the repeat and the item, both from 0, and the seconds within it."""

    repeat: int = 0
    item: int = 0
    at_s: float = 0.0


class Performance:
    """Plays the clips of one job, which ``clips`` make; :meth:`start` begins it and :meth:`cut` ends it."""

    def __init__(
        self, clips: Sequence[PartMaker], stage: Stage, say: Say, manner: Manner = Manner(), place: Place = Place()
    ) -> None:
        self._clips = clips
        self._stage = stage
        self._say = say
        self._manner = manner
        self._from = self._now = place
        self._begin = manner.begin if place == Place() else None
        self._begun = ""
        self._player: Player | None = None
        self._hearing: Hearing | None = None
        self._task: asyncio.Task[bool] | None = None
        self._striking = False
        self.began = False
        self.why = ""

    def start(self) -> asyncio.Task[bool]:
        """Begin. The task's result is whether anything was heard."""
        self._task = asyncio.create_task(self._run())
        return self._task

    def cut(self, why: str) -> None:
        """Silence it now; evidence follows."""
        self.why = why
        if self._player is not None:
            self._player.silence()
        if self._task is not None:
            self._task.cancel()

    @property
    def place(self) -> Place:
        """Where it is now, a word or two before what was heard last."""
        if self._striking or self._hearing is None or self._hearing.first_s is None:
            return self._now
        at_s = self._now.at_s + time.monotonic() - self._hearing.first_s - OVERLAP_S
        return replace(self._now, at_s=max(0.0, at_s))

    async def _run(self) -> bool:
        self.began = True
        # All at once: the words are made while the siren sounds.
        clips = [asyncio.create_task(make()) for make in self._clips]
        heard = False
        try:
            await self._strike()
            for repeat in range(self._from.repeat, self._manner.repeats):
                first = self._from.item if repeat == self._from.repeat else 0
                for index in range(first, len(clips)):
                    resumed = (repeat, index) == (self._from.repeat, self._from.item)
                    self._now = self._from if resumed else Place(repeat, index)
                    if not resumed and self._manner.gap_s > 0:
                        await asyncio.sleep(self._manner.gap_s)
                    heard = await self._item(index, clips[index]) or heard
                    self._hearing = None
        except asyncio.CancelledError:
            self._say(What.CUT, self._now.item, reason=self.why, hearing=self._hearing)
            raise
        finally:
            for clip in clips:
                clip.cancel()
            await asyncio.gather(*clips, return_exceptions=True)
            await self._dismiss()
        return heard

    async def _strike(self) -> None:
        """The gong. Without it an announcement is still one."""
        if self._manner.gong is None:
            return
        self._striking = True
        try:
            clip = await self._manner.gong()
            await self._play(clip, self._shape(clip), lambda _what, _reason: None)
        except (Unplayable, PlayerFailed, Problem) as error:
            log.error("the gong does not sound: %s", error)
            await self._dismiss()
        self._hearing, self._striking = None, False

    async def _item(self, index: int, made: asyncio.Task[Clip | Stream | LiveVoice]) -> bool:
        """Play an item, twice if need be; whether it was heard to its end."""

        def tell(what: What, reason: str) -> None:
            self._say(what, index, reason=reason, hearing=self._hearing)

        try:
            clip = await asyncio.shield(made)
        except Unplayable as error:
            self._say(What.FAILED, index, reason=str(error))
            return False
        if isinstance(clip, Stream):
            return await self._relay(clip, tell)
        if isinstance(clip, LiveVoice):
            return await self._live(clip, tell)
        first = self._now == self._from
        last = (self._now.repeat, index) == (self._manner.repeats - 1, len(self._clips) - 1)
        shape = replace(
            self._shape(clip),
            fade_in_s=self._manner.fade_in_s if first else 0.0,
            fade_out_s=self._manner.fade_out_s if last else 0.0,
        )
        for retry in (True, False):
            try:
                await self._play(clip, shape, tell)
                return True
            except (PlayerFailed, Problem) as failure:
                what = What.SILENT if isinstance(failure, Silent) else What.FAILED
                tell(what, f"{failure} (tried again)" if retry else str(failure))
                await self._dismiss()
                if retry:
                    await asyncio.sleep(AGAIN_S)
        return False

    async def _relay(self, stream: Stream, tell: Tell) -> bool:
        """Play a stream until its time is over; whenever it fails or is silent, its fallback, and then it again."""
        heard, pause_s = False, RELAY_AGAIN_S
        self._now = replace(self._now, at_s=0.0)
        while time.monotonic() < stream.ends_s:
            try:
                await self._play(stream, self._shape(stream), tell)
                return True
            except (PlayerFailed, Problem) as failure:
                tell(What.SILENT if isinstance(failure, Silent) else What.FAILED, f"{failure} (tried again)")
            heard = heard or (self._hearing is not None and self._hearing.first_s is not None)
            await self._dismiss()
            if (fallback := stream.fallback) is not None and time.monotonic() < stream.ends_s:
                try:
                    await self._play(
                        fallback,
                        self._shape(fallback),
                        lambda what, reason: tell(what, f"fallback {reason}".strip()),
                        stream.ends_s,
                    )
                    heard = True
                except (PlayerFailed, Problem) as failure:
                    tell(What.FAILED, f"fallback {failure}")
                    await self._dismiss()
            self._hearing = None
            await asyncio.sleep(min(pause_s, max(0.0, stream.ends_s - time.monotonic())))
            pause_s = min(2 * pause_s, RELAY_AGAIN_MAX_S)
        tell(What.FAILED, "the stream was not there at its end")
        return heard

    async def _live(self, voice: LiveVoice, tell: Tell) -> bool:
        """Play a voice while it speaks. A player that fails is replaced, and what is spoken by then is heard."""
        heard = told = False
        pause_s = AGAIN_S
        async with voice.listened():
            while not voice.ended():
                try:
                    async with self._listening() as (device, player, hearing):
                        await voice.play(player, device.ears, hearing, tell, self._manner.volume)
                    told = True
                except (PlayerFailed, Problem) as failure:
                    what = What.SILENT if isinstance(failure, Silent) else What.FAILED
                    tell(what, f"{failure} (tried again)")
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LIVE_AGAIN_MAX_S)
                heard = heard or (self._hearing is not None and self._hearing.first_s is not None)
                await self._dismiss()  # it was set up for this alone
        if not told:
            tell(What.FAILED, voice.over or "not-played")
        return heard

    def _shape(self, clip: Clip | Stream) -> Shape:
        if isinstance(clip, Stream):
            return Shape(gain_db=clip.gain_db, volume=self._manner.volume, lufs=clip.lufs)
        return Shape(gain_db=clip.gain_db, seconds=clip.seconds, volume=self._manner.volume)

    async def _play(self, clip: Clip | Stream, shape: Shape, tell: Tell, ends_s: float = math.inf) -> None:
        """Play it from its place to its end, or to ``ends_s``; raises :class:`PlayerFailed` and :class:`Problem`."""
        async with self._listening() as (device, player, hearing):
            await self._hear(_as_sounding(clip, self._now.at_s, ends_s), shape, player, device, hearing, tell)

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[tuple[Device, Player, Hearing]]:
        """Device, player, and the hearing of all that comes now; raises :class:`PlayerFailed` and :class:`Problem`."""
        self._hearing = None
        device = await self._stage.opened(DEVICE_S)
        if self._player is None:
            self._player = await device.players.take()
        await device.ears.silence()
        with device.ears.meter.hearing(time.monotonic()) as self._hearing:
            yield device, self._player, self._hearing

    async def _hear(
        self, clip: _Sounding, shape: Shape, player: Player, device: Device, hearing: Hearing, tell: Tell
    ) -> None:
        ears, meter, from_s = device.ears, device.ears.meter, clip.from_s
        begin, self._begin = self._begin, None
        if begin is not None and isinstance(clip.source, Path):
            self._begun = await begin(player, clip.source, shape)
        else:
            await player.play(clip.source, shape, from_s=from_s)
        began_s = asked_s = time.monotonic()
        watch = Watch(clip.spans, clip.patience_s)
        started = False
        while True:
            ended = await player.ended(TICK_S)
            now_s = time.monotonic()
            if ears.lost.is_set():
                raise PlayerFailed("sound-device-lost")
            if ended:
                await ears.caught_up(now_s + TAIL_S)
            if not started and (hearing.onset_known or (ended and hearing.first_s is not None)):
                started = True
                tell(What.STARTED, self._which())
            if ended and clip.endless:
                raise PlayerFailed("stream-ended")
            if ended:
                break
            if now_s >= clip.ends_s:
                await self._dismiss()
                break
            position_s = from_s + now_s - (hearing.first_s or began_s)
            if clip.endless and hearing.first_s is None:
                if now_s - began_s > CONNECT_S:
                    raise Silent("nothing-heard")
            elif meter.until_s > now_s - RECENT_S and watch.overdue(
                position_s, heard=meter.until_s - meter.sound_s < RECENT_S
            ):
                if not started:
                    raise Silent("nothing-heard")
                if clip.endless:
                    raise Silent("fell-silent")
                tell(What.SILENT, "fell-silent")
            if position_s > clip.seconds + OVERRUN_S:
                raise PlayerFailed("player-hangs")
            if now_s - asked_s > ASK_S:
                asked_s = now_s
                await player.alive_still()
        if not started:
            raise Silent("nothing-heard")
        tell(What.FINISHED, "")

    def _which(self) -> str:
        """What there is to say of an item that starts: that it is a repeat, that it goes on."""
        said, self._begun = [self._begun] if self._begun else [], ""
        if self._manner.repeats > 1:
            said.append(f"repeat {self._now.repeat + 1} of {self._manner.repeats}")
        if self._from != Place() and self._now == self._from:
            said.append(f"resumed at {self._now.at_s:.1f} s")
        return ", ".join(said)

    async def _dismiss(self) -> None:
        player, self._player = self._player, None
        if player is not None:
            with contextlib.suppress(OSError):
                await player.close()


@dataclass(frozen=True, slots=True)
class _Sounding:
    """A clip or a stream as it is played: from where, until when (monotonic seconds), where sound is due."""

    source: Path | str
    from_s: float
    seconds: float
    spans: tuple[tuple[float, float], ...]
    ends_s: float
    patience_s: float | None = None
    endless: bool = False


def _as_sounding(clip: Clip | Stream, from_s: float, ends_s: float) -> _Sounding:
    if isinstance(clip, Stream):
        always = ((-math.inf, math.inf),)
        return _Sounding(clip.url, 0.0, math.inf, always, clip.ends_s, clip.silent_after_s, endless=True)
    return _Sounding(clip.path, from_s, clip.seconds, clip.spans, ends_s)
