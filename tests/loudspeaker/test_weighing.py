"""Loudness without mpv: the recommendation's own example, the gates, and the same as mpv says."""

from __future__ import annotations

import math
import shutil
import wave
from array import array
from pathlib import Path

import pytest

from keng_contracts.commands import Siren
from keng_loudspeaker.sounding import gong, loudness, siren
from keng_loudspeaker.sounding.loudness import NoSound
from keng_loudspeaker.sounding.weighing import weigh


def sine(path: Path, rate: int, *parts: tuple[float, float]) -> Path:
    """997 Hz, for so many seconds with such an amplitude each."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        for seconds, amplitude in parts:
            turn = 2 * math.pi * 997 / rate
            samples = [round(32767 * amplitude * math.sin(turn * i)) for i in range(round(seconds * rate))]
            out.writeframes(array("h", samples).tobytes())
    return path


@pytest.mark.parametrize("rate", [48_000, 44_100, 22_050, 16_000])
def test_a_full_scale_sine_of_997_hz_has_3_01_lufs(tmp_path: Path, rate: int) -> None:
    lufs, seconds = weigh(sine(tmp_path / "sine.wav", rate, (1.0, 1.0)), 900)
    assert lufs == pytest.approx(-3.01, abs=0.05) and seconds == pytest.approx(1.0)


def test_pauses_and_whispers_do_not_count(tmp_path: Path) -> None:
    alone, _ = weigh(sine(tmp_path / "alone.wav", 16_000, (4.0, 0.1)), 900)
    within, _ = weigh(sine(tmp_path / "within.wav", 16_000, (4.0, 0.1), (4.0, 0.0), (4.0, 0.01)), 900)
    assert within == pytest.approx(alone, abs=0.2)
    assert weigh(sine(tmp_path / "silence.wav", 16_000, (1.0, 0.0)), 900) == (loudness.SILENCE_LUFS, 1.0)


async def test_it_is_what_mpv_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "gong.wav", tmp_path / "siren.wav", tmp_path / "no.wav"]
    gong.write(files[0])
    siren.write(Siren(pattern="ngan", blasts=2, blast_s=2, gap_s=2), files[1])
    files[2].write_bytes(b"no sound")
    by_mpv = [await loudness._measure(file) for file in files[:2]]
    monkeypatch.setattr(shutil, "which", lambda program: None)
    for file, expected in zip(files, by_mpv, strict=False):
        ours = await loudness.measured(file)
        assert ours.lufs == pytest.approx(expected.lufs, abs=0.1)
        assert ours.seconds == pytest.approx(expected.seconds, abs=0.01)
    with pytest.raises(NoSound, match="without mpv only WAV"):
        await loudness.measured(files[2])
