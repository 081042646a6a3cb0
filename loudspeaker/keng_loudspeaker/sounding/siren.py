"""Siren patterns as sound, exact to the sample.

A blast is a wailing tone: the pitch swings between 450 and 850 Hz once in two seconds, with a second and a third
harmonic that carry through rain and windows better than a pure tone. One swing is computed once and tiled, since its
phase closes on itself; a blast of half a minute then costs a copy of memory. Ramps of 8 ms at both ends keep the
loudspeaker from clicking.
"""

from __future__ import annotations

import functools
import math
import wave
from array import array
from pathlib import Path

from keng_contracts.commands import Siren

RATE = 24_000  # samples a second, mono, 16 bit
SWING_S = 2.0
MIDDLE_HZ = 650.0  # MIDDLE_HZ × SWING_S is a whole number: that closes the phase
DEVIATION_HZ = 200.0
HARMONICS = (1.0, 0.4, 0.2)
PEAK = 0.8  # of full scale, -1.9 dBFS
RAMP_S = 0.008
#: Longer patterns are not played, in seconds. Huế's longest is 520 s; a file of this length has 86 MB.
LONGEST_S = 1800.0


def blasts(siren: Siren) -> list[tuple[float, float]]:
    """When it sounds: (start, end) of every blast, in seconds from the first. ``gap_s`` lies also between repeats."""
    step = _frames(siren.blast_s) + _frames(siren.gap_s)
    return [(i * step / RATE, (i * step + _frames(siren.blast_s)) / RATE) for i in range(siren.blasts * siren.repeats)]


def frames(siren: Siren) -> int:
    """The length of the whole pattern in samples: it starts with the first blast and ends with the last."""
    count = siren.blasts * siren.repeats
    return count * _frames(siren.blast_s) + (count - 1) * _frames(siren.gap_s)


def seconds(siren: Siren) -> float:
    """The length of the whole pattern in seconds."""
    return frames(siren) / RATE


def key(siren: Siren) -> str:
    """What the sound depends on; the pattern's name is no part of it."""
    voice = f"{RATE} {SWING_S} {MIDDLE_HZ} {DEVIATION_HZ} {HARMONICS} {PEAK} {RAMP_S}"
    return f"siren/1 {siren.blasts} {siren.blast_s} {siren.gap_s} {siren.repeats} {voice}"


def write(siren: Siren, path: Path) -> None:
    """Synthesise the pattern into a WAV file; raises OSError."""
    blast = _blast(_frames(siren.blast_s))
    gap = bytes(2 * _frames(siren.gap_s))
    with path.open("wb") as file, wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.setnframes(frames(siren))
        for i in range(siren.blasts * siren.repeats):
            if i:
                out.writeframesraw(gap)
            out.writeframesraw(blast)


def _frames(seconds: float) -> int:
    return round(seconds * RATE)


@functools.cache
def _swing() -> array[int]:
    """One swing of the pitch. The phase is the integral of MIDDLE - DEVIATION·cos(2πt/SWING), in turns."""
    count = _frames(SWING_S)
    loudest = max(_tone(k / 1000) for k in range(1000))
    scale = 32767 * PEAK / loudest
    samples = array("h", bytes(2 * count))
    for i in range(count):
        t = i / RATE
        turns = MIDDLE_HZ * t - DEVIATION_HZ * SWING_S / (2 * math.pi) * math.sin(2 * math.pi * t / SWING_S)
        samples[i] = round(scale * _tone(turns))
    return samples


def _tone(turns: float) -> float:
    return sum(a * math.sin(2 * math.pi * (n + 1) * turns) for n, a in enumerate(HARMONICS))


def _blast(count: int) -> bytes:
    swing = _swing()
    samples = array("h", (swing.tobytes() * (count // len(swing) + 1))[: 2 * count])
    ramp = min(_frames(RAMP_S), count // 2)
    for i in range(ramp):
        gain = 0.5 - 0.5 * math.cos(math.pi * i / ramp)
        samples[i] = round(samples[i] * gain)
        samples[count - 1 - i] = round(samples[count - 1 - i] * gain)
    return samples.tobytes()
