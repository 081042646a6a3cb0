"""How loud a sound is to people: integrated loudness after EBU R 128 (ITU-R BS.1770), in LUFS.

Measured by mpv with FFmpeg's ``ebur128`` filter, as fast as the machine can read the file; where mpv is not installed,
here (:mod:`keng_loudspeaker.sounding.weighing`), slower and of WAV files only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from keng_contracts.errors import Problem
from keng_loudspeaker.playing.mpv import Mpv
from keng_loudspeaker.playing.player import PlayerFailed
from keng_loudspeaker.playing.wav import Unreadable
from keng_loudspeaker.sounding.cache import BESIDE
from keng_loudspeaker.sounding.weighing import weigh

log = logging.getLogger(__name__)

#: Of a long file so much of the beginning is measured.
LONGEST_S = 900.0
TIMEOUT_S = 120.0
#: What is gated away as silence has this loudness.
SILENCE_LUFS = -70.0
#: Least and greatest change towards the wanted loudness; a whisper is not made a shout.
GAIN_DB = (-24.0, 15.0)


class NoSound(Exception):
    """It is no sound that the player knows; the message says why."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Loudness in LUFS, and length in seconds."""

    lufs: float
    seconds: float

    def gain_db(self, wanted_lufs: float) -> float:
        """What brings it to the wanted loudness. Silence stays what it is."""
        if self.lufs <= SILENCE_LUFS:
            return 0.0
        return max(GAIN_DB[0], min(GAIN_DB[1], wanted_lufs - self.lufs))


def known(path: Path) -> Measure | None:
    """What was measured before."""
    try:
        read = json.loads(path.with_name(path.name + BESIDE).read_bytes())
        measure = Measure(float(read["lufs"]), float(read["seconds"]))
        return measure if math.isfinite(measure.lufs) and measure.seconds > 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def measured(path: Path) -> Measure:
    """Measure it, once; raises :class:`NoSound`."""
    if (before := known(path)) is not None:
        return before
    measure = await _measure(path)
    try:
        path.with_name(path.name + BESIDE).write_text(json.dumps(asdict(measure)))
    except OSError as error:
        log.warning("the loudness of %s can't be kept (%s)", path.name, error.strerror)
    return measure


async def _measure(path: Path) -> Measure:
    if shutil.which("mpv") is None:
        try:
            lufs, seconds = await asyncio.to_thread(weigh, path, LONGEST_S)
        except Unreadable as error:
            raise NoSound(f"without mpv only WAV can be played: {error}") from None
        return Measure(round(lufs, 2), seconds)
    options = ("--ao=null", "--ao-null-untimed=yes", "--keep-open=yes", f"--length={LONGEST_S:.0f}")
    try:
        mpv = await Mpv.start(*options, "--af=@r:lavfi=[ebur128=metadata=1]")
        try:
            await mpv.ready()
            await mpv.ask("observe_property", 1, "eof-reached")
            await mpv.load(path)
            if not await mpv.ended(TIMEOUT_S):
                raise NoSound("its loudness could not be measured in time")
            found = await mpv.ask("get_property", "af-metadata/r")
            length = await mpv.ask("get_property", "duration")
            return Measure(round(float(found["lavfi.r128.I"]), 2), float(length))
        finally:
            await mpv.close()
    except (PlayerFailed, Problem, KeyError, TypeError, ValueError) as error:
        raise NoSound(str(error).removeprefix("player-error: ")) from None
