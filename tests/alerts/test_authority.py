"""Who lets a siren sound: every row of the table, and what comes of a question."""

from datetime import date, time
from typing import Any

import pytest

from keng_alerts.gauge.authority import Circumstances, Verdict, delegation_lapsed, rulings
from keng_contracts.alerts import Silence, Why
from keng_contracts.registry import AuthorityMode
from tests.support.registry import sample
from tests.support.watching import NIGHT, NOON, OneGauge, commune

HIGH = (4.55, 4.56, 4.57)
GAUGE = "phu-oc/level"
DELEGATION = {
    "id": "mua-lu",
    "by": "Chủ tịch UBND xã",
    "paper": "Quyết định 12/QĐ-UBND",
    "levels": [2, 3],
    "valid_from": date(2025, 9, 1),
    "valid_until": date(2025, 12, 31),
}
BY_PAPER: dict[str, Any] = {"delegation": "mua-lu"}


def around(**more: Any) -> Circumstances:
    return Circumstances(**{"now_ms": NOON, "agrees": lambda second: False, **more})


def ruled(row: dict[str, Any], **more: Any) -> tuple[Verdict, Why | None]:
    other = {**sample().thresholds[0].model_dump(), "sensor": "uy-ban/pm10", "level": 1}
    registry = commune(
        level3=row,
        delegations=[*sample().delegations, DELEGATION],
        thresholds=[*(t.model_dump() for t in sample().thresholds), other],
    )
    (one,) = rulings(registry, GAUGE, 3, around(**more))
    return one.verdict, one.why


SECOND = {"second": {"sensor": "uy-ban/pm10", "level": 1}}
WEEK = Silence(level=3, until_ms=NOON + 1, by="An")


@pytest.mark.parametrize(
    ("row", "more", "rules"),
    [
        ({"mode": "manual"}, {}, (Verdict.LEAVE, None)),
        ({"mode": "confirm"}, {}, (Verdict.ASK, Why.CONFIRM)),
        ({"mode": "auto"}, {}, (Verdict.SOUND, None)),
        ({"mode": "auto", **BY_PAPER}, {}, (Verdict.SOUND, None)),
        ({"mode": "auto", **BY_PAPER}, {"now_ms": 1_767_200_399_999}, (Verdict.SOUND, None)),  # 31 Dec, 23:59:59
        ({"mode": "auto", **BY_PAPER}, {"now_ms": 1_767_200_400_000}, (Verdict.ASK, Why.DELEGATION)),  # 1 Jan, Huế
        ({"mode": "auto", **BY_PAPER}, {"now_ms": 1_756_000_000_000}, (Verdict.ASK, Why.DELEGATION)),  # August
        ({"mode": "auto"}, {"silence": WEEK}, (Verdict.ASK, Why.SILENCED)),
        ({"mode": "auto"}, {"silence": WEEK, "now_ms": NOON + 1}, (Verdict.SOUND, None)),
        ({"mode": "auto"}, {"silence": WEEK.model_copy(update={"level": 2})}, (Verdict.SOUND, None)),
        ({"mode": "auto", "cooldown_s": 60}, {"played": {3: NOON - 59_999}}, (Verdict.ASK, Why.COOLDOWN)),
        ({"mode": "auto", "cooldown_s": 60}, {"played": {3: NOON - 60_000, 2: NOON}}, (Verdict.SOUND, None)),
        ({"mode": "auto", "cooldown_s": 60}, {"played": {2: NOON}}, (Verdict.SOUND, None)),
        ({"mode": "auto"}, {"late": True}, (Verdict.ASK, Why.LATE)),
        ({"mode": "auto", **SECOND}, {}, (Verdict.ASK, Why.SECOND_SOURCE)),
        ({"mode": "auto", **SECOND}, {"agrees": lambda second: second.level == 1}, (Verdict.SOUND, None)),
        ({"mode": "auto-after-timeout"}, {}, (Verdict.ASK, Why.TIMEOUT)),
        ({"mode": "auto-after-timeout"}, {"asked_ms": NOON - 599_999}, (Verdict.ASK, Why.TIMEOUT)),
        ({"mode": "auto-after-timeout"}, {"asked_ms": NOON - 600_000}, (Verdict.SOUND, None)),
        ({"mode": "auto-after-timeout", **SECOND}, {"asked_ms": 0}, (Verdict.ASK, Why.SECOND_SOURCE)),
        ({"mode": "confirm"}, {"silence": WEEK, "late": True}, (Verdict.ASK, Why.CONFIRM)),
    ],
)
def test_every_row_of_the_table(row: dict[str, Any], more: Any, rules: Any) -> None:
    assert ruled(row, **more) == rules


def test_a_delegation_that_does_not_cover_the_gauge_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="does not cover that gauge"):
        commune(level3=BY_PAPER, delegations=[*sample().delegations, {**DELEGATION, "sensors": ["phu-oc/rain"]}])


# -- hours --------------------------------------------------------------------------------------------------------


def by_night(mode: str) -> Any:
    """Báo động 3 sounds by itself by day; at night this mode holds."""
    row = commune().authority[2].model_dump()
    night = {**row, "mode": mode, "hours": (time(21, 30), time(5, 0))}
    return sample(authority=[row, night])


