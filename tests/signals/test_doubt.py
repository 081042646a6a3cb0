"""A distance sensor that has jumped as no water does is believed later when it jumps again; water is still believed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.registry import Registry
from keng_contracts.telemetry import Flag, Reading
from keng_signals.quality import JUMPS_MS, Limits, Window, judge, limits_of

START = 1_763_323_200_000
MINUTE = 60_000
GROUND = 2.76


def distance(unit: str = "m", **quality: float) -> Limits:
    """The limits of a distance sensor that a water level is made of."""
    document = {
        "schema": "keng.registry/1",
        "version": 1,
        "commune": {"id": "thu", "name": "Thử"},
        "stations": [{"id": "cho", "name": "Chợ"}],
        "sensors": [{"id": "cho/distance", "name": "Khoảng cách", "node": "n", "unit": unit, "quality": quality}],
        "derived": [
            {
                "id": "cho/level",
                "name": "Ngập",
                "kind": "water-level",
                "inputs": {"distance": "cho/distance"},
                "parameters": {"sensor_above_datum_m": GROUND},
            }
        ],
    }
    return limits_of(Registry.model_validate(document))["thu/cho/distance"]


def believed(values: list[float], limits: Limits, window: Window, first: int = 0) -> list[int]:
    """The minutes whose readings were good."""
    good = []
    for minute, value in enumerate(values, start=first):
        at = START + minute * MINUTE
        if judge(Reading("", at, value, "m"), limits, window, at).flag is Flag.GOOD:
            good.append(minute)
    return good


def test_defaults_are_in_the_sensors_own_unit_and_the_registry_overrules_them() -> None:
    metres, millimetres = distance(), distance("mm")
    assert metres.rate_per_ms is not None and millimetres.rate_per_ms is not None
    assert millimetres.rate_per_ms == pytest.approx(1000 * metres.rate_per_ms)
    assert millimetres.noise == pytest.approx(1000 * metres.noise)
    own = distance(rate_per_h=36.0, noise=0.2, doubt=0)
    assert (own.rate_per_ms, own.noise, own.doubt) == (pytest.approx(1e-5), 0.2, 0.0)


def test_the_first_jump_is_not_held_by_a_default_and_as_ever_by_a_rate_that_is_written() -> None:
    jump = [GROUND, GROUND, *[0.4] * 5]
    assert believed(jump, distance(), Window()) == [0, 1, 2, 3, 4, 5, 6]
    assert believed(jump, distance(rate_per_h=3.5, noise=0.1), Window()) == [0, 1, 4, 5, 6]


def test_after_jumps_that_were_taken_back_an_object_is_not_believed_for_twenty_minutes() -> None:
    window = Window()
    believed([GROUND, 0.4, GROUND, 0.4, GROUND], distance(), window)
    assert window.jumps == 2
    assert believed([0.4] * 20, distance(), window, first=5) == []
    assert believed([GROUND], distance(), window, first=25) == [25]


def test_water_that_rises_between_such_echoes_is_believed() -> None:
    window = Window()
    believed([GROUND, 0.4, GROUND, 0.4, GROUND, 0.4], distance(), window)
    rising = [0.4 if m % 3 else GROUND - 0.015 * m for m in range(60)]
    assert believed(rising, distance(), window, first=6) == list(range(6, 66, 3))


def test_water_that_jumps_is_believed_in_the_time_that_a_fast_rise_takes_some_times_over() -> None:
    window = Window()
    believed([GROUND, *[0.4, GROUND] * 10], distance(), window)
    good = believed([GROUND - 0.6] * 60, distance(), window, first=21)
    assert good and good[0] - 21 <= 4 * (0.6 - 0.1) / 3.5 * 60 + 1


def test_jumps_are_forgotten_after_a_week() -> None:
    window = Window()
    believed([GROUND, 0.4, GROUND, 0.4, GROUND], distance(), window)
    later = 5 + JUMPS_MS // MINUTE
    assert believed([GROUND, *[0.4] * 4], distance(), window, first=later) == [later + i for i in range(5)]


@given(st.lists(st.sampled_from([GROUND, GROUND, GROUND - 0.2, GROUND - 0.7, 0.4, 1.3]), max_size=80))
def test_it_never_holds_for_ever_and_a_restart_changes_nothing(values: list[float]) -> None:
    limits, window = distance(), Window()
    for minute, value in enumerate(values):
        at = START + minute * MINUTE
        other = Window.load(json.loads(json.dumps(window.dump())))
        assert other == window
        verdict = judge(Reading("", at, value, "m"), limits, window, at)
        assert judge(Reading("", at, value, "m"), limits, other, at) == verdict
    last = values[-1] if values else GROUND
    assert believed([last] * 361, limits, window, first=len(values))[-1:] == [len(values) + 360]


def test_what_an_older_version_remembered_is_taken_over() -> None:
    window = Window([START], [1.0], [], 0, None)
    window.verdicts.append(judge(Reading("", START, 1.0, "m"), distance(), Window(), START))
    assert Window.load(window.dump()[:-3]) == window
