"""What really leaves the player: level and time of the sound at the output, not the player's word.

:class:`Meter` is pure: it is fed signed 16-bit mono samples with the time of their arrival. :func:`listen` feeds it
from ``parec`` on the monitor of our sink. Levels are RMS in dB below full scale (a full-scale square wave is 0 dBFS,
a full-scale sine -3 dBFS); times are seconds of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
import time
from array import array
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import mul

from keng_contracts.errors import Problem
from keng_loudspeaker.playing import children
from keng_loudspeaker.playing.sound import RATE, Sound
from keng_loudspeaker.proving.curve import Curve

log = logging.getLogger(__name__)

BLOCK = RATE // 50  # 20 ms
FLOOR_DBFS = -50.0
#: A sample above this is sound.
FLOOR = int(32768 * 10 ** (FLOOR_DBFS / 20))
SILENCE_DBFS = -120.0
#: STARTED carries the level over this much of the beginning.
ONSET_S = 0.25
#: A monitor that delivers nothing for this long is lost; even silence is delivered.
LOST_S = 3.0


def dbfs(energy: float, samples: int) -> float:
    """RMS level of ``samples`` samples whose squares add up to ``energy``, rounded to 0.1 dB."""
    square = energy / samples / 32768**2 if samples > 0 else 0.0
    return round(10 * math.log10(square), 1) if square > 10 ** (SILENCE_DBFS / 10) else SILENCE_DBFS


_QUIET = bytes(2 * BLOCK)
_NOTHING = array("h", _QUIET)


class StreamClock:
    """When a sample of a live stream was due, from when its block arrived.

    Blocks arrive late by scheduling and never early, so the least delay seen lately tells where the stream's start
    lies; it is forgotten after two windows, since the sound card's clock drifts against ours.
    """

    WINDOW_S = 4.0
    #: A block is never taken to be older than this: samples were lost on the way then, not delayed.
    WORST_S = 1.0

    def __init__(self) -> None:
        self._window_end = -math.inf
        self._before = self._now = math.inf

    def due(self, first: int, arrived_s: float) -> float:
        """The time of sample number ``first``, the first of a block that arrived at ``arrived_s``."""
        start = arrived_s - first / RATE
        if arrived_s >= self._window_end:
            self._window_end = arrived_s + self.WINDOW_S
            self._before, self._now = self._now, start
        self._now = min(self._now, start)
        return max(min(self._before, self._now) + first / RATE, arrived_s - self.WORST_S)


@dataclass(slots=True)
class Hearing:
    """What was heard since a moment: ``first_s`` and ``last_s`` bound it, ``sounded_s`` is the sum of what sounded."""

    since_s: float
    first_s: float | None = None
    last_s: float | None = None
    sounded: int = 0
    energy: float = 0.0
    curve: Curve = field(default_factory=Curve)
    _onset: int = 0
    _onset_energy: float = 0.0

    @property
    def sounded_s(self) -> float:
        return round(self.sounded / RATE, 3)

    @property
    def level_dbfs(self) -> float | None:
        """Over all that sounded, without the pauses; None if nothing did."""
        return dbfs(self.energy, self.sounded) if self.sounded else None

    @property
    def onset_known(self) -> bool:
        return self._onset >= ONSET_S * RATE

    @property
    def onset_dbfs(self) -> float | None:
        """Over the first quarter of a second, or what there was of it."""
        return dbfs(self._onset_energy, self._onset) if self._onset else None

    def _add(self, due_s: float, block: array[int], begin: int, end: int, energy: float) -> None:
        """A block whose samples ``begin`` to ``end`` (exclusive) sound, or none if they are equal."""
        if end > begin:
            if self.first_s is None:
                self.first_s = max(self.since_s, due_s + begin / RATE)
                self._onset = -begin  # the pause before the first sample is no part of it
            self.last_s = due_s + end / RATE
            self.sounded += end - begin
            self.energy += energy
        if self.first_s is None:
            return
        self.curve.add(energy, len(block))
        if not self.onset_known:
            self._onset += len(block)
            self._onset_energy += energy


@dataclass(slots=True)
class Meter:
    """Fed with all that leaves the sink. ``curve`` holds (time, level) of each block of the last minute."""

    curve: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=3000))
    until_s: float = -math.inf  # everything before this moment has been heard
    sound_s: float = -math.inf  # when sound was last heard
    _clock: StreamClock = field(default_factory=StreamClock)
    _rest: bytes = b""
    _count: int = 0
    _hearings: list[Hearing] = field(default_factory=list)

    @contextlib.contextmanager
    def hearing(self, since_s: float) -> Iterator[Hearing]:
        """Hear from now on."""
        hearing = Hearing(since_s)
        self._hearings.append(hearing)
        try:
            yield hearing
        finally:
            self._hearings.remove(hearing)

    def feed(self, data: bytes, arrived_s: float) -> None:
        """The next bytes of the stream, little-endian, in pieces of any size."""
        data = self._rest + data
        whole = len(data) // (2 * BLOCK) * (2 * BLOCK)
        self._rest = data[whole:]
        if not whole:
            return
        self.take(data[:whole], self._clock.due(self._count, arrived_s))
        self._count += whole // 2

    def take(self, blocks: bytes, due_s: float) -> None:
        """Whole blocks, the first sample of which was due at a known time."""
        for offset in range(0, len(blocks), 2 * BLOCK):
            self._block(blocks[offset : offset + 2 * BLOCK], due_s)
            due_s += BLOCK / RATE
        self.until_s = due_s

    def _block(self, data: bytes, due_s: float) -> None:
        if data == _QUIET:  # almost always
            for hearing in self._hearings:
                hearing._add(due_s, _NOTHING, 0, 0, 0.0)
            self.curve.append((due_s, SILENCE_DBFS))
            return
        block = array("h")
        block.frombytes(data)
        if sys.byteorder == "big":
            block.byteswap()
        begin = next((i for i, v in enumerate(block) if not -FLOOR <= v <= FLOOR), BLOCK)
        end = begin
        if begin < BLOCK:
            end = next(i for i in range(BLOCK, 0, -1) if not -FLOOR <= block[i - 1] <= FLOOR)
            self.sound_s = due_s + end / RATE
        energy = float(sum(map(mul, block, block)))
        for hearing in self._hearings:
            hearing._add(due_s, block, begin, end, energy)
        self.curve.append((due_s, dbfs(energy, BLOCK)))


class Ears:
    """A meter on a live sink. ``lost`` is set when the sink delivers nothing more."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.fed = asyncio.Event()
        self.lost = asyncio.Event()

    async def caught_up(self, moment_s: float, within_s: float = 0.5) -> None:
        """Wait until all that left the sink before a moment has been heard."""
        await self._until(lambda: self.meter.until_s >= moment_s, within_s)

    async def silence(self, within_s: float = 0.5) -> None:
        """Wait until what was cut has left the sink's buffers, so that it is not taken for what comes next."""
        now_s = time.monotonic()
        if now_s - self.meter.sound_s > within_s:
            return
        pause_s = 2 * BLOCK / RATE
        await self._until(lambda: self.meter.until_s - self.meter.sound_s > pause_s, within_s)

    async def _until(self, condition: Callable[[], bool], within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not condition() and not self.lost.is_set():
                    self.fed.clear()
                    await self.fed.wait()


@contextlib.asynccontextmanager
async def listen(sound: Sound) -> AsyncIterator[Ears]:
    """Listen to a sink's monitor; raises :class:`Problem` if it delivers nothing."""
    async with listen_to(f"{sound.sink}.monitor", sound.env, sound.latency_ms) as ears:
        yield ears


@contextlib.asynccontextmanager
async def listen_to(source: str, env: Mapping[str, str], latency_ms: int) -> AsyncIterator[Ears]:
    """Listen to any source of the sound server; raises :class:`Problem` if it delivers nothing."""
    child = await children.start(
        *("parec", f"--device={source}", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=1"),
        *(f"--latency-msec={latency_ms}", "--client-name=keng-loudspeaker", "--stream-name=meter"),
        env=env,
        stdout=PIPE,
    )
    ears = Ears(Meter())
    task = asyncio.create_task(_feed(child, ears))
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOST_S):
                await ears.fed.wait()
        if not ears.fed.is_set() or ears.lost.is_set():
            raise Problem("nothing can be heard from it", where=source, retried=True)
        yield ears
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await children.end(child, within_s=0)


async def _feed(child: Process, ears: Ears) -> None:
    assert child.stdout is not None
    try:
        while True:
            async with asyncio.timeout(LOST_S):
                data = await child.stdout.read(1 << 16)
            if not data:
                return
            ears.meter.feed(data, time.monotonic())
            ears.fed.set()
    except TimeoutError:
        log.error("the sink has delivered nothing for %.0f s, not even silence", LOST_S)
    finally:
        ears.lost.set()
        ears.fed.set()
