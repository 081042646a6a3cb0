"""What follows from a change of level and from time that passes: questions, orders, the alert's life. Pure.

One play for a gauge, a level and an episode: its name says all three. A level that is reached is ruled by
:mod:`authority`; when several are reached at once, each is, from the highest down, and where a higher one sounds the
lower ones are mute. Nothing is repeated, and no question stays open, for a level that is no longer in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from keng_alerts.gauge import authority, delivery, life, plays
from keng_alerts.gauge.authority import Circumstances, Ruling, Verdict
from keng_alerts.gauge.gauges import Gauge
from keng_alerts.gauge.hazard import Transition
from keng_alerts.gauge.response import Evidence, Next, Ordered, Response, Scene, Send
from keng_contracts.alerts import Question, Why
from keng_contracts.commands import Play, Stop
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import SirenPattern

#: A drill ends by itself after so long.
DRILL_MS = 30 * 60_000
#: Why a loudspeaker cut what it played: it was told to stop.
STOPPED = "stopped"


def raised(
    scene: Scene, response: Response, change: Transition, episode: int, evidence: Evidence, samples: Sequence[object]
) -> Next:
    """A level was reached; ``samples`` are those it rests on, as (ms, level)."""
    if episode != response.episode:
        response = Response(episode=episode, silence=response.silence, played=response.played, answer=response.answer)
    late = evidence.heard_ms - evidence.measured_ms > scene.gauge.late_after_ms
    response = replace(response, evidence=evidence, life=life.raised(response.life, scene.now_ms))
    note = scene.note(
        "raised", before=change.before, level=change.after, value=change.value, samples=list(samples), late=late
    )
    result = Next(response, notes=(note,))
    for level in range(change.after, change.before, -1):
        result = result.then(_rule(scene, result.response, level, late))
    return result


def lowered(scene: Scene, response: Response, change: Transition) -> Next:
    """A level was left: what waits for a higher one is withdrawn."""
    note = scene.note("lowered", before=change.before, level=change.after, value=change.value)
    kept = tuple(q for q in response.questions if q.level <= change.after)
    notes = [
        note,
        *(scene.note("withdrawn", level=q.level, zones=q.zones) for q in response.questions if q not in kept),
    ]
    if change.after == 0:
        response = replace(response, life=life.cleared(response.life, scene.now_ms))
    return Next(replace(response, questions=kept), notes=tuple(notes))


def fresh(scene: Scene, response: Response, evidence: Evidence, thresholds: dict[int, float]) -> Next | None:
    """A good sample that brought no change: it may settle a question that was asked because the crossing was heard
    late. Old data never sounds a siren; a fresh sample that still stands above the threshold does."""
    waiting = [
        q for q in response.questions if q.why is Why.LATE and scene.value >= thresholds.get(q.level, scene.value)
    ]
    if not waiting or evidence.heard_ms - evidence.measured_ms > scene.gauge.late_after_ms:
        return None
    result = Next(replace(response, evidence=evidence))
    for question in waiting:
        if question in result.response.questions:  # a higher one that sounds has muted it
            result = result.then(_again(scene, result.response, question, late=False))
    return result


def tick(scene: Scene, response: Response, able: bool) -> Next:
    """Let time pass. ``able``: orders reach the broker, so that a loudspeaker's silence is its own."""
    result = Next(response)
    after = life.tick(response.life, scene.now_ms, scene.rule)
    if after is not response.life:
        told = scene.note(str(after.stage), escalations=after.escalations)
        result = Next(replace(response, life=after), notes=(told,))
    silence = response.silence
    if silence is not None and scene.now_ms >= silence.until_ms:
        ended = Next(replace(result.response, silence=None), notes=(scene.note("silence ended", level=silence.level),))
        result = result.then(ended)
    for question in response.questions:
        result = result.then(_due(scene, result.response, question))
    began_ms = min((ordered.at_ms for ordered in response.plays.values()), default=scene.now_ms)
    if response.drill_level and scene.now_ms - began_ms >= DRILL_MS:
        result = result.then(end_drill(scene, result.response))
    return result.then(_deliver(scene, result.response, able)) if result.response.tracks else result


def heard(scene: Scene, response: Response, speaker: str, event: PlaybackEvent) -> Next | None:
    """What a loudspeaker did; None if that says nothing new about the last order to it."""
    track, what = response.tracks.get(speaker), delivery.event_of(event)
    if track is None or what is None or event.play != track.play:
        return None
    stopped = event.what is What.CUT and event.reason == STOPPED
    if stopped:  # a person's doing, perhaps past us: no failure, and nothing to repeat
        after = replace(track, over=True, silent=False)
    elif track.over and what is not delivery.Event.HEARD:
        return None
    else:
        after = delivery.take(track, what)
    if after == track:
        return None
    detail = {"speaker": speaker, "play": track.play, "reason": event.reason, "level_dbfs": event.level_dbfs}
    state = STOPPED if stopped else str(after.state)
    note = scene.note(f"delivery {state}", heard_ms=event.at_ms, **{k: v for k, v in detail.items() if v})
    return Next(replace(response, tracks={**response.tracks, speaker: after}), notes=(note,))


