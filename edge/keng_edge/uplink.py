"""The uplink: publishes packs until ingest has receipted them.

What is new goes out as soon as it is committed, alarms first, whether or not ingest answers: alerts listens too.
Beside it the backlog is sent in the outbox's order (alarms, then oldest first), a bounded number of packs at a time.
The broker's acknowledgement only says that the broker has a pack; a receipt alone lets the outbox delete it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from pydantic import ValidationError

from keng_contracts.errors import Problem
from keng_contracts.receipts import Receipt
from keng_contracts.topics import Channel, Kind, Topic
from keng_edge.outbox.keeper import Keeper
from keng_edge.outbox.outbox import Stored
from keng_edge.window import Window
from keng_runtime.mqtt import Link, Message, Refused

log = logging.getLogger(__name__)

#: Packs of the backlog that are under way at a time.
WINDOW = 100
#: Packs that the broker has not acknowledged: a link that carries nothing must not fill our memory.
MAX_UNACKNOWLEDGED = 500
#: Commands that wait to be judged; who sends more than that is not heard.
MAX_COMMANDS = 20
#: A refused subscription is tried again after this time.
RETRY_S = 30.0


class Uplink:
    """The traffic of one edge node with ingest, over a link that reconnects by itself."""

    def __init__(self, link: Link, keeper: Keeper, commune: str, receipt_timeout_s: float) -> None:
        self._link = link
        self._keeper = keeper
        self._telemetry = str(Topic(commune, Kind.EDGE, link.identity, Channel.TELEMETRY))
        self._receipts = str(Topic(commune, Kind.EDGE, link.identity, Channel.RECEIPT))
        self._commands = str(Topic(commune, Kind.EDGE, link.identity, Channel.COMMAND))
        self.commands: asyncio.Queue[bytes] = asyncio.Queue(MAX_COMMANDS)
        self.receipted = asyncio.Event()
        self._receipt_timeout_s = receipt_timeout_s
        self._window = Window(WINDOW, receipt_timeout_s)
        self._unacknowledged: dict[asyncio.Future[None], int] = {}
        self._wake = asyncio.Event()
        self._refused = ""
        link.at_every_connect(self._connected)

    def publish_fresh(self, packs: Sequence[Stored]) -> None:
        """Send what was just committed, if the link is there; else it is backlog."""
        for pack in packs:
            if self._link.connected and len(self._unacknowledged) < MAX_UNACKNOWLEDGED:
                self._send(pack, fresh=True)
            elif pack.id >= 0:
                self._wake.set()

    def look(self) -> None:
        """There may be a backlog."""
        self._wake.set()

    async def send_backlog(self) -> NoReturn:
        """Keep the window filled for as long as the outbox holds more."""
        while True:
            await self._link.wait_connected()
            self._wake.clear()
            self._window.expire(time.monotonic())
            room = self._window.room()
            if room and self._keeper.depth.packs > len(self._window.ids):
                for pack in await self._keeper.next_batch(room, frozenset(self._window.ids)):
                    if pack.id not in self._window and self._link.connected:
                        self._send(pack)
            await self._something_to_do()

    async def _something_to_do(self) -> None:
        now = time.monotonic()
        expiry = self._window.next_expiry() or now + self._receipt_timeout_s  # by then what is fresh now may be late
        try:
            async with asyncio.timeout(max(0.0, expiry - now)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def take_receipts(self) -> NoReturn:
        """Let the outbox go of what ingest has receipted."""
        await self._subscribe()
        while True:
            messages = await self._link.batch(200)
            for command in (message for message in messages if message.topic == self._commands):
                with suppress(asyncio.QueueFull):
                    self.commands.put_nowait(command.payload)
            answers = [message for message in messages if message.topic == self._receipts]
            receipts = [receipt for message in answers if (receipt := _read(message)) is not None]
            settled = await self._keeper.receipted(receipts)
            self._window.settled(settled.ids)
            if receipts:
                self.receipted.set()
            if settled.dead:
                reasons = "; ".join(dict.fromkeys(settled.dead))
                log.warning("ingest could not use %d of our packs and keeps them aside: %s", len(settled.dead), reasons)
            for message in messages:
                message.ack()
            self._wake.set()

    async def _subscribe(self) -> None:
        while True:
            try:
                # Together: who sees us online may send a command at once.
                await asyncio.gather(self._link.subscribe(self._receipts), self._link.subscribe(self._commands))
                return
            except Refused as error:
                log.error("%s", Problem(str(error), where=self._receipts, todo="check the broker's acl", retried=True))
                await asyncio.sleep(RETRY_S)

    async def drained(self) -> None:
        """Returns when the broker has acknowledged all that was sent."""
        while self._unacknowledged:
            await asyncio.wait(self._unacknowledged)

    def _send(self, pack: Stored, *, fresh: bool = False) -> None:
        future = self._link.send(self._telemetry, pack.payload)
        self._unacknowledged[future] = pack.id
        future.add_done_callback(self._acknowledged)
        if pack.id >= 0:
            self._keeper.sent(pack)
            self._window.sent(pack.id, time.monotonic(), fresh=fresh)

    def _acknowledged(self, future: asyncio.Future[None]) -> None:
        self._unacknowledged.pop(future, None)
        if future.cancelled():
            return
        error = future.exception()
        if error is not None and str(error) != self._refused:
            log.error("%s", Problem(str(error), where=self._telemetry, todo="check the broker's acl", retried=True))
        self._refused = str(error or "")

    def _connected(self) -> None:
        """What the broker has not acknowledged is sent again by the link itself; the rest of what waits, by us."""
        self._window.reset(keep=set(self._unacknowledged.values()))
        self._wake.set()


def _read(message: Message) -> Receipt | None:
    try:
        return Receipt.model_validate_json(message.payload)
    except ValidationError:
        log.warning("%s: a receipt can't be read and is left: %.80r", message.topic, message.payload)
        return None
