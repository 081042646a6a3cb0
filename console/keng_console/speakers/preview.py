"""What a plan plays in the next hours, so that nobody is surprised at night. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from keng_console.speakers.approval import ProgrammeSettings, Shelf, Version, in_force
from keng_console.speakers.programme import Plan, times
from keng_console.speakers.quota import Length, length
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry

AHEAD = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Slot:
    """One time that an entry is played, by local time, in zones and at loudspeakers."""

    local: datetime
    name: str
    places: list[str]
    length: Length
    night: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A version of the plan: what comes of it within :data:`AHEAD`, how often it plays in seven days at all, and in
    ``fault`` why it can't be played any more."""

    name: str
    by: str
    at_ms: int
    why: str
    approved_by: str
    approved_ms: int | None
    entries: int
    week: int
    slots: list[Slot]
    fault: str


@dataclass(frozen=True, slots=True)
class Showing:
    """Everything that ``keng console programme show`` tells; ``emergency`` are the kinds of the button set's items."""

    approval: str
    in_force: Shown | None
    draft: Shown | None
    emergency: list[str]


_SHOWING = TypeAdapter(Showing)


def showing(shelf: Shelf, rule: ProgrammeSettings, registry: Registry, now_ms: int) -> dict[str, Any]:
    """As it goes over the socket."""
    plan = in_force(shelf)
    found = Showing(
        rule.approval,
        _shown(shelf.in_force, registry, now_ms),
        _shown(shelf.draft, registry, now_ms),
        [item.kind for item in plan.emergency] if plan else [],
    )
    told: dict[str, Any] = _SHOWING.dump_python(found, mode="json")
    return told


def read(told: Any) -> Showing:
    """The inverse."""
    return _SHOWING.validate_python(told)


def _shown(version: Version | None, registry: Registry, now_ms: int) -> Shown | None:
    if version is None:
        return None
    slots: list[Slot] = []
    fault, week = "", 0
    try:
        slots, week = _slots(version.plan, registry, now_ms)
    except Problem as problem:  # the registry has changed under it
        fault = str(problem)
    return Shown(
        version.name,
        version.by,
        version.at_ms,
        version.why,
        version.approved_by,
        version.approved_ms,
        len(version.plan.entries),
        week,
        slots,
        fault,
    )


def _slots(plan: Plan, registry: Registry, now_ms: int) -> tuple[list[Slot], int]:
    slots, week = [], 0
    for entry in plan.entries:
        at = times(entry, registry, now_ms)
        week += len(at)
        slots += [
            Slot(
                o.local,
                entry.name or entry.id,
                [*entry.zones, *entry.speakers],
                length(entry, entry.lasts_min),
                entry.night or "",
            )
            for o in at
            if o.at_ms - now_ms <= AHEAD / timedelta(milliseconds=1)
        ]
    return sorted(slots, key=lambda slot: slot.local), week
