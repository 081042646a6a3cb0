"""The programme of one loudspeaker: what it plays by itself in the next seven days, also without a link.

Every occurrence has its local time with its offset from UTC *and* the UTC instant that was computed from it; where
they disagree the programme is not taken (a weekday counted in UTC, a server in another zone). The node goes by the
instant.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from keng_contracts.commands import Priority, Recorded
from keng_contracts.names import Person, Slug

#: Longest programme, in milliseconds.
SPAN_MS = 7 * 86_400_000
#: What a schedule may play; sirens are ordered, never scheduled by priority.
SCHEDULABLE = frozenset({Priority.PRIORITY, Priority.SCHEDULED, Priority.RELAY})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Entry(_Strict):
    """Something that is played again and again. ``rule`` is RFC 5545's, for people: the occurrences are computed."""

    id: Slug
    name: str = Field("", max_length=200)
    rule: str = Field("", max_length=500)
    priority: Priority = Priority.SCHEDULED
    items: list[Recorded] = Field(min_length=1, max_length=20)
    gong: bool = False
    resume: bool = False
    late_within_s: int = Field(
        300, ge=0, le=86_400, description="what could not begin in time begins late up to then, and is skipped after it"
    )
    night: Person | None = Field(None, description="who agreed a second time that it sounds in quiet hours")

    @model_validator(mode="after")
    def _no_alarm(self) -> Self:
        if self.priority not in SCHEDULABLE:
            raise ValueError(f"{self.id}: {self.priority} can't be scheduled")
        return self


class Occurrence(_Strict):
    """One time that an entry is played. ``play`` names it in all evidence, and no name is played twice."""

    play: str = Field(pattern=r"^[a-z0-9-]{1,80}$")
    entry: Slug
    local: AwareDatetime
    at_ms: int

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if round(self.local.timestamp() * 1000) != self.at_ms:
            raise ValueError(f"{self.play}: {self.local.isoformat()} is not {self.at_ms} ms")
        return self


class Programme(_Strict):
    """The whole document of one loudspeaker. ``version`` grows; a node never goes back."""

    schema_: Literal["keng.programme/1"] = Field("keng.programme/1", alias="schema")
    commune: Slug
    speaker: Slug
    version: int = Field(ge=1, lt=1 << 53)
    tz: str = Field("Asia/Ho_Chi_Minh", max_length=60, description="IANA name of the zone in which the rules are meant")
    from_ms: int
    until_ms: int
    entries: list[Entry] = Field([], max_length=200)
    occurrences: list[Occurrence] = Field([], max_length=1000)
    emergency: list[Recorded] = Field([], max_length=20, description="what the button at the loudspeaker plays")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.from_ms <= self.until_ms <= self.from_ms + SPAN_MS:
            raise ValueError("a programme is for seven days at most")
        entries = [entry.id for entry in self.entries]
        plays = [occurrence.play for occurrence in self.occurrences]
        if len(set(entries)) < len(entries) or len(set(plays)) < len(plays):
            raise ValueError("a name is there twice")
        for occurrence in self.occurrences:
            if occurrence.entry not in entries:
                raise ValueError(f"{occurrence.play}: there is no entry {occurrence.entry!r}")
            if not self.from_ms <= occurrence.at_ms < self.until_ms:
                raise ValueError(f"{occurrence.play} is not within the programme")
        return self

    def entry(self, occurrence: Occurrence) -> Entry:
        return next(entry for entry in self.entries if entry.id == occurrence.entry)


def name(entry: str, local: datetime) -> str:
    """The play name of an occurrence, the same in every version of the programme.

    >>> name("ban-tin-sang", datetime(2025, 11, 18, 5, 0))
    'ban-tin-sang-20251118-0500'
    """
    return f"{entry}-{local:%Y%m%d-%H%M}"
