"""The thin edge around :mod:`alarmbook`: alarms by the registry's rules, beside the gauges and after them.

What is decided here is made durable and told together with what was decided of gauges. Nothing here can order a siren:
it is given no way to sign one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter
from pydantic import ValidationError

from keng_alerts.alarms import orders
from keng_alerts.alarms.alarmbook import Alarms, Told
from keng_alerts.gauge.engine import Watch
from keng_alerts.memory import Changes, Entry, Memory
from keng_contracts.alert_commands import AlertAction
from keng_contracts.alerts import FLOOD, AlertDocument, Answer
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_contracts.status import EdgeStatus, SpeakerStatus
from keng_contracts.telemetry import Reading
from keng_contracts.topics import Kind, Topic
from keng_signals.quality import Verdict, Window

log = logging.getLogger(__name__)

ALARMS = Counter("keng_alerts_alarms_total", "Alarms raised and cleared", ["kind", "change"])

#: Sums that only grew are written so often; what was decided is written at once.
KEEP_MS = 60_000


class Guard:
    """``alerts`` are the service's documents, of gauges too; ``clock`` says what time it is, ms since 1970 UTC."""

    def __init__(self, alerts: dict[str, AlertDocument], memory: Memory, clock: Callable[[], int]) -> None:
        self._alerts = alerts
        self._clock = clock
        self._kept: dict[str, Any] = memory.alarms()
        self._windows: dict[str, Window] = memory.windows()
        self._alarms: Alarms | None = None
        self._commune = ""
        self._told: list[Told] = []
        self._tried: dict[str, int] = {}
        self._kept_ms = 0
        self._new_rules = False

    def follow(self, registry: Registry) -> None:
        """Go by these rules; what an alarm with the same name and thing remembers stays."""
        if self._alarms is not None:
            self._kept, self._windows = self._alarms.dump(), {**self._windows, **self._alarms.windows}
        self._alarms = Alarms(registry, self._alerts, self._kept, self._windows)
        self._commune, self._new_rules, self._tried = registry.commune.id, True, {}

    # -- hearing ------------------------------------------------------------------------------------------------

    def take(self, topic: Topic, reading: Reading, heard_ms: int, verdict: Verdict | None = None) -> None:
        """Take a reading, of a gauge with the verdict of its watch."""
        if self._alarms is not None and topic.commune == self._commune:
            self._tell(self._alarms.take(reading, topic.id or "", heard_ms, verdict))

    def foretold(self, watch: Watch, time_ms: int, heard_ms: int) -> None:
        """Take what a gauge's watch foretells, if it has tried anew and could: before half an hour it can't."""
        sensor = watch.gauge.sensor.id
        if self._alarms is not None and watch.foresees and watch.tried > self._tried.get(sensor, 0):
            self._tried[sensor] = watch.tried
            self._tell(self._alarms.foretold(sensor, watch.forecast, time_ms, heard_ms))

    def status(self, topic: Topic, payload: bytes, heard_ms: int) -> None:
        """Take the retained status of a node or a loudspeaker."""
        if self._alarms is None or topic.commune != self._commune or not payload:
            return
        kind = EdgeStatus if topic.kind is Kind.EDGE else SpeakerStatus
        try:
            status = kind.model_validate_json(payload)
        except ValidationError:
            log.warning("%s: a status can't be read", topic)
            return
        self._tell(self._alarms.status(topic.id or "", status, heard_ms))

    def tick(self, now_ms: int, listening_ms: int) -> None:
        """Let time pass; nobody listened before ``listening_ms``."""
        if self._alarms is not None:
            self._tell(self._alarms.tick(now_ms, listening_ms))

    def _tell(self, told: list[Told]) -> None:
        """Keep what is to be told; the next decision about the alarm goes on from it."""
        self._told += told
        self._alerts.update((document.id, document) for document, _ in told)

    # -- people -------------------------------------------------------------------------------------------------

    def operate(self, alert: str, action: AlertAction, now_ms: int, jti: str, changes: Changes) -> Answer | None:
        """Do what a person orders of an alarm; None where there is no such alarm."""
        document = self._alerts.get(alert)
        if document is None or document.kind == FLOOD:
            return None
        try:
            done = orders.operate(document, action, now_ms)
            answer = Answer(jti=jti, ok=True, detail=done.words, at_ms=now_ms)
        except Problem as problem:
            detail = {"order": action.do, "reason": str(problem)}
            done = orders.Done(document, "refused", detail, str(problem))
            answer = Answer(jti=jti, ok=False, detail=done.words[:500], at_ms=now_ms)
        done = done._replace(document=done.document.model_copy(update={"answer": answer}))
        self._do(done, now_ms, action.by, changes)
        return answer

    def _do(self, done: orders.Done, now_ms: int, by: str, changes: Changes) -> None:
        document = done.document.model_copy(update={"version": done.document.version + 1})
        self._alerts[document.id] = changes.documents[document.id] = document
        changes.timeline.append(Entry(now_ms, document.id, document.episode, done.what, by, done.detail))

    # -- settling -----------------------------------------------------------------------------------------------

    def settle(self, changes: Changes) -> None:
        """Add what came of alarms to what is made durable and told."""
        now_ms = self._clock()
        for done in orders.lapsed(self._alerts.values(), now_ms):
            self._do(done, now_ms, "", changes)
        if self._alarms is None:
            return
        told, self._told = self._told, []
        for document, change in told:
            changes.documents[document.id] = self._alerts[document.id]
            if change is None:
                continue
            ALARMS.labels(document.kind, change.value).inc()
            log.warning("%s", document.headline)
            detail = {"value": document.value, "headline": document.headline}
            changes.timeline.append(Entry(document.updated_ms, document.id, document.episode, change.value, "", detail))
        if self._new_rules:
            self._new_rules = False
            for document in self._alarms.withdrawn(now_ms):
                self._alerts[document.id] = changes.documents[document.id] = document
                changes.timeline.append(Entry(now_ms, document.id, document.episode, "withdrawn", "", {}))
        if changes.documents:
            for document in self._alarms.settled():
                self._alerts[document.id] = changes.documents[document.id] = document
        everything = now_ms - self._kept_ms >= KEEP_MS
        changes.alarms = self._alarms.unsaved(everything)
        if everything:
            self._kept_ms = now_ms
            changes.windows = {**self._alarms.windows, **changes.windows}
