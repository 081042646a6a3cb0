"""The MQTT adapter against a real broker: what it promises to whoever consumes and publishes through it."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from keng_contracts.errors import Problem
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_runtime.mqtt import MAX_PAYLOAD_BYTES, Link, Refused
from keng_runtime.settings import BrokerSettings
from tests.support.broker import RunningBroker, credentials
from tests.support.processes import Process, free_port, until

TELEMETRY = str(Topic("quang-tho", Kind.EDGE, "tram-phu-oc", Channel.TELEMETRY))
STATUS = str(Topic("quang-tho", Kind.EDGE, "tram-phu-oc", Channel.STATUS))
REGISTRY = str(Topic("quang-tho", Kind.REGISTRY))
ALL_TELEMETRY = pattern(Kind.EDGE, Channel.TELEMETRY)


async def take(link: Link, count: int) -> list[bytes]:
    """The payloads of the next ``count`` messages, each acknowledged."""
    payloads: list[bytes] = []
    while len(payloads) < count:
        async with asyncio.timeout(20):
            for message in await link.batch(count - len(payloads)):
                payloads.append(message.payload)
                message.ack()
    return payloads


def consumer(broker: RunningBroker, receive_maximum: int = 1000) -> Link:
    return Link(broker.settings("ingest"), session_expiry_s=3600, receive_maximum=receive_maximum)


async def test_a_message_comes_again_until_it_is_acknowledged(broker: RunningBroker) -> None:
    async with Link(broker.settings("tram-phu-oc")) as edge:
        async with consumer(broker) as link:
            await link.subscribe(ALL_TELEMETRY)
            await edge.publish(TELEMETRY, b"first")
            assert [m.payload for m in await link.batch(1)] == [b"first"]  # and dies before its commit
        async with consumer(broker) as link:
            assert await take(link, 1) == [b"first"]
        async with consumer(broker) as link:
            await edge.publish(TELEMETRY, b"second")
            assert await take(link, 1) == [b"second"]


async def test_an_acknowledgement_is_void_once_its_connection_is_lost(broker: RunningBroker) -> None:
    async with consumer(broker) as link:
        await link.subscribe(ALL_TELEMETRY)
        async with Link(broker.settings("tram-phu-oc")) as edge:
            await edge.publish(TELEMETRY, b"first")
            await edge.publish(TELEMETRY, b"second")
        (first,) = await link.batch(1)
        broker.stop()
        await until(lambda: not link.connected)
        broker.start()
        await until(lambda: link.connected)
        first.ack()
        # What was left in the queue of the lost connection is not handed out beside what comes again.
        assert [(await link.batch(1))[0].payload for _ in range(2)] == [b"first", b"second"]
    async with consumer(broker) as link:
        assert await take(link, 2) == [b"first", b"second"]


async def test_what_was_received_stays_when_the_broker_has_forgotten_the_session(broker: RunningBroker) -> None:
    async with Link(broker.settings("ingest"), session_expiry_s=0) as link:
        await link.subscribe(ALL_TELEMETRY)
        async with Link(broker.settings("tram-phu-oc")) as edge:
            await edge.publish(TELEMETRY, b"first")
            await until(lambda: link._inbox, what="the message has come")
            broker.kill()
            await until(lambda: not link.connected)
            broker.start()
            await link.subscribe(ALL_TELEMETRY)
            await edge.publish(TELEMETRY, b"second")
        assert await take(link, 2) == [b"first", b"second"]


async def test_the_broker_sends_no_more_than_may_wait(broker: RunningBroker) -> None:
    async with consumer(broker, receive_maximum=3) as link:
        await link.subscribe(ALL_TELEMETRY)
        async with Link(broker.settings("tram-phu-oc")) as edge:
            for number in range(10):
                await edge.publish(TELEMETRY, b"%d" % number)
        first = await link.batch(10, linger_s=0.2)
        assert [m.payload for m in first] == [b"0", b"1", b"2"]
        for message in first:
            message.ack()
        assert await take(link, 7) == [b"%d" % number for number in range(3, 10)]


async def test_a_publish_waits_out_a_broker_that_was_killed(broker: RunningBroker) -> None:
    async with Link(broker.settings("tram-phu-oc")) as edge:
        await edge.wait_connected()
        broker.kill()
        await until(lambda: not edge.connected)
        waiting = asyncio.create_task(edge.publish(STATUS, b"here", retain=True))
        broker.start()
        async with asyncio.timeout(20):
            await waiting
    async with Link(broker.settings("console")) as console:
        await console.subscribe(STATUS)
        assert await take(console, 1) == [b"here"]


async def test_a_link_may_be_made_before_its_broker_is_there(broker: RunningBroker) -> None:
    broker.stop()
    async with Link(broker.settings("console")) as console:
        subscribed = asyncio.create_task(console.subscribe(STATUS))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(subscribed), 0.05)
        broker.start()
        async with asyncio.timeout(20):
            await subscribed
        async with Link(broker.settings("tram-phu-oc")) as edge:
            await edge.publish(STATUS, b"here")
        assert await take(console, 1) == [b"here"]


async def test_a_subscription_is_granted_though_the_broker_dies_before_it_answers(broker: RunningBroker) -> None:
    async with Link(broker.settings("console")) as console:
        await console.wait_connected()
        broker.kill()  # the link does not know it yet
        subscribed = asyncio.create_task(console.subscribe(STATUS))
        await until(lambda: not console.connected)
        broker.start()
        async with asyncio.timeout(20):
            await subscribed


async def test_subscriptions_are_made_again_when_the_broker_has_lost_them(broker: RunningBroker) -> None:
    connects: list[bool] = []
    async with Link(broker.settings("console")) as console, Link(broker.settings("tram-phu-oc")) as edge:
        console.at_every_connect(lambda: connects.append(console.connected))
        await console.subscribe(STATUS)
        assert connects == [True]
        broker.kill()
        await until(lambda: not console.connected)
        broker.start()
        await until(lambda: len(connects) == 2)
        await edge.publish(STATUS, b"here", retain=True)
        assert await take(console, 1) == [b"here"]


async def test_a_batch_waits_for_more_until_it_is_full_or_the_time_is_over(broker: RunningBroker) -> None:
    async with consumer(broker) as link, Link(broker.settings("tram-phu-oc")) as edge:
        await link.subscribe(ALL_TELEMETRY)

        async def publish_slowly() -> None:
            for number in range(5):
                await edge.publish(TELEMETRY, b"%d" % number)
                await asyncio.sleep(0.02)

        publishing = asyncio.create_task(publish_slowly())
        assert [m.payload for m in await link.batch(4, linger_s=60)] == [b"0", b"1", b"2", b"3"]
        await publishing
        assert [m.payload for m in await link.batch(4, linger_s=0.01)] == [b"4"]


async def test_without_lingering_a_batch_takes_what_is_there(broker: RunningBroker) -> None:
    async with consumer(broker) as link, Link(broker.settings("tram-phu-oc")) as edge:
        await link.subscribe(ALL_TELEMETRY)
        for number in range(3):
            await edge.publish(TELEMETRY, b"%d" % number)
        await until(lambda: len(link._inbox) == 3)
        assert [m.payload for m in await link.batch(2)] == [b"0", b"1"]
        assert [m.payload for m in await link.batch(2)] == [b"2"]


async def test_messages_are_handed_out_one_by_one(broker: RunningBroker) -> None:
    seen: list[tuple[str, bytes, bool]] = []
    async with Link(broker.settings("console")) as console, Link(broker.settings("tram-phu-oc")) as edge:
        await edge.publish(STATUS, b"retained", retain=True)
        await console.subscribe(STATUS)
        await until(lambda: console._inbox)
        await edge.publish(STATUS, b"live", retain=True)
        async for message in console.messages():
            message.ack()
            seen.append((message.topic, message.payload, message.retain))
            if len(seen) == 2:
                break
    assert seen == [(STATUS, b"retained", True), (STATUS, b"live", False)]


async def test_an_expired_message_is_not_delivered(broker: RunningBroker) -> None:
    speaker = broker.settings("loa-phuoc-yen")
    topic = str(Topic("quang-tho", Kind.SPEAKER, "loa-phuoc-yen", Channel.COMMAND))
    async with Link(broker.settings("alerts")) as alerts:
        async with Link(speaker, session_expiry_s=600) as link:
            await link.subscribe(topic)
        await alerts.publish(topic, b"old", expiry_s=1)
        await alerts.publish(topic, b"lasting", expiry_s=600)
        await asyncio.sleep(2.1)  # the broker counts whole seconds of its own
        async with Link(speaker, session_expiry_s=600) as link:
            assert await take(link, 1) == [b"lasting"]


async def test_a_refused_publish_fails_and_the_link_goes_on(broker: RunningBroker) -> None:
    async with Link(broker.settings("tram-phu-oc")) as edge:
        with pytest.raises(Refused, match="Not authorized"):
            await edge.publish(REGISTRY, b"forged", retain=True)
        await edge.publish(TELEMETRY, b"mine")


async def test_a_payload_that_the_broker_would_not_take_is_refused_here(broker: RunningBroker) -> None:
    connects: list[bool] = []
    async with Link(broker.settings("tram-phu-oc")) as edge:
        edge.at_every_connect(lambda: connects.append(True))
        with pytest.raises(Refused, match="more than the broker takes"):
            await edge.publish(TELEMETRY, bytes(MAX_PAYLOAD_BYTES + 1))
        await edge.publish(TELEMETRY, bytes(MAX_PAYLOAD_BYTES))
    assert connects == [True]


async def test_more_messages_than_have_a_number_are_refused_and_the_others_wait() -> None:
    """Message ids of MQTT end at 65,535."""
    settings = BrokerSettings(host="127.0.0.1", port=free_port(), credentials=credentials() / "tram-phu-oc")
    async with Link(settings) as edge:
        waiting = [edge.send(TELEMETRY, b"x") for _ in range(65_535)]
        with pytest.raises(Refused, match="too many"):
            await edge.publish(TELEMETRY, b"x")
        assert not any(future.done() for future in waiting)


async def test_what_was_sent_while_the_link_was_down_comes_in_its_order(broker: RunningBroker) -> None:
    payloads = [b"%d" % number for number in range(3000)]
    async with consumer(broker) as ingest:
        await ingest.subscribe(ALL_TELEMETRY)
        async with Link(broker.settings("tram-phu-oc")) as edge:
            await asyncio.gather(*(edge.send(TELEMETRY, payload) for payload in payloads))
        assert await take(ingest, len(payloads)) == payloads


async def test_what_is_given_up_while_the_link_is_down_is_not_sent(broker: RunningBroker) -> None:
    broker.stop()
    async with Link(broker.settings("tram-phu-oc")) as edge:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(edge.publish(STATUS, b"given up", retain=True), 0.05)
        broker.start()
        await edge.publish(TELEMETRY, b"x")
    async with Link(broker.settings("console")) as console:
        await console.subscribe(STATUS)
        async with Link(broker.settings("tram-phu-oc")) as edge:
            await edge.publish(STATUS, b"new")
        assert await take(console, 1) == [b"new"]


VANISHING = """
import asyncio, sys
from pathlib import Path
from keng_runtime.mqtt import Link, Will
from keng_runtime.settings import BrokerSettings

