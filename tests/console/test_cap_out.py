"""What the commune says in CAP: the words for each level, valid, signed, referring to what was said before."""

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
from keng_console.cap.alarms import public
from keng_console.cap.compose import Issued, Sender, due
from keng_console.cap.feed import ATOM, Published, feed
from keng_console.cap.judge import Bulletin, bulletin_of
from keng_console.cap.message import Certainty, Message, MsgType, Scope, Severity, Status, Urgency, from_text, to_text
from keng_console.cap.signature import NotSigned, NotTrusted, SigningPair, load_signer, sign, verify
from keng_contracts.alerts import AlertDocument, Forecast, Hazard
from keng_contracts.rules import RuleKind
from keng_runtime.clock import now_ms
from tests.support.broker import RunningBroker, credentials
from tests.support.cap import ZONE, require_valid
from tests.support.console import RunningConsole, alert, running_console, say_alert
from tests.support.processes import eventually
from tests.support.registry import sample

NOON = 1_763_269_200_000
HOUR = 3_600_000
OURS = Sender("ubnd@quangtho.example", 6 * HOUR)


class Story:
    """What is issued of an alert as it changes."""

    def __init__(self) -> None:
        self.issued: list[Issued] = []
        self.messages: list[Message] = []

    def at(self, hour: float, document: AlertDocument) -> Message | None:
        found = due(document, sample(), self.issued, OURS, NOON + round(hour * HOUR))
        if found is None:
            return None
        self.messages.append(found[0])
        self.issued.append(found[1])
        return found[0]


def raised(level: int, **changes: Any) -> AlertDocument:
    words = {"headline": f"Báo động {level} tại Phú Ốc", "headline_en": f"Flood alarm level {level} at Phú Ốc"}
    return alert(level, NOON, **{**words, **changes})


def foretold(hours: float) -> Forecast:
    at = NOON + round(hours * HOUR)
    return Forecast(level=3, made_ms=NOON, expected_ms=at, earliest_ms=at, latest_ms=None, rate_per_h=0.3)


@pytest.mark.parametrize(
    ("document", "urgency", "severity", "certainty", "response"),
    [
        (raised(1), Urgency.EXPECTED, Severity.MODERATE, Certainty.OBSERVED, "Monitor"),
        (raised(2), Urgency.EXPECTED, Severity.SEVERE, Certainty.OBSERVED, "Prepare"),
        (raised(2, forecast=foretold(3)), Urgency.EXPECTED, Severity.SEVERE, Certainty.OBSERVED, "Prepare"),
        (raised(2, forecast=foretold(0.9)), Urgency.IMMEDIATE, Severity.SEVERE, Certainty.OBSERVED, "Prepare"),
        (raised(2, unwatched=True), Urgency.EXPECTED, Severity.SEVERE, Certainty.LIKELY, "Prepare"),
        (raised(3), Urgency.IMMEDIATE, Severity.EXTREME, Certainty.OBSERVED, "Evacuate"),
        (raised(4), Urgency.IMMEDIATE, Severity.EXTREME, Certainty.OBSERVED, "Evacuate"),
    ],
)
def test_a_level_has_its_words(
    document: AlertDocument, urgency: Urgency, severity: Severity, certainty: Certainty, response: str
) -> None:
    message = Story().at(0, document)
    assert message is not None
    assert [info.language for info in message.infos] == ["vi-VN", "en-US"]
    for info in message.infos:
        assert (info.urgency, info.severity, info.certainty) == (urgency, severity, certainty)
        assert (info.categories, info.responses) == (("Met",), (response,))
    assert message.infos[0].headline.startswith("Báo động") and message.infos[1].headline.startswith("Flood alarm")


def test_an_episode_is_an_alert_its_updates_and_a_cancel_that_name_what_they_supersede() -> None:
    story = Story()
    first = story.at(0, raised(1))
    assert first is not None and (first.msg_type, first.references) == (MsgType.ALERT, ())
    assert story.at(0.1, raised(1, version=2, value=1.6)) is None
    second = story.at(1, raised(3, version=3))
    assert second is not None and second.msg_type is MsgType.UPDATE
    assert second.references == (first.reference,)
    end = story.at(2, raised(0, version=4, hazard=Hazard.CLEARED))
    assert end is not None and end.msg_type is MsgType.CANCEL
    assert end.references == (first.reference, second.reference)
    assert {info.responses for info in end.infos} == {("AllClear",)}
    assert story.at(3, raised(0, version=4, hazard=Hazard.CLEARED)) is None
    again = story.at(4, raised(1, version=5, episode=2))
    assert again is not None and (again.msg_type, again.references) == (MsgType.ALERT, ())