def sound(scene: Scene, response: Response, level: int, zones: Iterable[str], by: str) -> Next:
    """Order the play of a level in some zones, under somebody's authority. Zones that have it already, or that have a
    higher level's, are left out; questions that it settles are withdrawn."""
    name = f"{scene.id}-{response.episode}-{level}"
    have = _have(response, level)
    wanted = tuple(zone for zone in dict.fromkeys(zones) if zone not in have)
    open_ = tuple(
        q.model_copy(update={"zones": left}) if left != q.zones else q
        for q in response.questions
        if (left := [z for z in q.zones if q.level > level or z not in {*wanted, *have}])
    )
    response = replace(response, questions=open_)
    if not wanted or response.evidence is None:
        return Next(response)
    before = response.plays.get(name)
    play = (
        before.play
        if before
        else plays.siren(scene, response.episode, level, _pattern(scene.gauge, level, wanted), response.evidence)
    )
    result = order(scene, response, play, wanted, by)
    return result._replace(response=replace(result.response, played={**response.played, level: scene.now_ms}))


def order(scene: Scene, response: Response, play: Play, zones: tuple[str, ...], by: str) -> Next:
    """Order a play in zones, and follow it on each of their loudspeakers, unless one has a higher one to play."""
    before = response.plays.get(play.play)
    ordered = Ordered(play, (*(before.zones if before else ()), *zones), by, scene.now_ms)
    tracks = dict(response.tracks)
    for speaker in scene.gauge.loudspeakers(zones):
        known = tracks.get(speaker.id)
        sounding = response.plays.get(known.play) if known and not known.over else None
        if sounding is None or sounding.play.rank < play.rank or not play.rank:
            tracks[speaker.id] = delivery.begin(play.play, scene.now_ms, scene.rule)
    note = scene.note("ordered", play=play.play, level=play.rank, zones=list(zones), authority=by)
    return Next(
        replace(response, plays={**response.plays, play.play: ordered}, tracks=tracks),
        tuple(Send(f"zone/{zone}", play) for zone in zones),
        (note,),
    )


def hold(scene: Scene, response: Response) -> Next:
    """Leave to people what would sound by itself but for a silence."""
    silence = response.silence
    if silence is None:
        return Next(response)
    result = Next(response)
    for question in response.questions:
        if question.level <= silence.level and question.why in (Why.TIMEOUT, Why.SECOND_SOURCE, Why.LATE):
            rest = replace(result.response, questions=tuple(q for q in result.response.questions if q != question))
            held = question.model_copy(update={"why": Why.SILENCED, "sounds_ms": None})
            result = result.then(_ask(scene, rest, held))
    return result


def silence_all(scene: Scene, response: Response) -> Next:
    """Stop every play of this episode where it was ordered, and wait for none of them any longer."""
    sends = tuple(
        Send(f"zone/{zone}", Stop(play=name)) for name, ordered in response.plays.items() for zone in ordered.zones
    )
    tracks = {speaker: replace(track, over=True, silent=False) for speaker, track in response.tracks.items()}
    return Next(replace(response, tracks=tracks, questions=()), sends)


def end_drill(scene: Scene, response: Response) -> Next:
    """The drill is over: nothing of it sounds any longer."""
    quiet = silence_all(scene, response)
    over = replace(quiet.response, drill_level=0, life=life.cleared(response.life, scene.now_ms))
    return Next(over, quiet.sends, (scene.note("drill over"),))


# -- questions --------------------------------------------------------------------------------------------------


def around(scene: Scene, response: Response, *, late: bool, asked_ms: int | None = None) -> Circumstances:
    return Circumstances(scene.now_ms, scene.agrees, response.silence, response.played, late, asked_ms)


def _rule(scene: Scene, response: Response, level: int, late: bool) -> Next:
    """Rule a level that has just been reached."""
    if f"{scene.id}-{response.episode}-{level}" in response.plays:
        return Next(response)  # it sounded before in this episode
    gauge = scene.gauge
    found = authority.rulings(gauge.registry, gauge.sensor.id, level, around(scene, response, late=late))
    return _follow(scene, response, level, found, scene.now_ms)


