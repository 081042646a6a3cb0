"""The loop of alerts: hear, judge, remember, speak. No database but its own, no console, no internet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import uuid
from collections import deque
from dataclasses import dataclass, field

from prometheus_client import Counter
from pydantic import ValidationError

from keng_alerts.data import Data
from keng_alerts.decide import Gauge, Order, deliver, gauges
from keng_alerts.engine import Watch
from keng_alerts.hazard import State, Transition
from keng_alerts.memory import Entry, Memory, Outgoing
from keng_alerts.settings import AlertsSettings
from keng_contracts.alerts import AlertDocument
from keng_contracts.commands import Command
from keng_contracts.playback import PlaybackEvent
from keng_contracts.registry import Registry
from keng_contracts.telemetry import BadPack, Flag, decode
from keng_contracts.topics import BadTopic, Channel, Kind, Topic, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Message, Refused
from keng_runtime.registry import RegistryCopy
from keng_runtime.service import notify, until
from keng_runtime.signing import SigningKey
from keng_signals.quality import Window, limits_of

log = logging.getLogger(__name__)

SAMPLES = Counter("keng_alerts_samples_total", "Samples of gauges judged", ["flag"])
CHANGES = Counter("keng_alerts_changes_total", "Changes of level", ["change"])
COMMANDS = Counter("keng_alerts_commands_total", "Siren commands published")

#: How often silence is looked for, in seconds.
TICK_S = 5.0
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
            alerts = Alerts(link, key, registry, memory, settings)
            notify("READY=1")
            await until(stop, alerts.listen(), alerts.send_commands(), alerts.mind_silence())
    finally:
        memory.close()


@dataclass(slots=True)
class Outcome:
    """What follows from a batch: made durable as one, then published."""

    states: dict[str, State] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    data: dict[str, Data] = field(default_factory=dict)
    documents: dict[str, AlertDocument] = field(default_factory=dict)
    commands: list[Outgoing] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)


class Alerts:
    """The thin edge around :mod:`engine`."""

    def __init__(
        self, link: Link, key: SigningKey, registry: RegistryCopy, memory: Memory, settings: AlertsSettings
    ) -> None:
        self._link = link
        self._key = key
        self._registry = registry
        self._memory = memory
        self._settings = settings
        self._states: dict[str, State] = memory.states()
        self._alerts: dict[str, AlertDocument] = memory.alerts()
        self._counter = memory.counter()
        self._outgoing = deque(memory.outgoing())
        self._to_send = asyncio.Event()
        self._windows: dict[str, Window] = memory.windows()
        self._data: dict[str, Data] = memory.data()
        self._watches: dict[str, Watch] = {}
        self._listening_ms = now_ms()
        self._follow(registry.current)

    # -- hearing ------------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        commune = self._settings.commune or "+"
        self._link.at_every_connect(self._publish_all)
        await self._link.subscribe(pattern(Kind.REGISTRY, commune=commune))
        await self._link.subscribe(pattern(Kind.SPEAKER, Channel.PLAYBACK, commune=commune))
        await self._link.subscribe(pattern(Kind.EDGE, Channel.TELEMETRY, commune=commune))
        if self._registry.current is None:
            log.warning("no registry yet: without thresholds nothing can be raised; waiting for the console")
        log.info("listening")
        while True:
            batch = await self._link.batch(100)
            outcome = Outcome()
            for message in batch:
                self._hear(message, outcome)
            self._remember(outcome)
            for message in batch:
                message.ack()
            for document in outcome.documents.values():
                self._publish(document)
            if outcome.commands:
                self._outgoing.extend(outcome.commands)
                self._to_send.set()

    def _hear(self, message: Message, outcome: Outcome) -> None:
        try:
            topic = Topic.parse(message.topic)
        except BadTopic:
            return
        if topic.kind is Kind.REGISTRY:
            if self._registry.offer(message.payload):
                self._follow(self._registry.current)
        elif topic.channel is Channel.TELEMETRY:
            self._telemetry(topic, message.payload, now_ms(), outcome)
        elif topic.channel is Channel.PLAYBACK:
            self._playback(topic, message.payload, outcome)

    def _follow(self, registry: Registry | None) -> None:
        if registry is not None:
            limits = limits_of(registry)
            self._watches = {
                series: Watch(
                    gauge,
                    limits[series],
                    self._states.get(series),
                    self._windows.get(series),
                    self._data.get(series),
                )
                for series, gauge in gauges(registry).items()
            }

    def _telemetry(self, topic: Topic, payload: bytes, heard_ms: int, outcome: Outcome) -> None:
        try:
            pack = decode(payload)
        except BadPack:
            return  # ingest keeps it as a dead letter, with the reason
        for reading in sorted(pack.readings, key=lambda r: r.time_ms):
            watch = self._watches.get(reading.series)
            if watch is None:
                continue
            gauge = watch.gauge
            if gauge.sensor.node != topic.id or gauge.registry.commune.id != topic.commune:
                continue
            taken = watch.take(reading, self._alerts.get(gauge.alert_id), pack.made_ms, heard_ms)
            SAMPLES.labels(taken.verdict.flag.name.lower()).inc()
            self._states[reading.series] = outcome.states[reading.series] = watch.state
            self._windows[reading.series] = outcome.windows[reading.series] = watch.window
            if taken.change is not None and taken.document is not None:
                self._changed(gauge, taken.change, taken.document, taken.order, outcome)
            before = watch.data.state
            watch.hear(reading.time_ms, taken.verdict.flag is Flag.GOOD, heard_ms)
            self._data[reading.series] = outcome.data[reading.series] = watch.data
            if watch.data.state is not before:
                self._data_changed(watch, outcome)
            self._mark(watch, outcome)

    async def mind_silence(self) -> None:
        """Let time pass for the data of every gauge: silence has no message of its own."""
        while True:
            await asyncio.sleep(TICK_S)
            outcome = Outcome()
            for series, watch in self._watches.items():
                if watch.tick(now_ms(), self._listening_ms):
                    self._data[series] = outcome.data[series] = watch.data
                    self._data_changed(watch, outcome)
                self._mark(watch, outcome)
            self._remember(outcome)
            for document in outcome.documents.values():
                self._publish(document)

    def _data_changed(self, watch: Watch, outcome: Outcome) -> None:
        sensor, data = watch.gauge.sensor.id, watch.data
        outcome.journal.append(Entry(data.since_ms, sensor, f"data {data.state}", f"newest good sample {data.good_ms}"))
        log.info("%s: data %s", sensor, data.state)

    def _mark(self, watch: Watch, outcome: Outcome) -> None:
        """Mark the state of the data and the forecast in the gauge's alert, if it has one. The level stays."""
        alert = self._alerts.get(watch.gauge.alert_id)
        document = watch.marked(alert) if alert else None
        if alert is None or document is None:
            return
        document = document.model_copy(update={"version": alert.version + 1})
        if document.unwatched and not alert.unwatched:
            log.error(
                "%s: no good data at level %d: somebody has to look at the river", document.sensor, document.level
            )
        self._alerts[document.id] = outcome.documents[document.id] = document

    def _playback(self, topic: Topic, payload: bytes, outcome: Outcome) -> None:
        try:
            event = PlaybackEvent.model_validate_json(payload)
        except ValidationError:
            log.warning("%s: evidence can't be read", topic)
            return
        alert = self._alerts.get(event.cause.alert) if event.cause else None
        document = deliver(alert, topic.id or "", event) if alert else None
        if document is not None:
            self._alerts[document.id] = outcome.documents[document.id] = document

    # -- deciding -----------------------------------------------------------------------------------------------

    def _changed(
        self, gauge: Gauge, change: Transition, document: AlertDocument, order: Order | None, outcome: Outcome
    ) -> None:
        CHANGES.labels(change.change).inc()
        log.warning("%s%s", document.headline, "" if order else " (no siren follows from it by itself)")
        step_taken = f"{change.change} {change.before} to {change.after}"
        outcome.journal.append(Entry(change.time_ms, gauge.sensor.id, step_taken, document.headline))
        self._alerts[document.id] = outcome.documents[document.id] = document
        if order is not None:
            self._order(order, gauge, outcome)

    def _order(self, order: Order, gauge: Gauge, outcome: Outcome) -> None:
        """Sign one command for each zone. The counter never falls below the clock, so that even a lost state file goes
        on above what the loudspeakers have seen."""
        now = now_ms()
        commune = gauge.registry.commune.id
        for zone in order.zones:
            self._counter = max(self._counter + 1, now)
            command = Command(
                iss=self._key.issuer,
                commune=commune,
                aud=f"zone/{zone}",
                jti=str(uuid.uuid4()),
                ctr=self._counter,
                iat=now / 1000,
                nbf=now / 1000,
                exp=now / 1000 + self._settings.command_valid_s,
                action=order.play,
            )
            topic = Topic(commune, Kind.ZONE, zone, Channel.COMMAND)
            token = self._key.sign(command.model_dump_json().encode())
            expires_ms = now + round(self._settings.command_valid_s * 1000)
            outcome.commands.append(Outgoing(self._counter, str(topic), token, expires_ms))
            detail = f"{order.play.play} for zone {zone}, delegated by {order.delegated_by}"
            outcome.journal.append(Entry(now, gauge.sensor.id, "ordered", detail))

    def _remember(self, outcome: Outcome) -> None:
        """Make an outcome durable. A disk that takes nothing must not silence a siren: then it goes out all the same,
        and a loudspeaker that hears it twice plays it once, by its name."""
        if not (outcome.windows or outcome.data or outcome.documents):
            return
        try:
            self._memory.keep(
                outcome.states,
                outcome.windows,
                outcome.data,
                outcome.documents.values(),
                outcome.commands,
                outcome.journal,
            )
        except sqlite3.Error as error:
            log.error(
                "the alert state can't be written (%s): going on from memory; a restart now would forget counts, "
                "so free the disk",
                error,
            )

    # -- speaking -----------------------------------------------------------------------------------------------

    async def send_commands(self) -> None:
        """Publish signed commands in order; each is forgotten only when the broker has it or it has expired."""
        while True:
            while not self._outgoing:
                self._to_send.clear()
                await self._to_send.wait()
            command = self._outgoing[0]
            left_s = (command.expires_ms - now_ms()) / 1000
            if left_s > 0:
                try:
                    await self._link.publish(command.topic, command.payload, expiry_s=max(1, int(left_s)))
                    COMMANDS.inc()
                except Refused as error:
                    log.error("%s: the command was not taken: %s; check the broker's acl", command.topic, error)
            else:
                log.error("%s: a command expired before the broker could be reached", command.topic)
            self._outgoing.popleft()
            with contextlib.suppress(sqlite3.Error):  # it would be sent again after a restart, and refused as a copy
                self._memory.sent(command.counter)

    def _publish(self, document: AlertDocument) -> None:
        topic = Topic(document.commune, Kind.ALERT, document.id)
        self._link.send(str(topic), document.to_bytes(), retain=True).add_done_callback(_log_refusal)

    def _publish_all(self) -> None:
        """After a connect: the broker may have forgotten our retained documents."""
        for document in self._alerts.values():
            self._publish(document)


def _log_refusal(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.error("an alert could not be published: %s; check the broker's acl", error)
