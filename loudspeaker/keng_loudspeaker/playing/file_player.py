"""A player without mpv and sound server: it plays WAV files in real time to its own meter, and nobody hears it.

For a node on a desk, and for hundreds of them in one process. What sounds is rendered when somebody asks what has been
heard, up to that moment and not before: while nothing plays it costs nothing, and there is neither thread nor child.
Time is that of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
from array import array
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from keng_loudspeaker.playing.filters import CEILING, Shape
from keng_loudspeaker.playing.player import Device, PlayerFailed
from keng_loudspeaker.playing.sound import RATE
from keng_loudspeaker.playing.wav import Recording, Unreadable, WavReader, sixteen_bit, spread
from keng_loudspeaker.proving.meter import BLOCK, Ears, Meter

FILE = "file"
BLOCK_S = BLOCK / RATE
#: So many blocks of silence are told to the meter at a time; what lies longer back has been silent as well.
_MOST_SILENT = 50
#: By so much the limiter lets go in a block: as mpv's, it is back after some tens of milliseconds.
_RELEASE = 1.5


@contextlib.asynccontextmanager
async def open_file(volume: int, recording: Recording | None) -> AsyncIterator[Device]:
    """The device ``file``; ``volume`` is its players' own, in percent."""
    meter = Meter()
    output = Output(meter, recording)
    try:
        yield Device(FILE, FileEars(meter, output), FilePlayers(output, volume))
    finally:
        output.close()


class Output:
    """Where players play to, one at a time: a meter, and the recording if there is one."""

    def __init__(self, meter: Meter, recording: Recording | None) -> None:
        self._meter = meter
        self._recording = recording
        self._player: FilePlayer | None = None

    def begin(self, player: FilePlayer) -> None:
        """From now on this one plays."""
        self.catch_up()
        self._player = player

    def catch_up(self) -> None:
        """Let the meter hear what sounded until now."""
        if self._player is not None:
            self._player.sound()
        now_s = _now_s()
        silent = int(min(_MOST_SILENT, (now_s - self._meter.until_s) / BLOCK_S))
        if silent > 0 and (self._player is None or not self._player.sounds):
            self._meter.take(bytes(2 * BLOCK * silent), now_s - silent * BLOCK_S)

    def take_now(self, data: bytes) -> None:
        """What has come this moment and sounds after all before it."""
        self.take(data, max(self._meter.until_s, _now_s() - BLOCK_S))

    def take(self, data: bytes, due_s: float) -> None:
        self._meter.take(data, due_s)
        if self._recording is not None:
            self._recording.add(data)

    def close(self) -> None:
        if self._recording is not None:
            self._recording.close()


class FileEars(Ears):
    """They hear when they are asked."""

    def __init__(self, meter: Meter, output: Output) -> None:
        super().__init__(meter)
        self._output = output

    async def caught_up(self, moment_s: float, within_s: float = 0.5) -> None:
        await asyncio.sleep(min(within_s, max(0.0, moment_s - _now_s())))
        self._output.catch_up()

    async def silence(self, within_s: float = 0.5) -> None:
        self._output.catch_up()  # nothing is left in any buffer


