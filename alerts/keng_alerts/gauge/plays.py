"""What is sounded and said: the siren with its message, the drill, the correction. Pure.

A drill can't be taken for the real thing, whichever part of it somebody hears: it begins with the words that it is
one, has a single short blast where a real siren has its pattern, says so again at the end, and gives way to all that is
real.
"""

from __future__ import annotations

from keng_alerts.gauge import texts
from keng_alerts.gauge.response import Evidence, Scene
from keng_contracts.commands import Cause, Item, Play, Priority, Siren, Speech
from keng_contracts.registry import SirenPattern

_DRILL_BLAST = Siren(pattern="dien-tap", blasts=1, blast_s=4.0, gap_s=0.0)


def siren(scene: Scene, episode: int, level: int, pattern: SirenPattern | None, evidence: Evidence) -> Play:
    """The play for a level: one name for a gauge, an episode and a level, and no loudspeaker plays a name twice."""
    items: list[Item] = []
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
    items += _spoken(scene, level, scene.value)
    return Play(
        play=f"{scene.id}-{episode}-{level}",
        priority=Priority.EMERGENCY,
        rank=level,
        items=items,
        exercise=scene.gauge.registry.commune.exercise,
        cause=_cause(scene, episode, level, evidence),
    )


def drill(scene: Scene, episode: int, level: int, night: str | None = None) -> Play:
    """The drill of a level, with its threshold in place of the water's level. ``night`` agreed that it sounds there."""
    registry = scene.gauge.registry
    opening = [Speech(lang=lang, text=texts.drill_opening(registry, lang)) for lang in registry.commune.languages]
    value = scene.gauge.thresholds(scene.now_ms)[level]
    items: list[Item] = [*opening, _DRILL_BLAST, *_spoken(scene, level, value, drill=True)]
    return Play(
        play=f"{scene.id}-{episode}-{level}",
        priority=Priority.PRIORITY,
        rank=level,
        items=items,
        exercise=True,
        night=night,
        cause=_cause(scene, episode, level, Evidence(scene.now_ms, scene.now_ms, scene.now_ms)),
    )


def correction(scene: Scene, episode: int, number: int, text: str) -> Play:
    """Said twice, words of somebody's own in the first language alone; of the lowest rank among emergencies, so that it
    does not cut the siren of another river."""
    registry = scene.gauge.registry
    languages = registry.commune.languages[:1] if text else registry.commune.languages
    said = [
        Speech(lang=lang, text=texts.correction(registry, scene.gauge.station, text, lang=lang, drill=scene.drill))
        for lang in languages
    ]
    return Play(
        play=f"{scene.id}-{episode}-correction-{number}",
        priority=Priority.EMERGENCY,
        rank=0,
        items=[*said, *said],
        exercise=scene.drill or registry.commune.exercise,
        cause=_cause(scene, episode, 0, Evidence(scene.now_ms, scene.now_ms, scene.now_ms)),
    )


def _spoken(scene: Scene, level: int, value: float, *, drill: bool = False) -> list[Speech]:
    """The message in each of the commune's languages."""
    gauge = scene.gauge
    return [
        Speech(
            lang=lang,
            text=texts.spoken(level, gauge.registry, gauge.station, gauge.sensor, value, lang=lang, drill=drill),
        )
        for lang in gauge.registry.commune.languages
    ]


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
