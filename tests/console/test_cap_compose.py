"""What the commune says in CAP: the words for each level and alarm, whom they are for, what they supersede."""

from __future__ import annotations

import pytest
from lxml import etree

from keng_console.cap import xml
from keng_console.cap.alarms import public
from keng_console.cap.compose import due
from keng_console.cap.judge import Bulletin, bulletin_of
from keng_console.cap.message import Certainty, MsgType, Scope, Severity, Status, Urgency, from_text, to_text
from keng_contracts.alerts import AlertDocument, Hazard
from keng_contracts.rules import RuleKind
from tests.support.cap import ZONE, require_valid
from tests.support.cap_story import HOUR, NOON, OURS, Story, alarm, foretold, raised
from tests.support.registry import sample


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