async def main():
    settings = BrokerSettings(host="127.0.0.1", port=int(sys.argv[1]), credentials=Path(sys.argv[2]))
    async with Link(settings, will=Will(sys.argv[3], b"offline")) as link:
        await link.publish(sys.argv[3], b"online", retain=True)
        print("connected", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_last_will_is_said_and_retained_when_a_service_vanishes(
    broker: RunningBroker, tmp_path: Path
) -> None:
    folder = broker.credentials / "tram-phu-oc"
    command = [sys.executable, "-c", VANISHING, str(broker.port), str(folder), STATUS]
    with Process(command, log=tmp_path / "service.log") as service:
        await asyncio.to_thread(service.says, "connected")
        async with Link(broker.settings("console")) as console:
            await console.subscribe(STATUS)
            assert await take(console, 1) == [b"online"]
            service.kill()
            assert await take(console, 1) == [b"offline"]
    async with Link(broker.settings("console")) as console:
        await console.subscribe(STATUS)
        assert await take(console, 1) == [b"offline"]


async def test_a_broker_that_is_not_there_is_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with caplog.at_level(logging.WARNING):
        async with Link(BrokerSettings(host="127.0.0.1", port=port, credentials=credentials() / "tram-phu-oc")):
            await until(lambda: caplog.messages)
            await asyncio.sleep(1.5)  # long enough for a second attempt
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"broker 127.0.0.1:{port}: can't be reached")
    assert caplog.messages[0].endswith("(retried by itself)")


def test_credentials_that_are_not_there_are_a_problem_that_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="keng provision"):
        Link(BrokerSettings(credentials=tmp_path / "nowhere"))
    with pytest.raises(Problem, match=r"ca\.crt: is missing"):
        Link(BrokerSettings(credentials=tmp_path))
