"""The loop of alerts: hear, judge, remember, speak. No database but its own, no console, no internet."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter
from pydantic import TypeAdapter, ValidationError

from keng_alerts.alarms.guard import Guard
from keng_alerts.dispatch import Dispatch
from keng_alerts.gauge.authority import delegation_lapsed
from keng_alerts.gauge.data import Data
from keng_alerts.gauge.documents import adopted
from keng_alerts.gauge.engine import Step, Taken, Watch
from keng_alerts.gauge.forecast import Track
from keng_alerts.gauge.gauges import gauges
from keng_alerts.gauge.hazard import State
from keng_alerts.gauge.response import Response, Send
from keng_alerts.memory import Changes, Entry, Memory
from keng_alerts.people import control
from keng_alerts.settings import AlertsSettings
from keng_contracts.alert_commands import AlertAction, AlertCommand, AlertStop
from keng_contracts.alerts import AlertDocument, Answer
from keng_contracts.authority import SecondSource
from keng_contracts.commands import Stop
from keng_contracts.errors import Problem
from keng_contracts.judging import Audience
from keng_contracts.playback import PlaybackEvent
from keng_contracts.registry import Registry
from keng_contracts.telemetry import BadPack, Clock, Flag, decode
from keng_contracts.topics import BadTopic, Channel, Kind, Topic, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Message
from keng_runtime.obeying import Refused, decide
from keng_runtime.registry import RegistryCopy
from keng_runtime.service import notify, until
from keng_runtime.settings import explain
from keng_signals.quality import Window, limits_of

log = logging.getLogger(__name__)

SAMPLES = Counter("keng_alerts_samples_total", "Samples of gauges judged", ["flag"])
CHANGES = Counter("keng_alerts_changes_total", "Changes of level", ["change"])
ORDERS = Counter("keng_alerts_orders_total", "Orders of people", ["order", "how"])
REFUSED = Counter("keng_alerts_orders_refused_total", "Orders that were not obeyed", ["reason"])

#: How often time is let pass for what has no message of its own, in seconds.
TICK_S = 1.0
#: Telemetry waits at the broker for this long while we are away, so that a crossing meanwhile is still seen.
SESSION_EXPIRY_S = 24 * 3600


async def main(settings: AlertsSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop``. Refuses to start without credentials and signing key; waits for an absent broker."""
    link = Link(settings.broker, receive_maximum=500, session_expiry_s=SESSION_EXPIRY_S)
    key = link.credentials.signing_key()
    registry = RegistryCopy(link.credentials.trust(), settings.state / "registry.jws")
    memory = Memory(settings.state / "alerts.sqlite")
    try:
        async with link:
            dispatch = Dispatch(link, key, memory, settings.command_valid_s)
            alerts = Alerts(link, dispatch, registry, memory, settings)
            notify("READY=1")
            orders = control.serve(settings.state, alerts.answer)
            await until(stop, alerts.listen(), dispatch.run(), alerts.mind_time(), orders)
    finally:
        memory.close()


_ACTION: TypeAdapter[AlertAction] = TypeAdapter(AlertAction)


