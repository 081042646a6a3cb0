"""Who puts a programme on air, and how much of it there may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_console.speakers.approval import ProgrammeSettings, Shelf, Version, approve, in_force, publish
from keng_console.speakers.programme import Plan, programmes
from keng_console.speakers.quota import Length, Quota, faults, length
from keng_contracts.commands import Siren
from keng_contracts.errors import Problem
from tests.support.registry import sample

REQUIRED, NONE = ProgrammeSettings(), ProgrammeSettings(approval="none")
SIREN = Siren(pattern="khan", blasts=3, blast_s=20, gap_s=10, repeats=2)
#: Monday the 17th of November, noon.
NOON = round(datetime(2025, 11, 17, 12, 0, tzinfo=timezone(timedelta(hours=7))).timestamp() * 1000)


def entry(**changes: object) -> dict[str, object]:
    fields = {"id": "ban-tin", "first": "2025-11-10T06:00:00", "rule": "FREQ=DAILY", "zones": ["toan-xa"]}
    return {**fields, "items": [{"kind": "speech", "text": "Bản tin."}], **changes}


def plan(*entries: dict[str, object], emergency: bool = False) -> Plan:
    return Plan.model_validate({"entries": entries, "emergency": [SIREN] if emergency else []})


DRAFT = Version(plan(entry()), "lan", NOON)


# -- approval -------------------------------------------------------------------------------------------------------


def test_what_is_published_is_a_draft_unless_nobody_has_to_approve() -> None:
    assert publish(DRAFT, REQUIRED).approved_ms is None
    assert publish(DRAFT, NONE) == replace(DRAFT, approved_ms=NOON)


@pytest.mark.parametrize(
    ("shelf", "name", "by", "rule", "said"),
    [
        (Shelf(), DRAFT.name, "hoa", REQUIRED, "no draft waits"),
        (Shelf(DRAFT), DRAFT.name, "hoa", REQUIRED, "no draft waits"),
        (Shelf(None, DRAFT), "00000000", "hoa", REQUIRED, f"the draft is {DRAFT.name} now"),
        (Shelf(None, DRAFT), DRAFT.name, "lan", REQUIRED, "another person has to approve it.*second Unix user"),
        (Shelf(None, DRAFT), DRAFT.name, "hoa", ProgrammeSettings(approvers=["chu-tich"]), "these may.*chu-tich"),
        (Shelf(None, DRAFT), DRAFT.name, "lan", ProgrammeSettings(approvers=["lan"]), "another person"),
        (Shelf(None, DRAFT), DRAFT.name, "hoa", REQUIRED, ""),
        (Shelf(DRAFT, DRAFT), DRAFT.name, "chu-tich", ProgrammeSettings(approvers=["chu-tich"]), ""),
        (Shelf(None, DRAFT), DRAFT.name, "lan", NONE, ""),
    ],
)
def test_each_row_of_the_table(shelf: Shelf, name: str, by: str, rule: ProgrammeSettings, said: str) -> None:
    if said:
        with pytest.raises(Problem, match=said):
            approve(shelf, name, by, NOON + 1, rule)
    else:
        assert approve(shelf, name, by, NOON + 1, rule) == replace(DRAFT, approved_by=by, approved_ms=NOON + 1)


def test_another_plan_or_the_same_published_again_has_another_name() -> None:
    versions = [DRAFT, replace(DRAFT, at_ms=NOON + 1), replace(DRAFT, plan=plan(entry(gong=True)))]
    assert all(one.name != other.name for one, other in combinations(versions, 2))


def test_what_the_buttons_play_does_not_wait_and_is_not_taken_away_by_a_draft_without_it() -> None:
    old = Version(plan(entry(id="cu"), emergency=True), "lan", NOON)
    assert in_force(Shelf()) is in_force(Shelf(None, DRAFT)) is None
    assert in_force(Shelf(None, old)) == Plan(entries=[], emergency=[SIREN])
    assert in_force(Shelf(old, DRAFT)) == old.plan
    assert in_force(Shelf(DRAFT, old)) == Plan(entries=DRAFT.plan.entries, emergency=[SIREN])


# -- quota ----------------------------------------------------------------------------------------------------------

HANOI = Quota(sessions_a_day=2, days=["MO", "TU", "WE", "TH", "FR"], least_min=15, most_min=45)
WEEKDAYS = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"


def found(*entries: dict[str, object], quota: Quota = HANOI) -> list[str]:
    made = plan(*entries)
    lengths = {e.id: length(e, e.lasts_min) for e in made.entries}
    return faults(programmes(made, sample(), NOON), lengths, quota)


def test_what_hanoi_allows_is_allowed() -> None:
    morning = entry(rule=WEEKDAYS, lasts_min=30)
    evening = entry(id="chieu", first="2025-11-10T17:00:00", rule=WEEKDAYS, lasts_min=15)
    assert found(morning, evening) == []


def test_each_fault_names_its_day_and_its_slot_once_for_all_loudspeakers() -> None:
    at_weekends = found(entry(lasts_min=20))
    assert [f[:24] for f in at_weekends] == ["SA 22.11. 06:00 ban-tin:", "SU 23.11. 06:00 ban-tin:"]
    three = [
        entry(id=f"buoi-{hour}", first=f"2025-11-10T{hour:02}:00:00", rule="FREQ=WEEKLY;BYDAY=TU", lasts_min=20)
        for hour in (6, 11, 17)
    ]
    [third] = found(*three)
    assert third.startswith("TU 18.11. 17:00 buoi-17: buổi phát thứ 3") and "2 at most" in third
    [long] = found(entry(rule="FREQ=WEEKLY;BYDAY=WE", lasts_min=50))
    assert long == "WE 19.11. 06:00 ban-tin: dài 50.0 phút (min: 45 at most)"
    [short] = found(entry(rule="FREQ=WEEKLY;BYDAY=WE", lasts_min=5))
    assert "15 at least" in short


def test_entries_that_follow_each_other_are_one_session() -> None:
    rows = [
        entry(id=f"muc-{m}", first=f"2025-11-10T06:{m:02}:00", rule=WEEKDAYS, lasts_min=10) for m in (0, 10, 24, 34)
    ]
    assert found(*rows) == [], "40 minutes, with 4 of silence"
    apart = [*rows[:2], entry(id="muc-25", first="2025-11-10T06:25:00", rule=WEEKDAYS, lasts_min=10)]
    assert {f.partition(": ")[2] for f in found(*apart)} == {"dài 10.0 phút (min: 15 at least)"}


def test_lengths_are_estimated_where_they_can_be_and_said_to_be_more_where_not() -> None:
    media = {"kind": "media", "url": "https://xa.example/a.mp3", "sha256": "0" * 64, "size": 5}
    rows = plan(
        entry(id="loi", items=[{"kind": "speech", "text": "bà con " * 100}]),
        entry(id="so", items=[{"kind": "speech", "text": "0234 5678"}]),
        entry(id="coi", items=[SIREN.model_dump()], gong=True),
        entry(id="tep", items=[media, {"kind": "speech", "text": "bà con " * 100}]),
        entry(id="biet", items=[media], lasts_min=20),
    ).entries
    assert [length(row, row.lasts_min) for row in rows] == [
        Length(60.0),
        Length(2.4),
        Length(182.4),
        Length(60.0, whole=False),
        Length(1200.0),
    ]
    assert [str(length(row, None)) for row in rows] == ["~ 1:00", "~ 0:02", "~ 3:02", "≥ 1:00", "?"]
    assert found(entry(rule=WEEKDAYS, items=[media])) == [], "nobody knows that it is too short"


@given(
    starts=st.lists(st.integers(0, 23 * 60), min_size=1, max_size=8, unique=True),
    minutes=st.integers(1, 20),
    apart=st.floats(0, 60),
)
def test_a_quota_without_limits_allows_everything_and_a_session_is_never_longer_than_the_day_sounds(
    starts: list[int], minutes: int, apart: float
) -> None:
    rows = [
        entry(id=f"m-{m}", first=f"2025-11-10T{m // 60:02}:{m % 60:02}:00", lasts_min=minutes, night="Hoa")
        for m in starts
    ]
    assert found(*rows, quota=Quota(apart_min=apart)) == []
    assert found(*rows, quota=Quota(apart_min=apart, most_min=minutes * len(starts), sessions_a_day=len(starts))) == []
