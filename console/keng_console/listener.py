"""From MQTT into what is known, and evidence into the database. Thin: every rule is elsewhere.

Telemetry is subscribed at QoS 0: the page shows the newest, and the store has the rest. All else comes at QoS 1 into
a session that outlives a restart. A playback event is acknowledged and receipted only after its commit; while the
database does not answer, events wait unacknowledged (the broker sends no more than the receive maximum).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError

from keng_console import plausible
from keng_console.database import Database, DatabaseUnavailable, Evidence
from keng_console.live import Heard, Live
from keng_contracts.alerts import AlertDocument
from keng_contracts.playback import PlaybackEvent
from keng_contracts.receipts import Receipt, to_ranges
from keng_contracts.status import EdgeStatus, NotifyStatus, SpeakerStatus
from keng_contracts.telemetry import BadPack, decode
from keng_contracts.topics import BadTopic, Channel, Kind, Topic, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Message, Refused
from keng_runtime.settings import explain

log = logging.getLogger(__name__)

D = TypeVar("D", bound=BaseModel)

BATCH = 200
#: No status, alert or playback event is near this size, in bytes.
MAX_DOCUMENT_BYTES = 256 * 1024
RETRY_MIN_S, RETRY_MAX_S = 1.0, 30.0


class _Name(BaseModel):
    """What a receipt needs of an event."""

    boot: str = Field(pattern=r"^[0-9a-f]{8,32}$")
    seq: int = Field(ge=0, lt=1 << 53)


class Listener:
    """``changed`` is called when something came that a page should show at once, ``edge_said`` with every status of
    an edge node, ``played`` with every step on a loudspeaker once it is kept."""

    def __init__(
        self,
        link: Link,
        live: Live,
        database: Database,
        changed: Callable[[], None],
        edge_said: Callable[[str, EdgeStatus], None],
        played: Callable[[str, PlaybackEvent], None],
    ) -> None:
        self._link = link
        self._live = live
        self._database = database
        self._changed = changed
        self._edge_said = edge_said
        self._played = played
        self._evidence: asyncio.Queue[Message] = asyncio.Queue()  # bounded by the link's receive maximum
        self._complained: set[str] = set()

    async def listen(self, commune: str) -> None:
        """Subscribe to one commune, and take what comes."""
        await self._link.subscribe(pattern(Kind.EDGE, Channel.STATUS, commune=commune))
        await self._link.subscribe(pattern(Kind.SPEAKER, Channel.STATUS, commune=commune))
        await self._link.subscribe(pattern(Kind.NOTIFY, Channel.STATUS, commune=commune))
        await self._link.subscribe(pattern(Kind.SPEAKER, Channel.PLAYBACK, commune=commune))
        await self._link.subscribe(pattern(Kind.ALERT, commune=commune))
        await self._link.subscribe(pattern(Kind.EDGE, Channel.TELEMETRY, commune=commune), qos=0)
        while True:
            for message in await self._link.batch(BATCH):
                self._take(message)
            await asyncio.sleep(0)  # a flood of telemetry must not starve the pages

    def _take(self, message: Message) -> None:
        try:
            topic = Topic.parse(message.topic)
            if topic.channel is Channel.PLAYBACK:
                self._evidence.put_nowait(message)
                return
            self._apply(topic, message)
        except (BadTopic, BadPack, ValueError) as error:
            self._complain(message.topic, error)
        message.ack()

    def _apply(self, topic: Topic, message: Message) -> None:
        """Into what is known. Raises ValueError (of which BadPack and ValidationError are) for what can't be read."""
        name, now = topic.id or "", now_ms()
        if topic.channel is Channel.TELEMETRY:
            self._live.telemetry(name, decode(message.payload), now)
            return
        if len(message.payload) > MAX_DOCUMENT_BYTES:
            raise ValueError(f"is larger than {MAX_DOCUMENT_BYTES} bytes")
        if topic.kind is Kind.ALERT:
            self._live.alert(name, _document(AlertDocument, message.payload) if message.payload else None)
        elif topic.channel is Channel.STATUS and message.payload:
            # A retained status was said before we came: its own time is the better one.
            if topic.kind is Kind.EDGE:
                edge = _document(EdgeStatus, message.payload)
                self._live.edge_status(name, edge, edge.at_ms if message.retain else now)
                self._edge_said(name, edge)
            elif topic.kind is Kind.NOTIFY:
                told = _document(NotifyStatus, message.payload)
                self._live.notifier = Heard(told, told.at_ms if message.retain else now)
            else:
                speaker = _document(SpeakerStatus, message.payload)
                self._live.speaker_status(name, speaker, speaker.at_ms if message.retain else now)
        self._changed()

    async def keep_evidence(self) -> None:
        """Commit playback events, then receipt them, then acknowledge them, in that order and for ever."""
        retry_s = RETRY_MIN_S
        while True:
            messages = [await self._evidence.get()]
            while len(messages) < BATCH and not self._evidence.empty():
                messages.append(self._evidence.get_nowait())
            rows = [row for row in map(self._read, messages) if row is not None]
            while rows:
                try:
                    await asyncio.to_thread(self._database.keep_playback, rows)
                    retry_s = RETRY_MIN_S
                    break
                except DatabaseUnavailable as error:
                    log.warning("playback events wait for the database (%s); again in %.0f s", error, retry_s)
                    await asyncio.sleep(retry_s)
                    retry_s = min(2 * retry_s, RETRY_MAX_S)
            self._receipt(rows)
            for message in messages:
                message.ack()
            for row in rows:
                if row.event is not None:
                    self._live.played(row.node, row.event)
                    self._played(row.node, row.event)
            self._changed()

    def _read(self, message: Message) -> Evidence | None:
        """An event from its bytes. One that can't be understood but names itself is kept as it came, and receipted;
        what names nothing can't be, and is told and let go."""
        node = Topic.parse(message.topic).id or ""
        try:
            if len(message.payload) > MAX_DOCUMENT_BYTES:
                raise ValueError(f"is larger than {MAX_DOCUMENT_BYTES} bytes")
            event = _document(PlaybackEvent, message.payload)
            return Evidence(node, event.boot, event.seq, event, message.payload, now_ms())
        except ValueError as error:
            self._complain(message.topic, error)
        try:
            name = _Name.model_validate_json(message.payload[:MAX_DOCUMENT_BYTES])
            return Evidence(node, name.boot, name.seq, None, message.payload, now_ms())
        except ValueError:
            return None

    def _receipt(self, rows: list[Evidence]) -> None:
        boots: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in rows:
            boots[row.node, row.boot].append(row.seq)
        commune = self._live.registry.commune.id if self._live.registry else ""
        for (node, boot), seqs in boots.items():
            topic = Topic(commune, Kind.SPEAKER, node, Channel.PLAYBACK_RECEIPT)
            sent = self._link.send(str(topic), Receipt(boot=boot, stored=to_ranges(seqs)).to_bytes())
            sent.add_done_callback(_told)

    def _complain(self, topic: str, error: Exception) -> None:
        """Once for each topic: a broken sender repeats itself."""
        if topic not in self._complained and len(self._complained) < 1000:
            self._complained.add(topic)
            reason = explain(error) if isinstance(error, ValidationError) else str(error)
            log.warning("%s: a message can't be read (%s); it is left out", topic, reason[:300])


def _told(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and isinstance(error := sent.exception(), Refused):
        log.error("a receipt could not be sent: %s; check the broker's access list", error)


def _document(kind: type[D], payload: bytes) -> D:
    """A document that is well-formed and whose numbers can be meant; raises ValueError."""
    document = kind.model_validate_json(payload)
    plausible.require(document)
    return document
