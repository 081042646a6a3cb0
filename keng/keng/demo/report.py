"""What the demo measured. Pure: evidence and counts in, the JSON object out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keng_contracts.playback import PlaybackEvent, What


@dataclass(frozen=True, slots=True)
class Heard:
    """An event of a loudspeaker."""

    speaker: str
    event: PlaybackEvent


@dataclass(frozen=True, slots=True)
class Tally:
    """Readings by series: committed to the edge's outbox, and found in the store; and dead-lettered in all."""

    sent: Mapping[str, int]
    stored: Mapping[str, int]
    dead_lettered: int

    def as_json(self) -> dict[str, int]:
        """Lost is what was sent and is neither stored nor dead-lettered; doubled is stored more often than sent. Both
        are counted for each series, so that they can't cancel out."""
        missing = sum(max(0, sent - self.stored.get(series, 0)) for series, sent in self.sent.items())
        return {
            "sent": sum(self.sent.values()),
            "stored": sum(self.stored.values()),
            "dead_lettered": self.dead_lettered,
            "lost": max(0, missing - self.dead_lettered),
            "doubled": sum(max(0, stored - self.sent.get(series, 0)) for series, stored in self.stored.items()),
        }


def sirens(heard: Iterable[Heard], level: int) -> list[Heard]:
    """The first sounding of a siren of this level on each loudspeaker: started, with a level measured at its output."""
    first: dict[str, Heard] = {}
    for one in heard:
        event = one.event
        sounded = event.what is What.STARTED and event.kind == "siren" and event.level_dbfs is not None
        if sounded and event.cause is not None and event.cause.level == level:
            first.setdefault(one.speaker, one)
    return list(first.values())


def siren_as_json(one: Heard) -> dict[str, Any]:
    cause = one.event.cause
    return {
        "loudspeaker": one.speaker,
        "level": cause.level if cause else None,
        "started": one.event.first_sample_ms,
        "output_dbfs": one.event.level_dbfs,
    }


def hops_ms(one: Heard, heard: Iterable[Heard]) -> dict[str, int]:
    """The way of the reading that confirmed the crossing, from its serial frame to the first sample of sound.

    All clocks are this machine's. ``edge`` ends when the pack is committed to the outbox, ``to_alerts`` when alerts has
    it, ``decide`` when the order is ready, ``to_loudspeaker`` when the node has verified and accepted it, ``to_sound``
    at the first audible sample that left the player.
    """
    event, cause = one.event, one.event.cause
    if cause is None or event.first_sample_ms is None:
        return {}
    accepted = next(
        h.event.at_ms
        for h in heard
        if h.speaker == one.speaker and h.event.what is What.ACCEPTED and h.event.play == event.play
    )
    return {
        "edge": cause.made_ms - cause.measured_ms,
        "to_alerts": cause.heard_ms - cause.made_ms,
        "decide": cause.decided_ms - cause.heard_ms,
        "to_loudspeaker": accepted - cause.decided_ms,
        "to_sound": event.first_sample_ms - accepted,
        "total": event.first_sample_ms - cause.measured_ms,
    }
