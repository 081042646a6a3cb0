"""Whether the amplifier works: what it draws while sound is sent to it, against what it draws at rest.

The meter at our output hears all that left the player, and an amplifier that is dead or without power lets none of it
out. Where a current sensor is in its supply (an INA219 and its like), :func:`draw` (pure) tells. A horn or a cable that
is broken behind a working amplifier is told by a microphone only.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from keng_loudspeaker.playing.player import PlayerFailed
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.health import milliamperes
from keng_loudspeaker.proving.meter import Hearing

#: It is read this often.
EVERY_S = 0.25
#: So long after the last sound it is at rest: its supply has settled, and what was in the sound card is out.
SETTLED_S = 2.0
#: So many readings are needed, at rest and while it sounds; of the newest so many at rest it is told what rest is.
LEAST, REST = 5, 480
#: What sounds less loudly than that need not be seen in the current: 30 W take some 40 mA of 24 V for speech at -18.
LOUD_DBFS = -22.0
#: It draws more than at rest if it is more by so much, in mA, and by this share of it.
MORE_MA, MORE = 10, 0.05

#: (time, milliamperes).
Readings = Sequence[tuple[float, int]]


class Draw(NamedTuple):
    """What it drew at rest and while it sounded, in mA."""

    rest_ma: int
    sounding_ma: int

    @property
    def works(self) -> bool:
        return self.sounding_ma - self.rest_ma >= max(MORE_MA, MORE * self.rest_ma)


def draw(rest: Sequence[int], sounding: Readings, hearing: Hearing) -> Draw | None:
    """What it drew for an item that was heard at the output; None if that was too soft or too short to tell."""
    if hearing.first_s is None or hearing.last_s is None or (hearing.level_dbfs or 0.0) < LOUD_DBFS:
        return None
    during = [ma for at_s, ma in sounding if hearing.first_s + EVERY_S <= at_s <= hearing.last_s]
    if min(len(during), len(rest)) < LEAST:
        return None
    return Draw(round(median(rest)), round(median(during)))


class Amplifier:
    """Its current as the file ``current`` tells it, read while the stage is open."""

    def __init__(self, current: str, stage: Stage) -> None:
        self._current = current
        self._stage = stage
        self._rest: deque[int] = deque(maxlen=REST)
        self._sounding: deque[tuple[float, int]] = deque(maxlen=round(60 / EVERY_S))

    async def run(self) -> None:
        """Read it until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            ma = await asyncio.to_thread(milliamperes, self._current)
            if ma is None:
                continue
            try:
                meter = (await self._stage.opened(0.1)).ears.meter
            except PlayerFailed:
                continue
            now_s = time.monotonic()
            if now_s - meter.sound_s <= EVERY_S:
                self._sounding.append((now_s, ma))
            elif now_s - meter.sound_s > SETTLED_S:
                self._rest.append(ma)

    def draw(self, hearing: Hearing) -> Draw | None:
        """What it drew for what was just heard, as far as that can be told."""
        return draw(self._rest, list(self._sounding), hearing)
