"""Who may start the sirens: every mistake in the rows is named, so that whoever wrote the file finds it."""

from __future__ import annotations

import copy
import doctest
import tomllib
from datetime import date, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keng_contracts import authority
from keng_contracts.authority import Authority, Delegation, ResponseRule
from keng_contracts.registry import Registry
from keng_runtime.settings import explain
from tests.support.registry import SAMPLE, sample

DOCUMENT: dict[str, Any] = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
LEVEL = "phu-oc/level"
ROW2, ROW3 = 1, 2


def of(change: Any) -> Registry:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return Registry.model_validate(document)


def night(**row: Any) -> dict[str, Any]:
    return {**DOCUMENT["authority"][ROW3], "hours": [time(21, 30), time(5, 0)], **row}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda d: d["authority"][ROW3].update(delegation="x"),
            "authority for phu-oc/level level 3: there is no delegation 'x' (there are: phong-thu-dan-su)",
        ),
        (
            lambda d: d["authority"][ROW3].update(delegated_by="Chủ tịch"),
            "level 3 has both delegation and delegated_by: keep one",
        ),
        (
            lambda d: d["delegations"][0].update(levels=[2]),
            "level 3: the delegation 'phong-thu-dan-su' does not cover that level",
        ),
        (
            lambda d: d["delegations"][0].update(sensors=["phu-oc/rain"]),
            "level 2: the delegation 'phong-thu-dan-su' does not cover that gauge",
        ),
        (
            lambda d: d["delegations"][0].update(sensors=["phu-oc/x"]),
            "delegation phong-thu-dan-su: there is no sensor 'phu-oc/x'",
        ),
        (
            lambda d: d["delegations"][0].update(valid_until=date(2019, 1, 1)),
            "delegations.0: valid_until lies before valid_from",
        ),
        (lambda d: d["delegations"][0].pop("valid_until"), "delegations.0.valid_until: Field required"),
        (lambda d: d["delegations"].append(d["delegations"][0]), "delegation 'phong-thu-dan-su' is there twice"),
        (
            lambda d: (d["authority"][ROW3].pop("delegation"), d["authority"][ROW3].update(mode="auto-after-timeout")),
            "level 3 is auto-after-timeout without delegated_by or delegation: name who",
        ),
        (lambda d: d["authority"][ROW3].update(mode="automatic"), "authority.2.mode: "),
        (
            lambda d: d["authority"][ROW3].update(hours=[time(5), time(5)]),
            "level 3: hours that begin when they end are none; leave them out for the whole day",
        ),
        (
            lambda d: d["authority"].append(d["authority"][ROW3]),
            "level 3: two rows hold for zone 'toan-xa' at the same hours",
        ),
        (
            lambda d: d["authority"].extend([night(), night(hours=[time(4), time(6)])]),
            "level 3: two rows hold for zone 'toan-xa' at the same hours",
        ),
        (
            lambda d: d["authority"][ROW3].update(second={"sensor": LEVEL, "level": 2}),
            "level 3: its second source is the gauge itself",
        ),
        (
            lambda d: d["authority"][ROW3].update(second={"sensor": "phu-oc/rain", "level": 2}),
            "level 3: its second source phu-oc/rain has no threshold of level 2 (gauges are: phu-oc/level)",
        ),
        (lambda d: d["authority"][ROW3].update(cooldown_s=-1), "authority.2.cooldown_s: "),
        (lambda d: d["authority"][ROW3].update(confirm_within_s=0), "authority.2.confirm_within_s: "),
        (
            lambda d: d.update(response_rules=[{"sensor": LEVEL}, {"sensor": LEVEL}]),
            "response rule 'phu-oc/level' is there twice",
        ),
        (
            lambda d: d.update(response_rules=[{"sensor": "phu-oc/x"}]),
            "response rule: there is no sensor 'phu-oc/x'",
        ),
    ],
)
def test_a_mistake_is_named(change: Any, says: str) -> None:
    with pytest.raises(ValidationError) as error:
        of(change)
    assert says in explain(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["authority"].append(night(mode="confirm")),
        lambda d: d["authority"].extend([night(), night(hours=[time(5), time(21, 30)])]),
        lambda d: d["authority"].append({**d["authority"][ROW3], "zones": ["ven-song"]}),
        lambda d: (d["authority"][ROW3].pop("delegation"), d["authority"][ROW3].update(delegated_by="Chủ tịch xã")),
        lambda d: (d["authority"][ROW3].pop("delegation"), d["authority"][ROW3].update(mode="confirm")),
        lambda d: d["delegations"][0].update(sensors=[LEVEL]),
    ],
)
def test_rows_that_hold_beside_each_other_are_no_mistake(change: Any) -> None:
    registry = of(change)
    assert Registry.model_validate_json(registry.model_dump_json(by_alias=True)) == registry


def test_a_delegation_holds_on_its_first_and_its_last_day() -> None:
    paper = Delegation(
        id="a", by="b", paper="c", levels=[3], valid_from=date(2025, 9, 1), valid_until=date(2025, 12, 31)
    )
    days = (date(2025, 8, 31), date(2025, 9, 1), date(2025, 12, 31), date(2026, 1, 1))
    assert [paper.holds(day) for day in days] == [False, True, True, False]


def test_who_delegated_is_told_in_words() -> None:
    registry = sample()
    assert registry.delegation_of(registry.authority[ROW3]).endswith(", until 2035-12-31")
    assert registry.delegation_of(Authority(sensor=LEVEL, level=3, delegated_by="Chủ tịch xã")) == "Chủ tịch xã"


def test_a_gauge_without_a_response_rule_has_the_default_one() -> None:
    assert sample().response_rule_of(LEVEL) == ResponseRule(sensor=LEVEL)


@given(st.times(), st.times(), st.times())
def test_hours_and_their_complement_hold_at_every_time_of_day_once(start: time, end: time, at: time) -> None:
    if start != end:
        row, rest = (Authority(sensor=LEVEL, level=2, hours=hours) for hours in ((start, end), (end, start)))
        assert row.holds(at) != rest.holds(at)


def test_the_example_in_the_module_holds() -> None:
    assert doctest.testmod(authority).failed == 0
