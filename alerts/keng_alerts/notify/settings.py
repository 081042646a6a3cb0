"""Settings of the notifier: who is told, when, and who else if nobody acknowledges. Addresses are not among them."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import SettingsConfigDict

from keng_contracts.names import Slug
from keng_runtime.settings import ServiceSettings


class Severity(IntEnum):
    """How grave an occasion is, in the words of CAP 1.2, in rising order."""

    MINOR = 1
    MODERATE = 2
    SEVERE = 3
    EXTREME = 4


class Kind(StrEnum):
    """What an occasion is."""

    LEVEL = "level"
    UNWATCHED = "unwatched"
    CONFIRM = "confirm"
    SILENT = "silent"
    ESCALATED = "escalated"
    ALARM = "alarm"
    OVER = "over"


def _severity(value: object) -> object:
    return Severity[value.upper()] if isinstance(value, str) and value.upper() in Severity.__members__ else value


Named = Annotated[Severity, BeforeValidator(_severity)]
_HOURS = r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Person(_Table):
    """Somebody who can be told."""

    name: Slug = Field(description="how chains name this person or duty", examples=["truc-ban"])
    addresses: list[Slug] = Field(
        min_length=1,
        description="names of addresses in notify.toml of the credentials folder; each gets every message",
        examples=[["truc-ban-telegram"]],
    )
    languages: list[Literal["vi", "en"]] = Field(["vi"], min_length=1, description="languages of the message, in order")
    hours: str = Field("00:00-24:00", pattern=_HOURS, description="when this person is told, in the commune's time")
    wake: Named = Field(
        Severity.SEVERE, description="from this severity on also outside these hours", examples=["severe"]
    )


class Step(_Table):
    """Whom a chain tells next."""

    after_min: float = Field(0.0, ge=0, le=1440, description="minutes after the first page without acknowledgement")
    to: list[Slug] = Field(min_length=1, description="the persons of this step", examples=[["truc-ban"]])


class Chain(_Table):
    """For which occasions, and who is told in which order. The first chain that fits an occasion takes it."""

    name: Slug = Field(examples=["lu"])
    severity: Named = Field(
        Severity.MINOR, description="least severity: minor, moderate, severe or extreme", examples=["moderate"]
    )
    kinds: list[Kind] = Field(
        [], description="level, unwatched, confirm, silent, escalated, alarm; empty for all", examples=[[]]
    )
    repeat_min: float = Field(30.0, ge=1, le=1440, description="minutes between repeats of the last step")
    repeats: int = Field(3, ge=0, le=20, description="how often the last step is repeated at most")
    steps: list[Step] = Field(min_length=1)

    @model_validator(mode="after")
    def _steps_rise(self) -> Self:
        if any(late.after_min <= early.after_min for early, late in pairwise(self.steps)):
            raise ValueError("each step comes later than the one before it: after_min must rise")
        return self


class NotifySettings(ServiceSettings):
    """Who is told of alerts."""

    model_config = SettingsConfigDict(env_prefix="KENG_NOTIFY_")

    state: Path = Field(Path("/var/lib/keng-notify"), description="folder for what must survive a restart")
    commune: Slug = Field(description="commune whose alerts are told", examples=["quang-tho"])
    gather_s: float = Field(
        15.0, ge=0, le=300, description="seconds that a first page waits for others, so that a storm is one page"
    )
    pause_s: float = Field(
        180.0,
        ge=0,
        le=3600,
        description="least seconds between two pages to one person; what comes meanwhile goes together. Something more "
        "severe than all that was told in the last hour does not wait",
    )
    per_hour: int = Field(12, ge=1, le=100, description="most pages to one person in an hour, with the same exception")
    send_timeout_s: float = Field(
        30.0, ge=1, le=120, description="a sending that takes longer is ended and tried again"
    )
    give_up_h: float = Field(12.0, gt=0, le=72, description="for how long a message is tried, in hours")
    people: list[Person] = Field(default=[])
    chains: list[Chain] = Field(default=[])

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        names = [person.name for person in self.people]
        faults = [f"person {name!r} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
        for chain in self.chains:
            for step in chain.steps:
                faults += [
                    f"chain {chain.name!r}: there is no person {name!r}" for name in step.to if name not in names
                ]
        if faults:
            raise ValueError("; ".join(faults))
        return self
