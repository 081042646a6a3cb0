"""The bench that hears how far apart loudspeakers start: it finds a shift that is known."""

from __future__ import annotations

import math
import random
from array import array
from pathlib import Path

import pytest

from keng.bench.speaker_sync import RATE, skews

SHIFTS_MS = (0.0, 0.4, -0.7)


def _sounds(shift_ms: float) -> list[int]:
    """Two sweeps with a second of noise below the floor before each, at 48 kHz, late by ``shift_ms``."""
    chance = random.Random(1)
    samples = [chance.randint(-20, 20) for _ in range(5 * RATE)]
    for start_s in (1.0, 3.0):
        for i in range(round((start_s + shift_ms / 1000) * RATE), round((start_s + 0.5) * RATE)):
            t = i / RATE - start_s - shift_ms / 1000
            samples[i] = round(20_000 * min(1.0, t / 0.008) * math.sin(2 * math.pi * (450 + 300 * t) * t))
    return samples


def test_the_skew_of_a_recording_is_that_which_was_put_into_it(tmp_path: Path) -> None:
    channels = [_sounds(shift_ms) for shift_ms in SHIFTS_MS]
    recording = tmp_path / "yard.raw"
    recording.write_bytes(array("h", [v for frame in zip(*channels, strict=True) for v in frame]).tobytes())
    assert skews(recording, len(channels)) == [pytest.approx(1.1, abs=0.02)] * 2
