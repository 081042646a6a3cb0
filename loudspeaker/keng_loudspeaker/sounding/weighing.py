"""Loudness of a WAV file where there is no mpv to measure it: ITU-R BS.1770-4, for one channel.

Two filters weigh the sound as the ear does (the recommendation gives them for 48 kHz; here they are made for any rate
from the analogue filters behind them: a shelf at 1682 Hz of 4 dB, and a high-pass at 38 Hz). Of its power in blocks of
0.4 s, a quarter apart, those count that are above -70 LUFS and not 10 LU below the mean of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from keng_loudspeaker.playing.wav import WavReader

#: Quarters of a block, a second.
_QUARTERS = 10
_GATE_LUFS, _BELOW_LU = -70.0, 10.0
_SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
_HIGH_PASS = (38.13547087602444, 0.5003270373238773)


class _Filter(NamedTuple):
    """A second-order section: b over a, with a0 = 1."""

    b0: float
    b1: float
    b2: float
    a1: float
    a2: float


def weigh(path: Path, longest_s: float) -> tuple[float, float]:
    """(loudness in LUFS, length in seconds) of a file, of which ``longest_s`` are measured; -70 LUFS is silence. Raises
    :class:`keng_loudspeaker.playing.wav.Unreadable`."""
    reader = WavReader(path)
    try:
        return _gated(list(_powers(reader, longest_s))), reader.seconds
    finally:
        reader.close()


def _powers(reader: WavReader, longest_s: float) -> Iterable[float]:
    """The weighted power of each quarter of a block."""
    shelf, high = _shelf(reader.rate), _high_pass(reader.rate)
    x1 = x2 = y1 = y2 = z1 = z2 = 0.0
    for _ in range(round(longest_s * _QUARTERS)):
        samples = reader.read(reader.rate // _QUARTERS)
        if len(samples) < reader.rate // _QUARTERS:
            return
        energy = 0.0
        for sample in samples:
            x0 = sample / 32768
            y0 = shelf.b0 * x0 + shelf.b1 * x1 + shelf.b2 * x2 - shelf.a1 * y1 - shelf.a2 * y2
            z0 = y0 - 2 * y1 + y2 - high.a1 * z1 - high.a2 * z2
            x2, x1, y2, y1, z2, z1 = x1, x0, y1, y0, z1, z0
            energy += z0 * z0
        yield energy / len(samples)


def _gated(quarters: list[float]) -> float:
    blocks = [fmean(quarters[i : i + 4]) for i in range(max(1, len(quarters) - 3))] if quarters else []
    loud = [power for power in blocks if _lufs(power) > _GATE_LUFS]
    if not loud:
        return _GATE_LUFS
    gate = _lufs(fmean(loud)) - _BELOW_LU
    return _lufs(fmean(power for power in loud if _lufs(power) > gate))


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power) if power > 0 else -math.inf


def _shelf(rate: int) -> _Filter:
    hz, gain_db, q = _SHELF
    k, high = math.tan(math.pi * hz / rate), 10 ** (gain_db / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    return _Filter(
        (high + band * k / q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - band * k / q + k * k) / a0,
        2 * (k * k - 1) / a0,
        (1 - k / q + k * k) / a0,
    )


def _high_pass(rate: int) -> _Filter:
    hz, q = _HIGH_PASS
    k = math.tan(math.pi * hz / rate)
    a0 = 1 + k / q + k * k
    return _Filter(1.0, -2.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0)