def test_what_still_holds_is_renewed_before_it_runs_out_and_refers_to_no_more_than_still_holds() -> None:
    story = Story()
    hours = [tenth / 10 for tenth in range(0, 300)]
    issued = [hour for hour in hours if story.at(hour, raised(2)) is not None]
    assert issued == [0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0, 24.0, 27.0]
    for message, hour in zip(story.messages, issued, strict=True):
        assert message.expires_ms == NOON + round((hour + 6) * HOUR)
        assert len(message.references) <= 2


def test_a_forecast_that_comes_and_goes_is_not_told_more_often_than_every_ten_minutes() -> None:
    story = Story()
    story.at(0, raised(2))
    assert story.at(0.1, raised(2, forecast=foretold(1))) is None
    assert story.at(0.2, raised(2, forecast=foretold(1))) is not None
    assert story.at(0.21, raised(3)) is not None  # a level does not wait


def test_a_drill_is_an_exercise_in_status_note_and_words() -> None:
    marked = {"headline": "DIỄN TẬP: Báo động 3 tại Phú Ốc", "headline_en": "EXERCISE: Flood alarm level 3 at Phú Ốc"}
    for document in (raised(3, exercise=True), raised(3, drill_of="phu-oc-level", **marked)):
        message = Story().at(0, document)
        assert message is not None and message.status is Status.EXERCISE and "Diễn tập" in message.note
        for info, mark in zip(message.infos, ("DIỄN TẬP: ", "EXERCISE: "), strict=True):
            assert info.headline.startswith(mark) and info.headline.count(mark) == 1


def test_a_drill_that_becomes_real_is_told_at_once() -> None:
    story = Story()
    story.at(0, raised(3, exercise=True))
    message = story.at(0.01, raised(3))
    assert message is not None and (message.status, message.msg_type) == (Status.ACTUAL, MsgType.UPDATE)


def alarm(kind: str, version: int = 1, **changes: Any) -> AlertDocument:
    words = {"headline": "Mưa to tại Phú Ốc: 62 mm trong 1 giờ", "headline_en": "Heavy rain at Phú Ốc: 62 mm in 1 h"}
    fields = {
        "id": "mua-to",
        "value": 62.0,
        "rule": "mua-to",
        "thing": "phu-oc/rain",
        "sensor": "phu-oc/rain",
        "unit": "mm",
    }
    grave = {"severity": "moderate", "official": False, "hazard": Hazard.RAISED, "raised_ms": NOON, "threshold": 50.0}
    return alert(0, NOON, version=version, kind=kind, **{**words, **fields, **grave, **changes})


PUBLIC = {
    "rain": (("Met",), "Expected", "Observed", "Monitor"),
    "rise": (("Met",), "Expected", "Likely", "Prepare"),
    "upstream": (("Met",), "Expected", "Likely", "Prepare"),
    "salinity": (("Env",), "Expected", "Observed", "Avoid"),
    "air": (("Env", "Health"), "Expected", "Observed", "Avoid"),
    "dry-soil": (("Met",), "Future", "Observed", "Monitor"),
}


@pytest.mark.parametrize("kind", RuleKind)
@pytest.mark.parametrize("severity", ["minor", "moderate", "severe", "extreme"])
def test_every_alarm_is_valid_in_the_words_of_its_kind_and_none_would_sound_a_siren(
    kind: RuleKind, severity: str
) -> None:
    message = Story().at(0, alarm(kind, severity=severity))
    assert message is not None
    root = require_valid(etree.tostring(xml.write(message, ZONE)))
    assert xml.read(root) == message
    assert public(alarm(kind)) == (kind in PUBLIC)
    expected = PUBLIC.get(kind, (("Infra",), "Unknown", "Observed", "Assess"))
    for info in message.infos:
        assert (info.categories, info.urgency, info.certainty, *info.responses) == expected
        assert info.severity == severity.title()
        assert bulletin_of(info) is not Bulletin.URGENT
    open_to_all = (Status.ACTUAL, Scope.PUBLIC) if kind in PUBLIC else (Status.SYSTEM, Scope.RESTRICTED)
    assert (message.status, message.scope) == open_to_all


