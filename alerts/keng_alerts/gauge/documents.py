"""The alert document: what everybody is told of a gauge's hazard and of what is done about it. Pure."""

from __future__ import annotations

from typing import Any

from keng_alerts.gauge import life, texts
from keng_alerts.gauge.authority import mode_of
from keng_alerts.gauge.gauges import Gauge
from keng_alerts.gauge.hazard import State, Transition
from keng_alerts.gauge.life import Life
from keng_alerts.gauge.response import Response, Scene
from keng_contracts.alerts import AlertDocument, Hazard


def changed(gauge: Gauge, state: State, change: Transition, before: AlertDocument | None, now_ms: int) -> AlertDocument:
    """The alert after a change of level."""
    threshold = gauge.thresholds(change.time_ms).get(change.after)
    new_episode = before is None or before.episode != state.episode
    registry, exercise = gauge.registry, gauge.registry.commune.exercise
    words = (state.level, gauge.station, gauge.sensor, change.value, threshold)
    return AlertDocument(
        id=gauge.alert_id,
        version=before.version + 1 if before else 1,
        commune=registry.commune.id,
        sensor=gauge.sensor.id,
        station=gauge.station.id,
        episode=state.episode,
        level=state.level,
        peak_level=state.peak_level,
        official=bool(gauge.station.official),
        exercise=exercise,
        hazard=Hazard.RAISED if state.level else Hazard.CLEARED,
        mode=mode_of(registry, gauge.sensor.id, state.level, now_ms),
        value=change.value,
        unit=gauge.sensor.unit,
        threshold=threshold,
        raised_ms=change.time_ms if new_episode or before is None else before.raised_ms,
        updated_ms=change.time_ms,
        cleared_ms=None if state.level else change.time_ms,
        headline=texts.headline(*words, drill=exercise),
        headline_en=texts.headline_en(*words, drill=exercise),
    )


def of_drill(scene: Scene, response: Response, before: AlertDocument | None) -> AlertDocument:
    """The document of a drill, apart from that of what really is."""
    gauge, level = scene.gauge, response.drill_level
    threshold = gauge.thresholds(scene.now_ms).get(level or (before.peak_level if before else 0))
    value = scene.value if threshold is None else threshold
    begun = before is None or before.episode != response.episode
    words = (level, gauge.station, gauge.sensor, value, threshold)
    headline, headline_en = texts.headline(*words, drill=True), texts.headline_en(*words, drill=True)
    if not level:
        headline, headline_en = texts.drill_over(gauge.station)
    return AlertDocument(
        id=scene.id,
        version=before.version + 1 if before else 1,
        commune=gauge.registry.commune.id,
        sensor=gauge.sensor.id,
        station=gauge.station.id,
        episode=response.episode,
        level=level,
        peak_level=level if begun or before is None else before.peak_level,
        official=bool(gauge.station.official),
        exercise=True,
        hazard=Hazard.RAISED if level else Hazard.CLEARED,
        value=value,
        unit=gauge.sensor.unit,
        threshold=threshold,
        raised_ms=scene.now_ms if begun or before is None else before.raised_ms,
        updated_ms=scene.now_ms,
        cleared_ms=None if level else scene.now_ms,
        headline=headline,
        headline_en=headline_en,
        drill_of=gauge.alert_id,
    )


def adopted(alert: AlertDocument) -> Response:
    """What has been done about an alert of an older version, which kept nothing of it: it was raised, and nobody has
    acknowledged it yet."""
    known = life.raised(Life(), alert.updated_ms) if alert.level else Life()
    return Response(episode=alert.episode, life=known)


def told(document: AlertDocument, response: Response, gauge: Gauge) -> AlertDocument:
    """The alert with what has been done about it; the same object where it says so already."""
    people, ordered = response.life, list(response.plays.values())
    last = max(ordered, key=lambda o: (o.at_ms, o.play.rank), default=None)
    names = {speaker.id: speaker.name for speaker in gauge.registry.speakers}
    says: dict[str, Any] = {
        "stage": people.stage,
        "stage_ms": people.since_ms or None,
        "escalations": people.escalations,
        "acknowledged": people.acknowledged,
        "questions": list(response.questions),
        "silence": response.silence,
        "play": last.play.play if last else "",
        "authority": last.authority if last else "",
        "deliveries": {speaker: track.state for speaker, track in response.tracks.items()},
        "silent": {speaker: names.get(speaker, speaker) for speaker, t in response.tracks.items() if t.silent},
        "stopped_ms": response.stopped_ms,
        "corrected_ms": response.corrected_ms,
        "answer": response.answer,
    }
    news = {name: value for name, value in says.items() if getattr(document, name) != value}
    return document.model_copy(update=news) if news else document
