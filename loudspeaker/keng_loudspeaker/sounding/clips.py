"""Recorded words: a text whose words are all there is put together from recordings of a person's voice.

A folder holds WAV files of one kind (rate, channels, width) and ``clips.tsv``, a line a recording: its file, a tab, and
the words it says, as :mod:`vietnamese` spells them ("ba phẩy không sáu mét" needs "ba", "phẩy", "không", "sáu", "mét",
or longer recordings that hold several). The longest that fits is taken. A text of which one word is missing is left to
the synthesiser whole: a change of voice within a sentence is heard as a fault.
"""

from __future__ import annotations

import re
import unicodedata
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIST = "clips.tsv"
#: Silence after what ends a part of a sentence, and a sentence, in seconds.
PAUSES_S = {",": 0.25, ";": 0.35, ":": 0.35, ".": 0.55, "!": 0.55, "?": 0.55}
_TOKEN = re.compile(r"[^\W_]+|[,;:.!?]")


@dataclass(frozen=True, slots=True)
class Clips:
    """Recordings by the words they say, in small letters."""

    by_words: Mapping[tuple[str, ...], Path]
    longest: int

    @classmethod
    def read(cls, folder: Path) -> Clips:
        """What a folder holds; raises OSError and ValueError."""
        by_words = {}
        for number, line in enumerate((folder / LIST).read_text(encoding="utf-8").splitlines(), 1):
            file, tab, words = line.partition("\t")
            if not tab or not (key := tuple(_tokens(words))):
                raise ValueError(f"line {number} of {LIST} is not a file, a tab and its words")
            by_words[key] = folder / file
        return cls(by_words, max(map(len, by_words), default=0))

    def cover(self, text: str) -> list[Path | float] | None:
        """The recordings and pauses (seconds) that say a text; None if a word is missing. Pure.

        >>> clips = Clips({("ba",): Path("3.wav"), ("mét",): Path("m.wav"), ("ba", "mét"): Path("3m.wav")}, 2)
        >>> clips.cover("Ba mét, ba.") == [Path("3m.wav"), 0.25, Path("3.wav"), 0.55]
        True
        >>> clips.cover("Bốn mét")
        """
        tokens, parts, at = list(_tokens(text)), list[Path | float](), 0
        while at < len(tokens):
            if tokens[at] in PAUSES_S:
                parts.append(PAUSES_S[tokens[at]])
                at += 1
                continue
            for length in range(min(self.longest, len(tokens) - at), 0, -1):
                path = self.by_words.get(tuple(tokens[at : at + length]))
                if path is not None:
                    parts.append(path)
                    at += length
                    break
            else:
                return None
        return parts if any(isinstance(part, Path) for part in parts) else None


def join(parts: Sequence[Path | float], path: Path) -> None:
    """Write recordings and pauses as one WAV file; raises OSError, wave.Error and EOFError, and ValueError if they are
    not of one kind."""
    kind, written = None, bytearray()
    for part in parts:
        if isinstance(part, float):
            if kind is not None:
                written += bytes(round(part * kind[2]) * kind[0] * kind[1])
            continue
        with wave.open(str(part), "rb") as sound:
            this = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
            if this != (kind or this) or this[1] != 2:
                raise ValueError(f"{part.name} is not of the kind of the others, 16 bit")
            kind = this
            written += sound.readframes(sound.getnframes())
    assert kind is not None
    with path.open("wb") as file, wave.open(file, "wb") as out:
        out.setnchannels(kind[0])
        out.setsampwidth(kind[1])
        out.setframerate(kind[2])
        out.writeframes(bytes(written))


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFC", text).lower())
