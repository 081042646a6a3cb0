"""CAP from others: whose it is, whom it touches, what plays at once, and that no bytes make it fall or play."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod

from keng_console.cap import xml
from keng_console.cap.judge import Bulletin, Known, Verdict, bulletin_of, judge, play_id
from keng_console.cap.message import Area, Certainty, Circle, MsgType, Scope, Severity, Status, Urgency, to_text
from keng_console.cap.poll import entries
from keng_console.cap.signature import NotSigned, NotTrusted, Signer, SigningPair, verify
from keng_console.cap.zones import touched
from keng_contracts.commands import Command, Play, Priority, Speech, Stop
from keng_contracts.topics import Channel, Kind, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.signing import TrustStore
from tests.support.broker import RunningBroker
from tests.support.cap import BOTH, ONE, SENDER, ZONE, bulletin, certificate_of, pair, signed, unsigned
from tests.support.console import RunningConsole, running_console
from tests.support.gateways import feed_server
from tests.support.processes import eventually
from tests.support.registry import sample

NOON = 1_763_269_200_000
HOUR = 3_600_000


# -- the class of a bulletin ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("urgency", Urgency)
@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("certainty", Certainty)
def test_only_what_is_there_or_all_but_certain_and_grave_is_khan_cap(
    urgency: Urgency, severity: Severity, certainty: Certainty
) -> None:
    found = bulletin_of(bulletin("x", NOON, urgency=urgency, severity=severity, certainty=certainty).infos[0])
    grave, sure = severity in ("Extreme", "Severe"), certainty in ("Observed", "Likely")
    assert (found is Bulletin.URGENT) == (urgency == "Immediate" and grave and sure)
    if found is Bulletin.PRIORITY:
        assert urgency in ("Immediate", "Expected") and severity not in ("Minor", "Unknown")


# -- what follows ---------------------------------------------------------------------------------------------------


def ruled(message: Any, known: Any = None, now: int = NOON, signer: str = "tinh") -> Any:
    return judge(message, signer, known or {}, sample(), now)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.PLAYED),
        ({"msg_type": MsgType.UPDATE}, Verdict.PLAYED),
        ({"urgency": Urgency.EXPECTED}, Verdict.RECORDED),
        ({"certainty": Certainty.POSSIBLE}, Verdict.RECORDED),
        ({"status": Status.EXERCISE}, Verdict.NOT_ACTUAL),
        ({"status": Status.TEST}, Verdict.NOT_ACTUAL),
        ({"scope": Scope.PRIVATE}, Verdict.NOT_ACTUAL),
        ({"msg_type": MsgType.ACK}, Verdict.NOT_ACTUAL),
        ({"msg_type": MsgType.CANCEL}, Verdict.RECORDED),
        ({"expires_ms": NOON}, Verdict.EXPIRED),
        ({"expires_ms": None, "sent": to_text(NOON - 6 * HOUR, ZONE)}, Verdict.EXPIRED),
        ({"expires_ms": None, "sent": to_text(NOON - 5 * HOUR, ZONE)}, Verdict.PLAYED),
        ({"sent": to_text(NOON + HOUR, ZONE)}, Verdict.NOT_YET),
        ({"effective_ms": NOON + HOUR}, Verdict.NOT_YET),
        ({"areas": (Area("Hạ lưu sông Bồ"),)}, Verdict.ELSEWHERE),
        ({"areas": (Area("xa", circles=(Circle((21.0, 105.8), 5.0),)),)}, Verdict.ELSEWHERE),
        ({"areas": ()}, Verdict.ELSEWHERE),
    ],
)
def test_each_row_of_the_table(changes: dict[str, Any], verdict: Verdict) -> None:
    ruling = ruled(bulletin("t-1", NOON, **changes))
    assert ruling.verdict is verdict
    assert bool(ruling.orders) == (verdict is Verdict.PLAYED) == bool(ruling.play)


def test_what_is_played_is_said_twice_in_vietnamese_to_every_zone_it_touches() -> None:
    ruling = ruled(bulletin("t-1", NOON))
    assert [order.zone for order in ruling.orders] == ["toan-xa", "ven-song"]
    for order in ruling.orders:
        play = order.action
        assert isinstance(play, Play) and play.priority is Priority.URGENT and play.play == ruling.play
        said = [item.text for item in play.items if isinstance(item, Speech)]
        assert said[0] == said[1]
        assert said[0].startswith("Chú ý, chú ý! Bản tin khẩn cấp của Ban Chỉ huy phòng thủ dân sự tỉnh. Lũ quét")


def test_a_bulletin_that_came_before_is_nothing_new_but_only_if_the_same_key_had_proven_it() -> None:
    message = bulletin("t-1", NOON)
    assert ruled(message, {message.reference: Known("tinh")}).verdict is Verdict.DUPLICATE
    assert ruled(message, {message.reference: Known("khac")}).verdict is Verdict.PLAYED


def test_a_cancel_stops_what_was_played_and_says_so_where_it_was_heard() -> None:
    first = bulletin("t-1", NOON)
    known = {first.reference: Known("tinh", play_id(first), ("toan-xa",))}
    cancel = bulletin("t-2", NOON, msg_type=MsgType.CANCEL, references=(first.reference,), areas=())
    ruling = ruled(cancel, known)
    assert ruling.verdict is Verdict.CANCELLED
    stop, said = ruling.orders
    assert (stop.zone, stop.action) == ("toan-xa", Stop(play=play_id(first)))
    assert isinstance(said.action, Play) and "đã được hủy bỏ" in said.action.items[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize("by", ["another-key", "another-sender"])
def test_nobody_cancels_what_another_has_sent(by: str) -> None:
    first = bulletin("t-1", NOON)
    known = {first.reference: Known("tinh", play_id(first), ("toan-xa",))}
    cancel = bulletin("t-2", NOON, msg_type=MsgType.CANCEL, references=(first.reference,))
    if by == "another-sender":
        cancel = replace(cancel, sender="khac@example.vn")
    ruling = ruled(cancel, known, signer="tinh" if by == "another-sender" else "khac")
    assert (ruling.verdict, ruling.orders) == (Verdict.RECORDED, ())


def test_an_update_stops_what_it_supersedes_also_when_it_is_not_played_itself() -> None:
    first = bulletin("t-1", NOON)
    known = {first.reference: Known("tinh", play_id(first), ("toan-xa",))}
    update = bulletin("t-2", NOON, msg_type=MsgType.UPDATE, references=(first.reference,), urgency=Urgency.FUTURE)
    ruling = ruled(update, known)
    assert ruling.verdict is Verdict.RECORDED
    assert [order.action for order in ruling.orders] == [Stop(play=play_id(first))]


TIMES = st.one_of(st.none(), st.integers(NOON - 10 * HOUR, NOON + 10 * HOUR).map(lambda ms: ms - ms % 1000))


@settings(max_examples=200)
@given(
    changes=st.fixed_dictionaries(
        {
            "urgency": st.sampled_from(Urgency),
            "severity": st.sampled_from(Severity),
            "certainty": st.sampled_from(Certainty),
            "status": st.sampled_from(Status),
            "scope": st.sampled_from(Scope),
            "msg_type": st.sampled_from(MsgType),
            "expires_ms": TIMES,
            "effective_ms": TIMES,
            "language": st.sampled_from(["vi-VN", "en-US", "x" * 50]),
            "event": st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=50),
            "headline": st.text(max_size=3000),
            "areas": st.sampled_from([(), (Area("a"),), (Area("a", circles=(BOTH,)),)]),
        }
    ),
    sent=TIMES.filter(bool),
    before=st.sampled_from(["nothing", "played", "by-another"]),
)
def test_whatever_a_proven_message_says_it_plays_only_what_is_khan_cap_now_here_and_real(
    changes: dict[str, Any], sent: int, before: str
) -> None:
    first = bulletin("t-0", NOON)
    message = bulletin("t-1", NOON, **changes, sent=to_text(sent, ZONE), references=(first.reference,))
    signer = "khac" if before == "by-another" else "tinh"
    known = {} if before == "nothing" else {first.reference: Known(signer, play_id(first), ("toan-xa",))}
    ruling = ruled(message, known)
    if ruling.verdict is Verdict.PLAYED:
        assert bulletin_of(message.infos[0]) is Bulletin.URGENT and ruling.zones
        assert (message.status, message.scope) == (Status.ACTUAL, Scope.PUBLIC)
        assert (message.expires_ms or sent + 6 * HOUR) > NOON and (message.infos[0].effective_ms or 0) <= NOON
    plays = [order for order in ruling.orders if isinstance(order.action, Play)]
    assert bool(plays) == (ruling.verdict in (Verdict.PLAYED, Verdict.CANCELLED))
    stops = [order for order in ruling.orders if isinstance(order.action, Stop)]
    assert not stops or before == "played"


# -- whom it touches ------------------------------------------------------------------------------------------------

SQUARE = ((16.54, 107.50), (16.54, 107.53), (16.57, 107.53), (16.57, 107.50), (16.54, 107.50))


@pytest.mark.parametrize(
    ("area", "zones"),
    [
        (Area("a", circles=(BOTH,)), ["toan-xa", "ven-song"]),
        (Area("a", circles=(ONE,)), ["toan-xa", "ven-song"]),
        (Area("a", circles=(Circle((16.5466, 107.5302), 0.1),)), ["toan-xa"]),
        (Area("a", polygons=(SQUARE,)), ["toan-xa", "ven-song"]),
        (Area("a", codes=(("xa", "19747"),)), ["toan-xa", "ven-song"]),
        (Area("a", codes=(("thon", "7"),)), ["ven-song"]),
        (Area("a", codes=(("xa", "7"),)), []),
        (Area("a", circles=(Circle((16.5000, 107.4000), 0.5),)), ["ven-song"]),
        (
            Area("a", polygons=(((16.4, 107.39), (16.6, 107.39), (16.6, 107.41), (16.4, 107.41), (16.4, 107.39)),)),
            ["ven-song"],
        ),
        (
            Area("a", polygons=(((16.501, 107.401), (16.502, 107.401), (16.502, 107.402), (16.501, 107.401)),)),
            ["ven-song"],
        ),
        (Area("a", circles=(Circle((10.0, 106.0), 100.0),)), []),
    ],
)
def test_zones_by_codes_borders_and_loudspeakers(area: Area, zones: list[str]) -> None:
    border = [(16.49, 107.38), (16.49, 107.42), (16.51, 107.42), (16.51, 107.38)]
    rows = [z.model_dump() for z in sample().zones]
    rows[1] |= {"polygon": border, "codes": {"thon": "7"}}
    commune = sample().commune.model_dump() | {"codes": {"xa": "19747"}}
    assert touched([area], sample(zones=rows, commune=commune)) == zones


# -- bytes ----------------------------------------------------------------------------------------------------------


def outcome(data: bytes) -> str:
    """Everything that may happen to bytes before it is decided what follows from them."""
    try:
        root = xml.parse(data)
        xml.read(root)
        verify(root, [SIGNER], datetime.now(UTC))
    except (xml.BadCap, NotSigned, NotTrusted) as error:
        return type(error).__name__
    return "believed"


_XMLSEC = {
    SignatureMethod.RSA_SHA1: xmlsec.Transform.RSA_SHA1,
    SignatureMethod.RSA_SHA256: xmlsec.Transform.RSA_SHA256,
    SignatureMethod.RSA_SHA512: xmlsec.Transform.RSA_SHA512,
    DigestAlgorithm.SHA1: xmlsec.Transform.SHA1,
    DigestAlgorithm.SHA256: xmlsec.Transform.SHA256,
    DigestAlgorithm.SHA512: xmlsec.Transform.SHA512,
}
PROVINCE = pair()
SIGNER = Signer("tinh", x509.load_pem_x509_certificate(PROVINCE.certificate), frozenset({SENDER}))
GOOD = signed(bulletin("t-1", NOON), PROVINCE)


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fall(data: bytes) -> None:
    assert outcome(data) == "BadCap"


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_message_with_changed_bytes_is_never_believed_for_what_was_not_signed(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, byte in changes:
        data[place] = byte
    if outcome(bytes(data)) == "believed":
        signed_root, _ = verify(xml.parse(bytes(data)), [SIGNER], datetime.now(UTC))
        assert xml.read(signed_root) == xml.read(xml.parse(GOOD))


@pytest.mark.parametrize(
    ("method", "digest", "believed"),
    [
        (SignatureMethod.RSA_SHA256, DigestAlgorithm.SHA256, True),
        (SignatureMethod.RSA_SHA512, DigestAlgorithm.SHA512, True),
        (SignatureMethod.RSA_SHA1, DigestAlgorithm.SHA256, False),
        (SignatureMethod.RSA_SHA256, DigestAlgorithm.SHA1, False),
    ],
)
def test_rsa_is_believed_too_and_sha_1_is_not(method: SignatureMethod, digest: DigestAlgorithm, believed: bool) -> None:
    key = rsa.generate_private_key(65537, 2048)
    signer = Signer("tinh", certificate_of(key), frozenset({SENDER}))
    root = etree.fromstring(unsigned(bulletin("t-1", NOON)))
    node = xmlsec.template.create(root, xmlsec.Transform.EXCL_C14N, _XMLSEC[method])
    root.append(node)
    reference = xmlsec.template.add_reference(node, _XMLSEC[digest], uri="")
    xmlsec.template.add_transform(reference, xmlsec.Transform.ENVELOPED)
    context = xmlsec.SignatureContext()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    context.key = xmlsec.Key.from_memory(pem, xmlsec.KeyFormat.PEM)
    context.sign(node)
    data = etree.tostring(root)
    if believed:
        assert xml.read(verify(xml.parse(data), [signer], datetime.now(UTC))[0]).identifier == "t-1"
    else:
        with pytest.raises(NotTrusted):
            verify(xml.parse(data), [signer], datetime.now(UTC))


_NAMES = st.sampled_from(["identifier", "sender", "sent", "status", "info", "area", "polygon", "circle", "references"])


@settings(max_examples=150)
@given(st.lists(st.tuples(_NAMES, st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30))))
def test_an_alert_with_any_words_in_its_elements_is_read_or_refused(rows: list[tuple[str, str]]) -> None:
    root = xml.parse(unsigned(bulletin("t-1", NOON)))
    for name, text in rows:
        for element in root.iter(f"{{{xml.NAMESPACE}}}{name}"):
            if len(element) == 0:
                element.text = text
    with suppress(xml.BadCap):
        xml.read(root)


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE alert [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE alert [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE alert SYSTEM "http://127.0.0.1:9/evil.dtd">',
        "<!DOCTYPE alert>",
    ],
)
def test_a_document_type_is_refused_so_that_no_entity_exists(head: str) -> None:
    body = unsigned(bulletin("t-1", NOON)).decode().replace("Lũ quét trên sông Bồ", "&a;" if "ENTITY" in head else "x")
    with pytest.raises(xml.BadCap):
        xml.parse((head + body).encode())
    with pytest.raises(xml.BadCap):
        xml.parse(("<?xml version='1.0' encoding='UTF-16'?>" + head + body).encode("utf-16"))


def test_what_is_too_large_or_too_much_is_refused() -> None:
    with pytest.raises(xml.BadCap, match="larger"):
        xml.parse(b" " * (xml.MAX_BYTES + 1))
    with pytest.raises(xml.BadCap, match="elements"):
        xml.parse(b"<a>" + b"<b/>" * (xml.MAX_ELEMENTS + 1) + b"</a>")
    deep = b"<a>" * 5000 + b"</a>" * 5000
    with pytest.raises(xml.BadCap):
        xml.read(xml.parse(deep))


def test_a_feed_leads_to_its_own_host_only() -> None:
    atom = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><entry><updated>1</updated><link href="/cap/a.xml"/></entry>'
        '<entry><link href="http://169.254.169.254/secret"/></entry><entry><link href="file:///etc/passwd"/></entry></feed>'
    )
    assert [entry.url for entry in entries(xml.parse(atom.encode()), "https://tinh.example/f")] == [
        "https://tinh.example/cap/a.xml"
    ]
    rss = "<rss><channel><item><link>b.xml</link><pubDate>x</pubDate></item></channel></rss>"
    assert [entry.url for entry in entries(xml.parse(rss.encode()), "https://tinh.example/x/f")] == [
        "https://tinh.example/x/b.xml"
    ]


# -- the service ----------------------------------------------------------------------------------------------------


def cap_settings(folder: Path, province: SigningPair, feed: str = "") -> str:
    certificate = folder / "tinh.crt"
    certificate.write_bytes(province.certificate)
    feeds = f'[[cap.feeds]]\nurl = "{feed}"\nevery_s = 1.0\n' if feed else ""
    return f'\n[cap]\n{feeds}[[cap.senders]]\nname = "tinh"\ncertificate = "{certificate}"\nsenders = ["{SENDER}"]\n'


def post(console: RunningConsole, data: bytes, kind: str = "application/cap+xml") -> tuple[int, Any]:
    answer = console.post("/cap", data, kind)
    return answer["status"], answer


class Ear:
    """What a loudspeaker hears on its zones, and obeys."""

    def __init__(self, link: Link, trust: TrustStore) -> None:
        self._link, self._trust = link, trust
        self.commands: list[Command] = []

    async def hears(self, count: int) -> list[Command]:
        async with asyncio.timeout(20):
            while len(self.commands) < count:
                for message in await self._link.batch(50):
                    message.ack()
                    payload, key = self._trust.verify(message.payload)
                    command = Command.model_validate_json(payload)
                    assert key.issuer == "console" and command.action.do in key.may
                    self.commands.append(command)
        assert len(self.commands) == count
        assert [c.ctr for c in self.commands] == sorted({c.ctr for c in self.commands})
        return self.commands


@asynccontextmanager
async def ear(broker: RunningBroker) -> AsyncIterator[Ear]:
    async with Link(broker.settings("loa-phuoc-yen"), session_expiry_s=300) as link:
        await link.subscribe(pattern(Kind.ZONE, Channel.COMMAND))
        yield Ear(link, TrustStore.load(broker.credentials / "loa-phuoc-yen" / "trust.json"))


async def test_a_posted_bulletin_is_played_once_cancelled_and_shown(broker: RunningBroker, tmp_path: Path) -> None:
    now, province = now_ms(), pair()
    first = bulletin("t-1", now)
    async with ear(broker) as heard:
        with running_console(broker, tmp_path, cap_settings(tmp_path, province)) as console:
            eventually(lambda: console.overview()["registry_version"] == 1)
            assert post(console, unsigned(first))[1]["verdict"] == "unsigned"
            assert post(console, signed(first, pair()))[1]["verdict"] == "untrusted"
            stranger = replace(first, sender="khac@example.vn")
            assert post(console, signed(stranger, province))[1]["verdict"] == "untrusted"
            assert post(console, b"<html/>")[0] == 400
            assert post(console, signed(first, province), "text/plain")[0] == 415
            assert post(console, b" " * (xml.MAX_BYTES + 1))[0] == 413
            later = bulletin("t-0", now, urgency=Urgency.EXPECTED)
            status, answer = post(console, signed(later, province))
            assert (status, answer["verdict"], answer["bulletin"]) == (202, "recorded", "uu-tien")
            status, answer = post(console, signed(first, province))
            assert (status, answer["verdict"], answer["zones"]) == (202, "played", ["toan-xa", "ven-song"])
            commands = await heard.hears(2)
            assert [command.aud for command in commands] == ["zone/toan-xa", "zone/ven-song"]
            assert post(console, signed(first, province))[1]["verdict"] == "duplicate"
            shown = json.loads(console.get("/api/cap/received")[2])
            assert [row["verdict"] for row in shown[:2]] == ["played", "recorded"]
            page = console.get("/")[2].decode()
            assert "Lũ quét trên sông Bồ" in page and "đã phát ngay" in page and "chờ người quyết định" in page
            assert "bị từ chối vì không rõ ai gửi: 4" in page
            console.process.kill()
        with running_console(broker, tmp_path, cap_settings(tmp_path, province)) as console:
            eventually(lambda: console.overview()["registry_version"] == 1)
            assert post(console, signed(first, province))[1]["verdict"] == "duplicate"
            cancel = bulletin("t-2", now, msg_type=MsgType.CANCEL, references=(first.reference,))
            assert post(console, signed(cancel, province))[1]["verdict"] == "cancelled"
            commands = await heard.hears(6)
            assert [command.action.do for command in commands[2:]] == ["stop", "stop", "play", "play"]


async def test_what_was_decided_while_the_broker_was_away_goes_out_after_a_crash(
    broker: RunningBroker, tmp_path: Path
) -> None:
    province = pair()
    with running_console(broker, tmp_path, cap_settings(tmp_path, province)) as console:
        eventually(lambda: console.overview()["registry_version"] == 1)
        broker.stop()
        eventually(lambda: not console.overview()["broker_connected"])
        assert post(console, signed(bulletin("t-1", now_ms()), province))[1]["verdict"] == "played"
        console.process.kill()
    broker.start()
    async with ear(broker) as heard:
        with running_console(broker, tmp_path, cap_settings(tmp_path, province)):
            assert len(await heard.hears(2)) == 2


def test_a_flood_of_unproven_messages_is_refused_and_a_signed_one_still_gets_through(
    broker: RunningBroker, tmp_path: Path
) -> None:
    now, province = now_ms(), pair()
    with running_console(broker, tmp_path, cap_settings(tmp_path, province)) as console:
        eventually(lambda: console.overview()["registry_version"] == 1)
        answers = [post(console, unsigned(bulletin(f"x-{n}", now)))[0] for n in range(30)]
        assert answers.count(202) < 30 and answers[-1] == 429
        assert post(console, signed(bulletin("t-1", now), province))[1]["verdict"] == "played"


def test_a_feed_is_polled_and_only_what_is_new_is_fetched(broker: RunningBroker, tmp_path: Path) -> None:
    now, province = now_ms(), pair()
    with feed_server() as server:
        server.files["/a.xml"] = signed(bulletin("t-1", now, urgency=Urgency.EXPECTED), province)
        server.files["/feed.xml"] = _atom("a.xml")
        with running_console(broker, tmp_path, cap_settings(tmp_path, province, server.url("/feed.xml"))) as console:
            eventually(lambda: _verdicts(console) == ["recorded"], what="the first bulletin is taken")
            eventually(lambda: server.unchanged > 0, within=20, what="an unchanged feed is asked for conditionally")
            before = server.asked.count("/a.xml")  # more than one where the first look came before the registry
            server.files["/b.xml"] = signed(bulletin("t-2", now), province)
            server.files["/feed.xml"] = _atom("b.xml", "a.xml", "missing.xml")
            eventually(lambda: _verdicts(console) == ["played", "recorded"], within=20, what="the second is taken")
            assert server.asked.count("/a.xml") == before
            server.files["/feed.xml"] = b"<html>" + b" " * (2 << 20)
            console.process.says("answers with more than")
            assert console.get("/healthz")[0] in (200, 503)


def test_a_certificate_that_has_ended_or_is_missing_proves_nothing(broker: RunningBroker, tmp_path: Path) -> None:
    province = pair(ends_in=timedelta(days=-1))
    text = cap_settings(tmp_path, province) + (
        '[[cap.senders]]\nname = "mat"\ncertificate = "/nowhere.crt"\nsenders = ["a"]\n'
    )
    with running_console(broker, tmp_path, text) as console:
        eventually(lambda: console.overview()["registry_version"] == 1)
        assert "messages of mat are not believed" in console.process.text()
        answer = post(console, signed(bulletin("t-1", now_ms()), province))[1]
        assert answer["verdict"] == "untrusted" and "has ended" in answer["detail"]


def _verdicts(console: RunningConsole) -> list[str]:
    return [row["verdict"] for row in json.loads(console.get("/api/cap/received")[2])]


def _atom(*files: str) -> bytes:
    rows = "".join(f'<entry><updated>1</updated><link href="{file}"/></entry>' for file in files)
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{rows}</feed>'.encode()
