"""The life table, row by row."""

import doctest

import pytest

from keng_alerts.gauge import life
from keng_alerts.gauge.life import TABLE, Event, Life, acknowledge, cleared, raised, tick
from keng_contracts.alerts import Stage
from keng_contracts.registry import ResponseRule

RAISED, ACKNOWLEDGED, ESCALATED = Stage.RAISED, Stage.ACKNOWLEDGED, Stage.ESCALATED
CLEARED, CLOSED = Stage.CLEARED, Stage.CLOSED
RULE = ResponseRule(sensor="phu-oc/level", escalate_after_s=600, escalations=2, close_after_s=3600)
MINUTE = 60_000


def at(stage: Stage | None, **more: int) -> Life:
    return Life(stage, 0, 0, **more)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((None, RAISED), (RAISED, RAISED), (ACKNOWLEDGED, RAISED), (ESCALATED, ESCALATED)),
        *((CLEARED, RAISED), (CLOSED, RAISED)),
    ],
)
def test_a_raised_level_is_news_to_whoever_has_acknowledged_a_lower_one(before: Stage | None, after: Stage) -> None:
    assert raised(at(before), MINUTE).stage is after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((None, None), (RAISED, ACKNOWLEDGED), (ACKNOWLEDGED, None), (ESCALATED, ACKNOWLEDGED)),
        *((CLEARED, CLOSED), (CLOSED, None)),
    ],
)
def test_a_person_acknowledges_what_is_open(before: Stage | None, after: Stage | None) -> None:
    found = acknowledge(at(before), "Nguyễn Văn An", "đã cử người ra đê", MINUTE)
    if after is None:
        assert found is None
    else:
        assert found is not None and found.acknowledged is not None
        assert (found.stage, found.acknowledged.by) == (after, "Nguyễn Văn An")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((None, None), (RAISED, CLEARED), (ACKNOWLEDGED, CLEARED), (ESCALATED, CLEARED)),
        *((CLEARED, CLEARED), (CLOSED, CLOSED)),
    ],
)
def test_the_end_of_the_hazard(before: Stage | None, after: Stage | None) -> None:
    assert cleared(at(before), MINUTE).stage is after


@pytest.mark.parametrize(
    ("before", "minutes", "after", "escalations"),
    [
        *((RAISED, 9, RAISED, 0), (RAISED, 10, ESCALATED, 1), (ESCALATED, 10, ESCALATED, 1)),
        *((ACKNOWLEDGED, 600, ACKNOWLEDGED, 0), (CLEARED, 59, CLEARED, 0), (CLEARED, 60, CLOSED, 0)),
        *((CLOSED, 600, CLOSED, 0), (None, 600, None, 0)),
    ],
)
def test_time_escalates_what_nobody_acknowledges_and_closes_what_is_over(
    before: Stage | None, minutes: int, after: Stage | None, escalations: int
) -> None:
    found = tick(at(before), minutes * MINUTE, RULE)
    assert (found.stage, found.escalations) == (after, escalations)


def test_escalations_are_bounded() -> None:
    assert tick(at(ESCALATED, escalations=2), 600 * MINUTE, RULE) == at(ESCALATED, escalations=2)


def test_every_row_of_the_table_is_tested_above() -> None:
    assert {event for _, event in TABLE} == set(Event)
    assert len(TABLE) == 13


def test_the_example_in_the_module_holds() -> None:
    assert doctest.testmod(life).failed == 0
