"""A message that goes round through the broker: proof that this process is still served, and not the client's word.

It is sent on a topic of our own, QoS 0, past the queue of telemetry: a store that is away must not look like a broker
that is. While none has come back for :data:`PATIENCE_S` the watchdog of systemd is not fed.
"""

from __future__ import annotations

import asyncio
import logging
import time

from prometheus_client import Gauge, Histogram

from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.mqtt import Link

log = logging.getLogger(__name__)

EVERY_S = 5.0
PATIENCE_S = 30.0

ROUND = Histogram("keng_ingest_canary_seconds", "Round trip of the canary through the broker")
SEEN = Gauge("keng_ingest_canary_seen_timestamp_seconds", "When the canary last came back, seconds since 1970 UTC")


class Canary:
    """Sends one every few seconds once :meth:`fly` runs; :meth:`alive` is the verdict."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._number = 0
        self._sent_at: dict[bytes, float] = {}
        self._seen_at = time.monotonic()
        self._complained = False

    def alive(self) -> bool:
        """Whether one has come back lately; a start counts as one."""
        return time.monotonic() - self._seen_at < PATIENCE_S

    async def fly(self, commune: str) -> None:
        """Send for ever on this commune's topic."""
        topic = str(Topic(commune, Kind.INGEST, self._link.identity, Channel.CANARY))
        await self._link.hear(topic, self._back)
        while True:
            if self._link.connected:
                self._number += 1
                payload = b"%d" % self._number
                self._sent_at = {payload: time.monotonic()}  # one that comes after the next is too late to count
                self._link.send(topic, payload, qos=0)
            if not self.alive() and not self._complained:
                self._complained = True
                log.error("no canary came back through the broker for %.0f s", PATIENCE_S)
            await asyncio.sleep(EVERY_S)

    def _back(self, payload: bytes) -> None:
        sent = self._sent_at.pop(payload, None)
        if sent is None:
            return
        self._seen_at = time.monotonic()
        self._complained = False
        ROUND.observe(self._seen_at - sent)
        SEEN.set_to_current_time()
