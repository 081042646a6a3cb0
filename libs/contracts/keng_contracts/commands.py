"""Signed commands: what an issuer may order a node to do, and the rules by which the node decides.

On the wire a command is a JWS in compact form (see ``keng_runtime.signing``); its payload is
:class:`Command`. The node decides: :func:`judge` is the whole law, in the order in which it is applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.names import Slug
from keng_contracts.telemetry import Clock

#: Tolerated difference between the clock of the issuer and that of the node, in seconds.
CLOCK_SKEW_S = 10.0
#: Longest time for which a command may be valid, in seconds.
MAX_VALIDITY_S = 3600.0


class Priority(StrEnum):
    """What gives way to what, highest first."""

    EMERGENCY = "emergency"
    URGENT = "urgent"  # khẩn cấp
    LIVE = "live"
    PRIORITY = "priority"  # ưu tiên
    SCHEDULED = "scheduled"
    RELAY = "relay"


class _Strict(BaseModel):
    # NaN compares with nothing: an expiry of NaN would never come.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: Who says it: the person's name, as it goes into the record.
Person = Annotated[str, Field(min_length=1, max_length=100)]


class _Item(_Strict):
    gain_db: float = Field(0.0, ge=-30, le=12, description="louder or softer than an item of its kind is by itself")


class Siren(_Item):
    """A siren pattern, exact to the sample: ``blasts`` of ``blast_s``, ``gap_s`` between, all ``repeats`` times."""

    kind: Literal["siren"] = "siren"
    pattern: Slug
    blasts: int = Field(ge=1, le=20)
    blast_s: float = Field(gt=0, le=120)
    gap_s: float = Field(ge=0, le=120)
    repeats: int = Field(1, ge=1, le=5)


class Speech(_Item):
    """A spoken text, NFC. ``lang`` is a BCP 47 tag."""

    kind: Literal["speech"] = "speech"
    lang: str = Field("vi", max_length=12)
    text: str = Field(min_length=1, max_length=2000)


class Media(_Item):
    """A sound file of any kind that the player knows: fetched over HTTPS, and played only if it is what was signed."""

    kind: Literal["media"] = "media"
    url: str = Field(pattern=r"^https://[^\s\"'<>\\]{3,500}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1, le=1 << 29, description="of the file, in bytes")


class Relay(_Item):
    """A radio stream, until a time. When it fails or falls silent, ``fallback`` is played, and then it is tried again.
    Nobody can sign what a stream will say: the signature vouches for its address alone."""

    kind: Literal["relay"] = "relay"
    url: str = Field(pattern=r"^https?://[^\s\"'<>\\]{3,500}$")
    until: float = Field(description="when it ends, s since 1970 UTC; four hours after its beginning at the latest")
    silent_after_s: float = Field(10.0, ge=3, le=120, description="silence at the output that counts as failure")
    fallback: Annotated[Speech | Media, Field(discriminator="kind")] | None = None


Item = Annotated[Siren | Speech | Media | Relay, Field(discriminator="kind")]


class Cause(_Strict):
    """Why: the alert, and the times by which the way from the sensor can be measured (ms since 1970, UTC)."""

    alert: Slug
    episode: int = Field(ge=0)
    level: int = Field(ge=0, le=4)
    measured_ms: int
    made_ms: int
    heard_ms: int
    decided_ms: int


class Play(_Strict):
    """Play these items in order. ``play`` names the job in all evidence about it."""

    do: Literal["play"] = "play"
    play: str = Field(pattern=r"^[a-z0-9-]{1,80}$")
    priority: Priority
    rank: int = Field(0, ge=0, le=9, description="within one priority, a higher rank interrupts a lower one")
    items: list[Item] = Field(min_length=1, max_length=20)
    exercise: bool = False
    cause: Cause | None = None
    repeats: int = Field(1, ge=1, le=20, description="how often all items are played, one after the other")
    gap_s: float = Field(0.0, ge=0, le=600, description="silence between two items, and between two repeats")
    gong: bool = Field(False, description="a gong before the first item")
    fade_in_s: float = Field(0.0, ge=0, le=10)
    fade_out_s: float = Field(0.0, ge=0, le=10)
    night: Person | None = Field(
        None, description="who confirmed a second time that it may sound in quiet hours; emergencies need nobody"
    )
    resume: bool = Field(
        False, description="what was interrupted goes on where it was, once all that stood higher is over"
    )
    start_ms: int | None = Field(
        None, description="when it begins, ms since 1970 UTC, so that loudspeakers begin together"
    )


class Stop(_Strict):
    """Stop one job at once, or with ``play`` empty all that sounds."""

    do: Literal["stop"] = "stop"
    play: str = Field("", pattern=r"^[a-z0-9-]{0,80}$")


class Prepare(_Strict):
    """Have the sounds of these items ready, on disk, before they are ordered. With ``emergency`` they are from now on
    the emergency set, which stays whatever else needs room; with no items there is none."""

    do: Literal["prepare"] = "prepare"
    items: list[Item] = Field(max_length=50)
    emergency: bool = False


Action = Annotated[Play | Stop | Prepare, Field(discriminator="do")]


class Command(_Strict):
    """The signed payload. Times are seconds since 1970 UTC (RFC 7519 NumericDate, with fractions)."""

    iss: Slug = Field(description="issuer: the service or person that signed")
    commune: Slug
    aud: str = Field(pattern=r"^(speaker|zone)/[a-z0-9-]{1,63}$|^commune$", description="who shall obey")
    jti: str = Field(pattern=r"^[0-9a-f-]{8,40}$", description="command id")
    ctr: int = Field(ge=1, lt=1 << 53, description="only grows, per issuer and commune")
    iat: float
    nbf: float
    exp: float
    action: Action


class Identify(_Strict):
    """Say who you are: answered, and written in the log, so that a person finds the box."""

    do: Literal["edge-identify"] = "edge-identify"


class Reload(_Strict):
    """Read your settings file anew. New settings are on trial until the broker and a receipt were reached with them."""

    do: Literal["edge-reload"] = "edge-reload"


class SetInterval(_Strict):
    """Read this sensor every ``interval_s`` seconds; None: as its settings say."""

    do: Literal["edge-interval"] = "edge-interval"
    sensor: Slug
    interval_s: float | None = Field(ge=0.5, le=86_400)


class Restart(_Strict):
    """End, with everything on disk; systemd starts the agent again."""

    do: Literal["edge-restart"] = "edge-restart"


EdgeAction = Annotated[Identify | Reload | SetInterval | Restart, Field(discriminator="do")]


class EdgeCommand(_Strict):
    """What is signed for an edge agent. As :class:`Command`, with actions of its own."""

    iss: Slug
    commune: Slug
    aud: str = Field(pattern=r"^edge/[a-z0-9-]{1,63}$")
    jti: str = Field(pattern=r"^[0-9a-f-]{8,40}$")
    ctr: int = Field(ge=1, lt=1 << 53)
    iat: float
    nbf: float
    exp: float
    action: EdgeAction


class AlertConfirm(_Strict):
    """Let it sound: the siren that waits for a person, of this level or, with 0, the highest that waits."""

    do: Literal["alert-confirm"] = "alert-confirm"
    by: Person
    level: int = Field(0, ge=0, le=4)


class AlertDecline(_Strict):
    """Don't let it sound; with level 0 all that wait."""

    do: Literal["alert-decline"] = "alert-decline"
    by: Person
    level: int = Field(0, ge=0, le=4)
    note: str = Field("", max_length=500)


