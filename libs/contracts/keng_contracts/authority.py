"""Who decides that a siren sounds: rows of the registry, and what is wrong with them.

====================  ==========================================================================================
mode                  when the level is reached
====================  ==========================================================================================
manual                people are told; nothing sounds and nothing is asked
confirm               a person is asked; it sounds when one confirms
auto-after-timeout    a person is asked; it sounds when one confirms, or by itself after ``confirm_within_s``
                      unless one declines
auto                  it sounds at once
====================  ==========================================================================================

The last two need a recorded delegation. One that is not in force, a second source that does not agree, a cooldown or a
silence make of either a question to a person, as if the mode were ``confirm``; the alert says which of them it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keng_contracts.names import SensorId, Slug

Level = Annotated[int, Field(ge=1, le=4, description="1 to 3: báo động 1 to 3 or its local counterpart; 4: record")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AuthorityMode(StrEnum):
    """Who decides that a siren sounds."""

    MANUAL = "manual"
    CONFIRM = "confirm"
    TIMEOUT = "auto-after-timeout"
    AUTO = "auto"


#: Modes in which a siren may sound without a person.
BY_ITSELF = frozenset({AuthorityMode.TIMEOUT, AuthorityMode.AUTO})


class Delegation(_Strict):
    """A recorded decision that sirens may sound without a person. Days are those of the commune's calendar."""

    id: Slug
    by: str = Field(min_length=1, description="who delegated it: office and name")
    paper: str = Field(min_length=1, description="by which paper: number and date")
    levels: list[Level] = Field(min_length=1, description="for which levels")
    sensors: list[SensorId] = Field([], description="for which gauges; none named: for all")
    valid_from: date
    valid_until: date = Field(description="the last day on which it holds")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.valid_until < self.valid_from:
            raise ValueError("valid_until lies before valid_from")
        return self

    def holds(self, on: date) -> bool:
        return self.valid_from <= on <= self.valid_until

    def words(self) -> str:
        return f"{self.by}, {self.paper}"


class SecondSource(_Strict):
    """Another gauge that must agree: at ``level`` of its own or above, by good data of the last ``within_s``."""

    sensor: SensorId
    level: Level
    within_s: float = Field(1800.0, gt=0, le=86_400)


class Authority(_Strict):
    """For one level of one gauge: who may start the sirens, in which zones, at which hours, by whose delegation.

    A zone's row with ``hours`` goes before one without. Hours are the commune's; they may run over midnight, and the
    second one is no longer within them.
    """

    sensor: SensorId
    level: Level
    mode: AuthorityMode = AuthorityMode.MANUAL
    zones: list[Slug] = []
    siren: Slug | None = Field(None, description="siren pattern; none for a spoken message alone")
    delegated_by: str = Field("", description="who delegated the decision, and by which paper; without a recorded end")
    delegation: Slug | None = Field(None, description="the recorded delegation; needed for auto and auto-after-timeout")
    hours: tuple[time, time] | None = Field(None, description="from when to when this row holds; none: always")
    confirm_within_s: float = Field(
        600.0, gt=0, le=86_400, description="auto-after-timeout: for how long people may decide before it sounds"
    )
    second: SecondSource | None = Field(None, description="another gauge that must agree before it sounds by itself")
    cooldown_s: float = Field(
        0.0, ge=0, le=604_800, description="for so long after a play of this gauge, a person is asked before the next"
    )

    def holds(self, at: time) -> bool:
        """Whether the row holds at a local time of day.

        >>> night = Authority(sensor="phu-oc/level", level=2, hours=(time(21, 30), time(5, 0)))
        >>> [night.holds(time(hour)) for hour in (3, 5, 12, 22)]
        [True, False, False, True]
        """
        if self.hours is None:
            return True
        start, end = self.hours
        return start <= at < end if start < end else at >= start or at < end


class ResponseRule(_Strict):
    """What happens to an alert of a gauge with time, and to a loudspeaker that does not answer."""

    sensor: SensorId
    escalate_after_s: float = Field(900.0, gt=0, description="unacknowledged for so long, an alert is escalated")
    escalations: int = Field(3, ge=0, le=20, description="and again after as long, so many times in all")
    close_after_s: float = Field(
        86_400.0, ge=0, description="so long after it was cleared an alert is closed by itself"
    )
    retries: int = Field(5, ge=0, le=20, description="times that an order is repeated to a loudspeaker in silence")
    retry_after_s: float = Field(
        20.0, gt=0, description="the first pause before that; each further one is twice as long"
    )
    silent_after_s: float = Field(120.0, gt=0, description="a loudspeaker unconfirmed for so long is named to people")


def faults(
    rows: Sequence[Authority], delegations: Mapping[str, Delegation], levels: Mapping[str, frozenset[int]]
) -> Iterator[str]:
    """What is wrong with the rows, for a person to mend. ``levels`` are those with a threshold, by sensor.

    What is only of no use, as a row without zones, is left to the reading of the file: a registry that holds must not
    cease to hold with a new version of the program.
    """
    taken: list[tuple[str, int, str, Authority]] = []
    for row in rows:
        where = f"authority for {row.sensor} level {row.level}"
        if row.hours is not None and row.hours[0] == row.hours[1]:
            yield f"{where}: hours that begin when they end are none; leave them out for the whole day"
        yield from _delegation(row, where, delegations)
        if row.second is not None:
            if row.second.sensor == row.sensor:
                yield f"{where}: its second source is the gauge itself"
            elif row.second.level not in levels.get(row.second.sensor, frozenset()):
                there = ", ".join(sorted(levels)) or "none"
                yield (
                    f"{where}: its second source {row.second.sensor} has no threshold of level {row.second.level} "
                    f"(gauges are: {there})"
                )
        for zone in dict.fromkeys(row.zones):
            for sensor, level, other_zone, other in taken:
                if (sensor, level, other_zone) == (row.sensor, row.level, zone) and _meet(row, other):
                    yield f"{where}: two rows hold for zone {zone!r} at the same hours"
            taken.append((row.sensor, row.level, zone, row))


def _delegation(row: Authority, where: str, delegations: Mapping[str, Delegation]) -> Iterator[str]:
    if row.delegation is not None:
        delegation = delegations.get(row.delegation)
        if row.delegated_by:
            yield f"{where} has both delegation and delegated_by: keep one"
        if delegation is None:
            there = ", ".join(sorted(delegations)) or "none"
            yield f"{where}: there is no delegation {row.delegation!r} (there are: {there})"
            return
        if row.level not in delegation.levels:
            yield f"{where}: the delegation {row.delegation!r} does not cover that level"
        if delegation.sensors and row.sensor not in delegation.sensors:
            yield f"{where}: the delegation {row.delegation!r} does not cover that gauge"
    elif row.mode in BY_ITSELF and not row.delegated_by:
        yield (
            f"{where} is {row.mode} without delegated_by or delegation: "
            "name who delegated the decision, and by which paper"
        )


def _meet(one: Authority, other: Authority) -> bool:
    """Whether two rows hold at one and the same time; one with hours goes before one without, so those two don't."""
    if one.hours is None or other.hours is None:
        return one.hours is other.hours
    return one.holds(other.hours[0]) or other.holds(one.hours[0])
