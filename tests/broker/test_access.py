"""Who gets in, and who may say and hear what: the shipped access list on a real mosquitto, topic by topic."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keng_broker.provision import VALID, provision
from keng_contracts.topics import CHANNELS, Channel, Kind, pattern
from keng_runtime.credentials import Credentials
from keng_runtime.mqtt import Link, Refused
from tests.support.broker import COMMUNE, NODES, RunningBroker, credentials

SERVICES = ("ingest", "ingest-2", "alerts", "notify", "console", "root")
EVERYONE = (*SERVICES, *NODES)

# Topic: who may publish on it, who may hear it. Written down here a second time, against the shipped list.
RIGHTS: dict[str, tuple[set[str], set[str]]] = {
    "edge/tram-phu-oc/telemetry": ({"tram-phu-oc"}, {"ingest", "ingest-2", "alerts", "console"}),
    "edge/tram-phu-oc/status": ({"tram-phu-oc"}, {"alerts", "console"}),
    "edge/tram-phu-oc/receipt": ({"ingest", "ingest-2"}, {"tram-phu-oc", "console"}),
    "edge/tram-phu-oc/command": ({"console"}, {"tram-phu-oc", "console"}),
    "speaker/loa-phuoc-yen/playback": ({"loa-phuoc-yen"}, {"alerts", "console"}),
    "speaker/loa-phuoc-yen/status": ({"loa-phuoc-yen"}, {"alerts", "console"}),
    "speaker/loa-phuoc-yen/command": ({"alerts", "console"}, {"loa-phuoc-yen", "console"}),
    "speaker/loa-phuoc-yen/programme": ({"console"}, {"loa-phuoc-yen", "console"}),
    "speaker/loa-phuoc-yen/playback-receipt": ({"console"}, {"loa-phuoc-yen", "console"}),
    "zone/ven-song/command": ({"alerts", "console"}, {*EVERYONE}),
    "alert/phu-oc-level/command": ({"console"}, {"alerts", "console"}),
    "alert/phu-oc-level": ({"alerts"}, {"alerts", "notify", "console"}),
    "registry": ({"console"}, {*EVERYONE}),
    "keys": ({"root"}, {*EVERYONE}),
    "ingest/ingest/canary": ({"ingest"}, {"ingest", "console"}),
    "ingest/ingest-2/canary": ({"ingest-2"}, {"ingest-2", "console"}),
    "notify/notify/status": ({"notify"}, {"console"}),
    "voice/loi-noi-1": ({"console"}, {*EVERYONE}),
}


def topic(tail: str) -> str:
    return f"keng/v1/{COMMUNE}/{tail}"


def test_every_channel_is_in_the_table_of_rights() -> None:
    kinds = {
        kind: {dict(enumerate(tail.split("/"))).get(2) for tail in RIGHTS if tail.split("/")[0] == kind}
        for kind in CHANNELS
    }
    assert kinds == {kind: set(channels) for kind, channels in CHANNELS.items()}
    assert {tail.split("/")[0] for tail in RIGHTS} == set(Kind)


@pytest.fixture
async def links(shared_broker: RunningBroker) -> AsyncIterator[dict[str, Link]]:
    """A link of each identity."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            identity: await stack.enter_async_context(Link(shared_broker.settings(identity))) for identity in EVERYONE
        }


async def may_publish(link: Link, topic: str) -> bool:
    async with asyncio.timeout(20):
        try:
            await link.publish(topic, b"")
        except Refused as refused:
            assert "Not authorized" in str(refused)  # reason code 135
            return False
    return True


@pytest.mark.parametrize("tail", RIGHTS)
async def test_only_the_owner_of_a_topic_may_publish_on_it_and_others_are_told(
    links: dict[str, Link], tail: str
) -> None:
    may = {identity for identity, link in links.items() if await may_publish(link, topic(tail))}
    assert may == RIGHTS[tail][0]


@pytest.mark.parametrize(
    "foreign",
    [
        "keng/v1/quang-tho/edge/tram-phu-oc",
        "keng/v1/quang-tho/edge/tram-phu-oc/telemetry/more",
        "keng/v1/quang-tho/speaker/tram-phu-oc/command",
        "keng/v1/quang-tho/zone/ven-song",
        "keng/v1/registry",
        "keng/v2/quang-tho/registry",
        "homeassistant/switch/siren",
        "$SYS/broker/version",
    ],
)
async def test_no_node_may_publish_anywhere_else(links: dict[str, Link], foreign: str) -> None:
    assert not any([await may_publish(links[node], foreign) for node in NODES])


async def hears(links: dict[str, Link], filter_: str) -> dict[str, set[str]]:
    """Which topics of the table reach whom, when all subscribe to ``filter_`` and each topic's owner publishes."""
    marker = topic("registry")
    for link in links.values():
        await link.subscribe(filter_)
        if filter_ != marker:
            await link.subscribe(marker)
    for tail, (owners, _) in RIGHTS.items():
        if tail != "registry":
            await links[min(owners)].publish(topic(tail), b"content")
    # mosquitto hands messages out in the order in which it took them: with the registry, which all may read, all that
    # anybody was to get has come.
    await links["console"].publish(marker, b"end")
    heard: dict[str, set[str]] = {}
    for identity, link in links.items():
        heard[identity] = set()
        while True:
            async with asyncio.timeout(20):
                (message,) = await link.batch(1)
            message.ack()
            heard[identity].add(message.topic)
            if message.payload == b"end":
                break
    return heard