@pytest.mark.parametrize(("now_ms", "plays"), [(NIGHT, []), (NOON, ["phu-oc-level-1-3"])])
def test_hours_are_those_of_the_commune(now_ms: int, plays: list[str]) -> None:
    """3:00 in Huế is 20:00 UTC of the day before."""
    gauge = OneGauge(by_night("confirm"), now_ms=now_ms).levels(*HIGH)
    assert gauge.plays == plays
    assert gauge.questions == ([] if plays else [(3, "confirm")])


def test_a_question_that_was_asked_at_night_stays_one_by_day() -> None:
    gauge = OneGauge(by_night("confirm"), now_ms=NIGHT).levels(*HIGH).wait(7 * 3600, every_s=60)
    assert gauge.plays == []


# -- questions ----------------------------------------------------------------------------------------------------


def test_auto_after_timeout_sounds_once_when_nobody_declines() -> None:
    gauge = OneGauge(commune(level3={"mode": AuthorityMode.TIMEOUT, "confirm_within_s": 300})).levels(*HIGH)
    assert gauge.questions == [(3, "timeout")]
    assert gauge.document.questions[0].sounds_ms == gauge.now_ms + 300_000
    assert gauge.wait(299).plays == ["phu-oc-level-1-2"]
    assert gauge.wait(1).plays == ["phu-oc-level-1-2", "phu-oc-level-1-3"]
    assert gauge.wait(3600, every_s=10).plays == ["phu-oc-level-1-2", "phu-oc-level-1-3"]


def test_silence_of_the_gauge_does_not_stop_what_sounds_by_itself_but_a_level_that_is_left_does() -> None:
    """No data is no safety: only fresh good data takes the question away."""
    registry = commune(level3={"mode": AuthorityMode.TIMEOUT, "confirm_within_s": 3000}, level2={"mode": "manual"})
    assert OneGauge(registry).levels(*HIGH).wait(3001, every_s=10).plays == ["phu-oc-level-1-3"]
    left = OneGauge(registry).levels(*HIGH, *[4.3] * 47)
    assert left.questions == []
    assert left.wait(4000, every_s=10).plays == []
    assert "withdrawn" in left.happened


def test_after_an_outage_a_question_that_is_long_due_waits_for_a_fresh_sample() -> None:
    registry = commune(level3={"mode": AuthorityMode.TIMEOUT, "confirm_within_s": 300}, level2={"mode": "manual"})
    gauge = OneGauge(registry).levels(*HIGH)
    gauge.now_ms += 3 * 3_600_000
    gauge.restart().wait(60)
    assert (gauge.plays, gauge.questions) == ([], [(3, "late")])
    assert gauge.levels(4.6).plays == ["phu-oc-level-1-3"]


def second_source() -> Any:
    other = {**sample().thresholds[0].model_dump(), "sensor": "uy-ban/pm10", "level": 1}
    thresholds = [*(t.model_dump() for t in sample().thresholds), other]
    return commune(level3=SECOND, level2={"mode": "manual"}, thresholds=thresholds)


def test_a_second_source_that_agrees_later_lets_it_sound_and_one_that_never_does_leaves_it_to_people() -> None:
    gauge = OneGauge(second_source()).levels(*HIGH).wait(120)
    assert (gauge.plays, gauge.questions) == ([], [(3, "second-source")])
    gauge.second_agrees = True
    assert gauge.wait(1).plays == ["phu-oc-level-1-3"]


def test_a_second_source_that_agrees_at_once_costs_no_time() -> None:
    assert OneGauge(second_source(), second_agrees=True).levels(*HIGH).plays == ["phu-oc-level-1-3"]


def test_a_gauge_agrees_by_its_level_and_by_good_data_that_is_not_old() -> None:
    gauge = OneGauge().levels(*HIGH)
    assert gauge.watch.stands_at(3, 60, gauge.now_ms + 60_000)
    assert not gauge.watch.stands_at(3, 60, gauge.now_ms + 60_001)
    assert not gauge.watch.stands_at(4, 60, gauge.now_ms)


def test_a_delegation_that_has_expired_asks_a_person_and_says_so() -> None:
    paper = {**DELEGATION, "valid_until": date(2025, 11, 16)}
    gauge = OneGauge(commune(level3=BY_PAPER, level2=BY_PAPER, delegations=[*sample().delegations, paper])).levels(
        *HIGH
    )
    assert (gauge.plays, gauge.questions) == ([], [(3, "delegation"), (2, "delegation")])


def test_rows_whose_delegation_has_ended_are_named_when_the_registry_is_read() -> None:
    registry = commune(level3=BY_PAPER, delegations=[*sample().delegations, DELEGATION])
    in_2026 = 1_782_864_000_000
    assert delegation_lapsed(registry, NOON) == []
    assert [(row.level, row.delegation) for row in delegation_lapsed(registry, in_2026)] == [(3, "mua-lu")]


def test_within_the_cooldown_the_next_flood_asks() -> None:
    gauge = OneGauge(commune(level3={"cooldown_s": 86_400})).levels(*HIGH, *[1.0] * 140, *HIGH)
    assert gauge.plays == ["phu-oc-level-1-3", "phu-oc-level-2-2"]
    assert gauge.questions == [(3, "cooldown")]
