"""Sounds are made once, kept whole and within bounds, and made elsewhere when the disk takes none."""

from __future__ import annotations

import asyncio
import os
import wave
from pathlib import Path

import pytest

from keng_contracts.commands import Siren, Speech
from keng_loudspeaker.sounding.cache import Cache, seconds
from keng_loudspeaker.sounding.media import Media, Unplayable
from keng_loudspeaker.sounding.speech import Voice

SHORT = Siren(pattern="ngan", blasts=2, blast_s=0.3, gap_s=0.2)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "kept", tmp_path / "spare", 1 << 30)
    cache.prepare()
    return cache


async def test_a_sound_is_made_once(cache: Cache) -> None:
    media = Media(cache, Voice())
    first = await media.clip(SHORT)
    made = first.path.stat().st_ino
    assert (await media.clip(SHORT)).path.stat().st_ino == made
    assert first.seconds == 0.8 and first.spans == ((0.0, 0.3), (0.5, 0.8))


async def test_a_text_becomes_speech_near_full_scale(cache: Cache) -> None:
    clip = await Media(cache, Voice()).clip(Speech(text="Mực nước 3,06 m"))
    with wave.open(str(clip.path), "rb") as sound:
        samples = memoryview(sound.readframes(sound.getnframes())).cast("h")
    assert 1.5 < clip.seconds < 8
    assert 0.85 < max(samples) / 32767 < 0.9 or 0.85 < -min(samples) / 32767 < 0.9


async def test_the_same_words_are_the_same_sound_and_another_speed_is_not(cache: Cache) -> None:
    media, slow = Media(cache, Voice()), Media(cache, Voice(100))
    digits = await media.clip(Speech(text="BĐ 3"))
    assert (await media.clip(Speech(text="báo động ba"))).path == digits.path
    assert (await slow.clip(Speech(text="BĐ 3"))).seconds > digits.seconds


@pytest.mark.parametrize(
    "speech", [Speech(lang="zz", text="gì"), Speech(lang="-w/etc/x", text="gì"), Speech(text="…!")]
)
async def test_what_cannot_be_spoken_is_said_so(cache: Cache, speech: Speech) -> None:
    with pytest.raises(Unplayable, match="unspeakable"):
        await Media(cache, Voice()).clip(speech)


async def test_a_siren_of_hours_is_not_made(cache: Cache) -> None:
    with pytest.raises(Unplayable, match="too-long"):
        await Media(cache, Voice()).clip(Siren(pattern="mai", blasts=20, blast_s=120, gap_s=0, repeats=5))


async def test_a_file_that_a_power_cut_left_torn_is_made_again(cache: Cache) -> None:
    path = (await Media(cache, Voice()).clip(SHORT)).path
    for torn in (b"", path.read_bytes()[:20], path.read_bytes()[:-100]):
        path.write_bytes(torn)
        assert seconds(path) is None
        assert (await Media(cache, Voice()).clip(SHORT)).path == path
        assert seconds(path) == 0.8


async def test_a_disk_that_takes_nothing_is_said_and_silences_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "kept").write_text("no folder")
    cache = Cache(tmp_path / "kept", tmp_path / "spare", 1 << 30)
    cache.prepare()
    clip = await Media(cache, Voice()).clip(SHORT)
    assert clip.path.parent == tmp_path / "spare" and "free the disk" in caplog.text


async def test_the_least_used_go_when_room_is_needed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept", tmp_path / "spare", max_bytes=100_000)
    cache.prepare()
    media = Media(cache, Voice())
    first, second, third = (Siren(pattern="a", blasts=1, blast_s=n, gap_s=0) for n in (0.8, 0.81, 0.82))
    old, used = [(await media.clip(pattern)).path for pattern in (first, second)]
    os.utime(old, (1, 1))
    newest = (await media.clip(third)).path
    assert [path.exists() for path in (old, used, newest)] == [False, True, True]


async def test_the_same_sound_wanted_twice_at_once_is_no_trouble(cache: Cache) -> None:
    media = Media(cache, Voice())
    first, second = await asyncio.gather(media.clip(SHORT), media.clip(SHORT))
    assert first == second and seconds(first.path) == 0.8
