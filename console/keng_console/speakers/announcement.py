"""What people may order of loudspeakers at once, and the job that it becomes. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from keng_contracts.commands import Item, Media, Play, Priority, Recorded, Speech
from keng_contracts.names import Person, Slug

#: Characters of one spoken item (a Speech takes 2000), and of all that one announcement says.
MOST_SPOKEN, MOST_TEXT = 1500, 20_000
#: Between the pieces of a long text, and between two repeats, in seconds.
GAP_S = 1.0


class Manner(BaseModel):
    """How it is played. A siren has no place here: it is ordered by alerts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(0, ge=0, le=9)
    gong: bool = True
    repeats: int = Field(1, ge=1, le=20)
    gap_s: float = Field(GAP_S, ge=0, le=600)
    resume: bool = False
    night: Person | None = None


class Announce(BaseModel):
    """Say a text, play a file, or both, the text first; or the recorded bulletin of a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Literal["announce"] = "announce"
    to: list[Slug] = Field([], max_length=100, description="zones or loudspeakers; of a bulletin zones, or none")
    text: str = Field("", max_length=MOST_TEXT)
    media: Media | None = None
    bulletin: int | None = None
    priority: Literal[Priority.URGENT, Priority.PRIORITY, Priority.SCHEDULED] = Priority.SCHEDULED
    manner: Manner = Manner()
    together: bool = False
    wait_s: float = Field(30.0, gt=0, le=600)

    @field_validator("text")
    @classmethod
    def _clean(cls, text: str) -> str:
        """Vietnamese as it is spoken: composed, without what no voice can say."""
        spoken = "".join(c for c in text if unicodedata.category(c) != "Cf")
        composed = unicodedata.normalize("NFC", spoken)
        return " ".join("".join(c if c.isprintable() else " " for c in composed).split())

    @model_validator(mode="after")
    def _something_somewhere(self) -> Self:
        said = bool(self.text) + (self.media is not None)
        if self.bulletin is not None and said:
            raise ValueError("a bulletin has its own words")
        if self.bulletin is None and not said:
            raise ValueError("there is nothing to say: give a text or a file")
        if self.bulletin is None and not self.to:
            raise ValueError("say where: --to ZONE or LOUDSPEAKER")
        return self

    @property
    def items(self) -> list[Recorded]:
        speech: list[Recorded] = [Speech(text=piece) for piece in pieces(self.text)]
        return [*speech, *([self.media] if self.media else [])]


class Announced(BaseModel):
    """List what was ordered of loudspeakers."""

    do: Literal["announced"] = "announced"
    limit: int = Field(20, ge=1, le=1000)


class ListBulletins(BaseModel):
    """List recorded bulletins that a person decides about."""

    do: Literal["bulletins"] = "bulletins"
    limit: int = Field(20, ge=1, le=500)


class Silence(BaseModel):
    """Stop one job, or with ``play`` empty all that sounds there, at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Literal["silence"] = "silence"
    play: str = Field("", pattern=r"^[a-z0-9-]{0,80}$")
    to: list[Slug] = Field([], max_length=100)
    wait_s: float = Field(30.0, gt=0, le=600)


def play_of(name: str, items: list[Item], priority: Priority, manner: Manner, start_ms: int | None = None) -> Play:
    """The job. ``start_ms`` is when loudspeakers begin together."""
    return Play(play=name, priority=priority, items=items, start_ms=start_ms, **manner.model_dump())


def name(at_ms: int, zone: str, kind: str = "thong-bao") -> str:
    """A job's name, by local time.

    >>> name(1_763_323_200_042, "Asia/Ho_Chi_Minh")
    'thong-bao-20251117-030000-042'
    """
    local = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(ZoneInfo(zone))
    return f"{kind}-{local:%Y%m%d-%H%M%S}-{at_ms % 1000:03d}"


def pieces(text: str, most: int = MOST_SPOKEN) -> list[str]:
    """A text in pieces that a loudspeaker says in one breath, cut between sentences, else between words.

    >>> pieces("Một hai. Ba bốn.", 10)
    ['Một hai.', 'Ba bốn.']
    """
    found: list[str] = []
    for sentence in re.split(r"(?<=[.!?…;])\s+", text):
        for part in _words(sentence, most):
            if found and len(found[-1]) + 1 + len(part) <= most:
                found[-1] += " " + part
            else:
                found.append(part)
    return found


def _words(sentence: str, most: int) -> list[str]:
    found: list[str] = []
    while len(sentence) > most:
        head, space, _ = sentence[: most + 1].rpartition(" ")
        head = head if space else sentence[:most]
        found.append(head)
        sentence = sentence[len(head) :].lstrip()
    return [*found, sentence] if sentence else found
