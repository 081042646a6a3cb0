"""Telemetry as an edge sends it, and an edge's view of what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import Clock, Pack, Reading, encode
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker

BOOT = "6f1c2a90d3e4b7a1"
LEVEL = f"{COMMUNE}/phu-oc/level"


class EdgeInATest:
    """Publishes packs under an edge's own identity and collects the receipts for them."""

    def __init__(self, link: Link, boot: str = BOOT) -> None:
        self.link = link
        self.boot = boot
        self.seq = 0
        self._last_ms = 0
        self.receipted: set[int] = set()
        self.reasons: dict[int, str] = {}

    def topic(self, channel: Channel) -> str:
        return str(Topic(COMMUNE, Kind.EDGE, self.link.identity, channel))

    async def send(self, readings: Iterable[Reading], seq: int | None = None) -> int:
        """Publish one pack; returns its sequence number once the broker has it."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        pack = Pack(self.boot, seq, Clock.SYNCED, max(now_ms(), self._last_ms), tuple(readings))
        await self.link.publish(self.topic(Channel.TELEMETRY), encode(pack))
        return seq

    async def level(self, value: float, time_ms: int | None = None) -> int:
        """Publish one reading of the gauge at Phú Ốc, by default of now; times rise strictly, as an edge keeps them."""
        self._last_ms = time_ms or max(now_ms(), self._last_ms + 1)
        return await self.send([Reading(LEVEL, self._last_ms, value, "m")])

    async def collect(self) -> None:
        """Take what receipts have come."""
        for message in await self.link.batch(1000):
            receipt = Receipt.model_validate_json(message.payload)
            message.ack()
            if receipt.boot == self.boot:
                for first, last in receipt.stored:
                    self.receipted.update(range(first, last + 1))
                for dead in receipt.dead:
                    self.receipted.add(dead.seq)
                    self.reasons[dead.seq] = dead.reason

    async def receipt_for(self, *seqs: int, within: float = 20.0) -> None:
        """Wait until all of these have been receipted."""
        async with asyncio.timeout(within):
            while not set(seqs) <= self.receipted:
                await self.collect()


@asynccontextmanager
async def edge(broker: RunningBroker, node: str = "tram-phu-oc", boot: str = BOOT) -> AsyncIterator[EdgeInATest]:
    """An edge that is connected and hears its receipts."""
    async with Link(broker.settings(node), session_expiry_s=300) as link:
        one = EdgeInATest(link, boot)
        await link.subscribe(one.topic(Channel.RECEIPT))
        yield one


async def retain_registry(broker: RunningBroker, token: bytes) -> None:
    """Publish the registry as the console does."""
    async with Link(broker.settings("console")) as link:
        await link.publish(str(Topic(COMMUNE, Kind.REGISTRY)), token, retain=True)
