"""One gauge, from a reading to what follows from it. Pure: the service and the backtest drive this very code.

A reading passes :mod:`keng_signals.quality`, becomes a level, moves :mod:`.hazard`, and a change of level is
turned by :mod:`.decide` into an alert document and, perhaps, orders. Only a good reading gets that far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from keng_alerts.gauge import decide, documents
from keng_alerts.gauge.data import Data, sample, tick
from keng_alerts.gauge.forecast import Track, forecast
from keng_alerts.gauge.gauges import Gauge
from keng_alerts.gauge.hazard import Change, State, Transition, step
from keng_alerts.gauge.operate import operate
from keng_alerts.gauge.response import Evidence, Next, Note, Response, Scene, Send
from keng_contracts.alert_commands import AlertAction, AlertDrill
from keng_contracts.alerts import AlertDocument, Answer, DataState, Forecast
from keng_contracts.authority import SecondSource
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent
from keng_contracts.registry import HazardRule
from keng_contracts.telemetry import Flag, Reading
from keng_signals.quality import Limits, Verdict, Window, judge

#: Every time zone's days begin at a quarter of an hour.
_QUARTER_MS = 900_000
#: A forecast is told anew when it has moved by this much.
_NEWS_MS = 900_000
#: Missing readings that are no gap yet: so many intervals may lie between two samples of one count.
_GAP_INTERVALS = 3


class Desk:
    """One alert: its document, and what has been done about it. A gauge has one for what is and one for drills."""

    def __init__(
        self, id_: str, gauge: Gauge, response: Response | None = None, document: AlertDocument | None = None
    ) -> None:
        self.id = id_
        self.gauge = gauge
        self.response = response or Response()
        self.document = document

    def take(self, following: Next) -> Step:
        """Keep what follows from something; what has to be made durable, sent and told."""
        self.response = following.response
        return Step(self, self.show(self.document), following.sends, following.notes)

    def show(self, alert: AlertDocument | None) -> AlertDocument | None:
        """Tell this alert with what has been done about it, under the next number; None where nothing is new."""
        before = self.document
        after = None if alert is None else documents.told(alert, self.response, self.gauge)
        if after is None or after is before:
            return None
        self.document = after.model_copy(update={"version": before.version + 1 if before else 1})
        return self.document


class Step(NamedTuple):
    """What came of something on one desk: the document where it is new, orders, and lines of the timeline."""

    desk: Desk
    document: AlertDocument | None
    sends: tuple[Send, ...]
    notes: tuple[Note, ...]


class Taken(NamedTuple):
    """What became of a reading. ``level`` is None unless it was good, ``change`` unless it changed the level."""

    verdict: Verdict
    level: float | None = None
    change: Transition | None = None
    steps: tuple[Step, ...] = ()


class Watch:
    """The watch over one gauge: the state of its hazard, that of its data, the window of its quality control, and the
    desks of its alert and of its drills. ``agrees`` asks the second sources; by itself a watch knows of none."""

    def __init__(
        self,
        gauge: Gauge,
        limits: Limits | None,
        state: State | None = None,
        window: Window | None = None,
        data: Data | None = None,
        track: Track | None = None,
    ) -> None:
        self.gauge = gauge
        self.limits = limits
        self.state = state or State()
        self.window = window or Window()
        self.data = data or Data()
        self.desk = Desk(gauge.alert_id, gauge)
        self.drill = Desk(f"{gauge.alert_id}-drill", gauge)
        self.agrees: Callable[[SecondSource, int], bool] = lambda second, now_ms: False
        self.rule = _rule(gauge)
        #: How many times a forecast was tried: two in a row rest on samples in a row.
        self.tried = 0
        self.track = track or Track()
        self._thresholds: dict[int, float] = {}
        self._thresholds_of: tuple[int, int] = (0, 0)

    def thresholds(self, at_ms: int) -> dict[int, float]:
        """Thresholds by level at a time; they change with the calendar day alone."""
        start, end = self._thresholds_of
        if not start <= at_ms < end:
            start = at_ms - at_ms % _QUARTER_MS
            self._thresholds, self._thresholds_of = self.gauge.thresholds(start), (start, start + _QUARTER_MS)
        return self._thresholds

    def stands_at(self, level: int, within_s: float, now_ms: int) -> bool:
        """Whether this gauge stands at a level by good data of the last ``within_s``: the word of a second source."""
        return self.state.level >= level and now_ms - self.data.good_ms <= within_s * 1000

    # -- readings -----------------------------------------------------------------------------------------------

    def take(self, reading: Reading, made_ms: int, heard_ms: int) -> Taken:
        """Take one reading. ``made_ms`` and ``heard_ms`` are when it was committed at the edge and when it came here,
        which decides whether it is too old for a siren."""
        verdict = judge(reading, self.limits, self.window, heard_ms)
        if verdict.flag is not Flag.GOOD:
            return Taken(verdict)
        level = self.gauge.level(reading.value)
        newest = reading.time_ms > self.state.last_ms
        self.state, change = step(self.state, reading.time_ms, level, self.thresholds(reading.time_ms), self.rule)
        if self.track.add(reading.time_ms, level):
            self.tried += 1
            found = forecast(self.track, self.thresholds(reading.time_ms))
            self.track.foretold = found if found is not None and found.level > self.state.level else None
        if change is None and not (self.desk.response.questions and newest):
            return Taken(verdict, level)
        scene = self._scene(heard_ms, value=level, good_ms=reading.time_ms)
        evidence = Evidence(reading.time_ms, made_ms, heard_ms)
        if change is None:
            settled = decide.fresh(scene, self.desk.response, evidence, self.thresholds(reading.time_ms))
            return Taken(verdict, level, None, () if settled is None else (self.desk.take(settled),))
        return Taken(verdict, level, change, self._changed(scene, change, evidence))

    def _changed(self, scene: Scene, change: Transition, evidence: Evidence) -> tuple[Step, ...]:
        desk, steps = self.desk, list[Step]()
        if change.change is Change.RAISED:
            if self.drill.response.drill_level:  # a drill never goes on beside the real thing
                steps.append(
                    self._drilled(decide.end_drill(self._scene(scene.now_ms, drill=True), self.drill.response))
                )
            following = decide.raised(scene, desk.response, change, self.state.episode, evidence, self.samples())
        else:
            following = decide.lowered(scene, desk.response, change)
        desk.response = following.response
        alert = documents.changed(self.gauge, self.state, change, desk.document, scene.now_ms)
        steps.append(Step(desk, desk.show(self.marked(alert) or alert), following.sends, following.notes))
        return tuple(steps)

    def samples(self) -> list[tuple[int, float]]:
        """The good ones of the last five samples, as (ms, level): what a decision rests on."""
        window = self.window
        known = zip(window.times, window.values, window.verdicts, strict=True)
        return [(t, round(self.gauge.level(v), 4)) for t, v, verdict in known if verdict.flag is Flag.GOOD]

    # -- what loudspeakers did, what people order, and time -----------------------------------------------------

    def heard(self, alert: str, speaker: str, event: PlaybackEvent, now_ms: int) -> Step | None:
        """Take what a loudspeaker says of an order of this alert."""
        desk = self.drill if alert == self.drill.id else self.desk
        following = decide.heard(self._scene(now_ms, drill=desk is self.drill), desk.response, speaker, event)
        return None if following is None else desk.take(following)

    def operate(self, alert: str, action: AlertAction, now_ms: int, jti: str = "") -> Step:
        """Do what a person orders; how it was answered is in the desk's response."""
        exercise = isinstance(action, AlertDrill)
        desk = self.drill if exercise or alert == self.drill.id else self.desk
        scene = self._scene(now_ms, drill=desk is self.drill)
        try:
            if exercise and self.state.level:
                raise Problem(f"the gauge really stands at level {self.state.level}: no drill now", where=desk.id)
            following, words = operate(scene, desk.response, action)
            answer = Answer(jti=jti, ok=True, detail=words[:500], at_ms=now_ms)
        except Problem as problem:
            refused = scene.note("refused", action.by, order=action.do, reason=str(problem))
            following = Next(desk.response, notes=(refused,))
            answer = Answer(jti=jti, ok=False, detail=str(problem)[:500], at_ms=now_ms)
        following = following._replace(response=replace(following.response, answer=answer))
        return self._drilled(following) if desk is self.drill else desk.take(following)

    def mind(self, now_ms: int, able: bool) -> list[Step]:
        """Let time pass for what has been done: escalations, questions that are due, loudspeakers that stay silent."""
        steps = []
        for desk in (self.desk, self.drill):
            if desk.response.life.stage is None and desk.response.silence is None:
                continue  # nothing was ever raised here
            following = decide.tick(self._scene(now_ms, drill=desk is self.drill), desk.response, able)
            if following.response is not desk.response:
                steps.append(self._drilled(following) if desk is self.drill else desk.take(following))
        return steps

    def _drilled(self, following: Next) -> Step:
        """A step on the drill's desk; its document begins and ends with the drill."""
        desk, begins = self.drill, following.response.drill_level
        changed = (begins, following.response.episode) != (desk.response.drill_level, desk.response.episode)
        if not changed:
            return desk.take(following)
        desk.response = following.response
        alert = documents.of_drill(self._scene(following.notes[0].at_ms, drill=True), desk.response, desk.document)
        return Step(desk, desk.show(alert), following.sends, following.notes)

    def _scene(self, now_ms: int, *, value: float | None = None, good_ms: int = 0, drill: bool = False) -> Scene:
        if value is None:
            good_ms, value = next(reversed(self.samples()), (self.data.good_ms, 0.0))
        return Scene(
            id=self.drill.id if drill else self.desk.id,
            gauge=self.gauge,
            level=self.drill.response.drill_level if drill else self.state.level,
            now_ms=now_ms,
            value=value,
            good_ms=good_ms,
            agrees=lambda second: self.agrees(second, now_ms),
            drill=drill,
        )

    # -- the data's own state -----------------------------------------------------------------------------------

    @property
    def foresees(self) -> bool:
        """Whether there are samples enough to say that a level is coming, or that none is."""
        return self.track.is_long_enough()

    @property
    def forecast(self) -> Forecast | None:
        """The next level and when it is expected, by the newest samples."""
        return self.track.foretold

    def hear(self, time_ms: int, good: bool, heard_ms: int) -> None:
        """Let the data state know of a sample that was just taken."""
        self.data = sample(self.data, time_ms, good, heard_ms, self.gauge.sensor.interval_s)

    def tick(self, now_ms: int, listening_ms: int) -> bool:
        """Let time pass; whether the data state changed."""
        before, self.data = self.data, tick(self.data, now_ms, self.gauge.sensor.interval_s, listening_ms)
        return before is not self.data

    def marked(self, alert: AlertDocument) -> AlertDocument | None:
        """The alert with the state of the gauge's data and its forecast; None where it says so already."""
        silent = self.data.state in (DataState.STALE, DataState.DEAD)
        unwatched = silent and alert.level >= 1
        ahead = None if silent else self.forecast
        if (alert.data, alert.unwatched) == (self.data.state, unwatched) and _alike(alert.forecast, ahead):
            return None
        return alert.model_copy(
            update={
                "data": self.data.state,
                "data_since_ms": self.data.since_ms or None,
                "unwatched": unwatched,
                "forecast": ahead,
            }
        )


def _alike(one: Forecast | None, other: Forecast | None) -> bool:
    """Whether two forecasts say the same to a person: a document that moves by minutes is no news."""
    if one is None or other is None:
        return one is other
    return one.level == other.level and abs(one.expected_ms - other.expected_ms) < _NEWS_MS


def _rule(gauge: Gauge) -> HazardRule:
    """The gauge's rule. Where readings are rare, as at an hourly station, the time between them is no gap."""
    rule = gauge.registry.hazard_rule_of(gauge.sensor.id)
    window_s = max(rule.raise_window_s, _GAP_INTERVALS * gauge.sensor.interval_s)
    return rule.model_copy(update={"raise_window_s": window_s})
