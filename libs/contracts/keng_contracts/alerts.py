"""The alert document: one retained message an alert, its whole state, versioned. Owned by alerts."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keng_contracts.names import Slug
from keng_contracts.registry import AuthorityMode
from keng_contracts.rules import Severity

#: The kind of an alert that speaks of a gauge's level.
FLOOD = "flood"


class Hazard(StrEnum):
    """Whether the danger itself is there. Missing data never moves it."""

    RAISED = "raised"
    CLEARED = "cleared"


class Delivery(StrEnum):
    """How far an order has come on one loudspeaker."""

    PENDING = "pending"
    ORDERED = "ordered"
    PLAYING = "playing"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class DataState(StrEnum):
    """How fresh what is known of a gauge is. It never moves the hazard."""

    OK = "ok"
    SUSPECT = "suspect"
    STALE = "stale"
    DEAD = "dead"


class Stage(StrEnum):
    """How far people have come with an alert."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    ESCALATED = "escalated"
    CLEARED = "cleared"
    CLOSED = "closed"


class Why(StrEnum):
    """Why a siren waits for a person."""

    CONFIRM = "confirm"  # the registry asks a person
    TIMEOUT = "timeout"  # it sounds by itself when the time is over
    DELEGATION = "delegation"  # there is none in force
    SECOND_SOURCE = "second-source"  # the other gauge does not agree
    COOLDOWN = "cooldown"
    SILENCED = "silenced"
    LATE = "late"  # what is known of it was old when it was heard; a fresh sample may still let it sound


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Question(_Part):
    """A siren that waits for a person. ``sounds_ms``: when it sounds by itself unless somebody declines."""

    level: int = Field(ge=1, le=4)
    zones: list[Slug]
    why: Why
    since_ms: int
    sounds_ms: int | None = None


class Acknowledgement(_Part):
    """Who has seen the alert, when, and what they noted."""

    by: str
    at_ms: int
    note: str = ""


class Silence(_Part):
    """Up to ``level`` nothing sounds by itself before ``until_ms``; a higher level is never silenced by it. Of an alarm
    people are not told before then; its ``level`` is 4."""

    level: int = Field(ge=1, le=4)
    until_ms: int
    by: str


class Answer(_Part):
    """How the last order from a person was answered: ``jti`` is its id, empty for one given at the machine itself."""

    jti: str = ""
    ok: bool
    detail: str = Field("", max_length=500)
    at_ms: int


class Forecast(BaseModel):
    """When the next level is expected by the rate of rise: for operators, never the ground of a siren.

    Times are ms since 1970 UTC. ``made_ms`` is that of the newest sample it rests on; ``latest_ms`` is None where a
    rise that slows might not get there at all. ``rate_per_h`` is in the alert's unit.
    """

    model_config = ConfigDict(extra="ignore")

    level: int = Field(ge=1, le=4)
    made_ms: int
    expected_ms: int
    earliest_ms: int
    latest_ms: int | None = None
    rate_per_h: float


class AlertDocument(BaseModel):
    """``id`` is the gauge's slug, ``episode`` counts its floods, ``level`` 0 is normal.

    ``official`` tells báo động from a local warning (cảnh báo tại chỗ): only a gauge that the registry maps to an
    official station and datum may say the former. Times are ms since 1970 UTC; ``value`` is in ``unit``.

    An alarm by a rule (``kind`` is not :data:`FLOOD`) has no level: it is raised or cleared, has a ``severity``, and
    nothing is ever played for it.
    """

    model_config = ConfigDict(extra="ignore")

    id: Slug
    version: int = Field(ge=1)
    commune: Slug
    sensor: str
    station: str
    episode: int = Field(ge=0)
    level: int = Field(ge=0, le=4)
    peak_level: int = Field(0, ge=0, le=4)
    official: bool
    exercise: bool = False
    hazard: Hazard
    mode: AuthorityMode = AuthorityMode.MANUAL
    value: float
    unit: str
    threshold: float | None = None
    raised_ms: int
    updated_ms: int
    cleared_ms: int | None = None
    headline: str = Field("", description="Vietnamese")
    headline_en: str = ""
    play: str = Field("", description="the job that was ordered for the present level, empty when none was")
    deliveries: dict[str, Delivery] = {}
    data: DataState | None = Field(None, description="None: not known, as from an older version")
    data_since_ms: int | None = None
    unwatched: bool = Field(
        False,
        description="stale or dead at level 1 or above: a person has to look at the river, the level may be wrong",
    )
    forecast: Forecast | None = None
    drill_of: str = Field("", description="the alert of which this is an ordered drill; empty: what really is")
    stage: Stage | None = Field(None, description="None: not known, as from an older version")
    stage_ms: int | None = Field(None, description="since when")
    escalations: int = Field(0, ge=0)
    acknowledged: Acknowledgement | None = None
    questions: list[Question] = Field([], description="sirens that wait for a person, the highest level first")
    silence: Silence | None = None
    authority: str = Field("", description="who let the play of the present level sound: a person or a delegation")
    silent: dict[str, str] = Field(
        {}, description="loudspeakers, by id with their name, that did not confirm in time: people have to go there"
    )
    stopped_ms: int | None = Field(None, description="when a person stopped what sounded for this episode")
    corrected_ms: int | None = Field(None, description="when a correction was ordered for this episode")
    answer: Answer | None = None
    kind: str = Field(FLOOD, description="flood: a gauge's level; otherwise an alarm by a rule, of that rule's kind")
    severity: Severity | None = Field(None, description="of an alarm; that of a flood is its level")
    rule: str = Field("", description="of an alarm: the rule's id")
    thing: str = Field("", description="of an alarm: the sensor, node or loudspeaker that it is about")
    expected_ms: int | None = Field(None, description="of an alarm that foretells: when it is expected")
    muted_by: str = Field("", description="the alert that says it already: people are not told of this one by itself")

    @model_validator(mode="after")
    def _no_order_follows_from_an_alarm(self) -> Self:
        if self.kind != FLOOD and (self.level or self.play or self.deliveries or self.questions):
            raise ValueError("an alarm has no level, and nothing plays for it")
        return self

    @property
    def untold(self) -> bool:
        """Whether people are not told of it: another alert says it already, or it is an alarm under a silence."""
        return bool(self.muted_by) or (self.kind != FLOOD and self.silence is not None)

    def to_bytes(self) -> bytes:
        return self.model_dump_json().encode()
