"""All alarms of a commune: which rule watches which thing, and what follows from what is heard. Pure.

A reading is judged once: a gauge's by its own watch, any other sensor's here. What comes of an alarm is its alert
document, and never an order. :meth:`Alarms.unsaved` is what has to be on disk before the documents are published;
:meth:`Alarms.dump` of any moment, loaded again, goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from keng_alerts.alarms import alarmtexts, health, measures
from keng_alerts.alarms.alarms import UP, Change, Phase, Seen, State, step
from keng_alerts.alarms.grouping import unmuted
from keng_alerts.alarms.planning import Planned, plan
from keng_contracts.alerts import FLOOD, AlertDocument, Forecast, Hazard, Stage
from keng_contracts.registry import Registry
from keng_contracts.rules import RuleKind
from keng_contracts.status import EdgeStatus, SpeakerStatus
from keng_contracts.telemetry import Reading
from keng_signals.quality import Verdict, Window, judge, limits_of

#: While an alarm is raised its text is told anew so often at most.
NEWS_MS = 900_000
_STATE = TypeAdapter(State)


class Told(NamedTuple):
    """An alarm that was raised or cleared, for the journal; ``change`` is None for a new text alone."""

    document: AlertDocument
    change: Change | None


@dataclass(slots=True)
class Alarm:
    """One rule over one thing."""

    planned: Planned
    state: State = field(default_factory=State)
    value: float = 0.0
    told_ms: int = 0

    def dump(self) -> list[Any]:
        return [_STATE.dump_python(self.state), self.value, self.told_ms, self.planned.measure.dump()]

    def load(self, dumped: Any) -> None:
        """Take what :meth:`dump` gave. What an older rule of the same name remembered of another kind is let go."""
        try:
            state, value, told_ms, memory = dumped
            self.state, self.value, self.told_ms = _STATE.validate_python(state), float(value), int(told_ms)
            self.planned.measure.load(memory)
        except (ValidationError, TypeError, ValueError, KeyError, AttributeError):
            pass


class Alarms:
    """The alarms that a registry asks for. ``alerts`` are the commune's alert documents, kept up to date by their
    owner: those of floods mute alarms, and those of alarms go on where they were."""

    def __init__(
        self,
        registry: Registry,
        alerts: Mapping[str, AlertDocument],
        kept: Mapping[str, Any] | None = None,
        windows: Mapping[str, Window] | None = None,
    ) -> None:
        self._registry = registry
        self._alerts = alerts
        self._alarms = {planned.id: Alarm(planned) for planned in plan(registry)}
        self._limits = limits_of(registry)
        self._nodes = {registry.series(sensor): sensor.node for sensor in registry.sensors}
        self._known = windows or {}
        self._windows: dict[str, Window] = {}
        self._by_series: dict[str, list[Alarm]] = {}
        self._by_thing: dict[str, list[Alarm]] = {}
        self._urgent: set[str] = set()
        self._touched: set[str] = set()
        for id_, alarm in self._alarms.items():
            if kept is not None and id_ in kept:
                alarm.load(kept[id_])
            for series in alarm.planned.series:
                self._by_series.setdefault(series, []).append(alarm)
            self._by_thing.setdefault(alarm.planned.thing, []).append(alarm)

    # -- hearing ------------------------------------------------------------------------------------------------

    def take(self, reading: Reading, node: str, heard_ms: int, verdict: Verdict | None = None) -> list[Told]:
        """Take a reading that ``node`` sent. ``verdict`` is that of the gauge's watch, where there is one."""
        alarms = self._by_series.get(reading.series)
        if alarms is None or self._nodes.get(reading.series) != node:
            return []
        if verdict is None:
            window = self._windows.get(reading.series)
            if window is None:
                window = self._windows[reading.series] = self._known.get(reading.series) or Window()
            verdict = judge(reading, self._limits.get(reading.series), window, heard_ms)
        told = []
        for alarm in alarms:
            told += self._see(alarm, alarm.planned.measure.take(reading, verdict, heard_ms), heard_ms)
        return told

    def foretold(self, gauge: str, found: Forecast | None, time_ms: int, heard_ms: int) -> list[Told]:
        """Take what a gauge's newest sample foretells; ``gauge`` is the id of its sensor."""
        told = []
        for alarm in self._by_thing.get(gauge, ()):
            if isinstance(alarm.planned.measure, measures.Ahead):
                told += self._see(alarm, alarm.planned.measure.hear(found, time_ms), heard_ms)
        return told

    def status(self, thing: str, status: EdgeStatus | SpeakerStatus, heard_ms: int) -> list[Told]:
        """Take the status of a node or a loudspeaker."""
        told = []
        for alarm in self._by_thing.get(thing, ()):
            measure = alarm.planned.measure
            if isinstance(measure, health.Status) and isinstance(status, alarm.planned.status):
                told += self._see(alarm, measure.hear(status, heard_ms), heard_ms)
        return told

    def tick(self, now_ms: int, listening_ms: int) -> list[Told]:
        """Let time pass: silence has no message of its own."""
        told = []
        for alarm in self._alarms.values():
            told += self._see(alarm, alarm.planned.measure.tick(now_ms, listening_ms), now_ms)
        return told

    # -- deciding -----------------------------------------------------------------------------------------------

    def _see(self, alarm: Alarm, seen: Seen | None, now_ms: int) -> list[Told]:
        planned, before = alarm.planned, alarm.state
        self._touched.add(planned.id)
        if seen is None:
            return []
        if now_ms - seen.time_ms > planned.late_ms:
            seen = seen._replace(fresh=False)
        alarm.state, change = step(before, seen, planned.bounds, planned.gap_ms)
        if alarm.state is before:
            return []
        alarm.value = seen.value
        counts = alarm.state.phase is Phase.PENDING and alarm.state.count <= planned.bounds.raise_samples
        if counts or (before.phase, before.episode) != (alarm.state.phase, alarm.state.episode):
            self._urgent.add(planned.id)
        if change is None and (alarm.state.phase is not Phase.RAISED or seen.time_ms - alarm.told_ms < NEWS_MS):
            return []
        document = self._document(alarm, seen.time_ms, change)
        if document is None:
            return []
        alarm.told_ms = seen.time_ms
        return [Told(document, change)]

    def _document(self, alarm: Alarm, time_ms: int, change: Change | None) -> AlertDocument | None:
        """The alert as it is now; None where a new text would say what the old one says."""
        planned, state = alarm.planned, alarm.state
        before = self._alerts.get(planned.id)
        known = before is not None and before.episode == state.episode
        ahead = planned.measure.forecast if isinstance(planned.measure, measures.Ahead) else None
        expected_ms = ahead.expected_ms if ahead is not None else None
        if planned.rule.kind is RuleKind.UPSTREAM:
            expected_ms = state.raised_ms + round(1000 * (planned.rule.travel_s or 0.0))
        if state.phase in UP:
            vi, en = alarmtexts.raised(
                planned.rule,
                planned.names,
                alarm.value,
                planned.bounds.raise_at,
                planned.unit,
                self._registry,
                expected_ms=expected_ms,
                ahead=ahead,
                official=planned.official,
                words=getattr(planned.measure, "words", ""),
            )
        else:
            vi, en = alarmtexts.cleared(planned.rule, planned.names)
        if change is None and before is not None and before.headline == vi:
            return None
        told: dict[str, Any] = {
            "version": before.version + 1 if before else 1,
            "hazard": Hazard.RAISED if state.phase in UP else Hazard.CLEARED,
            "value": alarm.value,
            "updated_ms": time_ms,
            "cleared_ms": None if state.phase in UP else time_ms,
            "headline": vi,
            "headline_en": en,
            "forecast": ahead,
            "expected_ms": expected_ms if state.phase in UP else None,
            "muted_by": "",
        }
        if change is not None:
            stage = Stage.RAISED if change is Change.RAISED else Stage.CLEARED
            told |= {"stage": stage, "stage_ms": time_ms}
        if known and before is not None:
            return before.model_copy(update=told)
        return AlertDocument(
            id=planned.id,
            commune=self._registry.commune.id,
            sensor=planned.thing if "/" in planned.thing else "",
            station=planned.thing.split("/")[0] if "/" in planned.thing else "",
            episode=state.episode,
            official=False,
            exercise=self._registry.commune.exercise,
            unit=planned.unit,
            threshold=planned.bounds.raise_at,
            raised_ms=state.raised_ms,
            level=0,
            kind=planned.rule.kind.value,
            severity=planned.rule.grave,
            rule=planned.rule.id,
            thing=planned.thing,
            silence=before.silence if before else None,
            **told,
        )

    def settled(self) -> list[AlertDocument]:
        """The alarms of which another alert says it already, or no longer does; to be asked after every change."""
        return unmuted(self._alerts, self._registry)

    def withdrawn(self, now_ms: int) -> list[AlertDocument]:
        """Alarms that are raised by a rule that is no more: nobody would ever clear them."""
        gone = [
            d
            for d in self._alerts.values()
            if d.kind != FLOOD and d.hazard is Hazard.RAISED and d.id not in self._alarms
        ]
        found = []
        for d in gone:
            vi, en = alarmtexts.withdrawn(d.headline, d.headline_en)
            over = {"hazard": Hazard.CLEARED, "cleared_ms": now_ms, "updated_ms": now_ms, "version": d.version + 1}
            found.append(d.model_copy(update={**over, "headline": vi, "headline_en": en, "muted_by": ""}))
        return found

    # -- remembering --------------------------------------------------------------------------------------------

    def unsaved(self, everything: bool = False) -> dict[str, Any]:
        """What must be on disk before what came of it is said; with ``everything`` all that changed since it was
        asked for. Between the two lie readings that only moved a sum: the next ones tell what they told."""
        if not everything and not self._urgent:
            return {}
        asked = self._touched if everything else self._urgent
        found = {id_: self._alarms[id_].dump() for id_ in sorted(asked)}
        self._touched -= asked
        self._urgent.clear()
        return found

    def dump(self) -> dict[str, Any]:
        """The memory of every alarm, by id."""
        return {id_: alarm.dump() for id_, alarm in self._alarms.items()}

    @property
    def windows(self) -> dict[str, Window]:
        """The windows of quality control that were moved here: a gauge's is its watch's own."""
        return self._windows
