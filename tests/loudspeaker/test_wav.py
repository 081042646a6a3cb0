"""WAV files as the file player reads and keeps them."""

from __future__ import annotations

import io
import math
import struct
import wave
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_loudspeaker.playing.wav import Recording, Unreadable, WavReader
from keng_loudspeaker.proving.meter import BLOCK, RATE, Meter


def written(path: Path, width: int, rate: int, channels: int, seconds: float) -> Path:
    """A sine of half the full scale, the same on every channel."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        for i in range(round(seconds * rate)):
            value = round(0.5 * (2 ** (8 * width - 1) - 1) * math.sin(2 * math.pi * 440 * i / rate))
            whole = value + 128 if width == 1 else value
            out.writeframesraw(whole.to_bytes(width, "little", signed=width > 1) * channels)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize(("rate", "channels"), [(48_000, 1), (22_050, 1), (44_100, 2), (11_025, 2)])
def test_any_width_rate_and_number_of_channels_is_as_long_and_as_loud(
    tmp_path: Path, width: int, rate: int, channels: int
) -> None:
    reader, meter = WavReader(written(tmp_path / "tone.wav", width, rate, channels, 0.25)), Meter()
    with meter.hearing(0.0) as hearing:
        while (block := reader.block()) is not None:
            assert len(block) == BLOCK
            meter.take(block.tobytes(), meter.until_s if math.isfinite(meter.until_s) else 0.0)
    reader.close()
    assert reader.seconds == pytest.approx(0.25, abs=1 / rate)
    assert hearing.sounded_s == pytest.approx(0.25, abs=0.002)
    assert hearing.level_dbfs == pytest.approx(-9.0, abs=0.1)


@given(st.binary(max_size=200))
def test_no_byte_string_does_more_than_to_be_unreadable(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.wav"
    good = io.BytesIO()
    with wave.open(good, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(24_000)
        out.writeframes(data[: len(data) // 2 * 2])
    for content in (data, good.getvalue()[:36] + data, good.getvalue()[: 44 + len(data) // 2]):
        file.write_bytes(content)
        try:
            reader = WavReader(file)
        except Unreadable:
            continue
        for _ in range(1000):
            if reader.block() is None:
                break
        else:
            raise AssertionError("it does not end")
        reader.close()


def test_what_is_kept_is_bounded_whole_at_every_moment_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    file, before = tmp_path / "sounded.wav", tmp_path / "sounded-before.wav"
    second = array("h", range(1000)).tobytes() * (2 * RATE // 2000)
    recording = Recording(file, 4)
    recording.add(second)
    with wave.open(str(file)) as kept:  # and nobody has closed it
        assert (kept.getframerate(), kept.getnframes()) == (RATE, RATE)
        assert kept.readframes(RATE) == second
    again = Recording(file, 4)
    for _ in range(6):
        again.add(second)
    again.close()
    frames = []
    for part in (file, before):
        with wave.open(str(part)) as kept:
            frames.append(kept.getnframes())
    assert frames == [RATE, 2 * RATE]


def test_a_disk_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recording = Recording(tmp_path / "gone" / "sounded.wav", 4)
    recording.add(bytes(100))
    recording.add(bytes(100))
    assert caplog.text.count("can't be kept") == 1


def test_with_no_seconds_nothing_is_kept(tmp_path: Path) -> None:
    Recording(tmp_path / "sounded.wav", 0).add(bytes(100))
    assert not list(tmp_path.iterdir())


def test_what_is_left_over_of_another_program_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "sounded.wav"
    file.write_bytes(b"no sound")
    recording = Recording(file, 4)
    recording.add(struct.pack("<4h", 1, 2, 3, 4))
    recording.close()
    with wave.open(str(file)) as kept:
        assert kept.readframes(10) == struct.pack("<4h", 1, 2, 3, 4)
