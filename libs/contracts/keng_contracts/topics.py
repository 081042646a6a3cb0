"""Every MQTT topic of Kẻng, built and parsed in one place.

The shape is ``keng/v1/<commune>/<kind>/<id>/<channel>``; ids are lower-case ASCII slugs, so a
name can never smuggle a level separator or a wildcard into a topic.

>>> str(Topic("quang-tho", Kind.EDGE, "bo-song", Channel.TELEMETRY))
'keng/v1/quang-tho/edge/bo-song/telemetry'
>>> Topic.parse("keng/v1/quang-tho/alert/phu-oc-level")
Topic(commune='quang-tho', kind=<Kind.ALERT: 'alert'>, id='phu-oc-level', channel=None)
>>> str(Topic("quang-tho", Kind.REGISTRY))
'keng/v1/quang-tho/registry'
>>> pattern(Kind.EDGE, Channel.TELEMETRY, share="ingest")
'$share/ingest/keng/v1/+/edge/+/telemetry'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

ROOT = "keng/v1"

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def is_slug(text: str) -> bool:
    """Whether ``text`` may stand as one level of a topic: 1 to 63 of ``a-z 0-9 -``, no dash at an end."""
    return _SLUG.fullmatch(text) is not None


class BadTopic(ValueError):
    """A topic that is not one of ours."""


class Kind(StrEnum):
    """What a topic speaks about."""

    EDGE = "edge"
    SPEAKER = "speaker"
    ZONE = "zone"
    ALERT = "alert"
    REGISTRY = "registry"
    KEYS = "keys"
    INGEST = "ingest"
    NOTIFY = "notify"
    VOICE = "voice"


class Channel(StrEnum):
    """What is said about it."""

    TELEMETRY = "telemetry"
    RECEIPT = "receipt"
    STATUS = "status"
    COMMAND = "command"
    PROGRAMME = "programme"
    PLAYBACK = "playback"
    PLAYBACK_RECEIPT = "playback-receipt"
    CANARY = "canary"


#: The channels that each kind has; None among them: a topic may end at its id (alert, voice) or at itself (registry).
CHANNELS: dict[Kind, frozenset[Channel | None]] = {
    Kind.EDGE: frozenset({Channel.TELEMETRY, Channel.RECEIPT, Channel.STATUS, Channel.COMMAND}),
    Kind.SPEAKER: frozenset(
        {Channel.COMMAND, Channel.PROGRAMME, Channel.PLAYBACK, Channel.PLAYBACK_RECEIPT, Channel.STATUS}
    ),
    Kind.ZONE: frozenset({Channel.COMMAND}),
    Kind.ALERT: frozenset({None, Channel.COMMAND}),
    Kind.REGISTRY: frozenset({None}),
    Kind.KEYS: frozenset({None}),
    Kind.INGEST: frozenset({Channel.CANARY}),
    Kind.NOTIFY: frozenset({Channel.STATUS}),
    Kind.VOICE: frozenset({None}),
}
#: Kinds that a commune has one of, without an id.
WHOLE = frozenset({Kind.REGISTRY, Kind.KEYS})


@dataclass(frozen=True, slots=True)
class Topic:
    """One concrete topic. Construction checks it; ``str()`` and :meth:`parse` are inverses."""

    commune: str
    kind: Kind
    id: str | None = None
    channel: Channel | None = None

    def __post_init__(self) -> None:
        if not is_slug(self.commune):
            raise BadTopic(f"{self.commune!r} is not a commune's slug")
        if (self.id is None) != (self.kind in WHOLE):
            raise BadTopic(f"{self.kind} topics {'have no' if self.id else 'need an'} id")
        if self.id is not None and not is_slug(self.id):
            raise BadTopic(f"{self.id!r} is not a slug")
        channels = CHANNELS[self.kind]
        if self.channel is None and None not in channels:
            raise BadTopic(f"{self.kind} topics need a channel: {', '.join(sorted(c for c in channels if c))}")
        if self.channel not in channels:
            raise BadTopic(f"{self.kind} topics have no channel {self.channel!r}")

    def __str__(self) -> str:
        levels = [ROOT, self.commune, self.kind.value]
        if self.id is not None:
            levels.append(self.id)
        if self.channel is not None:
            levels.append(self.channel.value)
        return "/".join(levels)

    @classmethod
    def parse(cls, text: str) -> Topic:
        """Read a topic as it came from the broker; raises :class:`BadTopic`."""
        if not text.startswith(ROOT + "/"):
            raise BadTopic(f"{text!r} does not start with {ROOT}/")
        levels = text[len(ROOT) + 1 :].split("/")
        if not 2 <= len(levels) <= 4:
            raise BadTopic(f"{text!r} has {len(levels)} levels after {ROOT}, not 2 to 4")
        try:
            kind = Kind(levels[1])
            channel = Channel(levels[3]) if len(levels) == 4 else None
        except ValueError as error:
            raise BadTopic(f"{text!r}: {error}") from None
        return cls(levels[0], kind, levels[2] if len(levels) > 2 else None, channel)


def pattern(
    kind: Kind, channel: Channel | None = None, *, commune: str = "+", id: str = "+", share: str | None = None
) -> str:
    """A subscription filter over topics of one kind; ``share`` makes it a shared subscription of that group."""
    levels = [ROOT, commune, kind.value]
    if kind not in WHOLE:
        levels.append(id)
    if channel is not None:
        levels.append(channel.value)
    text = "/".join(levels)
    return f"$share/{share}/{text}" if share else text
