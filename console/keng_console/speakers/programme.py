"""From a plan that people wrote to the programme of each loudspeaker. Pure: the time is an argument.

Rules are RFC 5545's, meant in the commune's own time: "every Monday at five" is a Monday in Quảng Thọ, never one in
UTC. The instant is computed from the local time, and both travel.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Self
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from keng_contracts.commands import Recorded
from keng_contracts.errors import Problem
from keng_contracts.names import Slug
from keng_contracts.programme import SPAN_MS, Entry, Occurrence, Programme, name
from keng_contracts.quiet import in_quiet
from keng_contracts.registry import Registry

#: What is the planner's alone.
_PLANNED = {"first", "lasts_min", "zones", "speakers"}
#: More occurrences of one entry are a rule that was mistyped.
MOST = 200


class PlannedEntry(Entry):
    """An entry as people write it. ``first`` is local time; ``zones`` and ``speakers`` say where; ``lasts_min`` is how
    long it lasts, where whoever plans it knows better than an estimate."""

    first: datetime
    lasts_min: float | None = Field(None, gt=0, le=1440)
    zones: list[Slug] = Field([], max_length=100)
    speakers: list[Slug] = Field([], max_length=1000)

    @model_validator(mode="after")
    def _local_and_somewhere(self) -> Self:
        if self.first.tzinfo is not None:
            raise ValueError(f"{self.id}: 'first' is local time, without an offset")
        if not self.zones and not self.speakers:
            raise ValueError(f"{self.id}: name zones or speakers")
        return self


class Plan(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entries: list[PlannedEntry] = Field([], max_length=200)
    emergency: list[Recorded] = Field([], max_length=20, description="what the buttons at the loudspeakers play")


def programmes(plan: Plan, registry: Registry, made_ms: int) -> list[Programme]:
    """The programme of every loudspeaker of the registry for the seven days from ``made_ms``, its version.

    Raises :class:`Problem` for what can't be meant: an unknown place, a rule that is none, a slot in the night to which
    no second person agreed."""
    at = {entry.id: times(entry, registry, made_ms) for entry in plan.entries}
    _places(plan, registry)
    made = []
    for speaker in registry.speakers:
        here = [e for e in plan.entries if speaker.id in e.speakers or not set(speaker.zones).isdisjoint(e.zones)]
        made.append(
            Programme(
                schema="keng.programme/1",
                commune=registry.commune.id,
                speaker=speaker.id,
                version=made_ms,
                tz=registry.commune.timezone,
                from_ms=made_ms,
                until_ms=made_ms + SPAN_MS,
                entries=[Entry(**e.model_dump(exclude=_PLANNED)) for e in here],
                occurrences=sorted((o for e in here for o in at[e.id]), key=lambda o: o.at_ms),
                emergency=plan.emergency,
            )
        )
    return made


def times(entry: PlannedEntry, registry: Registry, made_ms: int) -> list[Occurrence]:
    """When an entry is played in the seven days from ``made_ms``; raises :class:`Problem`."""
    zone = ZoneInfo(registry.commune.timezone)
    start = datetime.fromtimestamp(made_ms / 1000, UTC).astimezone(zone).replace(tzinfo=None)
    end = start + timedelta(milliseconds=SPAN_MS)
    where = f"entry {entry.id}"
    try:
        rule = rrulestr(entry.rule or "FREQ=DAILY;COUNT=1", dtstart=entry.first)
        local = [at for at in islice(rule.xafter(start, inc=True), MOST + 1) if at < end]
    except (ValueError, TypeError) as error:
        raise Problem(f"{entry.rule!r} is no rule ({error})", where=where, todo="see RFC 5545, 3.3.10") from None
    if len(local) > MOST:
        raise Problem(f"comes more than {MOST} times in seven days", where=where, todo="mend its rule")
    found = []
    for at in local:
        if entry.night is None and in_quiet(at.time(), registry.quiet_hours):
            first, last = registry.quiet_hours
            raise Problem(
                f"sounds at {at:%H:%M on %d.%m.}, in quiet hours ({first:%H:%M} to {last:%H:%M})",
                where=where,
                todo="choose another time, or name in 'night' the second person who agreed",
            )
        aware = at.replace(tzinfo=zone)
        at_ms = round(aware.timestamp() * 1000)
        found.append(Occurrence(play=name(entry.id, at), entry=entry.id, local=aware, at_ms=at_ms))
    return found


def _places(plan: Plan, registry: Registry) -> None:
    for what, known, wanted in (
        ("zone", {z.id for z in registry.zones}, {z for e in plan.entries for z in e.zones}),
        ("loudspeaker", {s.id for s in registry.speakers}, {s for e in plan.entries for s in e.speakers}),
    ):
        if strange := sorted(wanted - known):
            todo = f"there are: {', '.join(sorted(known)) or 'none'}"
            raise Problem(f"there is no {what} {', '.join(strange)}", where="plan", todo=todo)
