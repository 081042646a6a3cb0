"""Who speaks: recorded words where all of them are there, Piper where a voice is, espeak-ng always."""

from __future__ import annotations

import os
import stat
import wave
from pathlib import Path

import pytest

from keng_contracts.commands import Speech
from keng_loudspeaker.sounding.cache import Cache, seconds
from keng_loudspeaker.sounding.clips import Clips, join
from keng_loudspeaker.sounding.media import Media
from keng_loudspeaker.sounding.speech import Voice


def recording(path: Path, length_s: float, rate: int = 16_000) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((1000).to_bytes(2, "little") * round(length_s * rate))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    rows = {"muc-nuoc.wav": "Mực nước", "ba.wav": "ba", "phay.wav": "phẩy", "khong.wav": "không", "sau.wav": "sáu"}
    for number, file in enumerate([*rows, "met.wav"], 1):
        recording(folder / file, number / 10)
    lines = [*(f"{file}\t{words}" for file, words in rows.items()), "met.wav\tmét"]
    (folder / "clips.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "kept", tmp_path / "spare", 1 << 24)
    cache.prepare()
    return cache


async def test_a_text_whose_words_are_all_there_is_put_together(recorded: Path, tmp_path: Path) -> None:
    await Voice(recorded=recorded).write(Speech(text="Mực nước 3,06 m."), tmp_path / "out.wav")
    assert seconds(tmp_path / "out.wav") == pytest.approx(0.1 + 0.2 + 0.3 + 0.4 + 0.5 + 0.6 + 0.55)


async def test_a_missing_word_leaves_the_whole_text_to_the_synthesiser(recorded: Path, tmp_path: Path) -> None:
    text = Speech(text="Mực nước 4,06 m.")
    await Voice(recorded=recorded).write(text, tmp_path / "a.wav")
    await Voice().write(text, tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize("fault", ["lost", "other rate", "no list", "bad list"])
async def test_damaged_recordings_silence_nothing(recorded: Path, tmp_path: Path, fault: str) -> None:
    if fault == "lost":
        (recorded / "ba.wav").unlink()
    elif fault == "other rate":
        recording(recorded / "ba.wav", 0.2, rate=8000)
    elif fault == "no list":
        (recorded / "clips.tsv").unlink()
    else:
        (recorded / "clips.tsv").write_text("ba.wav ba")
    voice, text = Voice(recorded=recorded), Speech(text="ba")
    assert voice.key(text)
    await voice.write(text, tmp_path / "out.wav")
    assert (seconds(tmp_path / "out.wav") or 0) > 0


async def test_new_recordings_make_a_new_sound(recorded: Path, cache: Cache) -> None:
    media = Media(cache, Voice(recorded=recorded))
    first = await media.clip(Speech(text="ba mét"))
    recording(recorded / "ba-met.wav", 2.0)
    with (recorded / "clips.tsv").open("a", encoding="utf-8") as file:
        file.write("\nba-met.wav\tba mét")
    second = await media.clip(Speech(text="ba mét"))
    assert second.path != first.path and second.seconds == pytest.approx(2.0, abs=0.05)


async def test_piper_speaks_where_a_voice_is_installed_and_espeak_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    recording(tmp_path / "said.wav", 1.25)
    piper = programs / "piper"  # takes Piper's options and gives a recording: the voices themselves are large
    piper.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3 $5" = "--model {tmp_path}/vi.onnx --length_scale --output_file" ] || exit 2\n'
        f'cat > {tmp_path}/text; cp {tmp_path}/said.wav "$6"\n'
    )
    piper.chmod(piper.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    voice = Voice(piper=tmp_path / "vi.onnx")
    await voice.write(Speech(text="Mực nước 3 m"), tmp_path / "a.wav")
    assert seconds(tmp_path / "a.wav") == pytest.approx(1.25)
    assert (tmp_path / "text").read_text() == "Mực nước ba mét"
    piper.write_text("#!/bin/sh\nexit 1\n")
    await voice.write(Speech(text="Mực nước 3 m"), tmp_path / "b.wav")
    await Voice().write(Speech(text="Mực nước 3 m"), tmp_path / "c.wav")
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "c.wav").read_bytes()


async def test_another_language_has_no_recorded_words(recorded: Path, tmp_path: Path) -> None:
    await Voice(recorded=recorded).write(Speech(lang="en", text="ba"), tmp_path / "a.wav")
    await Voice().write(Speech(lang="en", text="ba"), tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_recordings_of_different_kinds_are_not_joined(tmp_path: Path) -> None:
    recording(tmp_path / "a.wav", 0.1)
    recording(tmp_path / "b.wav", 0.1, rate=8000)
    with pytest.raises(ValueError, match="kind"):
        join([tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "c.wav")


def test_the_longest_recording_is_taken() -> None:
    clips = Clips({("báo", "động"): Path("bd"), ("báo",): Path("b"), ("động",): Path("d"), ("ba",): Path("3")}, 2)
    assert clips.cover("Báo động ba!") == [Path("bd"), Path("3"), 0.55]
    assert clips.cover("…") is None
