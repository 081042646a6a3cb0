"""The registry: a mistake is named so that whoever wrote the file finds it."""

from __future__ import annotations

import copy
import tomllib
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from keng_contracts.registry import HazardRule, Registry
from keng_runtime.settings import explain
from tests.support.registry import SAMPLE, sample

DOCUMENT: dict[str, Any] = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
LEVEL = "phu-oc/level"


def mistakes(change: Any) -> str:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(ValidationError) as error:
        Registry.model_validate(document)
    return explain(error.value)


def test_the_sample_is_without_a_mistake_and_the_same_after_the_way() -> None:
    registry = sample()
    assert Registry.model_validate_json(registry.model_dump_json(by_alias=True)) == registry


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["stations"].append(d["stations"][0]), "station 'phu-oc' is there twice"),
        (lambda d: d["sensors"].append(d["sensors"][0]), "sensor 'phu-oc/level' is there twice"),
        (lambda d: d["zones"].append(d["zones"][0]), "zone 'toan-xa' is there twice"),
        (lambda d: d["speakers"].append(d["speakers"][0]), "speaker 'loa-phuoc-yen' is there twice"),
        (lambda d: d["sirens"].append(d["sirens"][0]), "siren 'lu-tren-bd2' is there twice"),
        (
            lambda d: d.update(hazard_rules=[{"sensor": LEVEL}, {"sensor": LEVEL}]),
            "hazard rule 'phu-oc/level' is there twice",
        ),
        (
            lambda d: d["sensors"][0].update(id="an-lo/level"),
            "sensor an-lo/level: there is no station 'an-lo' (there are: phu-oc, phuoc-yen, uy-ban)",
        ),
        (lambda d: d["thresholds"][0].update(sensor="phu-oc/stage"), "threshold: there is no sensor 'phu-oc/stage'"),
        (lambda d: d["authority"][0].update(sensor="phu-oc/stage"), "authority: there is no sensor 'phu-oc/stage'"),
        (
            lambda d: d["speakers"][0].update(zones=["bo-song"]),
            "speaker loa-phuoc-yen: there is no zone 'bo-song' (there are: toan-xa, ven-song)",
        ),
        (
            lambda d: d["authority"][1].update(zones=["bo-song"]),
            "authority for phu-oc/level: there is no zone 'bo-song'",
        ),
        (lambda d: d["authority"][1].update(siren="x"), "authority for phu-oc/level: there is no siren 'x'"),
        (
            lambda d: d["authority"][1].pop("delegation"),
            "authority for phu-oc/level level 2 is auto without delegated_by or delegation: name who",
        ),
        (lambda d: d.update(version=0), "version: "),
        (lambda d: d.update(schema="keng.registry/2"), "schema: "),
        (lambda d: d["commune"].update(id="Quảng Thọ"), "commune.id: "),
        (lambda d: d["commune"].update(colour="red"), "commune.colour: is no setting"),
        (lambda d: d["sensors"][0].pop("node"), "sensors.0.node: Field required"),
        (lambda d: d["sensors"][0].update(id="level"), "sensors.0.id: "),
        (lambda d: d["sensors"][0].update(interval_s=0), "sensors.0.interval_s: "),
        (lambda d: d["thresholds"][0].update(level=5), "thresholds.0.level: "),
        (
            lambda d: d["thresholds"][0].update(value=float("nan")),
            "thresholds.0.value: Input should be a finite number",
        ),
        (
            lambda d: d["thresholds"][0].update(value=float("inf")),
            "thresholds.0.value: Input should be a finite number",
        ),
        (lambda d: d["thresholds"][0].pop("source"), "thresholds.0.source: Field required"),
        (lambda d: d["thresholds"][0].update(valid_from="soon"), "thresholds.0.valid_from: "),
        (lambda d: d["sirens"][0].update(blasts=0), "sirens.0.blasts: "),
        (lambda d: d["stations"][0].update(lat=107.4), "stations.0.lat: "),
    ],
)
def test_a_mistake_is_named(change: Any, says: str) -> None:
    assert says in mistakes(change)


def test_all_names_that_are_wrong_are_told_at_once() -> None:
    def change(document: dict[str, Any]) -> None:
        document["speakers"][0]["zones"] = ["bo-song"]
        document["speakers"][1]["zones"] = ["bo-song"]
        document["zones"].append(document["zones"][0])

    text = mistakes(change)
    assert text.count("bo-song") == 2
    assert "zone 'toan-xa' is there twice" in text


def test_of_several_thresholds_of_a_level_the_newest_that_holds_already_is_taken() -> None:
    """Khánh Hòa replaced its table on 2 October 2025."""
    old = {**DOCUMENT["thresholds"][0], "value": 8.0, "valid_from": date(2020, 3, 18)}
    new = {**old, "value": 9.5, "valid_from": date(2025, 10, 2)}
    for rows in ([old, new], [new, old]):
        registry = sample(thresholds=rows)
        assert registry.thresholds_of(LEVEL, date(2020, 3, 17)) == {}
        assert registry.thresholds_of(LEVEL, date(2025, 10, 1))[1].value == 8.0
        assert registry.thresholds_of(LEVEL, date(2025, 10, 2))[1].value == 9.5
    assert sample().thresholds_of("phu-oc/rain", date(2026, 1, 1)) == {}


def test_a_gauge_without_a_rule_has_the_default_one() -> None:
    assert sample(hazard_rules=[]).hazard_rule_of(LEVEL) == HazardRule(sensor=LEVEL)
    assert sample(hazard_rules=[{"sensor": LEVEL, "dead_band": 0.2}]).hazard_rule_of(LEVEL).dead_band == 0.2


def test_a_series_is_the_sensor_in_its_commune() -> None:
    registry = sample()
    assert registry.series(registry.sensors[0]) == "quang-tho/phu-oc/level"
