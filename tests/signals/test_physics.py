"""One-reading formulas against tables, and their laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_signals.physics import dew_point_c, soil_water_deficit_mm, water_level_m

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("temperature", "humidity", "dew"),
    # Psychrometric tables, to a tenth of a degree.
    [
        (20.0, 50.0, 9.3),
        (25.0, 60.0, 16.7),
        (30.0, 80.0, 26.2),
        (35.0, 40.0, 19.4),
        (10.0, 90.0, 8.4),
        (0.0, 100.0, 0.0),
    ],
)
def test_dew_points_as_in_the_tables(temperature: float, humidity: float, dew: float) -> None:
    assert dew_point_c(temperature, humidity) == pytest.approx(dew, abs=0.06)


def test_air_that_is_full_is_at_its_dew_point_also_when_the_instrument_shows_more() -> None:
    assert dew_point_c(24.0, 100.0) == pytest.approx(24.0)
    assert dew_point_c(24.0, 103.0) == pytest.approx(24.0)


@given(finite, finite)
def test_a_dew_point_is_never_above_the_temperature_and_always_a_number(temperature: float, humidity: float) -> None:
    dew = dew_point_c(temperature, humidity)
    if dew is not None:
        assert math.isfinite(dew)
        assert dew <= temperature + 1e-9


@given(finite, finite)
def test_the_higher_the_water_the_nearer_it_is(one: float, other: float) -> None:
    assert water_level_m(max(one, other), 8.0) <= water_level_m(min(one, other), 8.0)


def test_a_soil_that_holds_more_than_it_can_lacks_nothing() -> None:
    assert soil_water_deficit_mm(40.0, 35.0, 0.5) == 0.0
    assert soil_water_deficit_mm(20.0, 35.0, 0.6) == pytest.approx(90.0)


@given(st.floats(0, 100), st.floats(1, 100), st.floats(0.01, 10))
def test_a_deficit_is_never_more_than_an_empty_soil_lacks(moisture: float, capacity: float, depth: float) -> None:
    assert 0 <= soil_water_deficit_mm(moisture, capacity, depth) <= 10 * capacity * depth + 1e-9