@pytest.mark.parametrize("filter_", ["#", "keng/v1/#", "keng/v1/+/+/+/+"])
async def test_however_widely_one_subscribes_one_hears_only_what_one_may(links: dict[str, Link], filter_: str) -> None:
    heard = await hears(links, filter_)
    deep = filter_.endswith("+")  # leaves out what has fewer levels; the registry is subscribed to in any case
    for identity in EVERYONE:
        expected = {
            topic(tail)
            for tail, (_, readers) in RIGHTS.items()
            if identity in readers and (not deep or tail.count("/") == 2 or tail == "registry")
        }
        assert heard[identity] == expected, identity


async def test_subscribing_to_anothers_topic_by_its_name_brings_nothing(links: dict[str, Link]) -> None:
    thief = links["tram-khac"]
    for tail in RIGHTS:
        await thief.subscribe(topic(tail))
    heard = await hears(links, topic("registry"))
    for_all = {topic(tail) for tail, (_, readers) in RIGHTS.items() if readers == {*EVERYONE}}
    assert heard["tram-khac"] == for_all


async def test_what_was_retained_for_others_is_not_given_out_either(broker: RunningBroker) -> None:
    settings = broker.settings
    async with Link(settings("loa-phuoc-yen")) as speaker, Link(settings("console")) as console:
        await speaker.publish(topic("speaker/loa-phuoc-yen/status"), b"online", retain=True)
        await console.publish(topic("speaker/loa-phuoc-yen/programme"), b"secret", retain=True)
        await console.publish(topic("registry"), b"end", retain=True)
    async with Link(settings("loa-niem-pho")) as other:
        await other.subscribe(topic("speaker/+/+"))
        await other.subscribe(topic("registry"))
        async with asyncio.timeout(20):
            assert [message.payload for message in await other.batch(1)] == [b"end"]


async def test_replicas_of_ingest_share_the_telemetry(broker: RunningBroker) -> None:
    shared = pattern(Kind.EDGE, Channel.TELEMETRY, share="ingest")
    settings = broker.settings
    async with Link(settings("ingest")) as one, Link(settings("ingest-2")) as two, Link(settings("tram-khac")) as edge:
        await one.subscribe(shared)
        await two.subscribe(shared)
        payloads = [b"%d" % number for number in range(20)]
        for payload in payloads:
            await edge.publish(topic("edge/tram-khac/telemetry"), payload)
        taken: list[list[bytes]] = [[], []]
        async with asyncio.timeout(20):
            while sum(map(len, taken)) < len(payloads):
                for link, mine in zip((one, two), taken, strict=True):
                    mine += [message.payload for message in await link.batch(20, linger_s=0.05)]
    assert sorted(taken[0] + taken[1], key=int) == payloads
    assert taken[0] and taken[1]


async def test_whoever_joins_the_share_of_ingest_hears_nothing(broker: RunningBroker) -> None:
    """mosquitto grants it the subscription and deals it packs, which then reach nobody: their edges send them again."""
    shared = pattern(Kind.EDGE, Channel.TELEMETRY, share="ingest")
    settings = broker.settings
    async with Link(settings("ingest")) as ingest, Link(settings("tram-khac")) as thief:
        await ingest.subscribe(shared)
        await thief.subscribe(shared)
        await thief.subscribe(topic("registry"))
        async with Link(settings("tram-phu-oc")) as edge:
            for _ in range(10):
                await edge.publish(topic("edge/tram-phu-oc/telemetry"), b"pack")
        async with Link(settings("console")) as console:
            await console.publish(topic("registry"), b"end")
        async with asyncio.timeout(20):
            assert [message.payload for message in await thief.batch(1)] == [b"end"]
            assert [message.payload for message in await ingest.batch(1)] == [b"pack"]


# -- who gets in ----------------------------------------------------------------------------------------------------


def connect_packet(client_id: str, *, user: str = "", will: str = "") -> bytes:
    """An MQTT 5 CONNECT (section 3.1), by hand: no client library that might refuse to write it."""

    def text(value: str) -> bytes:
        data = value.encode()
        return struct.pack("!H", len(data)) + data

    flags = 0x02 | (0x80 if user else 0) | (0x04 if will else 0)
    body = text("MQTT") + bytes([5, flags]) + struct.pack("!H", 60) + b"\0" + text(client_id)
    if will:
        body += b"\0" + text(will) + text("dead")
    if user:
        body += text(user)
    assert len(body) < 128
    return bytes([0x10, len(body)]) + body


@contextlib.contextmanager
def connection(broker: RunningBroker, tls: ssl.SSLContext | None) -> Iterator[socket.socket]:
    raw = socket.create_connection(("127.0.0.1", broker.port), timeout=20)
    with raw if tls is None else tls.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
        yield sock


