"""What can be measured of how well the emergency texts are understood.

Whether people understand them, only people can tell: ``emergency.txt`` has each text as the voice gets it, to be
listened to with ``keng loudspeaker say``. Measured here is what would certainly spoil it: a word that the voice
spells or takes for English, hurry, clipping, too little loudness, and sound where a horn has no voice.
"""

from __future__ import annotations

import math
import re
import subprocess
from array import array
from pathlib import Path

import pytest

from keng_alerts.gauge import texts
from keng_contracts.commands import Speech
from keng_loudspeaker.playing.filters import CEILING, Shape, chain
from keng_loudspeaker.sounding import loudness
from keng_loudspeaker.sounding.cache import Cache, seconds
from keng_loudspeaker.sounding.lexicon import ABBREVIATIONS, FOREIGN, ISSUERS, LETTERS, SHORTENED, SIGNS, UNITS
from keng_loudspeaker.sounding.media import Media
from keng_loudspeaker.sounding.numerals import integer
from keng_loudspeaker.sounding.speech import Voice
from keng_loudspeaker.sounding.vietnamese import speakable
from tests.support.registry import LEVEL, sample

#: Syllables a second, pauses and all. People speak some five, and where it echoes three are understood best (P. Mapp,
#: "Designing for Speech Intelligibility", Handbook for Sound Engineers); presenters of Vietnamese television had 3.7 to
#: 5.5 of them. Several loudspeakers in one village are an echo.
SLOWEST, FASTEST = 3.0, 4.0
LUFS = -16.0
#: What a horn on a pole reproduces, in Hz.
HORN = (300, 6000)


def emergency_texts() -> dict[str, str]:
    """All that the alerts service says about a flood, each kind once, with numbers of several forms; and its line that
    the flood is over, which goes to telephones, and which somebody may want read out."""
    registry = sample()
    stations = {station.id: station for station in registry.stations}
    official, local = stations["phu-oc"], stations["phuoc-yen"]
    gauge = next(sensor for sensor in registry.sensors if f"quang-tho/{sensor.id}" == LEVEL)
    said = {}
    for level, value in ((1, 2.0), (2, 3.06), (3, 4.57), (4, 10.21)):
        for name, station in (("official", official), ("local", local)):
            for kind, drill in (("", False), (" drill", True)):
                text = texts.spoken(level, registry, station, gauge, value, lang="vi", drill=drill)
                said[f"level {level} {name}{kind}"] = text
    for name, station in (("official", official), ("local", local)):
        said[f"correction {name}"] = texts.correction(registry, station, "", lang="vi")
        said[f"all clear {name}"] = texts.headline(0, station, gauge, -0.45, None) + "."
    said["drill opening"] = texts.drill_opening(registry, "vi")
    said["correction in one's own words"] = texts.correction(
        registry, official, "Báo động 3 lúc 5h30 ngày 18/11 là nhầm. Mực nước là 1,05 m, dưới BĐ1.", lang="vi"
    )
    return said


SAID = emergency_texts()


def phonemes(text: str) -> str:
    """What espeak-ng makes of a text."""
    command = ["espeak-ng", "-v", "vi", "-q", "-x", "--stdin"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=20).stdout


def syllables(text: str) -> int:
    """In Vietnamese each written word is a syllable."""
    return len(re.findall(r"[^\W\d_]+", text))


def foreign(text: str) -> list[str]:
    """The words that the Vietnamese voice hands to another language, or says with more or less than one tone: spelled,
    or no syllable of the language."""
    words = sorted(set(re.findall(r"[^\W\d_]+", text)))
    said = [line for line in phonemes(".\n\n".join(words)).splitlines() if line.strip()]
    return [word for word, how in zip(words, said, strict=True) if "(" in how or len(re.findall(r"[1-7]", how)) != 1]


def test_the_texts_for_a_human_ear_are_those_that_are_spoken() -> None:
    written = Path(__file__).with_name("emergency.txt").read_text(encoding="utf-8")
    assert written == "".join(f"{name}\n  {speakable(text)}\n" for name, text in SAID.items())


def test_each_word_of_the_emergency_texts_is_a_vietnamese_syllable_to_the_voice() -> None:
    assert foreign(" ".join(map(speakable, SAID.values()))) == []
    for text in SAID.values():  # and nothing changes by what stands beside it
        said = phonemes(speakable(text))
        assert "(" not in said and len(re.findall(r"[1-7]", said)) == syllables(speakable(text))


def test_the_voice_knows_each_word_that_stands_for_something_written_short() -> None:
    tables = (UNITS, ABBREVIATIONS, SHORTENED, SIGNS, ISSUERS, FOREIGN, LETTERS)
    words = " ".join(word for table in tables for word in table.values())
    assert foreign(f"{words} {' '.join(map(integer, (1054, 21_015, 3_000_000, 7_600_000_000)))} phẩy chín tám") == []


def test_what_the_voice_spells_is_noticed() -> None:
    assert foreign("trạm BĐ Phú Ốc UBND hello") == ["BĐ", "UBND", "hello"]


def test_in_the_whole_transcript_only_names_are_unknown_to_the_voice() -> None:
    rows = Path(__file__).with_name("vietnamese.tsv").read_text(encoding="utf-8").splitlines()
    spoken = " ".join(row.partition("\t")[2] for row in rows).lower()
    assert foreign(spoken) == ["green", "lulut", "lut", "quangtho", "thuathienhue", "ubnd", "vina", "ôxy"]


@pytest.mark.parametrize("name", SAID)
async def test_emergency_texts_are_said_slowly_enough_and_not_too_slowly(name: str, tmp_path: Path) -> None:
    await Voice().write(Speech(text=SAID[name]), tmp_path / "said.wav")
    length_s = seconds(tmp_path / "said.wav")
    assert length_s is not None
    assert SLOWEST <= syllables(speakable(SAID[name])) / length_s <= FASTEST


def played(path: Path, filters: str, to: Path) -> array[int]:
    """The samples that leave the player."""
    options = ["--no-config", "--no-video", "--really-quiet", "--audio-format=s16", "--ao=pcm", f"--ao-pcm-file={to}"]
    subprocess.run(["mpv", *options, f"--af={filters}", str(path)], check=True, timeout=60)
    return array("h", to.read_bytes().partition(b"data")[2][4:])  # its header has a form that wave does not know


def rms(samples: array[int]) -> float:
    return math.sqrt(sum(v * v for v in samples) / len(samples))


@pytest.mark.parametrize("name", ["level 3 official", "level 2 local drill", "drill opening", "correction official"])
async def test_emergency_texts_are_loud_unclipped_and_where_a_horn_has_its_voice(name: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept", tmp_path / "spare", 1 << 24)
    cache.prepare()
    clip = await Media(cache, Voice(), lufs=LUFS).clip(Speech(text=SAID[name]))
    whole = played(clip.path, chain(Shape(clip.gain_db)), tmp_path / "out.wav")
    assert max(max(whole), -min(whole)) <= 32768 * (CEILING + 0.005)
    assert (await loudness.measured(tmp_path / "out.wav")).lufs == pytest.approx(LUFS, abs=1.0)
    band = f"lavfi=[highpass=f={HORN[0]},lowpass=f={HORN[1]}]"
    share = (rms(played(tmp_path / "out.wav", band, tmp_path / "horn.wav")) / rms(whole)) ** 2
    assert share > 0.5
    print(f"{name}: {share:.0%} of the energy in {HORN} Hz")
