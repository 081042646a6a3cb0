"""Status documents: retained, and the last will of whoever sends them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.telemetry import Clock


class SourceHealth(BaseModel):
    """One sensor line as the edge sees it. ``error`` is the last failure, empty while all is well."""

    id: str
    ok: bool
    last_reading_ms: int | None = None
    error: str = ""
    errors: int = 0


class EdgeReply(BaseModel):
    """How an edge agent answered its last command. ``detail`` says what it did, or why it did not. A refusal has the
    ``jti`` that the command gave itself, which proves nothing; empty if it can't be read."""

    jti: str = ""
    ok: bool
    detail: str = Field("", max_length=500)
    at_ms: int = 0


class EdgeStatus(BaseModel):
    """An edge agent's own word about itself. Depth counts readings, age is in seconds."""

    model_config = ConfigDict(extra="ignore")

    state: Literal["online", "offline"]
    version: str = ""
    boot: str = ""
    at_ms: int = 0
    clock: Clock = Clock.UNKNOWN
    outbox_readings: int = Field(0, ge=0)
    outbox_age_s: float = Field(0.0, ge=0)
    committed: int = Field(0, ge=0, description="readings ever committed to this outbox")
    dropped: int = Field(0, ge=0, description="readings ever dropped, because the outbox was full or they were too old")
    refused: int = Field(0, ge=0, description="commands refused since the node was made")
    problems: list[str] = Field([], description="what a person should look at, in words; empty when all is well")
    sources: list[SourceHealth] = []
    reply: EdgeReply | None = None


class SpeakerStatus(BaseModel):
    """A loudspeaker node's own word about itself. ``playing`` is the play id, empty when silent."""

    model_config = ConfigDict(extra="ignore")

    state: Literal["online", "offline"]
    version: str = ""
    boot: str = ""
    at_ms: int = 0
    clock: Clock = Clock.UNKNOWN
    device: str = ""
    playing: str = ""
    refused: int = Field(0, ge=0, description="commands refused since the node was made")
    volume: int = Field(100, ge=0, le=150)
    programme: int = Field(0, ge=0, description="version of the programme that it keeps; 0: none")
    evidence: int = Field(0, ge=0, description="events that wait for the console's receipt")
    temperature_c: float | None = Field(None, description="of the machine's hottest sensor")
    undervoltage: bool | None = Field(None, description="now or since the machine started; None: it can't tell")
    disk_free_mb: int | None = None
    clock_error_ms: float | None = Field(None, description="by how much its clock may be wrong, if NTP keeps it")
    amplifier_ma: int | None = Field(None, description="what its amplifier draws, where that is measured")
    problems: list[str] = Field([], description="what a person should look at, in words; empty when all is well")


class NotifyStatus(BaseModel):
    """The notifier's own word about itself. ``waiting`` counts messages that no gateway has taken yet, ``oldest_ms`` is
    when the oldest of them was made; ``dropped`` were given up, or over before a gateway took them."""

    model_config = ConfigDict(extra="ignore")

    state: Literal["online", "offline"]
    version: str = ""
    boot: str = ""
    at_ms: int = 0
    waiting: int = Field(0, ge=0)
    oldest_ms: int | None = None
    sent: int = Field(0, ge=0)
    dropped: int = Field(0, ge=0)
    problems: list[str] = Field([], description="what a person should look at, in words; empty when all is well")

    def to_bytes(self) -> bytes:
        return self.model_dump_json().encode()
