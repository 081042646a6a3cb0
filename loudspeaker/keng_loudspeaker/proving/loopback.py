"""Whether it was heard outside: a microphone near the loudspeaker, compared with what left the player.

The level of the item over time is its fingerprint: the blasts of a siren, the syllables of a sentence. :func:`compare`
(pure) looks for the same course in the microphone's level, at the delay at which it fits best. Birds and motorbikes
have another course; an amplifier that is off has none.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import NamedTuple

from keng_contracts.errors import Problem
from keng_loudspeaker.playing.player import PlayerFailed
from keng_loudspeaker.playing.sound import RATE
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.meter import BLOCK, Ears, Hearing, listen_to

log = logging.getLogger(__name__)

#: (time, level in dBFS) of blocks of :data:`STEP_S`, as :class:`keng_loudspeaker.proving.meter.Meter` keeps them.
Levels = Sequence[tuple[float, float]]

STEP_S = BLOCK / RATE
#: So much silence before and after belongs to the fingerprint, in seconds.
AROUND_S = 0.8
#: Longest part of an item that is compared, its end; the meters remember a minute.
LONGEST_S = 50.0
#: The microphone's sound card may be so much later than ours.
LATEST_S = 0.6
#: What is softer than that at the output counts as silence.
FLOOR_DBFS = -60.0
#: From here on it is the same course. Unrelated noise was below 0.3, a clear microphone is above 0.8.
HEARD = 0.5
#: So much of both courses must be there: a node that has just started has not heard the silence before.
ENOUGH = 0.6
#: For so long the microphone's sound is waited for.
PATIENCE_S = 4.0
RETRY_S = 10.0


class Match(NamedTuple):
    """``correlation`` of the two courses, -1 to 1, with the microphone later by ``lag_s``; and its level meanwhile."""

    correlation: float
    lag_s: float
    level_dbfs: float

    @property
    def heard(self) -> bool:
        return self.correlation >= HEARD


def compare(output: Levels, microphone: Levels, first_s: float, last_s: float) -> Match | None:
    """How well the microphone follows what sounded from ``first_s`` to ``last_s``; None if there is too little."""
    begin_s, end_s = max(first_s, last_s - LONGEST_S) - AROUND_S, last_s + AROUND_S
    count = round((end_s - begin_s) / STEP_S)
    played = _course(output, begin_s, count)
    heard = _course(microphone, begin_s, count + round(LATEST_S / STEP_S))
    if played is None or heard is None:
        return None
    floor = sorted(heard)[len(heard) // 10]
    played = [max(level, FLOOR_DBFS) for level in played]
    heard = [max(level, floor) for level in heard]
    lags = range(len(heard) - len(played) + 1)
    best, lag = max((_correlation(played, heard[lag : lag + count]), -lag) for lag in lags)
    during = heard[-lag : -lag + count]
    loud = [10 ** (h / 10) for p, h in zip(played, during, strict=True) if p > FLOOR_DBFS]
    return Match(round(best, 2), -lag * STEP_S, round(10 * math.log10(fmean(loud)), 1) if loud else floor)


def _course(levels: Levels, begin_s: float, count: int) -> list[float] | None:
    """``count`` levels from ``begin_s`` on, one for each step; a block that is missing has that of the one before."""
    found: dict[int, float] = {}
    for at_s, level in levels:
        found[round((at_s - begin_s) / STEP_S)] = level
    if sum(0 <= i < count for i in found) < ENOUGH * count:
        return None
    course, last = [], min(found.values())
    for i in range(count):
        last = found.get(i, last)
        course.append(last)
    return course


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's; 0 where one of them does not change."""
    a, b = fmean(one), fmean(other)
    over = sum((x - a) * (y - b) for x, y in zip(one, other, strict=True))
    square = sum((x - a) ** 2 for x in one) * sum((y - b) ** 2 for y in other)
    return over / math.sqrt(square) if square > 1e-9 else 0.0


class Loopback:
    """A microphone, ``source`` of the sound server, kept open while the device is. ``told`` takes what was compared."""

    def __init__(self, source: str, stage: Stage) -> None:
        self._source = source
        self._stage = stage
        self._ears: Ears | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        complaint = ""
        while True:
            try:
                device = await self._stage.opened(RETRY_S)
                if (sound := device.sound) is None:
                    raise Problem("has no microphones", where=f"device {device.name}", todo="take out 'microphone'")
                async with listen_to(self._source, sound.env, sound.latency_ms) as self._ears:
                    log.info("listening to the microphone %s", self._source)
                    complaint = ""
                    lost = [asyncio.create_task(ears.lost.wait()) for ears in (self._ears, device.ears)]
                    await asyncio.wait(lost, return_when=asyncio.FIRST_COMPLETED)
                    for task in lost:
                        task.cancel()
            except (Problem, PlayerFailed, OSError) as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.error("the microphone does not listen: %s", error)
            finally:
                self._ears = None
            await asyncio.sleep(RETRY_S)

    async def check(self, hearing: Hearing, tell: Callable[[Match], None]) -> None:
        """Compare what was just played with what the microphone heard of it, once it has."""
        ears = self._ears
        if ears is None or hearing.first_s is None or hearing.last_s is None:
            return
        first_s, last_s = hearing.first_s, hearing.last_s
        await asyncio.sleep(AROUND_S)
        await ears.caught_up(last_s + AROUND_S + LATEST_S, within_s=PATIENCE_S)
        try:
            output = (await self._stage.opened(0.1)).ears.meter.curve
        except PlayerFailed:
            return
        match = await asyncio.to_thread(compare, list(output), list(ears.meter.curve), first_s, last_s)
        if match is not None:
            tell(match)
