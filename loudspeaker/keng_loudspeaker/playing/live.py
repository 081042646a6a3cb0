"""A live voice on the node: frames come over the link, and go to the player at the pace at which they were spoken.

What comes late can't be waited for, or everything after it would be late as well. So a little is held back
(:class:`Playout`), what is missing then is silence, and what has piled up is let go: the voice is always as near to
the mouth as it was at its beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import math
import os
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from operator import mul
from pathlib import Path

from keng_contracts.commands import Live
from keng_contracts.playback import What
from keng_contracts.topics import Kind, Topic
from keng_loudspeaker.playing.player import Player, PlayerFailed, Silent
from keng_loudspeaker.proving.meter import Ears, Hearing
from keng_runtime.live_voice import FRAME_BYTES, FRAME_S, RATE, Listening
from keng_runtime.mqtt import Link, Refused

log = logging.getLogger(__name__)

#: Frames held back at the beginning, and after all were used up: what the way of a frame may take more than another's.
HELD = 2
#: More than these have piled up, or more than HELD for a second: the oldest are let go, down to HELD.
PILED, LATE_FRAMES = 6, 25
#: No frame for so long, at the beginning and later: the voice is lost.
LOST_S = 4.0
#: A frame above this (dB below full scale, RMS) is somebody who speaks; all else may be the room.
SPOKEN_DBFS = -35.0
_SPOKEN_ENERGY = 32768.0**2 * 10 ** (SPOKEN_DBFS / 10) * FRAME_BYTES / 2
#: So much speech may be handed to the player while nothing is heard at the output.
UNHEARD_S = 2.0
#: The player opens its pipe within this time. The pipe holds a tenth of a second, as small as the kernel makes one.
OPEN_S, PIPE_BYTES = 3.0, 4096
TICK_S, ASK_S, RECENT_S = 0.05, 1.0, 0.3
#: What was handed over last is heard so much later at most.
TAIL_S = 0.3

_SILENCE = bytes(FRAME_BYTES)


@dataclass(slots=True)
class Playout:
    """Frames on their way to the player. Pure: offered as they come, and asked for one every :data:`FRAME_S`.

    >>> playout = Playout()
    >>> playout.offer(b"one"), playout.next() == b"one"  # one frame is not begun with
    (None, False)
    >>> playout.offer(b"two"), playout.next(), playout.next()
    (None, b'one', b'two')
    """

    missing: int = 0
    let_go: int = 0
    _frames: deque[bytes] = field(default_factory=deque)
    _flows: bool = False
    _late: int = 0

    def offer(self, frame: bytes) -> None:
        self._frames.append(frame)
        if len(self._frames) > PILED:
            self._catch_up()

    def next(self) -> bytes:
        """The next frame, or silence in its place."""
        if self._flows and not self._frames:
            self._flows = False
            self.missing += 1
        self._flows = self._flows or len(self._frames) >= HELD
        self._late = self._late + 1 if len(self._frames) > HELD else 0
        if self._late > LATE_FRAMES:
            self._catch_up()
        return self._frames.popleft() if self._flows else _SILENCE

    def _catch_up(self) -> None:
        self._late = 0
        while len(self._frames) > HELD:
            self._frames.popleft()
            self.let_go += 1

    def rest(self) -> list[bytes]:
        """All that was not asked for yet, at the end."""
        frames = list(self._frames)
        self._frames.clear()
        return frames


class LiveVoice:
    """One session. ``folder`` is for the pipe to the player."""

    def __init__(self, item: Live, link: Link, commune: str, folder: Path) -> None:
        self._link = link
        self._topic = str(Topic(commune, Kind.VOICE, item.session))
        self._pipe = folder / f"{item.session}.pcm"
        self._frames = Listening(item.key)
        self._seconds = item.seconds
        self._ends_s = self._came_s = math.inf
        self._playout = Playout()
        self._unheard = 0  # frames of speech since the output was last heard to sound
        self.gain_db = item.gain_db
        self.over: str | None = None  # why it ended: "" by the speaker's own word

    @contextlib.asynccontextmanager
    async def listened(self) -> AsyncIterator[None]:
        """Hear the session's frames."""
        self._came_s = time.monotonic()
        self._ends_s = self._came_s + self._seconds
        try:
            try:
                async with asyncio.timeout(LOST_S):
                    await self._link.hear(self._topic, self._take)
            except TimeoutError:
                self.over = "voice-lost"
            except Refused as error:
                log.error("%s can't be heard: %s; check the broker's acl", self._topic, error)
                self.over = "voice-refused"
            yield
        finally:
            self._link.unhear(self._topic)
            if self._frames.refused or self._playout.missing or self._playout.let_go:
                lost = f"{self._playout.missing} times too late, {self._playout.let_go} frames let go"
                log.warning("live voice: %s, %d frames refused", lost, self._frames.refused)

    def _take(self, frame: bytes) -> None:
        sound = self._frames.take(frame)
        if sound:
            self._came_s = time.monotonic()
            self._playout.offer(sound)
        elif sound is not None and self.over is None:
            self.over = ""

    def ended(self) -> bool:
        """Whether it is over now."""
        self._look(time.monotonic())
        return self.over is not None

    def _look(self, now_s: float) -> None:
        if self.over is None and now_s > self._ends_s:
            self.over = "time-up"
        elif self.over is None and now_s - self._came_s > LOST_S:
            self.over = "voice-lost"

    async def play(
        self, player: Player, ears: Ears, hearing: Hearing, tell: Callable[[What, str], None], volume: int | None
    ) -> None:
        """Play it to its end; raises :class:`PlayerFailed` when the player, not the voice, is at fault."""
        with _pipe(self._pipe):
            await player.hear_live(self._pipe, RATE, gain_db=self.gain_db, volume=volume)
            pump = asyncio.create_task(self._pump(await _opened(self._pipe)))
            try:
                await self._watch(pump, player, ears, hearing, tell)
            finally:
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)

    async def _watch(
        self,
        pump: asyncio.Task[None],
        player: Player,
        ears: Ears,
        hearing: Hearing,
        tell: Callable[[What, str], None],
    ) -> None:
        asked_s, started = time.monotonic(), False
        while not pump.done():
            await asyncio.wait([pump], timeout=TICK_S)
            now_s = time.monotonic()
            if ears.lost.is_set():
                raise PlayerFailed("sound-device-lost")
            if not started and hearing.onset_known:
                started = True
                tell(What.STARTED, "")
            if ears.meter.until_s - ears.meter.sound_s < RECENT_S:
                self._unheard = 0
            elif self._unheard * FRAME_S > UNHEARD_S:
                self._unheard = 0
                raise Silent("nothing-heard")
            if now_s - asked_s > ASK_S:
                asked_s = now_s
                await player.alive_still()
        pump.result()
        await ears.caught_up(time.monotonic() + TAIL_S, within_s=2 * TAIL_S)
        if not started and hearing.first_s is not None:
            started = True
            tell(What.STARTED, "")
        if not started:
            tell(What.FAILED, self.over or "nothing-was-said")
        else:
            tell(What.FAILED if self.over == "voice-lost" else What.FINISHED, self.over or "")

    async def _pump(self, pipe: int) -> None:
        """Hand over a frame every :data:`FRAME_S` until the voice is over; raises :class:`PlayerFailed`."""
        try:
            due_s = time.monotonic()
            while True:
                self._look(due_s)
                if self.over is not None:
                    break
                self._hand_over(pipe, self._playout.next())
                due_s += FRAME_S
                await asyncio.sleep(due_s - time.monotonic())
            for frame in self._playout.rest():
                self._hand_over(pipe, frame)
                await asyncio.sleep(FRAME_S)
        finally:
            os.close(pipe)

    def _hand_over(self, pipe: int, frame: bytes) -> None:
        samples = array("h", frame)
        self._unheard += sum(map(mul, samples, samples)) > _SPOKEN_ENERGY
        try:
            os.write(pipe, frame)  # all of it or nothing: it is smaller than PIPE_BUF
        except BlockingIOError:
            self._playout.let_go += 1  # the player is behind; later is too late
        except OSError:
            raise PlayerFailed("player-died") from None


@contextlib.contextmanager
def _pipe(path: Path) -> Iterator[None]:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


async def _opened(pipe: Path) -> int:
    """The writing end, once the player has opened the other; raises :class:`PlayerFailed`."""
    deadline_s = time.monotonic() + OPEN_S
    while time.monotonic() < deadline_s:
        try:
            end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise PlayerFailed(f"no-pipe: {error.strerror}") from None
            await asyncio.sleep(0.005)
            continue
        fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return end
    raise PlayerFailed("player-hangs")
