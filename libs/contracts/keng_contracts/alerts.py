"""The alert document: one retained message an alert, its whole state, versioned. Owned by alerts."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.names import Slug
from keng_contracts.registry import AuthorityMode


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

    def to_bytes(self) -> bytes:
        return self.model_dump_json().encode()
