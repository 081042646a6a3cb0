"""Loudspeakers and measuring nodes as the page shows them: what they say of themselves, and what was heard of them.

Pure. Nothing is claimed of a node that is not there: one that is offline is not said to be silent, nor to play.
"""

from __future__ import annotations

from collections.abc import Sequence

from keng_console.live import Heard, Live
from keng_console.views import NodeView, Sound, SpeakerView
from keng_contracts.alerts import AlertDocument
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import Registry
from keng_contracts.status import EdgeStatus, SpeakerStatus
from keng_contracts.telemetry import EARLIEST_MS

#: Failing sources told of one node; a node whose bus is down has them all.
MAX_FAILING = 8
#: What is no step of what sounds: what was fetched for it, the microphone's word on it, what did not come to sound.
_BESIDE = (What.FETCHED, What.HEARD, What.UNHEARD, What.SKIPPED)


def speakers(live: Live, registry: Registry) -> list[SpeakerView]:
    """Those of the registry in its order, then strangers."""
    zones = {zone.id: zone.name for zone in registry.zones}
    names = {speaker.id: speaker for speaker in registry.speakers}
    views = []
    for id_ in [*names, *(i for i in live.speakers if i not in names)]:
        heard: Heard[SpeakerStatus] | None = live.speakers.get(id_)
        status = heard.said if heard else SpeakerStatus(state="offline")
        events = live.playback.get(id_, [])
        # The last sign of life: its status, unless the broker said it for it, or a step that it has played.
        seen = [heard.heard_ms] if heard and status.state == "online" else [status.at_ms]
        seen += [events[-1].at_ms] if events else []
        playing = status.playing if status.state == "online" else ""
        views.append(
            SpeakerView(
                id=id_,
                name=names[id_].name if id_ in names else id_,
                zones=[zones.get(zone, zone) for zone in names[id_].zones] if id_ in names else [],
                known=id_ in names,
                state=status.state if heard else "unknown",
                heard_ms=max((at for at in seen if at >= EARLIEST_MS), default=None),
                device=status.device[:80],
                clock=status.clock.value,
                refused=status.refused,
                playing=playing,
                problems=[problem[:200] for problem in status.problems[:MAX_FAILING]],
                temperature_c=status.temperature_c if status.state == "online" else None,
                sound=_sound(events, live.alerts, playing),
            )
        )
    return views


def _sound(events: Sequence[PlaybackEvent], alerts: dict[str, AlertDocument], playing: str) -> Sound | None:
    """The newest step of what plays, or else of what was played last; the level from the newest that measured one."""
    events = [event for event in events if event.what not in _BESIDE]
    job = playing or next((event.play for event in reversed(events) if event.play), "")
    steps = [event for event in events if event.play == job]
    if not steps:
        return None
    last = steps[-1]
    return Sound(
        play=job,
        what=last.what,
        kind=next((event.kind for event in reversed(steps) if event.kind), ""),
        at_ms=last.at_ms,
        level_dbfs=next((event.level_dbfs for event in reversed(steps) if event.level_dbfs is not None), None),
        sounded_s=last.sounded_s,
        reason=last.reason[:200],
        exercise=last.exercise,
        alert=next((event.cause.alert for event in reversed(steps) if event.cause), "")
        or next((alert.id for alert in alerts.values() if alert.play == job), ""),
    )


def edges(live: Live, registry: Registry) -> list[NodeView]:
    """The nodes that the registry's sensors name, then strangers."""
    known = list(dict.fromkeys(sensor.node for sensor in registry.sensors))
    newest: dict[str, int] = {}
    for sensor in registry.sensors:
        row = live.tracks[registry.series(sensor)].newest if registry.series(sensor) in live.tracks else None
        if row:
            newest[sensor.node] = max(newest.get(sensor.node, 0), row.time_ms)
    views = []
    for id_ in [*known, *(i for i in live.edges if i not in known)]:
        heard: Heard[EdgeStatus] | None = live.edges.get(id_)
        state = heard.said.state if heard else "unknown"
        own = live.own_words.get(id_) or (heard.said if heard else EdgeStatus(state="offline"))
        seen = [heard.heard_ms] if heard and state == "online" else []
        seen += [newest[id_]] if id_ in newest else []
        views.append(
            NodeView(
                id=id_,
                known=id_ in known,
                state=state,
                heard_ms=max((at for at in seen if at >= EARLIEST_MS), default=None),
                clock=own.clock.value,
                outbox_readings=own.outbox_readings,
                outbox_age_s=own.outbox_age_s,
                dropped=own.dropped,
                problems=own.problems[:MAX_FAILING],
                sources=len(own.sources),
                failing=[source for source in own.sources if not source.ok][:MAX_FAILING],
                more_failing=max(0, sum(not source.ok for source in own.sources) - MAX_FAILING),
                order=live.orders.get(id_),
                refused=own.refused,
            )
        )
    return views
