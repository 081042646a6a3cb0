"""What the broker keeps for whoever is away, and over its own restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker

TELEMETRY = f"keng/v1/{COMMUNE}/edge/tram-phu-oc/telemetry"
STATUS = f"keng/v1/{COMMUNE}/edge/tram-phu-oc/status"


async def take(link: Link, count: int) -> list[bytes]:
    payloads: list[bytes] = []
    while len(payloads) < count:
        async with asyncio.timeout(20):
            for message in await link.batch(count - len(payloads)):
                payloads.append(message.payload)
                message.ack()
    return payloads


async def leave_a_session(broker: RunningBroker, identity: str = "ingest") -> None:
    async with Link(broker.settings(identity), session_expiry_s=3600) as link:
        await link.subscribe(TELEMETRY)


async def publish(broker: RunningBroker, payloads: list[bytes]) -> None:
    async with Link(broker.settings("tram-phu-oc")) as edge:
        await asyncio.gather(*(edge.send(TELEMETRY, payload) for payload in payloads))


async def test_far_more_than_mosquittos_own_thousand_wait_for_a_consumer_in_their_order(broker: RunningBroker) -> None:
    await leave_a_session(broker)
    payloads = [b"%d" % number for number in range(5000)]
    await publish(broker, payloads)
    async with Link(broker.settings("ingest"), session_expiry_s=3600) as ingest:
        assert await take(ingest, len(payloads)) == payloads


async def test_what_waits_and_what_is_retained_survive_a_restart(broker: RunningBroker) -> None:
    await leave_a_session(broker)
    await publish(broker, [b"one", b"two"])
    async with Link(broker.settings("tram-phu-oc")) as edge:
        await edge.publish(STATUS, b"online", retain=True)
    broker.stop()
    assert broker.process.status == 0
    broker.start()
    async with Link(broker.settings("ingest"), session_expiry_s=3600) as ingest:
        assert await take(ingest, 2) == [b"one", b"two"]
    async with Link(broker.settings("console")) as console:
        await console.subscribe(STATUS)
        assert await take(console, 1) == [b"online"]


async def test_each_consumer_has_a_queue_of_its_own(broker: RunningBroker) -> None:
    await leave_a_session(broker, "ingest")
    await leave_a_session(broker, "console")
    await publish(broker, [b"one", b"two"])
    for identity in ("ingest", "console"):
        async with Link(broker.settings(identity), session_expiry_s=3600) as link:
            assert await take(link, 2) == [b"one", b"two"]


async def test_the_queue_of_a_consumer_that_never_comes_back_is_bounded_by_bytes(broker: RunningBroker) -> None:
    """150 MiB for a consumer that is away: what is over 128 MiB is dropped and said so, and the broker goes on."""
    await leave_a_session(broker)
    block = bytes(1 << 20)
    async with Link(broker.settings("tram-phu-oc")) as edge:
        for _ in range(10):
            await asyncio.gather(*(edge.send(TELEMETRY, block) for _ in range(15)))
        assert "Outgoing messages are being dropped for client ingest" in broker.text()
        assert resident_bytes(broker.process.pid) < 220 << 20
        await edge.publish(STATUS, b"online")


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
