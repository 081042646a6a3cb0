"""Rules for alarms: every mistake is named so that whoever wrote the file finds it, and defaults are sane."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from keng_contracts.rules import SPECS, Rule, RuleKind, Severity
from keng_contracts.topics import is_slug
from keng_contracts.watching import alarm_id, watched
from keng_runtime.settings import explain
from tests.support.registry import sample

RAIN = {"id": "mua", "kind": "rain", "watch": ["phu-oc/rain"], "window_s": 3600, "raise_at": 40}
DERIVED = [
    {"id": "uy-ban/aqi", "name": "VN_AQI", "kind": "vn-aqi", "inputs": {"pm2-5": "uy-ban/pm2-5"}},
    {
        "id": "phu-oc/rain-1h",
        "name": "Mưa 1 giờ",
        "kind": "rain",
        "inputs": {"counter": "phu-oc/rain"},
        "parameters": {"window_s": 3600},
    },
]
BATTERY = {"id": "uy-ban/pin", "name": "Pin", "node": "tram-phu-oc", "unit": "V"}
SENSORS = [*(sensor.model_dump() for sensor in sample().sensors), BATTERY]


def mistakes(*rules: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as error:
        sample(rules=list(rules), derived=DERIVED, sensors=SENSORS)
    return explain(error.value)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({**RAIN, "watch": ["phu-oc/mua"]}, "rule mua: there is no sensor 'phu-oc/mua' (there are: phu-oc/level, "),
        ({**RAIN, "watch": []}, "rules.0.watch: "),
        ({**RAIN, "watch": ["*", "phu-oc/rain"]}, 'rule mua: watch is "*" or names, not both'),
        ({**RAIN, "watch": ["phu-oc/level"]}, "rule mua: phu-oc/level is in 'm'; rain can take mm"),
        ({**RAIN, "watch": ["uy-ban/aqi"]}, "rule mua: uy-ban/aqi is vn-aqi; rain watches a derived rain"),
        ({**RAIN, "window_s": None}, "rule mua: rain needs window_s"),
        ({**RAIN, "raise_at": None}, "rule mua: rain needs raise_at, in mm"),
        ({**RAIN, "clear_at": 50}, "rule mua: clear_at 50 must lie below raise_at 40"),
        ({**RAIN, "clear_at": 40}, "rule mua: clear_at 40 must lie below raise_at 40"),
        ({**RAIN, "travel_s": 60}, "rule mua: rain has no travel_s"),
        ({**RAIN, "kind": "hail"}, "rules.0.kind: "),
        ({**RAIN, "severity": "terrible"}, "rules.0.severity: "),
        ({**RAIN, "raise_at": float("nan")}, "rules.0.raise_at: Input should be a finite number"),
        ({**RAIN, "colour": "red"}, "rules.0.colour: is no setting"),
        ({**RAIN, "id": "Mưa"}, "rules.0.id: "),
        (
            {"id": "a", "kind": "low", "watch": ["uy-ban/pm10"], "raise_at": 5, "clear_at": 4},
            "rule a: clear_at 4 must lie above raise_at 5",
        ),
        ({"id": "a", "kind": "low", "watch": ["uy-ban/pm10"], "raise_at": 5}, "rule a: low needs clear_at"),
        (
            {"id": "a", "kind": "upstream", "watch": ["phu-oc/level"], "raise_at": 4, "to": "uy-ban"},
            "rule a: upstream needs travel_s",
        ),
        (
            {
                "id": "a",
                "kind": "upstream",
                "watch": ["phu-oc/level"],
                "raise_at": 4,
                "to": "hue",
                "travel_s": 3600,
            },
            "rule a: there is no station 'hue' to be reached (there are: phu-oc, phuoc-yen, uy-ban)",
        ),
        (
            {"id": "a", "kind": "rise", "watch": ["phu-oc/rain"]},
            "rule a: phu-oc/rain has no thresholds, so that rise has nothing to foretell",
        ),
        ({"id": "a", "kind": "rise", "watch": ["*"], "level": 5}, "rules.0.level: "),
        (
            {"id": "a", "kind": "air", "watch": ["uy-ban/pm10"]},
            "rule a: uy-ban/pm10 is a plain sensor; air watches a derived vn-aqi",
        ),
        (
            {"id": "a", "kind": "node-offline", "watch": ["tram-xa"]},
            "rule a: there is no node 'tram-xa' (there are: tram-phu-oc)",
        ),
        (
            {"id": "a", "kind": "speaker-off", "watch": ["tram-phu-oc"]},
            "rule a: there is no speaker 'tram-phu-oc' (there are: loa-niem-pho, loa-phuoc-yen)",
        ),
        ({"id": "a", "kind": "battery", "watch": ["uy-ban/pin"]}, "rule a: battery needs raise_at, in V"),
    ],
)
def test_a_mistake_is_named(rule: dict[str, Any], says: str) -> None:
    assert says in mistakes(rule)


def test_two_rules_of_one_name_and_two_alerts_of_one_name_are_told() -> None:
    assert "rule 'mua' is there twice" in mistakes(RAIN, RAIN)
    silent = {"id": "im", "kind": "silent", "watch": ["uy-ban/pin"]}
    offline = {"id": "im-uy-ban", "kind": "node-offline", "watch": ["pin"]}
    with pytest.raises(ValidationError) as error:
        sample(rules=[silent, offline], sensors=[*SENSORS, {**BATTERY, "id": "uy-ban/pin-2", "node": "pin"}])
    assert "alert 'im-uy-ban-pin' is there twice" in explain(error.value)


def test_all_takes_what_the_kind_can_take() -> None:
    registry = sample(
        rules=[{"id": "mua", "kind": "rain", "watch": ["*"], "window_s": 3600, "raise_at": 40}], derived=DERIVED
    )
    assert watched(registry.rules[0], registry.known) == {"phu-oc/rain": "mm", "phu-oc/rain-1h": "mm"}
    level = {
        "id": "phu-oc/level-2",
        "name": "Mực nước",
        "kind": "water-level",
        "inputs": {"distance": "phu-oc/distance"},
        "parameters": {"sensor_above_datum_m": 8},
    }
    distance = {"id": "phu-oc/distance", "name": "Khoảng cách", "node": "tram-phu-oc", "unit": "mm"}
    ranging = sample(rules=[{**RAIN, "watch": ["*"]}], sensors=[*SENSORS, distance], derived=[level])
    assert watched(ranging.rules[0], ranging.known) == {"phu-oc/rain": "mm"}
    nothing = sample(rules=[{"id": "a", "kind": "disk", "watch": ["*"]}])
    assert watched(nothing.rules[0], nothing.known) == {}
    silent = sample(rules=[{"id": "im", "kind": "silent", "watch": ["*"]}])
    assert set(watched(silent.rules[0], silent.known)) == {sensor.id for sensor in silent.sensors}


@pytest.mark.parametrize("kind", list(RuleKind))
def test_every_default_lies_on_the_right_side(kind: RuleKind) -> None:
    for unit, scale in SPECS[kind].scales.items():
        raise_at = 5.0 if scale.raise_at is None else None
        given = {} if scale.clear_at(1.0) is not None else {"clear_at": 4.0 if scale.above else 6.0}
        bounds = Rule.model_validate({"id": "a", "kind": kind, "watch": ["*"], "raise_at": raise_at, **given}).bounds(
            unit
        )
        assert (bounds.clear_at < bounds.raise_at) is bounds.above


def test_a_rule_has_the_severity_of_its_kind_until_it_says_another() -> None:
    assert Rule.model_validate(RAIN).grave is Severity.MODERATE
    assert Rule.model_validate({**RAIN, "severity": "extreme"}).grave is Severity.EXTREME


def test_an_alarm_can_be_a_topic_however_long_its_names_are() -> None:
    assert alarm_id("im", "phu-oc/rain") == "im-phu-oc-rain"
    one, other = (alarm_id("r" * 63, f"{'s' * 63}/{'q' * 62}{end}") for end in "ab")
    assert is_slug(one) and is_slug(other) and one != other
    assert is_slug(alarm_id("im", "a/b-"))
