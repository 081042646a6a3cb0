"""What an issuer may order loudspeakers to do.

On the wire a command is a JWS in compact form (see ``keng_runtime.signing``); its payload is :class:`Command`. Whether
to obey the node decides, by :mod:`.judging`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from keng_contracts.judging import Signed, Strict
from keng_contracts.names import Person, Slug

#: Longest address. In the pattern, as {3,500}, it would make each field an automaton of a megabyte.
_URL = 508


class Priority(StrEnum):
    """What gives way to what, highest first."""

    EMERGENCY = "emergency"
    URGENT = "urgent"  # khẩn cấp
    LIVE = "live"
    PRIORITY = "priority"  # ưu tiên
    SCHEDULED = "scheduled"
    RELAY = "relay"


class _Item(Strict):
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
    url: str = Field(pattern=r"^https://[^\s\"'<>\\]{3,}$", max_length=_URL)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1, le=1 << 29, description="of the file, in bytes")


class Relay(_Item):
    """A radio stream, until a time. When it fails or falls silent, ``fallback`` is played, and then it is tried again.
    Nobody can sign what a stream will say: the signature vouches for its address alone."""

    kind: Literal["relay"] = "relay"
    url: str = Field(pattern=r"^https?://[^\s\"'<>\\]{3,}$", max_length=_URL)
    until: float = Field(description="when it ends, s since 1970 UTC; four hours after its beginning at the latest")
    silent_after_s: float = Field(10.0, ge=3, le=120, description="silence at the output that counts as failure")
    fallback: Annotated[Speech | Media, Field(discriminator="kind")] | None = None


class Live(_Item):
    """A live voice: sound that is spoken while it is heard, on the topic ``voice/<session>`` in frames that are signed
    each by ``key``, which is made for this session alone (``keng_runtime.live_voice``). It ends with the frame that
    says so, when no frame comes any more, or after ``seconds``."""

    kind: Literal["live"] = "live"
    session: Slug
    key: str = Field(pattern=r"^[A-Za-z0-9_-]{43}$", description="the session's public Ed25519 key, base64url")
    seconds: float = Field(600.0, gt=0, le=1800, description="for how long it may last")


#: What can be kept and played again: all but a voice that is speaking now.
Recorded = Annotated[Siren | Speech | Media | Relay, Field(discriminator="kind")]
Item = Annotated[Siren | Speech | Media | Relay | Live, Field(discriminator="kind")]


class Cause(Strict):
    """Why: the alert, and the times by which the way from the sensor can be measured (ms since 1970, UTC)."""

    alert: Slug
    episode: int = Field(ge=0)
    level: int = Field(ge=0, le=4)
    measured_ms: int
    made_ms: int
    heard_ms: int
    decided_ms: int


#: How long the gong lasts, in seconds.
GONG_S = 2.4


class Play(Strict):
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


class Stop(Strict):
    """Stop one job at once, or with ``play`` empty all that sounds."""

    do: Literal["stop"] = "stop"
    play: str = Field("", pattern=r"^[a-z0-9-]{0,80}$")


class Prepare(Strict):
    """Have the sounds of these items ready, on disk, before they are ordered. With ``emergency`` they are from now on
    the emergency set, which stays whatever else needs room; with no items there is none."""

    do: Literal["prepare"] = "prepare"
    items: list[Recorded] = Field(max_length=50)
    emergency: bool = False


Action = Annotated[Play | Stop | Prepare, Field(discriminator="do")]


class Command(Signed):
    """What is signed for loudspeakers."""

    aud: str = Field(pattern=r"^(speaker|zone)/[a-z0-9-]{1,63}$|^commune$", description="who shall obey")
    action: Action
