"""What people order, and what follows from it. Pure; the same for a signed command and for the machine's own socket.

Each refusal is a :class:`Problem` that says what a person can do instead. Whoever orders is named in the timeline and,
where something sounds by it, as its authority.
"""

from __future__ import annotations

from dataclasses import replace

from keng_alerts.gauge import decide, life, plays
from keng_alerts.gauge.authority import rows_in_force
from keng_alerts.gauge.life import Life
from keng_alerts.gauge.response import Next, Response, Scene
from keng_contracts.alert_commands import (
    AlertAcknowledge,
    AlertAction,
    AlertConfirm,
    AlertCorrect,
    AlertDecline,
    AlertDrill,
    AlertSilence,
    AlertStop,
)
from keng_contracts.alerts import Silence
from keng_contracts.errors import Problem
from keng_contracts.quiet import require_hour

#: A silence that nobody ends must not outlast the flood that it was meant for.
MAX_SILENCE_MS = 7 * 86_400_000


def operate(scene: Scene, response: Response, action: AlertAction) -> tuple[Next, str]:
    """Do it; what follows, and the answer in words. Raises :class:`Problem` if it can't be done."""
    match action:
        case AlertConfirm():
            return _confirm(scene, response, action)
        case AlertDecline():
            return _decline(scene, response, action)
        case AlertAcknowledge():
            return _acknowledge(scene, response, action)
        case AlertSilence():
            return _silence(scene, response, action)
        case AlertStop():
            return _stop(scene, response, action)
        case AlertCorrect():
            return _correct(scene, response, action)
        case AlertDrill():
            return _drill(scene, response, action)


def _confirm(scene: Scene, response: Response, action: AlertConfirm) -> tuple[Next, str]:
    if not response.questions:
        raise Problem("nothing waits for a confirmation", where=scene.id, todo="see 'keng alerts list'")
    level = action.level or response.questions[0].level
    zones = [zone for q in response.questions if q.level == level for zone in q.zones]
    if not zones:
        waiting = ", ".join(str(q.level) for q in response.questions)
        raise Problem(f"level {level} does not wait for a confirmation", where=scene.id, todo=f"these do: {waiting}")
    sounded = decide.sound(scene, response, level, zones, action.by)
    note = scene.note("confirmed", action.by, level=level, zones=zones)
    return Next(response, notes=(note,)).then(sounded), f"level {level} sounds in {', '.join(zones)}"


def _decline(scene: Scene, response: Response, action: AlertDecline) -> tuple[Next, str]:
    gone = [q for q in response.questions if action.level in (0, q.level)]
    if not gone:
        raise Problem("nothing waits that could be declined", where=scene.id, todo="see 'keng alerts list'")
    levels = sorted({q.level for q in gone}, reverse=True)
    kept = tuple(q for q in response.questions if q not in gone)
    note = scene.note("declined", action.by, levels=levels, note=action.note)
    return Next(replace(response, questions=kept), notes=(note,)), f"level {', '.join(map(str, levels))} stays silent"


def _acknowledge(scene: Scene, response: Response, action: AlertAcknowledge) -> tuple[Next, str]:
    after = life.acknowledge(response.life, action.by, action.note, scene.now_ms)
    if after is None:
        stage = response.life.stage
        raise Problem(f"there is nothing to acknowledge: it is {stage or 'not raised'}", where=scene.id)
    note = scene.note("acknowledged", action.by, note=action.note, stage=str(after.stage))
    return Next(replace(response, life=after), notes=(note,)), str(after.stage)


def _silence(scene: Scene, response: Response, action: AlertSilence) -> tuple[Next, str]:
    if action.until_ms <= scene.now_ms:
        ended = replace(response, silence=None)
        return Next(ended, notes=(scene.note("silence ended", action.by),)), "the silence has ended"
    if not action.level:
        raise Problem("a silence of a gauge has a level", where=scene.id, todo="say up to which nothing shall sound")
    if action.until_ms - scene.now_ms > MAX_SILENCE_MS:
        raise Problem("a silence has to end within 7 days", where=scene.id, todo="choose an earlier end")
    silence = Silence(level=action.level, until_ms=action.until_ms, by=action.by)
    note = scene.note("silenced", action.by, level=action.level, until_ms=action.until_ms)
    held = decide.hold(scene, replace(response, silence=silence))
    return Next(response, notes=(note,)).then(held), f"up to level {action.level} nothing sounds by itself"


def _stop(scene: Scene, response: Response, action: AlertStop) -> tuple[Next, str]:
    names = [name for name in response.plays]
    quiet = decide.silence_all(scene, response)
    note = scene.note("stopped", action.by, plays=names, declined=[q.level for q in response.questions])
    result = Next(replace(quiet.response, stopped_ms=scene.now_ms), quiet.sends, (note,))
    if response.drill_level:
        result = result.then(decide.end_drill(scene, result.response)._replace(sends=()))
    return result, f"stopped: {', '.join(names)}" if names else "nothing was ordered in this episode"


def _correct(scene: Scene, response: Response, action: AlertCorrect) -> tuple[Next, str]:
    zones = tuple(dict.fromkeys(zone for ordered in response.plays.values() for zone in ordered.zones))
    if not zones:
        raise Problem("nothing was said in this episode that could be corrected", where=scene.id)
    number = response.corrections + 1
    play = plays.correction(scene, response.episode, number, action.text)
    quiet = decide.silence_all(scene, response)
    note = scene.note("corrected", action.by, text=action.text, zones=list(zones))
    corrected = replace(quiet.response, corrections=number, corrected_ms=scene.now_ms)
    result = Next(corrected, quiet.sends, (note,)).then(decide.order(scene, corrected, play, zones, action.by))
    said = f"the correction is said in {', '.join(zones)}"
    return result, f"{said}; as long as the gauge is in doubt, silence it: a higher level would sound by itself"


def _drill(scene: Scene, response: Response, action: AlertDrill) -> tuple[Next, str]:
    """A drill, on the drill's own desk: that the gauge itself is calm was looked at before."""
    gauge, level = scene.gauge, action.level
    if level not in gauge.thresholds(scene.now_ms):
        there = ", ".join(map(str, sorted(gauge.thresholds(scene.now_ms))))
        raise Problem(f"the gauge has no level {level}", where=scene.id, todo=f"it has: {there}")
    known = {zone.id for zone in gauge.registry.zones}
    if unknown := set(action.zones) - known:
        raise Problem(
            f"there is no zone {', '.join(sorted(unknown))}",
            where=scene.id,
            todo=f"there are: {', '.join(sorted(known))}",
        )
    rows = rows_in_force(gauge.registry, gauge.sensor.id, level, scene.now_ms)
    zones = tuple(action.zones) or tuple(dict.fromkeys(zone for _, of_row in rows for zone in of_row))
    if not zones:
        raise Problem(f"no zone belongs to level {level}", where=scene.id, todo="name the zones of the drill")
    ended = decide.end_drill(scene, response) if response.drill_level else Next(response)
    episode = response.episode + 1
    begun = Response(episode=episode, drill_level=level, life=life.raised(Life(), scene.now_ms))
    note = scene.note("drill", action.by, level=level, zones=list(zones))
    play = plays.drill(scene, episode, level, action.night)
    require_hour(play, action.by, gauge.registry, scene.now_ms)
    result = ended.then(Next(begun, notes=(note,))).then(decide.order(scene, begun, play, zones, action.by))
    return result, f"drill of level {level} in {', '.join(zones)}"
