"""What the commune says in CAP goes out valid by the schema, signed, in a feed."""

from __future__ import annotations

import asyncio
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlsec
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from keng_console.cap import xml
from keng_console.cap.feed import ATOM, Published, feed
from keng_console.cap.message import Message, MsgType, Status
from keng_console.cap.signature import NotSigned, NotTrusted, SigningPair, load_signer, sign, verify
from keng_runtime.clock import now_ms
from tests.support.broker import RunningBroker, credentials
from tests.support.cap import ZONE, require_valid
from tests.support.cap_story import NOON, OURS, Story, alarm, foretold, raised
from tests.support.console import RunningConsole, alert, running_console, say_alert
from tests.support.processes import eventually

# -- as XML ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    level=st.integers(0, 4),
    before=st.integers(0, 4),
    text=st.text(max_size=200),
    unwatched=st.booleans(),
    exercise=st.booleans(),
    ahead=st.one_of(st.none(), st.floats(-5, 50)),
    value=st.floats(-1e6, 1e6),
)
def test_whatever_an_alert_says_its_message_is_valid_by_the_schema_and_reads_back_the_same(
    level: int, before: int, text: str, unwatched: bool, exercise: bool, ahead: float | None, value: float
) -> None:
    story = Story()
    story.at(0, raised(before))
    document = raised(
        level,
        headline=text,
        unwatched=unwatched,
        exercise=exercise,
        value=value,
        forecast=foretold(ahead) if ahead is not None else None,
    )
    story.at(1, document)
    for message in story.messages:
        data = etree.tostring(xml.write(message, ZONE))
        root = require_valid(data)
        again = xml.read(root)
        assert again.reference == message.reference and again.references == message.references
        assert [i.expires_ms for i in again.infos] == [message.expires_ms] * 2


# -- signed ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> bytes:
    message = Story().at(0, raised(3))
    ours = SigningPair.load(credentials() / "console")
    assert message is not None and ours is not None
    return sign(xml.write(message, ZONE), ours)


def holds(document: bytes) -> bool:
    """By libxmlsec, which knows nothing of the library that signed."""
    node = xmlsec.tree.find_node(etree.fromstring(document), xmlsec.Node.SIGNATURE)
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_file(str(credentials() / "console" / "cap.crt"), xmlsec.KeyFormat.CERT_PEM)
    try:
        context.verify(node)
    except xmlsec.VerificationError:
        return False
    return True


def test_another_verifier_finds_the_signature_right_and_any_changed_word_wrong(document: bytes) -> None:
    require_valid(document)
    assert holds(document)
    assert not holds(document.replace(b"<status>Actual", b"<status>Exercise"))


def test_our_own_verifier_gives_back_what_was_signed_and_nothing_that_was_put_around_it(document: bytes) -> None:
    known = [load_signer("xa", credentials() / "console" / "cap.crt", [OURS.name])]
    now = datetime.now(UTC)
    signed, who = verify(xml.parse(document), known, now)
    assert who.name == "xa" and xml.read(signed).sender == OURS.name
    with pytest.raises(NotTrusted):
        verify(xml.parse(document.replace(b"Evacuate", b"Monitor")), known, now)
    with pytest.raises(NotTrusted):
        verify(xml.parse(document), [], now)
    with pytest.raises(NotTrusted, match="has ended"):
        verify(xml.parse(document), known, now.replace(year=now.year + 10))
    with pytest.raises(NotSigned):
        verify(xml.parse(re.sub(rb"(?s)<ds:Signature .*</ds:Signature>", b"", document)), known, now)
    inner = document.split(b"?>", 1)[1].strip()
    wrapped = inner.replace(b"<identifier>", b"<identifier>x", 1).replace(
        b"</alert>", b"<note>" + inner + b"</note></alert>"
    )
    with pytest.raises((NotTrusted, NotSigned)):
        verify(xml.parse(wrapped), known, now)


# -- the feed -------------------------------------------------------------------------------------------------------


def test_the_feed_has_what_rfc_4287_asks_of_it() -> None:
    rows = [Published(f"id-{n}", NOON - n * 1000, "Update", "Báo động 3 <&>", "<alert/>") for n in range(60)]
    where: dict[str, Any] = {"sender": OURS.name, "title": "Cảnh báo", "author": "Xã", "updated_ms": 0, "zone": ZONE}
    root = ElementTree.fromstring(feed(rows, base="https://xa.example", **where))
    atom = {"a": ATOM}
    assert root.tag == f"{{{ATOM}}}feed"
    for needed in ("id", "title", "updated", "author/a:name"):
        assert len(root.findall(f"a:{needed}", atom)) == 1
    assert root.findtext("a:updated", "", atom) == "2025-11-16T12:00:00+07:00"
    assert root.find("a:link[@rel='self']", atom).get("href") == "https://xa.example/cap/feed.xml"  # type: ignore[union-attr]
    entries = root.findall("a:entry", atom)
    assert len(entries) == 50 and len({e.findtext("a:id", "", atom) for e in entries}) == 50
    for entry in entries:
        assert all(len(entry.findall(f"a:{needed}", atom)) == 1 for needed in ("id", "title", "updated", "link"))
    assert entries[0].findtext("a:title", "", atom) == "Báo động 3 <&>"
    assert feed(rows, base="", **where) == feed(rows, base="", **where)
    assert ElementTree.fromstring(feed([], base="", **where)).findall("a:entry", atom) == []


