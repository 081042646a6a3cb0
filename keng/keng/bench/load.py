"""Background load: readings of sensors that are no gauge, published under one edge identity at a steady rate."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from keng_contracts.telemetry import Clock, Pack, Reading, encode
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import new_boot_id, now_ms
from keng_runtime.mqtt import Link
from keng_runtime.settings import BrokerSettings

_PACK = 10


async def publish(broker: BrokerSettings, commune: str, node: str, readings_per_s: float) -> None:
    """Publish packs of ten readings for ever; a pack that is late is followed by the next one at once."""
    topic = str(Topic(commune, Kind.EDGE, node, Channel.TELEMETRY))
    loop = asyncio.get_running_loop()
    async with Link(broker) as link:
        await link.wait_connected()
        boot, seq, due = new_boot_id(), 0, loop.time()
        while True:
            seq += 1
            now = now_ms()
            readings = tuple(Reading(f"{commune}/nen/s-{i}", now, float(seq % 100), "1") for i in range(_PACK))
            await link.publish(topic, encode(Pack(boot, seq, Clock.SYNCED, now, readings)))
            due += _PACK / readings_per_s
            await asyncio.sleep(max(0.0, due - loop.time()))


if __name__ == "__main__":
    host, port, credentials, commune, node, rate = sys.argv[1:]
    settings = BrokerSettings(host=host, port=int(port), credentials=Path(credentials))
    asyncio.run(publish(settings, commune, node, float(rate)))