class AlertAcknowledge(_Strict):
    """Somebody has seen it and cares for it: it is not escalated further."""

    do: Literal["alert-acknowledge"] = "alert-acknowledge"
    by: Person
    note: str = Field("", max_length=500)


class AlertSilence(_Strict):
    """Up to ``level`` nothing sounds by itself before ``until_ms`` (ms since 1970 UTC); a time that is over ends it."""

    do: Literal["alert-silence"] = "alert-silence"
    by: Person
    level: int = Field(ge=1, le=4)
    until_ms: int


class AlertStop(_Strict):
    """Be quiet, at once: what sounds for this alert, or with ``everything`` whatever sounds in the commune."""

    do: Literal["alert-stop"] = "alert-stop"
    by: Person
    everything: bool = False


class AlertCorrect(_Strict):
    """Stop what sounds for this alert and say where it sounded that it was wrong; without ``text`` in ready words."""

    do: Literal["alert-correct"] = "alert-correct"
    by: Person
    text: str = Field("", max_length=1000)


class AlertDrill(_Strict):
    """Exercise this gauge and level: marked as a drill from end to end, and apart from what really is."""

    do: Literal["alert-drill"] = "alert-drill"
    by: Person
    level: int = Field(ge=1, le=4)
    zones: list[Slug] = Field([], max_length=50, description="where; none named: the zones of that level")