class Alerts:
    """The thin edge around :mod:`engine`."""

    def __init__(
        self, link: Link, dispatch: Dispatch, registry: RegistryCopy, memory: Memory, settings: AlertsSettings
    ) -> None:
        self._link = link
        self._dispatch = dispatch
        self._registry = registry
        self._memory = memory
        self._settings = settings
        self._trust = link.credentials.trust()
        self._states: dict[str, State] = memory.states()
        self._windows: dict[str, Window] = memory.windows()
        self._data: dict[str, Data] = memory.data()
        self._tracks: dict[str, Track] = memory.tracks()
        self._responses: dict[str, Response] = memory.responses()
        self._alerts: dict[str, AlertDocument] = memory.alerts()
        self._obeyed = memory.obeyed()
        self._watches: dict[str, Watch] = {}
        self._listening_ms = self._connected_ms = now_ms()
        self._guard = Guard(self._alerts, memory, now_ms)
        self._follow(registry.current)

    # -- hearing ------------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        commune = self._settings.commune or "+"
        self._link.at_every_connect(self._connected)
        await self._link.subscribe(pattern(Kind.REGISTRY, commune=commune))
        await self._link.subscribe(pattern(Kind.SPEAKER, Channel.PLAYBACK, commune=commune))
        await self._link.subscribe(pattern(Kind.EDGE, Channel.TELEMETRY, commune=commune))
        await self._link.subscribe(pattern(Kind.ALERT, Channel.COMMAND, commune=commune))
        await self._link.subscribe(pattern(Kind.EDGE, Channel.STATUS, commune=commune))
        await self._link.subscribe(pattern(Kind.SPEAKER, Channel.STATUS, commune=commune))
        if self._registry.current is None:
            log.warning("no registry yet: without thresholds nothing can be raised; waiting for the console")
        log.info("listening")
        while True:
            batch = await self._link.batch(100)
            changes = Changes()
            for message in batch:
                self._hear(message, changes)
            self._settle(changes, batch)

    async def mind_time(self) -> None:
        """Let time pass: silence has no message of its own, nor has a question that is due."""
        while True:
            await asyncio.sleep(TICK_S)
            changes, now, able = Changes(), now_ms(), self._dispatch.idle
            for series, watch in self._watches.items():
                if watch.tick(now, self._listening_ms):
                    self._data[series] = changes.data[series] = watch.data
                    self._data_changed(watch, changes)
                self._mark(watch, changes)
                for step in watch.mind(now, able):
                    self._apply(step, changes)
            if self._link.connected:  # what can't be heard is not silent
                self._guard.tick(now, self._connected_ms)
            self._settle(changes)

    def _settle(self, changes: Changes, batch: Iterable[Message] = ()) -> None:
        """On disk first; then whoever gave it to us may forget it, and others are told."""
        self._guard.settle(changes)
        self._remember(changes)
        for message in batch:
            message.ack()
        for document in changes.documents.values():
            self._publish(document)
        self._dispatch.put(changes.commands)

    def _hear(self, message: Message, changes: Changes) -> None:
        try:
            topic = Topic.parse(message.topic)
        except BadTopic:
            return
        if topic.kind is Kind.REGISTRY:
            if self._registry.offer(message.payload):
                self._follow(self._registry.current)
        elif topic.channel is Channel.TELEMETRY:
            self._telemetry(topic, message.payload, now_ms(), changes)
        elif topic.channel is Channel.PLAYBACK:
            self._playback(topic, message.payload, changes)
        elif topic.channel is Channel.STATUS:
            self._guard.status(topic, message.payload, now_ms())
        elif topic.kind is Kind.ALERT and topic.channel is Channel.COMMAND:
            self._command(topic, message.payload, changes)

    def _follow(self, registry: Registry | None) -> None:
        if registry is None:
            return
        limits, self._watches = limits_of(registry), {}
        for series, gauge in gauges(registry).items():
            watch = Watch(
                gauge,
                limits[series],
                self._states.get(series),
                self._windows.get(series),
                self._data.get(series),
                self._tracks.get(series),
            )
            for desk in (watch.desk, watch.drill):
                desk.document = self._alerts.get(desk.id)
                known = self._responses.get(desk.id)
                if known is not None:
                    desk.response = known
                elif desk.document is not None:
                    desk.response = adopted(desk.document)
            watch.agrees = self._agrees
            self._watches[series] = watch
        self._guard.follow(registry)
        for row in delegation_lapsed(registry, now_ms()):
            log.warning(
                "level %d of %s is %s, but its delegation is not in force today: a person will be asked",
                row.level,
                row.sensor,
                row.mode,
            )

    def _agrees(self, second: SecondSource, at_ms: int) -> bool:
        """Whether another gauge stands at the level that a second source asks for."""
        other = next((w for w in self._watches.values() if w.gauge.sensor.id == second.sensor), None)
        return other is not None and other.stands_at(second.level, second.within_s, at_ms)

    def _telemetry(self, topic: Topic, payload: bytes, heard_ms: int, changes: Changes) -> None:
        try:
            pack = decode(payload)
        except BadPack:
            return  # ingest keeps it as a dead letter, with the reason
        for reading in sorted(pack.readings, key=lambda r: r.time_ms):
            watch = self._watches.get(reading.series)
            if watch is None:
                self._guard.take(topic, reading, heard_ms)
                continue
            gauge = watch.gauge
            if gauge.sensor.node != topic.id or gauge.registry.commune.id != topic.commune:
                continue
            tried = watch.tried
            taken = watch.take(reading, pack.made_ms, heard_ms)
            if watch.tried > tried:
                self._tracks[reading.series] = changes.tracks[reading.series] = watch.track
            SAMPLES.labels(taken.verdict.flag.name.lower()).inc()
            self._states[reading.series] = changes.states[reading.series] = watch.state
            self._windows[reading.series] = changes.windows[reading.series] = watch.window
            self._taken(taken, changes)
            before = watch.data.state
            watch.hear(reading.time_ms, taken.verdict.flag is Flag.GOOD, heard_ms)
            self._data[reading.series] = changes.data[reading.series] = watch.data
            if watch.data.state is not before:
                self._data_changed(watch, changes)
            self._mark(watch, changes)
            self._guard.take(topic, reading, heard_ms, taken.verdict)
            self._guard.foretold(watch, reading.time_ms, heard_ms)

    def _data_changed(self, watch: Watch, changes: Changes) -> None:
        data, desk = watch.data, watch.desk
        detail = {"newest_good_ms": data.good_ms}
        changes.timeline.append(Entry(data.since_ms, desk.id, desk.response.episode, f"data {data.state}", "", detail))
        log.info("%s: data %s", watch.gauge.sensor.id, data.state)

    def _mark(self, watch: Watch, changes: Changes) -> None:
        """Mark the state of the data and the forecast in the gauge's alert, if it has one. The level stays."""
        alert = watch.desk.document
        marked = watch.marked(alert) if alert else None
        document = watch.desk.show(marked) if marked else None
        if alert is None or document is None:
            return
        if document.unwatched and not alert.unwatched:
            log.error(
                "%s: no good data at level %d: somebody has to look at the river", document.sensor, document.level
            )
        self._alerts[document.id] = changes.documents[document.id] = document

    def _playback(self, topic: Topic, payload: bytes, changes: Changes) -> None:
        try:
            event = PlaybackEvent.model_validate_json(payload)
        except ValidationError:
            log.warning("%s: evidence can't be read", topic)
            return
        watch = self._watch(event.cause.alert) if event.cause else None
        if watch is not None and event.cause is not None:
            step = watch.heard(event.cause.alert, topic.id or "", event, now_ms())
            if step is not None:
                self._apply(step, changes)

    # -- deciding -----------------------------------------------------------------------------------------------

    def _taken(self, taken: Taken, changes: Changes) -> None:
        for step in taken.steps:
            self._apply(step, changes)
        if taken.change is not None:
            CHANGES.labels(taken.change.change).inc()
            sounds = any(step.sends for step in taken.steps)
            headline = next((step.document.headline for step in reversed(taken.steps) if step.document), "")
            log.warning("%s%s", headline, "" if sounds else " (no siren follows from it by itself)")

    def _apply(self, step: Step, changes: Changes) -> None:
        """Take what came of something into what is made durable as one."""
        desk, response = step.desk, step.desk.response
        self._responses[desk.id] = changes.responses[desk.id] = response
        if step.document is not None:
            self._alerts[desk.id] = changes.documents[desk.id] = step.document
        for note in step.notes:
            log.info("%s: %s%s", desk.id, note.what, f" by {note.by}" if note.by else "")
            entry = Entry(note.at_ms, desk.id, response.episode, note.what, note.by, note.detail)
            changes.timeline.append(entry)
        for send in step.sends:
            self._send(desk.gauge.registry, send, changes)

    def _send(self, registry: Registry, send: Send, changes: Changes) -> None:
        if isinstance(send.action, Stop):
            changes.revoked += self._dispatch.revoke(send.action.play)
        changes.commands.append(self._dispatch.sign(registry.commune.id, send))

    # -- people -------------------------------------------------------------------------------------------------

    def _command(self, topic: Topic, payload: bytes, changes: Changes) -> None:
        """A signed order that came over the broker."""
        alert, now = topic.id or "", now_ms()
        command = decide(
            payload,
            AlertCommand.model_validate_json,
            trust=self._trust,
            me=Audience(topic.commune, alert, frozenset(), kind="alert"),
            counters=self._obeyed,
            now_s=now / 1000,
            clock=Clock.HOLDOVER,  # always looked at: an order that waited for hours must not sound a siren
        )
        if isinstance(command, Refused):
            REFUSED.labels(command.reason.value).inc()
            log.warning("%s: an order is refused: %s", topic, command.reason.value)
            return
        self._obeyed[command.iss] = changes.obeyed[command.iss] = command.ctr
        ORDERS.labels(command.action.do, "signed").inc()
        answer = self._operate(alert, command.action, now, changes, command.jti)
        log.info("%s: %s by %s: %s", alert, command.action.do, command.action.by, answer.detail)

    def answer(self, request: dict[str, Any], user: str) -> dict[str, Any]:
        """An order at this machine: see :mod:`control`. Durable before it is answered."""
        if request.get("do") == "list":
            return {"ok": True, "alerts": [d.model_dump(mode="json") for d in self._alerts.values()]}
        try:
            order = request["order"]
            person = str(order.get("by") or "")
            by = f"{person[:60]} ({user})" if person and person != user else user
            action = _ACTION.validate_python({**order, "by": by[:100]})
        except ValidationError as error:
            return {"ok": False, "detail": explain(error)}
        except (KeyError, AttributeError, TypeError):
            return {"ok": False, "detail": "no order"}
        ORDERS.labels(action.do, "here").inc()
        changes = Changes()
        answer = self._operate(str(request.get("alert") or "all"), action, now_ms(), changes)
        self._settle(changes)
        return {"ok": answer.ok, "detail": answer.detail}

    def _operate(self, alert: str, action: AlertAction, now: int, changes: Changes, jti: str = "") -> Answer:
        if isinstance(action, AlertStop) and (action.everything or alert == "all"):
            return self._stop_everything(action, now, changes, jti)
        watch = self._watch(alert)
        if watch is None and (answered := self._guard.operate(alert, action, now, jti, changes)) is not None:
            return answered
        if watch is None:
            there = ", ".join(w.desk.id for w in self._watches.values()) or "none"
            problem = Problem(f"there is no gauge with the alert {alert!r}", todo=f"there are: {there}")
            return Answer(jti=jti, ok=False, detail=str(problem)[:500], at_ms=now)
        step = watch.operate(alert, action, now, jti)
        self._apply(step, changes)
        answer = step.desk.response.answer
        assert answer is not None
        return answer

    def _stop_everything(self, action: AlertStop, now: int, changes: Changes, jti: str) -> Answer:
        """Silence the commune: whatever sounds, whoever ordered it, and what waits to sound."""
        registry = self._registry.current
        if registry is None:
            return Answer(jti=jti, ok=False, detail="there is no registry yet: no zone is known", at_ms=now)
        one = action.model_copy(update={"everything": False})
        for watch in self._watches.values():
            for desk in (watch.desk, watch.drill):
                if desk.response.plays or desk.response.questions:
                    self._apply(watch.operate(desk.id, one, now, jti), changes)
        alone = [speaker.id for speaker in registry.speakers if not speaker.zones]
        for aud in (*(f"zone/{zone.id}" for zone in registry.zones), *(f"speaker/{id_}" for id_ in alone)):
            self._send(registry, Send(aud, Stop()), changes)
        changes.timeline.append(Entry(now, "all", 0, "stopped", action.by, {"everything": True}))
        return Answer(jti=jti, ok=True, detail=f"all is stopped in {registry.commune.name}", at_ms=now)

    def _watch(self, alert: str) -> Watch | None:
        return next((w for w in self._watches.values() if alert in (w.desk.id, w.drill.id)), None)

    def _remember(self, changes: Changes) -> None:
        """Make it durable. A disk that takes nothing must not silence a siren: then it goes out all the same, and a
        loudspeaker that hears it twice plays it once, by its name."""
        if not changes:
            return
        try:
            self._memory.keep(changes)
        except sqlite3.Error as error:
            log.error(
                "the alert state can't be written (%s): going on from memory; a restart now would forget counts, "
                "so free the disk",
                error,
            )

    # -- speaking -----------------------------------------------------------------------------------------------

    def _publish(self, document: AlertDocument) -> None:
        topic = Topic(document.commune, Kind.ALERT, document.id)
        self._link.send(str(topic), document.to_bytes(), retain=True).add_done_callback(_log_refusal)

    def _connected(self) -> None:
        """After a connect: the broker may have forgotten our retained documents, and nobody was heard until now."""
        self._connected_ms = now_ms()
        for document in self._alerts.values():
            self._publish(document)


def _log_refusal(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.error("an alert could not be published: %s; check the broker's acl", error)
