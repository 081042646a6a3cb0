"""What is ordered of loudspeakers, and whom it reaches. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keng_contracts.commands import Action
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry, Speaker


@dataclass(frozen=True, slots=True)
class Order:
    """A command before it is signed. ``aud`` says who shall obey: ``zone/<id>`` or ``speaker/<id>``."""

    aud: str
    action: Action


def audiences(places: Iterable[str], registry: Registry) -> list[str]:
    """Places as people name them, zones or loudspeakers, as audiences, each once; raises :class:`Problem` for a place
    that there is not. A zone goes before a loudspeaker of the same name."""
    zones = [zone.id for zone in registry.zones]
    speakers = [speaker.id for speaker in registry.speakers]
    found: dict[str, None] = {}
    for place in places:
        if place not in zones and place not in speakers:
            there = ", ".join([*zones, *speakers]) or "none"
            what = "không có khu vực hay loa này (there is no such zone or loudspeaker)"
            raise Problem(what, where=place, todo=f"there are: {there}")
        found[f"zone/{place}" if place in zones else f"speaker/{place}"] = None
    return list(found)


def reached(auds: Iterable[str], registry: Registry) -> list[Speaker]:
    """The loudspeakers that some audiences name, in the order of the registry."""
    named = set(auds)
    return [
        speaker
        for speaker in registry.speakers
        if f"speaker/{speaker.id}" in named or any(f"zone/{zone}" in named for zone in speaker.zones)
    ]
