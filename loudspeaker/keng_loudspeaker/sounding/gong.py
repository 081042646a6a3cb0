"""The gong before an announcement: a struck kẻng, so that people listen before the first word is said.

A plate of metal rings in partials that are no multiples of each other; each dies away the faster the higher it is.
"""

from __future__ import annotations

import math
import wave
from array import array
from pathlib import Path

from keng_contracts.commands import GONG_S

RATE = 24_000  # samples a second, mono, 16 bit
SECONDS = GONG_S
#: When it is struck, in seconds.
STROKES = (0.0, 0.8)
#: (Hz, share of the loudness, seconds until it has died away to 1/e)
PARTIALS = ((392.0, 1.0, 0.55), (784.5, 0.5, 0.40), (1081.0, 0.4, 0.30), (1577.0, 0.25, 0.20), (2210.0, 0.15, 0.12))
PEAK = 0.7  # of full scale
#: A stroke begins so fast, in seconds; at once would be a click.
ATTACK_S = 0.004

KEY = f"gong/1 {RATE} {SECONDS} {STROKES} {PARTIALS} {PEAK} {ATTACK_S}"


def write(path: Path) -> None:
    """Synthesise it into a WAV file; raises OSError."""
    stroke = _stroke()
    whole = array("d", bytes(8 * round(SECONDS * RATE)))  # not a list: floats on their own stay in memory for good
    for at_s in STROKES:
        for i, value in enumerate(stroke[: len(whole) - round(at_s * RATE)], round(at_s * RATE)):
            whole[i] += value
    fade = round(0.3 * RATE)
    for i in range(fade):
        whole[-1 - i] *= i / fade
    scale = 32767 * PEAK / max(map(abs, whole))
    with path.open("wb") as file, wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(array("h", (round(scale * value) for value in whole)).tobytes())


def _stroke() -> array[float]:
    samples = array("d")
    for i in range(round(SECONDS * RATE)):
        t = i / RATE
        ring = sum(share * math.exp(-t / life) * math.sin(2 * math.pi * hz * t) for hz, share, life in PARTIALS)
        samples.append(ring * min(1.0, t / ATTACK_S))
    return samples
