"""What a loudspeaker node has to play in a simulated month: a table of entries, their sounds, and what is ordered."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass, field
from datetime import time as Clocktime

from keng_contracts.commands import Priority, Siren
from tests.support.pole import START_MS

SIREN = {"blasts": 2, "blast_s": 0.4, "gap_s": 0.2}
RATE = 48_000


def siren(number: int, blast_s: float) -> Siren:
    """One that is ordered; none of a month is as another."""
    return Siren(pattern="lu-tren-bd2", blasts=2, blast_s=blast_s, gap_s=round(0.2 + number / 1000, 3))


def sound_file(name: str) -> bytes:
    """Nine tenths of a second of a square wave as a WAV file, another one for each name."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((b"\x00\x10" * 60 + b"\x00\xf0" * 60) * (RATE * 9 // 10 // 120))
    text = name.encode().ljust(64)
    return file.getvalue() + b"note" + len(text).to_bytes(4, "little") + text


@dataclass(frozen=True)
class Row:
    """An entry of the programme and when it is played. A ``file`` is fetched, ``text`` is spoken; one with a ``{week}``
    in its name is another every week."""

    id: str
    at: Clocktime
    text: str = ""
    file: str = ""
    late_within_s: int = 300
    priority: Priority = Priority.SCHEDULED
    gong: bool = False
    resume: bool = False
    night: str | None = None
    obtainable: bool = True
    only: frozenset[int] = frozenset()  # days, counted from 0; on every day if there are none

    def name(self, day: int) -> str:
        return self.file.format(week=day // 7)

    def entry_id(self, day: int) -> str:
        return self.id if self.file == self.name(day) else f"{self.id}-{day // 7}"


ROWS = (
    Row("dem", Clocktime(3, 15), text="Không ai đồng ý cho phát"),
    Row("som", Clocktime(4, 30), text="Tin ra khơi", night="Trần Thị Lan"),
    Row("ban-tin", Clocktime(5, 0), file="sang.wav", gong=True, resume=True),
    Row("trua", Clocktime(11, 30), text="Bản tin trưa"),
    Row("chieu", Clocktime(17, 0), file="chieu.wav", late_within_s=1800, priority=Priority.PRIORITY),
    Row("xe", Clocktime(17, 1), file="xe.wav"),
    Row("tuan", Clocktime(19, 0), file="tuan-{week}.wav", late_within_s=600),
    Row("mat", Clocktime(19, 30), file="khong-co.wav", obtainable=False, only=frozenset({0, 1})),
    Row("khuya", Clocktime(21, 29), text="Chúc ngủ ngon"),
)


@dataclass(frozen=True)
class Due:
    """An occurrence, and what the month knows of it."""

    play: str
    row: Row
    day: int
    at_ms: int

    @property
    def at_s(self) -> float:
        return (self.at_ms - START_MS) / 1000


@dataclass
class Sent:
    """A command: its token, when it was sent, and when the node first had it."""

    play: str
    token: bytes
    sent_s: float
    expires_s: float
    siren: str = ""  # its file in the cache; a stop has none
    had_s: list[float] = field(default_factory=list)