def test_an_alarm_is_issued_renewed_and_cancelled_like_a_flood_and_says_that_it_is_a_drill() -> None:
    story = Story()
    first = story.at(0, alarm("rain"))
    assert first is not None and (first.msg_type, first.status) == (MsgType.ALERT, Status.ACTUAL)
    assert first.infos[0].event == "Mưa lớn (cảnh báo tại chỗ)"
    assert dict(first.infos[0].parameters)["thing"] == "phu-oc/rain"
    assert story.at(1, alarm("rain", 2, value=70.0)) is None
    graver = story.at(2, alarm("rain", 3, severity="severe"))
    assert graver is not None and (graver.msg_type, graver.references) == (MsgType.UPDATE, (first.reference,))
    over = story.at(3, alarm("rain", 4, hazard=Hazard.CLEARED, headline="Hết mưa to"))
    assert over is not None and over.msg_type is MsgType.CANCEL
    assert over.references == (first.reference, graver.reference)
    drill = Story().at(0, alarm("rain", exercise=True))
    assert drill is not None and drill.status is Status.EXERCISE
    assert drill.infos[0].headline.startswith("DIỄN TẬP: Mưa to")
    for message in (first, graver, over, drill):
        require_valid(etree.tostring(xml.write(message, ZONE)))


def test_an_alarm_that_another_alert_says_already_begins_nothing_and_is_not_called_clear() -> None:
    story = Story()
    assert story.at(0, alarm("rise", muted_by="phu-oc-level")) is None
    assert story.at(1, alarm("rise", 2)) is not None
    assert story.at(2, alarm("rise", 3, muted_by="phu-oc-level")) is None
    end = story.at(3, alarm("rise", 4, hazard=Hazard.CLEARED))
    assert end is not None and end.msg_type is MsgType.CANCEL


def test_an_alarm_speaks_to_its_gauges_zones_upstream_to_those_that_the_flood_will_reach_else_to_all() -> None:
    def zones(document: AlertDocument) -> list[str]:
        rule = {"id": "lu-ve", "kind": "upstream", "watch": ["phu-oc/level"], "raise_at": 3.0, "to": "phu-oc"}
        rows = [{**rule, "travel_s": 7200.0}]
        found = due(document, sample(rules=rows), [], OURS, NOON)
        assert found is not None
        return [area.desc for area in found[0].infos[0].areas]

    assert zones(alarm("rain")) == [f"{zone.name}, Xã Quảng Thọ" for zone in sample().zones]
    assert zones(alarm("rise", sensor="phu-oc/level")) == ["Toàn xã, Xã Quảng Thọ"]
    assert zones(alarm("upstream", rule="lu-ve", sensor="binh-dien/level")) == ["Toàn xã, Xã Quảng Thọ"]


def test_areas_are_the_zones_that_the_gauge_speaks_to() -> None:
    message = Story().at(0, raised(2))
    assert message is not None
    [area] = message.infos[0].areas
    assert area.desc == "Toàn xã, Xã Quảng Thọ"
    assert [circle.centre for circle in area.circles] == [(16.5531, 107.5189), (16.5466, 107.5302)]
    border = [(16.53, 107.50), (16.57, 107.50), (16.57, 107.54)]
    zones = [z.model_dump() | ({"polygon": border, "codes": {"xa": "19747"}}) for z in sample().zones]
    found = due(raised(2), sample(zones=zones), [], OURS, NOON)
    assert found is not None
    [area] = found[0].infos[0].areas
    assert (area.polygons, area.circles, area.codes) == ((tuple(border),), (), (("xa", "19747"),))


def test_times_have_whole_seconds_and_an_offset_in_figures() -> None:
    assert to_text(NOON + 999, ZONE) == "2025-11-16T12:00:00+07:00"
    assert from_text("2025-11-16T12:00:00+07:00") == NOON
    for odd in ("2025-11-16T12:00:00", "yesterday", "0001-01-01T00:00:00+00:00"):
        with pytest.raises(ValueError):
            from_text(odd)


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
