"""What is sounded and said: the siren with its message, the drill, the correction. Pure.

A drill can't be taken for the real thing, whichever part of it somebody hears: it begins with the words that it is
one, has a single short blast where a real siren has its pattern, says so again at the end, and gives way to all that is
real.
"""

from __future__ import annotations

from keng_alerts import texts
from keng_alerts.response import Evidence, Scene
from keng_contracts.commands import Cause, Item, Play, Priority, Siren, Speech
from keng_contracts.registry import SirenPattern

_DRILL_BLAST = Siren(pattern="dien-tap", blasts=1, blast_s=4.0, gap_s=0.0)


def siren(scene: Scene, episode: int, level: int, pattern: SirenPattern | None, evidence: Evidence) -> Play:
    """The play for a level: one name for a gauge, an episode and a level, and no loudspeaker plays a name twice."""
    registry, items = scene.gauge.registry, list[Item]()
    if pattern is not None:
        items.append(
            Siren(
                pattern=pattern.id,
                blasts=pattern.blasts,
                blast_s=pattern.blast_s,
                gap_s=pattern.gap_s,
                repeats=pattern.repeats,
            )
        )
    items.append(
        Speech(lang="vi", text=texts.spoken(level, registry, scene.gauge.station, scene.gauge.sensor, scene.value))
    )
    return Play(
        play=f"{scene.id}-{episode}-{level}",
        priority=Priority.EMERGENCY,
        rank=level,
        items=items,
        exercise=registry.commune.exercise,
        cause=_cause(scene, episode, level, evidence),
    )


def drill(scene: Scene, episode: int, level: int) -> Play:
    registry = scene.gauge.registry
    text = texts.spoken(level, registry, scene.gauge.station, scene.gauge.sensor, scene.value, drill=True)
    items: list[Item] = [Speech(text=texts.drill_opening(registry)), _DRILL_BLAST, Speech(text=text)]
    return Play(
        play=f"{scene.id}-{episode}-{level}",
        priority=Priority.PRIORITY,
        rank=level,
        items=items,
        exercise=True,
        cause=_cause(scene, episode, level, Evidence(scene.now_ms, scene.now_ms, scene.now_ms)),
    )


def correction(scene: Scene, episode: int, number: int, text: str) -> Play:
    """Said twice; of the lowest rank among emergencies, so that it does not cut the siren of another river."""
    said = Speech(text=texts.correction(scene.gauge.registry, scene.gauge.station, text, drill=scene.drill))
    return Play(
        play=f"{scene.id}-{episode}-correction-{number}",
        priority=Priority.EMERGENCY,
        rank=0,
        items=[said, said],
        exercise=scene.drill or scene.gauge.registry.commune.exercise,
        cause=_cause(scene, episode, 0, Evidence(scene.now_ms, scene.now_ms, scene.now_ms)),
    )


def _cause(scene: Scene, episode: int, level: int, evidence: Evidence) -> Cause:
    return Cause(
        alert=scene.id,
        episode=episode,
        level=level,
        measured_ms=evidence.measured_ms,
        made_ms=evidence.made_ms,
        heard_ms=evidence.heard_ms,
        decided_ms=scene.now_ms,
    )