class FilePlayer:
    """See :class:`keng_loudspeaker.playing.player.Player`."""

    def __init__(self, output: Output, volume: int) -> None:
        self._output = output
        self._volume = volume
        self._reader: WavReader | None = None
        self._pipe: _Pipe | None = None
        self._shape = Shape()
        self._from_s = 0.0
        self._begun_s: float | None = None
        self._done = 0  # blocks that have sounded
        self._limited = math.inf
        self._ends_s = math.inf
        self._silenced = False

    @property
    def sounds(self) -> bool:
        """Whether there is anything to come."""
        return self._reader is not None and self._begun_s is not None

    async def play(self, source: Path | str, shape: Shape = Shape(), *, from_s: float = 0.0) -> None:
        self._load(source, shape, from_s)
        self._begin()

    async def play_at(self, source: Path, shape: Shape, due_s: Callable[[], float]) -> str:
        self._load(source, shape, 0.0)
        begun = asyncio.Event()

        def begin() -> None:  # by the timer itself: what others have to do at this moment comes after it
            self._begin()
            begun.set()

        timer = asyncio.get_running_loop().call_at(due_s(), begin)
        try:
            await begun.wait()
        finally:
            timer.cancel()
        return ""

    async def hear_live(self, pipe: Path, rate: int, *, gain_db: float, volume: int | None) -> None:
        if self._silenced:
            raise PlayerFailed("player-died")
        self._leave()
        self._shape = Shape(gain_db=gain_db, volume=volume)
        self._output.begin(self)
        try:
            self._pipe = _Pipe(pipe, rate, lambda block: self._output.take_now(_little_endian(self._shaped(block))))
        except OSError as error:
            raise PlayerFailed(f"player-error: {error.strerror}") from None

    async def ended(self, within_s: float) -> bool:
        await self.alive_still()
        await asyncio.sleep(min(within_s, max(0.0, self._ends_s - _now_s())))
        await self.alive_still()
        self._output.catch_up()
        return self._ends_s <= _now_s()

    async def alive_still(self) -> None:
        if self._silenced:
            raise PlayerFailed("player-died")

    def silence(self) -> None:
        if not self._silenced:
            self._output.catch_up()
            self._silenced = True
            self._leave()

    async def close(self) -> None:
        self.silence()

    def sound(self) -> None:
        """Render what sounded until now: whole blocks, and at the end all that is left."""
        if self._reader is None or self._begun_s is None:
            return
        now_s, first, rendered = _now_s(), self._done, bytearray()
        over = now_s >= self._ends_s
        while over or self._begun_s + (self._done + 1) * BLOCK_S <= now_s:
            block = self._reader.block()
            if block is None:
                self._leave()
                self._ends_s = min(self._ends_s, self._begun_s + self._done * BLOCK_S)  # it may have broken off
                break
            rendered += _little_endian(self._shaped(block))
            self._done += 1
        if rendered:
            self._output.take(bytes(rendered), self._begun_s + first * BLOCK_S)

    def _load(self, source: Path | str, shape: Shape, from_s: float) -> None:
        if self._silenced:
            raise PlayerFailed("player-died")
        self._leave()
        if not isinstance(source, Path):
            raise PlayerFailed("player-error: the file player plays no streams")
        try:
            self._reader = WavReader(source, from_s)
        except Unreadable as error:
            raise PlayerFailed(f"player-error: the file player reads WAV only: {error}") from None
        self._shape, self._from_s, self._begun_s, self._ends_s = shape, from_s, None, math.inf
        self._done, self._limited = 0, math.inf
        self._output.begin(self)

    def _begin(self) -> None:
        if self._reader is not None:  # else it was silenced
            self._begun_s = _now_s()
            self._ends_s = self._begun_s + self._reader.seconds

    def _leave(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _shaped(self, block: array[int]) -> array[int]:
        """Gain with its limiter, fades in steps of a block, and volume (mpv's: the cube of its share)."""
        shape = self._shape
        factor = 10 ** (shape.gain_db / 20)
        if factor > 1 and (peak := max(max(block), -min(block))) > 0:
            self._limited = min(self._limited * _RELEASE, CEILING * 32767 / peak)
            factor = min(factor, self._limited)
        factor *= shape.faded(self._from_s + (self._done + 0.5) * BLOCK_S)
        factor *= ((self._volume if shape.volume is None else shape.volume) / 100) ** 3
        return block if factor == 1.0 else array("h", [int(sample * factor) for sample in block])


class _Pipe:
    """Raw sound (16 bit, mono) as it is written to a named pipe, in blocks; raises OSError."""

    def __init__(self, path: Path, rate: int, take: Callable[[array[int]], None]) -> None:
        self._take = take
        self._count = rate * BLOCK // RATE
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._loop.add_reader(self._end, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._end, 1 << 16)
        except BlockingIOError:
            return
        if not data:  # whoever wrote has closed its end
            self.close()
        data, size = self._rest + data, 2 * self._count
        whole = len(data) // size * size
        self._rest = data[whole:]
        for at in range(0, whole, size):
            self._take(spread(sixteen_bit(data[at : at + size])))

    def close(self) -> None:
        if self._end >= 0:
            self._loop.remove_reader(self._end)
            os.close(self._end)
            self._end = -1


class FilePlayers:
    """See :class:`keng_loudspeaker.playing.player.Players`."""

    def __init__(self, output: Output, volume: int) -> None:
        self._output = output
        self._volume = volume

    async def take(self) -> FilePlayer:
        return FilePlayer(self._output, self._volume)


def _little_endian(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples = array("h", samples)
        samples.byteswap()
    return samples.tobytes()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
