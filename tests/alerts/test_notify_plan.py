"""Who is told of what and when: occasions, chains, hours, grouping, limits. No process, no clock."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keng_alerts.notify.occasions import Occasion, occasions
from keng_alerts.notify.plan import Duty, Open, Page, Told, plan
from keng_alerts.notify.settings import Kind, NotifySettings, Severity
from keng_alerts.notify.texts import FIRST_LINE, compose
from keng_contracts.alerts import Acknowledgement, Hazard, Question, Silence, Stage, Why
from keng_contracts.rules import Severity as CapSeverity
from tests.support.console import alert
from tests.support.registry import sample

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
NOON = 1_763_269_200_000  # 2025-11-16 12:00 +07:00
MINUTE = 60_000
PEOPLE = [
    {"name": "truc-ban", "addresses": ["a"]},
    {"name": "chu-tich", "addresses": ["b"], "hours": "07:00-21:00", "wake": "extreme"},
    {"name": "huyen", "addresses": ["c"], "languages": ["vi", "en"]},
]
STEPS = [{"to": ["truc-ban"]}, {"after_min": 10, "to": ["chu-tich"]}, {"after_min": 20, "to": ["huyen"]}]
CHAIN: dict[str, Any] = {"name": "lu", "steps": STEPS, "repeat_min": 30, "repeats": 2}


def notify_settings(**changes: Any) -> NotifySettings:
    fields: dict[str, Any] = {"commune": "quang-tho", "gather_s": 0, "pause_s": 0, "per_hour": 100}
    return NotifySettings(**{**fields, "people": PEOPLE, "chains": [CHAIN], **changes})


def occasion(key: str = "phu-oc-level/1/level-2", severity: Severity = Severity.SEVERE, **changes: Any) -> Occasion:
    about = key.rpartition("/")[0] + "/"
    base = Occasion(key, about, Kind.LEVEL, severity, "phu-oc-level", False, False, NOON, "Báo động 2", "Level 2")
    return replace(base, **changes)


class Village:
    """Runs the plan over time and does what it says."""

    def __init__(self, *opens: Open, **changes: Any) -> None:
        self.settings = notify_settings(**changes)
        self.opens = list(opens)
        self.done: set[Duty] = set()
        self.told: dict[str, list[Told]] = {}
        self.log: list[tuple[int, str, int]] = []
        self.pages: list[Page] = []

    def run(self, start_ms: int, minutes: float, every_s: int = 30) -> list[tuple[int, str, int]]:
        """(minute, person, step) of every page."""
        for now in range(start_ms, start_ms + round(minutes * MINUTE) + 1, every_s * 1000):
            for page in plan(self.opens, self.done, self.told, self.settings, now, ZONE):
                assert not self.done & set(page.duties)
                self.done |= set(page.duties)
                self.told.setdefault(page.person, []).append(Told(now, page.severity))
                self.log.append(((now - NOON) // MINUTE, page.person, page.step))
                self.pages.append(page)
        return self.log


# -- chains ---------------------------------------------------------------------------------------------------------


def test_a_chain_is_walked_until_its_bounded_end_while_nobody_acknowledges() -> None:
    village = Village(Open(occasion(), NOON))
    assert village.run(NOON, 300) == [
        (0, "truc-ban", 1),
        (10, "chu-tich", 2),
        (20, "huyen", 3),
        (50, "huyen", 4),
        (80, "huyen", 5),
    ]


def test_an_acknowledgement_stops_the_chain() -> None:
    village = Village(Open(occasion(), NOON))
    village.run(NOON, 5)
    village.opens = [Open(occasion(acknowledged=True), NOON)]
    assert village.run(NOON + 5 * MINUTE, 200) == [(0, "truc-ban", 1)]


def test_who_is_off_duty_is_left_in_peace_and_told_when_the_hours_begin() -> None:
    night = NOON + 11 * 60 * MINUTE  # 23:00
    village = Village(Open(occasion(), night))
    village.run(night, 9 * 60)
    assert [row for row in village.log if row[1] == "chu-tich"] == [(19 * 60, "chu-tich", 2)]


def test_what_is_extreme_wakes() -> None:
    night = NOON + 11 * 60 * MINUTE
    village = Village(Open(occasion(severity=Severity.EXTREME), night))
    village.run(night, 60)
    assert (11 * 60 + 10, "chu-tich", 2) in village.log


def test_a_step_without_anybody_on_duty_is_not_waited_for() -> None:
    night = NOON + 11 * 60 * MINUTE
    steps = [{"to": ["chu-tich"]}, {"after_min": 10, "to": ["huyen"]}]
    village = Village(Open(occasion(), night), chains=[{**CHAIN, "steps": steps}])
    assert village.run(night, 1) == [(11 * 60, "huyen", 2)]


def test_the_first_chain_that_fits_takes_an_occasion_and_none_may_fit() -> None:
    chains = [
        {"name": "may", "kinds": ["alarm"], "severity": "minor", "steps": [{"to": ["huyen"]}], "repeats": 0},
        {**CHAIN, "severity": "severe", "repeats": 0},
    ]
    alarm = occasion("mua/1/alarm-1", Severity.MODERATE, kind=Kind.ALARM, alert="mua")
    low = occasion("cho-level/1/level-1", Severity.MODERATE, alert="cho-level")
    village = Village(Open(alarm, NOON), Open(low, NOON), chains=chains)
    assert village.run(NOON, 60) == [(0, "huyen", 1)]


def test_the_end_is_told_to_those_who_were_told_of_the_beginning() -> None:
    village = Village(Open(occasion(), NOON))
    village.run(NOON, 12)
    over = occasion("phu-oc-level/1/over", Severity.MINOR, kind=Kind.OVER)
    village.opens = [Open(over, NOON + 12 * MINUTE)]
    village.log.clear()
    village.run(NOON + 12 * MINUTE, 60)
    assert sorted(village.log) == [(12, "chu-tich", 1), (12, "truc-ban", 1)]
    other = occasion("phu-oc-level/2/over", Severity.MINOR, kind=Kind.OVER)
    village.opens = [Open(other, NOON)]
    assert plan(village.opens, village.done, village.told, village.settings, NOON, ZONE) == []


# -- grouping and limits --------------------------------------------------------------------------------------------


def storm(count: int, severity: Severity = Severity.SEVERE) -> list[Open]:
    return [
        Open(occasion(f"tram-{n}-level/1/level-2", severity, alert=f"tram-{n}-level", vi=f"Báo động 2 trạm {n}"), NOON)
        for n in range(count)
    ]


def test_a_storm_over_twenty_gauges_is_one_page() -> None:
    village = Village(*storm(20), gather_s=15, chains=[{**CHAIN, "repeats": 0}])
    assert [row[1] for row in village.run(NOON, 9)] == ["truc-ban"]
    title, body = compose(village.pages[0], ["vi"], sample(), ZONE)
    assert title == "20 việc, nặng nhất: Báo động 2 trạm 0"
    assert "… và 12 việc khác." in body


def test_alerts_that_belong_together_are_one_line_of_a_page() -> None:
    headlines = {"a": "Mưa to ở Phú Ốc", "b": "Mưa to ở Uỷ ban", "c": "Hết pin"}
    kinds = {"a": ("rain", "phu-oc"), "b": ("rain", "uy-ban"), "c": ("battery", "phu-oc")}
    documents = {
        id_: alert(
            0,
            NOON,
            id=id_,
            kind=kinds[id_][0],
            station=kinds[id_][1],
            severity=CapSeverity.SEVERE,
            hazard=Hazard.RAISED,
            raised_ms=NOON,
            headline=headlines[id_],
        )
        for id_ in headlines
    }
    # The rain gauges' stations have no river, or different ones: the area of both is made the commune.
    registry = sample(stations=[s.model_dump() | {"river": ""} for s in sample().stations])
    village = Village(*(Open(o, NOON) for d in documents.values() for o in occasions(d, registry)))
    village.run(NOON, 1)
    title, body = compose(village.pages[0], ["vi"], registry, ZONE, documents)
    assert title == "2 việc, nặng nhất: Mưa to ở Phú Ốc; cùng lúc ở Ủy ban nhân dân xã"
    assert "Mưa to ở Uỷ ban" not in body and "Hết pin" in body


def test_what_comes_during_the_pause_goes_together_and_what_is_graver_does_not_wait() -> None:
    village = Village(Open(occasion(), NOON), pause_s=600, chains=[{**CHAIN, "steps": STEPS[:1], "repeats": 0}])
    village.run(NOON, 1)
    village.opens += storm(3)
    village.run(NOON + 2 * MINUTE, 2)
    village.opens.append(Open(occasion("kim-long-level/1/level-3", Severity.EXTREME, alert="kim-long-level"), NOON))
    assert village.run(NOON + 5 * MINUTE, 30) == [(0, "truc-ban", 1), (5, "truc-ban", 1)]
    assert len(village.pages[1].occasions) == 4
    assert village.pages[1].severity == Severity.EXTREME


def test_nobody_is_told_more_often_than_the_limit_and_nothing_is_lost_by_it() -> None:
    village = Village(per_hour=3, chains=[{**CHAIN, "steps": STEPS[:1], "repeats": 0}])
    for minute in range(40):
        village.opens.append(Open(occasion(f"g-{minute}/1/level-2", alert=f"g-{minute}"), NOON + minute * MINUTE))
        village.run(NOON + minute * MINUTE, 0.5)
    assert len(village.pages) == 3
    village.run(NOON + 40 * MINUTE, 60)
    assert {duty.occasion for duty in village.done} == {f"g-{minute}/1/level-2" for minute in range(40)}


def test_a_drill_is_never_in_one_page_with_what_is_real_and_says_so_first() -> None:
    drill = occasion("drill/1/level-3", Severity.EXTREME, alert="drill", exercise=True, vi="Báo động 3 tại Phú Ốc")
    village = Village(Open(drill, NOON), Open(occasion(), NOON))
    village.run(NOON, 1)
    assert sorted(page.exercise for page in village.pages) == [False, True]
    page = next(page for page in village.pages if page.exercise)
    title, body = compose(page, ["vi", "en"], sample(), ZONE)
    assert title == "DIỄN TẬP: Báo động 3 tại Phú Ốc"
    assert body.startswith("Đây là diễn tập") and "This is an exercise" in body


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(list(Severity)), st.booleans(), st.integers(0, 90)), max_size=8
    ),
    st.integers(0, 23),
)
def test_no_duty_is_done_twice_and_every_chain_ends(rows: list[tuple[int, Severity, bool, int]], hour: int) -> None:
    start = NOON + hour * 60 * MINUTE
    opens = [
        Open(occasion(f"g-{n}/{number}/level-2", severity, alert=f"g-{n}", exercise=drill), start + at * MINUTE)
        for number, (n, severity, drill, at) in enumerate(rows)
    ]
    village = Village(*opens, gather_s=30, pause_s=120, per_hour=5)
    village.run(start, 26 * 60, every_s=300)  # Village.run asserts that no duty comes twice
    keys = {open_.occasion.key for open_ in opens}
    assert {duty.occasion for duty in village.done} == keys  # after a day everybody's hours have been
    before = len(village.pages)
    village.run(start + 27 * 60 * MINUTE, 24 * 60, every_s=1800)
    assert len(village.pages) == before


# -- what an alert means --------------------------------------------------------------------------------------------


def kinds(document: Any) -> dict[Kind, Occasion]:
    return {found.kind: found for found in occasions(document, sample())}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {Kind.LEVEL: Severity.EXTREME}),
        ({"unwatched": True, "data_since_ms": NOON}, {Kind.LEVEL: Severity.EXTREME, Kind.UNWATCHED: Severity.EXTREME}),
        ({"silent": {"loa-1": "Loa thôn 1"}}, {Kind.LEVEL: Severity.EXTREME, Kind.SILENT: Severity.EXTREME}),
        ({"stage": Stage.ESCALATED}, {Kind.LEVEL: Severity.EXTREME, Kind.ESCALATED: Severity.EXTREME}),
        ({"level": 2, "stage": Stage.ESCALATED}, {Kind.LEVEL: Severity.EXTREME, Kind.ESCALATED: Severity.EXTREME}),
        ({"hazard": Hazard.CLEARED, "level": 0}, {Kind.OVER: Severity.MINOR}),
        ({"muted_by": "kim-long-level"}, {}),
        (
            {"questions": [Question(level=3, zones=["toan-xa"], why=Why.CONFIRM, since_ms=NOON, sounds_ms=NOON)]},
            {Kind.LEVEL: Severity.EXTREME, Kind.CONFIRM: Severity.EXTREME},
        ),
    ],
)
def test_what_an_alert_says_is_an_occasion(changes: dict[str, Any], expected: dict[Kind, Severity]) -> None:
    document = alert(3, NOON).model_copy(update={"headline": "Báo động 3", **changes})
    assert {kind: found.severity for kind, found in kinds(document).items()} == expected


def test_an_alarm_by_a_rule_has_the_rules_severity() -> None:
    document = alert(0, NOON, kind="rain", severity=CapSeverity.MODERATE, hazard=Hazard.RAISED, headline="Mưa to")
    assert kinds(document)[Kind.ALARM].severity is Severity.MODERATE


def test_of_a_silenced_alarm_nobody_is_told_and_after_its_end_everybody_anew() -> None:
    began = {"kind": "rain", "hazard": Hazard.RAISED, "raised_ms": NOON, "stage": Stage.RAISED, "stage_ms": NOON}
    before = alert(0, NOON, headline="Mưa to", **began)
    silenced = before.model_copy(update={"silence": Silence(level=4, until_ms=NOON + 60 * MINUTE, by="An")})
    after = before.model_copy(update={"stage_ms": NOON + 60 * MINUTE})
    village = Village(Open(kinds(before)[Kind.ALARM], NOON))
    village.run(NOON, 5)
    assert kinds(silenced) == {}
    village.opens = [Open(kinds(after)[Kind.ALARM], NOON + 60 * MINUTE)]
    village.run(NOON + 60 * MINUTE, 5)
    assert village.log == [(0, "truc-ban", 1), (60, "truc-ban", 1)]


def test_a_silenced_siren_is_told_all_the_same() -> None:
    silence = Silence(level=4, until_ms=NOON + MINUTE, by="An")
    assert Kind.LEVEL in kinds(alert(3, NOON, silence=silence))


def test_a_level_is_one_occasion_however_its_document_changes_and_a_higher_one_is_another() -> None:
    key = kinds(alert(2, NOON))[Kind.LEVEL].key
    assert kinds(alert(2, NOON, version=7, value=3.3))[Kind.LEVEL].key == key
    assert kinds(alert(1, NOON, peak_level=2))[Kind.LEVEL].key == key
    assert kinds(alert(3, NOON))[Kind.LEVEL].key != key


def test_an_acknowledgement_holds_for_the_level_that_was_seen() -> None:
    seen = Acknowledgement(by="truc-ban", at_ms=NOON + 1)
    acknowledged = alert(2, NOON, acknowledged=seen, stage=Stage.ACKNOWLEDGED)
    assert kinds(acknowledged)[Kind.LEVEL].acknowledged
    assert not kinds(alert(3, NOON, acknowledged=seen, stage=Stage.RAISED))[Kind.LEVEL].acknowledged
    later = acknowledged.model_copy(update={"unwatched": True, "data_since_ms": NOON + 5})
    assert not kinds(later)[Kind.UNWATCHED].acknowledged


def test_silent_loudspeakers_of_an_alert_are_one_line_with_all_their_names() -> None:
    document = alert(3, NOON, silent={"loa-1": "Loa thôn 1", "loa-2": "Loa thôn 2"})
    found = [o for o in occasions(document, sample()) if o.kind is Kind.SILENT]
    _, body = compose(Page("truc-ban", False, tuple(found), (Duty(found[0].key, 1, "truc-ban"),)), ["vi"], None, ZONE)
    assert "cần người đến báo: Loa thôn 1, Loa thôn 2" in body


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=300))
def test_a_first_line_is_one_sms_and_every_text_is_nfc(headline: str) -> None:
    page = Page("p", True, (occasion(vi=headline, en=headline, exercise=True),), (Duty("k", 2, "p"),))
    title, body = compose(page, ["vi", "en"], sample(), ZONE)
    assert len(title) <= FIRST_LINE and title.startswith("DIỄN TẬP: ")
    assert unicodedata.is_normalized("NFC", title) and unicodedata.is_normalized("NFC", body)
