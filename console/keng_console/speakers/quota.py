"""How much a programme may sound: so many sessions a day, on these days, of so many minutes. Pure.

Hà Nội allows two sessions a day, five days a week, of 15 to 45 minutes, emergencies excepted. A session is what sounds
on one loudspeaker with less than ``apart_min`` of silence in between. How long an entry lasts is what its planner says
(``lasts_min``), or an estimate: texts by their syllables, sirens by their pattern, the gong by its own length. Nothing
is known of the length of a file or a stream: a session with one is only known to last at least as long as the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.commands import GONG_S, Recorded, Siren, Speech
from keng_contracts.programme import Entry, Occurrence, Programme

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
#: Measured on a commune's notices, spoken by espeak-ng at the loudspeakers' own pace, pauses and all (204 and 203). A
#: voice of Piper, recorded words or another ``words_per_minute`` make it another.
SYLLABLES_PER_MINUTE = 200


class Quota(BaseModel):
    """What the commune's rules allow a programme; 0 or nothing is no limit. Emergencies are excepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sessions_a_day: int = Field(
        0, ge=0, le=50, description="sessions on one loudspeaker in a day at most; 0: any number"
    )
    days: list[Literal["MO", "TU", "WE", "TH", "FR", "SA", "SU"]] = Field(
        [], description='days on which it may sound, such as ["MO", "TU", "WE", "TH", "FR"]; none: every day'
    )
    least_min: float = Field(0.0, ge=0, le=600, description="minutes that a session lasts at least; 0: any time")
    most_min: float = Field(0.0, ge=0, le=600, description="minutes that a session lasts at most; 0: any time")
    apart_min: float = Field(5.0, ge=0, le=600, description="with less silence between, two entries are one session")


@dataclass(frozen=True, slots=True)
class Length:
    """For how long it sounds, in seconds; with not ``whole`` at least as long, for of some of it nothing is known."""

    seconds: float
    whole: bool = True

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{'~' if self.whole else '≥'} {minutes}:{seconds:02}" if self.whole or self.seconds else "?"


@dataclass(slots=True)
class _Session:
    first: Occurrence
    end_ms: float
    seconds: float = 0.0
    whole: bool = True


def length(entry: Entry, lasts_min: float | None) -> Length:
    """How long an entry lasts."""
    if lasts_min is not None:
        return Length(60 * lasts_min)
    known = [found for item in entry.items if (found := _seconds(item)) is not None]
    return Length(sum(known) + (GONG_S if entry.gong else 0.0), len(known) == len(entry.items))


def _seconds(item: Recorded) -> float | None:
    match item:
        case Speech(text=text):
            # A number is said digit by digit at least: "3,06" is "ba phẩy không sáu".
            syllables = sum(max(1, sum(c.isdigit() for c in word)) for word in text.split())
            return 60 * syllables / SYLLABLES_PER_MINUTE
        case Siren():
            return item.repeats * item.blasts * (item.blast_s + item.gap_s)
    return None


def faults(programmes: Sequence[Programme], lengths: dict[str, Length], quota: Quota) -> list[str]:
    """What a programme has too much of, each with its day and its slot; the same for many loudspeakers is said once."""
    found: dict[str, None] = {}
    for programme in programmes:
        days: dict[date, list[_Session]] = {}
        for session in _sessions(programme, lengths, quota.apart_min):
            days.setdefault(session.first.local.date(), []).append(session)
        for sessions in days.values():
            found.update(dict.fromkeys(_faults(sessions, quota)))
    return list(found)


def _faults(sessions: list[_Session], quota: Quota) -> list[str]:
    """Of one day on one loudspeaker."""
    found = []
    first = sessions[0].first
    if quota.days and DAYS[first.local.weekday()] not in quota.days:
        found.append(f"{_slot(first)}: không được phát ngày này (not on this day: only {', '.join(quota.days)})")
    if quota.sessions_a_day and len(sessions) > quota.sessions_a_day:
        over = sessions[quota.sessions_a_day].first
        found.append(
            f"{_slot(over)}: buổi phát thứ {quota.sessions_a_day + 1} trong ngày "
            f"(session {quota.sessions_a_day + 1} of the day: {quota.sessions_a_day} at most)"
        )
    for session in sessions:
        minutes = f"{'' if session.whole else '≥ '}{session.seconds / 60:.1f}"
        if quota.most_min and session.seconds > 60 * quota.most_min:
            found.append(f"{_slot(session.first)}: dài {minutes} phút (min: {quota.most_min:g} at most)")
        if quota.least_min and session.whole and session.seconds < 60 * quota.least_min:
            found.append(f"{_slot(session.first)}: dài {minutes} phút (min: {quota.least_min:g} at least)")
    return found


def _sessions(programme: Programme, lengths: dict[str, Length], apart_min: float) -> list[_Session]:
    found: list[_Session] = []
    for occurrence in programme.occurrences:  # in the order of time
        lasts = lengths[occurrence.entry]
        last = found[-1] if found else None
        if (
            last is None
            or occurrence.at_ms - last.end_ms >= 60_000 * apart_min
            or occurrence.local.date() != last.first.local.date()
        ):
            last = _Session(occurrence, occurrence.at_ms)
            found.append(last)
        last.end_ms = max(last.end_ms, occurrence.at_ms) + 1000 * lasts.seconds
        last.seconds += lasts.seconds
        last.whole = last.whole and lasts.whole
    return found


def _slot(occurrence: Occurrence) -> str:
    return f"{DAYS[occurrence.local.weekday()]} {occurrence.local:%d.%m. %H:%M} {occurrence.entry}"
