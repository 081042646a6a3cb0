"""Evidence: what a loudspeaker really did. Kept on the node until the console has receipted it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.commands import Cause, Priority
from keng_contracts.telemetry import Clock


class What(StrEnum):
    """One step in the life of a job on one node. "Sent", "playing" and "heard" are different things."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FETCHED = "fetched"  # a file that was not there before
    STARTED = "started"
    SILENT = "silent"  # the player plays, and nothing comes out
    CUT = "cut"
    FAILED = "failed"
    FINISHED = "finished"
    HEARD = "heard"  # a microphone outside has heard it
    UNHEARD = "unheard"  # it has not, though sound left the player
    SKIPPED = "skipped"  # an occurrence of the programme that could not be played in time, or at this hour


class PlaybackEvent(BaseModel):
    """``(boot, seq)`` names the event for its receipt. Times are ms since 1970 UTC by the node's own clock.

    ``level_dbfs`` is the RMS level, in dB below full scale, of the audio that left the player: for STARTED over
    the first quarter of a second of sound, for FINISHED and CUT over the whole of what was heard. ``due_ms`` is when
    the first sample was due, where that was known before. ``curve_dbfs`` is the level from the first sample on,
    pauses and all, a point for every ``curve_step_s``. HEARD and UNHEARD have the level at the microphone,
    and in ``match`` how well its course followed what was played (-1 to 1); UNHEARD by the amplifier's current has
    neither, but a reason.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    boot: str = Field(pattern=r"^[0-9a-f]{8,32}$")
    seq: int = Field(ge=0)
    at_ms: int
    clock: Clock
    what: What
    play: str = ""
    command: str = ""
    item: int | None = None
    kind: str = ""
    priority: Priority | None = None
    reason: str = ""
    due_ms: int | None = None
    first_sample_ms: int | None = None
    level_dbfs: float | None = None
    sounded_s: float | None = None
    curve_dbfs: list[int] = Field([], max_length=64)
    curve_step_s: float | None = None
    match: float | None = None
    exercise: bool = False
    cause: Cause | None = None

    def to_bytes(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()
