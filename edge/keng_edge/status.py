"""The node's own word about itself, published retained: at every connect, on change, and every few seconds."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib.metadata import version
from typing import Literal, NoReturn

from keng_contracts.status import EdgeReply, EdgeStatus
from keng_edge.orders import Orders
from keng_edge.outbox.keeper import Keeper
from keng_edge.outbox.outbox import Boot
from keng_edge.sources.source import Health
from keng_runtime.clock import clock_state, now_ms
from keng_runtime.mqtt import Link, Will

VERSION = version("keng-edge")
EVERY_S = 10.0
#: A flickering line must not flood the link with status documents.
PAUSE_S = 1.0


class Status:
    """What the status document says, and when it is published. ``problem`` is one that no part of the agent has."""

    def __init__(self, topic: str, boot: Boot, health: Health, keeper: Keeper, orders: Orders) -> None:
        self.topic = topic
        self._boot = boot
        self._health = health
        self._keeper = keeper
        self._orders = orders
        self.changed = asyncio.Event()
        self.reply: EdgeReply | None = None
        self.problem = ""

    def answer(self, reply: EdgeReply) -> None:
        self.reply = reply
        self.changed.set()

    def last_will(self) -> Will:
        """What the broker says when we vanish: no more than that."""
        will = EdgeStatus(state="offline", version=VERSION, boot=self._boot.id, at_ms=now_ms())
        return Will(self.topic, will.model_dump_json().encode())

    def publish(self, link: Link, state: Literal["online", "offline"] = "online") -> None:
        """Now, if the link is there."""
        if link.connected:
            link.send(self.topic, self._document(state), retain=True).add_done_callback(_look)

    async def keep_published(self, link: Link) -> NoReturn:
        while True:
            self.changed.clear()
            self.publish(link)
            await asyncio.sleep(PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S - PAUSE_S):
                    await self.changed.wait()

    def _document(self, state: Literal["online", "offline"]) -> bytes:
        depth, now = self._keeper.depth, now_ms()
        document = EdgeStatus(
            state=state,
            version=VERSION,
            boot=self._boot.id,
            at_ms=now,
            clock=clock_state(),
            outbox_readings=depth.readings + self._keeper.held,
            outbox_age_s=0.0 if depth.oldest_ms is None else max(0, now - depth.oldest_ms) / 1000,
            committed=depth.committed,
            dropped=self._keeper.dropped,
            refused=self._orders.refused,
            problems=[*([self.problem] if self.problem else []), *self._keeper.problems()],
            reply=self.reply,
            sources=self._health.report(),
        )
        return document.model_dump_json().encode()


def _look(future: asyncio.Future[None]) -> None:
    """A refused status is no reason to stop; the uplink says it of the telemetry."""
    if not future.cancelled():
        future.exception()