def admitted(broker: RunningBroker, tls: ssl.SSLContext | None, packet: bytes | None = None) -> bool:
    """Whether the broker answers a CONNECT with a CONNACK of success."""
    try:
        with connection(broker, tls) as sock:
            sock.sendall(packet or connect_packet("somebody"))
            answer = sock.recv(4)
    except (ssl.SSLError, ConnectionError):
        return False
    return len(answer) == 4 and answer[0] == 0x20 and answer[3] == 0


def trusting_only_the_server() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(credentials() / "ca/ca.crt"))


def presenting(certificate: Path, key: Path) -> ssl.SSLContext:
    context = trusting_only_the_server()
    context.load_cert_chain(certificate, key)
    return context


def test_a_provisioned_identity_is_admitted(shared_broker: RunningBroker) -> None:
    assert admitted(shared_broker, Credentials.open(credentials() / "tram-khac").tls())


def test_without_tls_nobody_is_admitted(shared_broker: RunningBroker) -> None:
    assert not admitted(shared_broker, None)


def test_without_a_certificate_nobody_is_admitted(shared_broker: RunningBroker) -> None:
    assert not admitted(shared_broker, trusting_only_the_server())
    assert not admitted(shared_broker, trusting_only_the_server(), connect_packet("ingest", user="ingest"))


def test_a_certificate_of_another_authority_is_refused(shared_broker: RunningBroker, tmp_path: Path) -> None:
    provision(tmp_path, commune=COMMUNE, nodes=["tram-phu-oc"])
    assert not admitted(shared_broker, presenting(tmp_path / "ingest/node.crt", tmp_path / "ingest/node.key"))


def test_the_brokers_own_certificate_makes_no_client(shared_broker: RunningBroker) -> None:
    broker = credentials() / "broker"
    assert not admitted(shared_broker, presenting(broker / "server.crt", broker / "server.key"))


def test_a_certificate_that_has_ended_is_refused(tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - VALID - timedelta(days=1)
    provision(tmp_path, commune=COMMUNE, nodes=["tram-cu"], now=long_ago)
    provision(tmp_path, commune=COMMUNE, nodes=["tram-moi"])
    with RunningBroker(tmp_path) as broker:
        assert admitted(broker, Credentials.open(tmp_path / "tram-moi").tls())
        assert not admitted(broker, Credentials.open(tmp_path / "tram-cu").tls())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_an_old_tls_is_refused(shared_broker: RunningBroker) -> None:
    context = Credentials.open(credentials() / "tram-khac").tls()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    assert not admitted(shared_broker, context)


async def test_neither_a_client_id_nor_a_user_name_makes_one_another(broker: RunningBroker) -> None:
    """An edge says that it is ingest: it remains itself, and ingest's session is neither ended nor taken over."""
    connects: list[bool] = []
    async with (
        Link(broker.settings("ingest"), session_expiry_s=60) as ingest,
        Link(broker.settings("tram-khac")) as edge,
    ):
        ingest.at_every_connect(lambda: connects.append(True))
        await ingest.subscribe(topic("edge/+/telemetry"))
        with connection(broker, Credentials.open(credentials() / "tram-phu-oc").tls()) as posing:
            posing.sendall(connect_packet("ingest", user="ingest"))
            assert posing.recv(4)[3] == 0
            await edge.publish(topic("edge/tram-khac/telemetry"), b"x")
            async with asyncio.timeout(20):
                (message,) = await ingest.batch(1)
            assert message.payload == b"x"
        assert connects == [True]
    assert "as tram-phu-oc (p5" in broker.text()


async def test_a_last_will_on_anothers_topic_is_not_said(broker: RunningBroker) -> None:
    async with Link(broker.settings("console")) as console:
        await console.subscribe(topic("edge/+/status"))
        tls = Credentials.open(credentials() / "tram-khac").tls()
        for victim in ("tram-phu-oc", "tram-khac"):
            with connection(broker, tls) as sock:
                sock.sendall(connect_packet("x", will=topic(f"edge/{victim}/status")))
                assert sock.recv(4)[3] == 0
        async with asyncio.timeout(20):
            (message,) = await console.batch(1)
        assert message.topic == topic("edge/tram-khac/status")


async def test_a_broker_that_is_not_ours_gets_no_client(broker: RunningBroker, tmp_path: Path) -> None:
    """A client of another commune meets this broker, by a mistake or an attack: it does not speak to it."""
    provision(tmp_path, commune="phong-dien", nodes=["tram-la"])
    with pytest.raises(ssl.SSLCertVerificationError), connection(broker, Credentials.open(tmp_path / "tram-la").tls()):
        pass


def test_a_name_that_the_certificate_does_not_have_is_not_believed(tmp_path: Path) -> None:
    shutil.copytree(credentials(), tmp_path / "made")
    provision(tmp_path / "made", commune=COMMUNE, nodes=NODES, server_names=["broker.lan"])
    with (
        RunningBroker(tmp_path / "made") as broker,
        pytest.raises(ssl.SSLCertVerificationError),
        connection(broker, Credentials.open(credentials() / "ingest").tls()),
    ):
        pass