AlertAction = Annotated[
    AlertConfirm | AlertDecline | AlertAcknowledge | AlertSilence | AlertStop | AlertCorrect | AlertDrill,
    Field(discriminator="do"),
]


class AlertCommand(_Strict):
    """What a person orders alerts to do, signed by the service at which they are known. As :class:`Command`; ``all``
    in place of an alert's id is for a stop of everything."""

    iss: Slug
    commune: Slug
    aud: str = Field(pattern=r"^alert/[a-z0-9-]{1,63}$")
    jti: str = Field(pattern=r"^[0-9a-f-]{8,40}$")
    ctr: int = Field(ge=1, lt=1 << 53)
    iat: float
    nbf: float
    exp: float
    action: AlertAction


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a node takes itself to be. ``kind`` is ``speaker``, ``edge`` or ``alert``."""

    commune: str
    node: str
    zones: frozenset[str]
    kind: str = "speaker"

    def hears(self, commune: str, aud: str) -> bool:
        if commune != self.commune:
            return False
        what, _, name = aud.partition("/")
        return what == "commune" or (what == self.kind and name == self.node) or (what == "zone" and name in self.zones)


class Refusal(StrEnum):
    """Why a command was not obeyed. The values travel in evidence and count in metrics."""

    UNREADABLE = "unreadable"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    NOT_ALLOWED = "not-allowed"
    NOT_FOR_ME = "not-for-me"
    REPLAYED = "replayed"
    NOT_YET = "not-yet-valid"
    EXPIRED = "expired"
    QUIET_HOURS = "quiet-hours"


def judge(
    command: Command | EdgeCommand | AlertCommand,
    *,
    issuer: str,
    may: frozenset[str],
    me: Audience,
    last_ctr: int,
    now_s: float,
    clock: Clock,
) -> Refusal | None:
    """Whether a node obeys a command whose signature has been verified; None means yes.

    ``issuer`` and ``may`` belong to the key that verified it; ``last_ctr`` is the highest counter obeyed so far
    from this issuer. With a clock that is not trusted the time can't be checked, and the counter alone decides.
    """
    if command.iss != issuer or command.action.do not in may:
        return Refusal.NOT_ALLOWED
    if not me.hears(command.commune, command.aud):
        return Refusal.NOT_FOR_ME
    if command.ctr <= last_ctr:
        return Refusal.REPLAYED
    if command.exp - command.nbf > MAX_VALIDITY_S:
        return Refusal.NOT_ALLOWED
    if clock is not Clock.UNKNOWN:
        if now_s < command.nbf - CLOCK_SKEW_S:
            return Refusal.NOT_YET
        if now_s > command.exp:
            return Refusal.EXPIRED
    return None