# -- the service ----------------------------------------------------------------------------------------------------


def entries(console: RunningConsole) -> list[tuple[str, str]]:
    root = ElementTree.fromstring(console.get("/cap/feed.xml")[2])
    return [
        (e.find(f"{{{ATOM}}}category").get("term", ""), e.find(f"{{{ATOM}}}link").get("href", ""))  # type: ignore[union-attr]
        for e in root.findall(f"{{{ATOM}}}entry")
    ]


def read(console: RunningConsole, href: str) -> Message:
    status, headers, body = console.get(href)
    assert (status, headers["Content-Type"]) == (200, "application/cap+xml")
    require_valid(body)
    assert holds(body)
    return xml.read(xml.parse(body))


def test_an_alert_is_issued_and_its_references_survive_a_restart(broker: RunningBroker, tmp_path: Path) -> None:
    with running_console(broker, tmp_path) as console:
        eventually(lambda: console.overview()["registry_version"] == 1)
        status, headers, _ = console.get("/cap/feed.xml")
        assert (status, headers["Content-Type"]) == (200, "application/atom+xml") and entries(console) == []
        assert console.get("/cap/feed.xml", **{"If-None-Match": headers["ETag"]})[0] == 304
        assert 'href="/cap/feed.xml"' in console.get("/")[2].decode()
        now = now_ms()
        asyncio.run(say_alert(broker, alert(2, now, headline="Báo động 2", headline_en="Level 2")))
        eventually(lambda: len(entries(console)) == 1, what="an Alert is issued")
        [(kind, href)] = entries(console)
        first = read(console, href)
        assert kind == "Alert" and first.sender == "keng.quang-tho" and first.status is Status.ACTUAL
        status, headers, _ = console.get("/cap/feed.xml")
        assert console.get("/cap/feed.xml", **{"If-None-Match": headers["ETag"]})[0] == 304
        assert console.get("/cap/feed.xml", **{"If-Modified-Since": headers["Last-Modified"]})[0] == 304
        assert console.get("/cap/nothing.xml")[0] == 404
        console.process.kill()
    with running_console(broker, tmp_path) as console:
        asyncio.run(say_alert(broker, alert(3, now + 1, version=2, headline="Báo động 3", headline_en="Level 3")))
        eventually(lambda: len(entries(console)) == 2, what="an Update is issued")
        assert entries(console)[1] == (kind, href)
        update = read(console, entries(console)[0][1])
        assert (update.msg_type, update.references) == (MsgType.UPDATE, (first.reference,))
        asyncio.run(say_alert(broker, alarm("battery", id="pin")))  # for the commune's own people: looked at first
        asyncio.run(say_alert(broker, alarm("rain")))
        eventually(lambda: len(entries(console)) == 3, what="a public alarm is issued")
        assert read(console, entries(console)[0][1]).infos[0].event == "Mưa lớn (cảnh báo tại chỗ)"
        asyncio.run(say_alert(broker, alert(0, now + 2, version=3, peak_level=3, headline="Hết")))
        eventually(lambda: len(entries(console)) == 4, what="a Cancel is issued")
        assert read(console, entries(console)[0][1]).references == (first.reference, update.reference)


def test_without_a_key_for_cap_the_console_says_so_and_does_all_else(tmp_path: Path) -> None:
    shutil.copytree(credentials(), tmp_path / "made")
    (tmp_path / "made" / "console" / "cap.key").unlink()
    with RunningBroker(tmp_path / "made") as broker, running_console(broker, tmp_path) as console:
        assert "cap.key: is missing, so no CAP message is issued" in console.process.text()
        assert console.get("/cap/feed.xml")[0] == 200 and console.get("/")[0] == 200


def test_a_file_can_be_shown_and_verified(document: bytes, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from keng_console.cli import cli

    file = tmp_path / "message.xml"
    file.write_bytes(document)
    run = CliRunner().invoke
    shown = run(cli, ["cap", "show", str(file)])
    assert shown.exit_code == 0 and "Actual Alert" in shown.output and "khẩn cấp" in shown.output
    certificate = str(credentials() / "console" / "cap.crt")
    assert run(cli, ["cap", "verify", str(file), "--certificate", certificate]).exit_code == 0
    file.write_bytes(document.replace(b"Evacuate", b"Monitor"))
    refused = run(cli, ["cap", "verify", str(file), "--certificate", certificate])
    assert refused.exit_code == 2 and "is not signed by" in refused.output
    file.write_bytes(b"<html/>")
    assert run(cli, ["cap", "show", str(file)]).exit_code == 2