def _follow(scene: Scene, response: Response, level: int, found: Iterable[Ruling], since_ms: int) -> Next:
    """Do what rulings say: sound, or ask."""
    result = Next(response)
    for ruling in found:
        if ruling.verdict is Verdict.SOUND:
            result = result.then(sound(scene, result.response, level, ruling.zones, ruling.authority))
        elif ruling.verdict is Verdict.ASK and ruling.why is not None:
            question = Question(
                level=level, zones=list(ruling.zones), why=ruling.why, since_ms=since_ms, sounds_ms=ruling.sounds_ms
            )
            result = result.then(_ask(scene, result.response, question))
    return result


def _have(response: Response, level: int) -> set[str]:
    """The zones in which this level or a higher one has been ordered in this episode."""
    return {zone for ordered in response.plays.values() if ordered.play.rank >= level for zone in ordered.zones}


def _ask(scene: Scene, response: Response, question: Question) -> Next:
    have = _have(response, question.level)
    question = question.model_copy(update={"zones": [zone for zone in question.zones if zone not in have]})
    if not question.zones:
        return Next(response)
    questions = sorted((*response.questions, question), key=lambda q: -q.level)
    detail = question.model_dump(mode="json", exclude_none=True)
    return Next(replace(response, questions=tuple(questions)), notes=(scene.note("asked", **detail),))


def _due(scene: Scene, response: Response, question: Question) -> Next:
    """A question that time or the second source has settled."""
    if question not in response.questions:
        return Next(response)
    if question.why is Why.TIMEOUT and question.sounds_ms is not None and scene.now_ms >= question.sounds_ms:
        late = scene.now_ms - question.sounds_ms > scene.gauge.late_after_ms
        return _again(scene, response, question, late=late)
    if question.why is Why.SECOND_SOURCE:
        for row, zones in authority.rows_in_force(
            scene.gauge.registry, scene.gauge.sensor.id, question.level, scene.now_ms
        ):
            second = row.second if set(zones) & set(question.zones) else None
            known = second is not None and scene.now_ms - scene.good_ms <= second.within_s * 1000
            if second is not None and known and scene.agrees(second):
                return _again(scene, response, question, late=False)
    return Next(response)


def _again(scene: Scene, response: Response, question: Question, late: bool) -> Next:
    """Rule a question anew, for the zones that it was asked for; where nothing is ruled, it stays one for a person."""
    rest = replace(response, questions=tuple(q for q in response.questions if q != question))
    registry, sensor = scene.gauge.registry, scene.gauge.sensor.id
    circumstances = around(scene, rest, late=late, asked_ms=question.since_ms)
    found, left = [], set(question.zones)
    for row, zones in authority.rows_in_force(registry, sensor, question.level, scene.now_ms):
        here = tuple(zone for zone in zones if zone in left)
        ruling = authority.rule(registry, row, here, circumstances)
        if ruling.verdict is not Verdict.LEAVE:
            left -= set(here)
            found.append(ruling)
    result = _follow(scene, rest, question.level, found, question.since_ms)
    if left:
        kept = question.model_copy(update={"zones": sorted(left), "why": Why.CONFIRM, "sounds_ms": None})
        result = result.then(_ask(scene, result.response, kept))
    return result


def _pattern(gauge: Gauge, level: int, zones: Iterable[str]) -> SirenPattern | None:
    """The siren that the registry has for a level, in the first of the zones for which it has one."""
    rows = [a for a in gauge.registry.authority if a.sensor == gauge.sensor.id and a.level == level and a.siren]
    ids = [row.siren for zone in zones for row in rows if zone in row.zones]
    return next((s for s in gauge.registry.sirens if ids and s.id == ids[0]), None)


# -- deliveries -------------------------------------------------------------------------------------------------


def _deliver(scene: Scene, response: Response, able: bool) -> Next:
    """Name the loudspeakers that stay silent, and repeat the order to them while it still holds."""
    tracks, sends, notes = dict(response.tracks), [], []
    names = {speaker.id: speaker.name for speaker in scene.gauge.registry.speakers}
    for speaker, track in response.tracks.items():
        ordered = response.plays.get(track.play)
        if ordered is None or speaker not in names:
            continue
        after = delivery.overdue(track, scene.now_ms, scene.rule)
        if after is not track:
            notes.append(scene.note("silent", speaker=speaker, name=names[speaker], play=track.play))
        known_ms = max(scene.good_ms, ordered.at_ms)  # an order holds for as long as what it rests on is no history
        holds = ordered.play.rank <= scene.level and scene.now_ms - known_ms <= scene.gauge.late_after_ms
        again = delivery.repeat(after, scene.now_ms, scene.rule) if able and holds else None
        if again is not None:
            sends.append(Send(f"speaker/{speaker}", ordered.play))
            notes.append(scene.note("repeated", speaker=speaker, play=track.play, times=again.repeats))
        tracks[speaker] = again or after
    if tracks == response.tracks:
        return Next(response)
    return Next(replace(response, tracks=tracks), tuple(sends), tuple(notes))
