"""VN_AQI and NowCast against worked examples, and their laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.telemetry import Flag
from keng_signals.air import BREAKPOINTS, HOUR_MS, INDEX, index, nowcast, vn_aqi
from keng_signals.samples import Sample

NOON = 1_763_323_200_000 - 1_763_323_200_000 % HOUR_MS


@pytest.mark.parametrize("substance", BREAKPOINTS)
def test_the_index_takes_its_values_at_the_break_points(substance: str) -> None:
    assert [index(substance, point) for point in BREAKPOINTS[substance]] == list(INDEX)


@pytest.mark.parametrize(
    ("substance", "concentration", "expected"),
    [
        ("pm2-5", 37.5, 75),  # halfway between 25 (50) and 50 (100)
        ("pm2-5", 65, 125),
        ("pm2-5", 500.1, 500),
        ("pm10", 100, 75),
        ("o3", 180, 75),
        ("co", 20_000, 75),
        ("no2", 950, 175),
        ("so2", -3, 0),
    ],
)
def test_the_index_is_linear_between_them(substance: str, concentration: float, expected: int) -> None:
    assert index(substance, concentration) == expected


@pytest.mark.parametrize(
    ("what", "hours", "expected"),
    [
        ("steady air", [30.0] * 12, 30.0),
        # w = 20/40 = 0.5: (40 + 20/2 + 20/4 + … + 20/2048) / (1 + 1/2 + … + 1/2048) = 59.990234375 / 1.99951171875
        ("rising at once", [40.0] + [20.0] * 11, 59.990234375 / 1.99951171875),
        # w would be 0.1, and is 0.5: (100 + 5 + 2.5) / 1.75
        ("never less than a half", [100.0, 10.0, 10.0], 107.5 / 1.75),
        # w = 0.8: (50 + 0.8 · 40 + 0.64 · 45) / 2.44
        ("by the spread", [50.0, 40.0, 45.0], 110.8 / 2.44),
        ("an hour without a mean", [None, 50.0, 40.0], (0.8 * 50 + 0.64 * 40) / (0.8 + 0.64)),
        ("only the newest of three", [50.0, None, None, 40.0], None),
        ("two of the latest three, older ones missing", [50.0, 50.0, None], 50.0),
        ("nothing", [], None),
        ("clean air", [0.0, 0.0, 0.0], 0.0),
        ("the thirteenth hour is too old", [10.0] * 12 + [500.0], 10.0),
    ],
)
def test_nowcast(what: str, hours: list[float | None], expected: float | None) -> None:
    assert nowcast(hours) == (None if expected is None else pytest.approx(expected)), what


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=15))
def test_a_nowcast_lies_between_the_lowest_and_the_highest_hour(hours: list[float | None]) -> None:
    made = nowcast(hours)
    known = [value for value in hours[:12] if value is not None]
    if made is not None:
        assert min(known) * (1 - 1e-9) <= made <= max(known) * (1 + 1e-9)


@given(st.sampled_from(sorted(BREAKPOINTS)), st.floats(0, 1e6), st.floats(0, 1e6))
def test_worse_air_never_has_a_lower_index(substance: str, one: float, other: float) -> None:
    assert index(substance, min(one, other)) <= index(substance, max(one, other))


def hours(*means: float, flag: Flag = Flag.GOOD) -> list[Sample]:
    """Four samples an hour, up to the hour that begins at noon."""
    first = NOON - (len(means) - 1) * HOUR_MS
    return [Sample(first + h * HOUR_MS + q * HOUR_MS // 4, m, flag) for h, m in enumerate(means) for q in range(4)]


def test_the_worst_substance_makes_the_index_of_the_hour() -> None:
    air = {"pm2-5": hours(37.5, 37.5, 37.5), "o3": hours(100, 100, 180), "co": hours(500, 500, 500)}
    assert vn_aqi(air, NOON, NOON) == [Sample(NOON, 75.0, Flag.GOOD)]
    air["o3"] = hours(100, 100, 300)
    assert vn_aqi(air, NOON, NOON) == [Sample(NOON, 150.0, Flag.GOOD)]


def test_particles_need_two_of_three_hours_and_gases_only_their_own() -> None:
    assert vn_aqi({"pm10": hours(100)}, NOON, NOON) == []
    assert vn_aqi({"no2": hours(100)}, NOON, NOON) == [Sample(NOON, 50.0, Flag.GOOD)]


def test_suspect_samples_count_only_where_there_is_no_other() -> None:
    good, doubtful = hours(25, 25), Sample(NOON + 5, 900.0, Flag.SUSPECT)
    assert vn_aqi({"pm2-5": [*good[:5], doubtful, *good[5:]]}, NOON, NOON) == [Sample(NOON, 50.0, Flag.GOOD)]
    assert vn_aqi({"pm2-5": hours(25, 25, flag=Flag.SUSPECT)}, NOON, NOON) == [Sample(NOON, 50.0, Flag.SUSPECT)]
    assert vn_aqi({"pm2-5": hours(25, 25, flag=Flag.BAD)}, NOON, NOON) == []
