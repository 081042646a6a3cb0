"""One job as it is played: item after item, watched by ear, with a word about every step.

A step is said when it was heard: started with the first sample at the output, finished with the level of all that
sounded. If the player dies, hangs or stays silent, the item is tried once more with a fresh one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from keng_contracts.errors import Problem
from keng_contracts.playback import What
from keng_loudspeaker.playing.player import Mpv, PlayerFailed
from keng_loudspeaker.playing.silence import Watch
from keng_loudspeaker.playing.stage import Open, Stage
from keng_loudspeaker.proving.meter import Hearing
from keng_loudspeaker.sounding.media import Clip, Unplayable

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


class Say(Protocol):
    """Takes a step of an item; ``hearing`` is what was heard of it."""

    def __call__(self, what: What, item: int, *, reason: str = "", hearing: Hearing | None = None) -> None: ...


class Silent(PlayerFailed):
    """It plays, and nothing comes out."""


class Performance:
    """Plays the clips of one job, which ``clips`` make; :meth:`start` begins it and :meth:`cut` ends it."""

    def __init__(self, clips: Sequence[Callable[[], Coroutine[Any, Any, Clip]]], stage: Stage, say: Say) -> None:
        self._clips = clips
        self._stage = stage
        self._say = say
        self._mpv: Mpv | None = None
        self._hearing: Hearing | None = None
        self._task: asyncio.Task[bool] | None = None
        self.began = False
        self.why = ""

    def start(self) -> asyncio.Task[bool]:
        """Begin. The task's result is whether anything was heard."""
        self._task = asyncio.create_task(self._run())
        return self._task

    def cut(self, why: str) -> None:
        """Silence it now; evidence follows."""
        self.why = why
        if self._mpv is not None:
            self._mpv.silence()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> bool:
        self.began = True
        # All at once: the words are made while the siren sounds.
        clips = [asyncio.create_task(make()) for make in self._clips]
        heard = False
        index = 0
        try:
            for index, clip in enumerate(clips):
                try:
                    made = await clip
                except Unplayable as error:
                    self._say(What.FAILED, index, reason=str(error))
                    continue
                heard = await self._play(index, made) or heard
                self._hearing = None
        except asyncio.CancelledError:
            self._say(What.CUT, index, reason=self.why, hearing=self._hearing)
            raise
        finally:
            for clip in clips:
                clip.cancel()
            await asyncio.gather(*clips, return_exceptions=True)
            await self._dismiss()
        return heard

    async def _play(self, index: int, clip: Clip) -> bool:
        """Play an item, twice if need be; whether it was heard to its end."""
        for retry in (True, False):
            self._hearing = None
            try:
                open_ = await self._stage.opened(DEVICE_S)
                if self._mpv is None:
                    self._mpv = await open_.players.take()
                await open_.ears.silence()
                with open_.ears.meter.hearing(time.monotonic()) as self._hearing:
                    await self._hear(index, clip, self._mpv, open_, self._hearing)
                return True
            except (PlayerFailed, Problem) as failure:
                what = What.SILENT if isinstance(failure, Silent) else What.FAILED
                reason = f"{failure} (tried again)" if retry else str(failure)
                self._say(what, index, reason=reason, hearing=self._hearing)
                await self._dismiss()
                if retry:
                    await asyncio.sleep(AGAIN_S)
        return False

    async def _hear(self, index: int, clip: Clip, mpv: Mpv, open_: Open, hearing: Hearing) -> None:
        meter = open_.ears.meter
        await mpv.play(clip.path)
        began_s = asked_s = time.monotonic()
        watch = Watch(clip.spans)
        started = False
        while True:
            ended = await mpv.ended(TICK_S)
            now_s = time.monotonic()
            if open_.ears.lost.is_set():
                raise PlayerFailed("sound-device-lost")
            if ended:
                await open_.ears.caught_up(now_s + TAIL_S)
            if not started and (hearing.onset_known or (ended and hearing.first_s is not None)):
                started = True
                self._say(What.STARTED, index, hearing=hearing)
            if ended:
                break
            position_s = now_s - (hearing.first_s or began_s)
            if meter.until_s > now_s - RECENT_S and watch.overdue(
                position_s, heard=meter.until_s - meter.sound_s < RECENT_S
            ):
                if not started:
                    raise Silent("nothing-heard")
                self._say(What.SILENT, index, reason="fell-silent", hearing=hearing)
            if position_s > clip.seconds + OVERRUN_S:
                raise PlayerFailed("player-hangs")
            if now_s - asked_s > ASK_S:
                asked_s = now_s
                await mpv.alive_still()
        if not started:
            raise Silent("nothing-heard")
        self._say(What.FINISHED, index, hearing=hearing)

    async def _dismiss(self) -> None:
        mpv, self._mpv = self._mpv, None
        if mpv is not None:
            with contextlib.suppress(OSError):
                await mpv.close()
