"""A siren is exact to the sample, free of clicks, loud, and cheap however long it is."""

from __future__ import annotations

import itertools
import math
import wave
from array import array
from pathlib import Path

import pytest

from keng_contracts.commands import Siren
from keng_loudspeaker.sounding import siren


def pattern(blasts: int, blast_s: float, gap_s: float, repeats: int = 1) -> Siren:
    return Siren(pattern="thu", blasts=blasts, blast_s=blast_s, gap_s=gap_s, repeats=repeats)


def samples(of: Siren, folder: Path) -> array[int]:
    siren.write(of, folder / "siren.wav")
    with wave.open(str(folder / "siren.wav"), "rb") as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, siren.RATE)
        return array("h", sound.readframes(sound.getnframes()))


def silent_runs(heard: array[int]) -> list[int]:
    runs = [(quiet, len(list(run))) for quiet, run in itertools.groupby(heard, key=lambda v: v == 0)]
    return [length for quiet, length in runs if quiet and length > 100]


def test_blasts_and_gaps_have_their_exact_lengths(tmp_path: Path) -> None:
    heard = samples(pattern(3, 0.25, 0.1, repeats=2), tmp_path)
    assert len(heard) == 6 * 6000 + 5 * 2400
    for start, end in siren.blasts(pattern(3, 0.25, 0.1, repeats=2)):
        first, last = round(start * siren.RATE), round(end * siren.RATE)
        assert any(heard[first : first + 240]) and any(heard[last - 240 : last])
        assert not any(heard[last : last + 2400])
    # the ramps begin and end at zero, so a pause may look a few samples longer
    assert all(2400 <= run <= 2400 + 48 for run in silent_runs(heard))


def test_the_patterns_of_hue_last_as_long_as_ordered() -> None:
    assert siren.seconds(pattern(2, 10, 10, repeats=2)) == 4 * 10 + 3 * 10
    assert siren.seconds(pattern(5, 30, 5, repeats=3)) == 15 * 30 + 14 * 5


@pytest.mark.parametrize("blast_s", [0.3, 1.0, 2.0, 2.5, 4.1])
def test_nothing_clicks_neither_at_the_ends_nor_where_the_swing_is_tiled(blast_s: float, tmp_path: Path) -> None:
    heard = samples(pattern(1, blast_s, 0), tmp_path)
    # The steepest a tone with these harmonics can be at its highest pitch.
    highest_hz = siren.MIDDLE_HZ + siren.DEVIATION_HZ
    steepest = 32767 * siren.PEAK * sum((n + 1) * a for n, a in enumerate(siren.HARMONICS)) * 2 * math.pi * highest_hz
    assert max(abs(b - a) for a, b in itertools.pairwise(heard)) <= steepest / siren.RATE
    assert abs(heard[0]) < 100 and abs(heard[-1]) < 100


def test_it_is_loud_and_never_clips(tmp_path: Path) -> None:
    heard = samples(pattern(1, 4, 0), tmp_path)
    rms = math.sqrt(sum(v * v for v in heard) / len(heard)) / 32768
    assert -8 < 20 * math.log10(rms) < -4
    assert max(max(heard), -min(heard)) <= 32767 * siren.PEAK + 1


def test_half_a_minute_repeats_the_same_swing(tmp_path: Path) -> None:
    heard = samples(pattern(1, 30, 0), tmp_path)
    swing = round(siren.SWING_S * siren.RATE)
    assert heard[swing : 2 * swing] == heard[7 * swing : 8 * swing]


def test_what_sounds_the_same_has_one_key_and_nothing_else_does() -> None:
    renamed = Siren(pattern="khac", blasts=2, blast_s=10, gap_s=10)
    assert siren.key(pattern(2, 10, 10)) == siren.key(renamed)
    assert (
        len({siren.key(pattern(*p)) for p in ((2, 10, 10), (2, 10, 5), (2, 5, 10), (3, 10, 10), (2, 10, 10, 2))}) == 5
    )
