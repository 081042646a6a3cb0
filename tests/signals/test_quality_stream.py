"""Quality control as a stream: what each test finds, what it lets pass, and that a restart changes no verdict."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.registry import Quality
from keng_contracts.telemetry import EARLIEST_MS, Flag, Reading
from keng_signals.quality import FUTURE_MS, REMEMBERED, VERDICTS, Limits, Window, assess, judge, limits_of
from tests.support.registry import LEVEL, sample

START = 1_763_323_200_000
MINUTE = 60_000
NOW = START + 10_000 * MINUTE
GAUGE = Limits(-2.0, 12.0, (-9999.0,), gap_ms=3.0 * MINUTE)
HOUR = 3_600_000


def reading(time_ms: int, value: float, flag: Flag = Flag.NOT_EVALUATED) -> Reading:
    return Reading(LEVEL, time_ms, value, "m", flag)


def found(values: Iterable[float], limits: Limits, times: Sequence[int] | None = None) -> list[str]:
    """What is found in a series of one reading a minute, or at these minutes."""
    window = Window()
    minutes = range(10_000) if times is None else times
    return [
        judge(reading(START + at * MINUTE, value), limits, window, NOW).test
        for at, value in zip(minutes, values, strict=False)
    ]


SPIKE = replace(GAUGE, spike=0.3)


def test_a_lone_outlier_is_found_at_once_and_its_neighbours_are_good() -> None:
    assert found([1.6, 1.6, 1.6, 4.9, 1.6, 1.6, 1.6], SPIKE) == ["", "", "", "spike", "", "", ""]


def test_a_pair_of_outliers_is_found() -> None:
    assert found([1.6, 1.6, 1.6, 4.9, 4.9, 1.6, 1.6], SPIKE) == ["", "", "", "spike", "spike", "", ""]


def test_a_step_that_lasts_is_believed_with_its_third_reading() -> None:
    assert found([1.6] * 5 + [4.9] * 4, SPIKE)[5:] == ["spike", "spike", "", ""]


def test_missing_and_bad_readings_are_not_among_the_five() -> None:
    values = [1.6, -9999.0, 1.6, 99.0, 1.6, -9999.0, 4.9, 1.6]
    assert found(values, SPIKE) == ["", "sentinel", "", "range", "", "sentinel", "spike", ""]


def test_the_median_holds_over_a_gap_but_not_over_a_day() -> None:
    assert found([1.6, 1.6, 1.6, 4.9], SPIKE, [0, 1, 2, 9])[-1] == "spike"
    assert found([1.6, 1.6, 1.6, 4.9], SPIKE, [0, 1, 2, 1442])[-1] == "gap"


def test_a_rise_that_the_rate_allows_is_no_spike_however_long_the_interval() -> None:
    hourly = replace(GAUGE, spike=0.5, gap_ms=3.0 * HOUR)
    rise = [1.65 + 0.31 * hour for hour in range(6)]  # the fastest on record at Phú Ốc
    hours = [60 * hour for hour in range(6)]
    assert "spike" in found(rise, hourly, hours)
    assert set(found(rise, replace(hourly, rate_per_ms=1.0 / HOUR), hours)) == {""}


def test_a_late_reading_between_two_that_are_remembered_is_judged_by_its_neighbours() -> None:
    window = Window()
    for at in (0, 1, 3, 4):
        judge(reading(START + at * MINUTE, 1.6), SPIKE, window, NOW)
    before = window.dump()
    assert judge(reading(START + 2 * MINUTE, 4.9), SPIKE, window, NOW).test == "spike"
    assert judge(reading(START + 2 * MINUTE, 1.7), SPIKE, window, NOW).flag is Flag.GOOD
    assert window.dump() == before


RATE = replace(GAUGE, rate_per_ms=2.0 / HOUR, noise=0.05, confirm=2)


def test_a_rise_as_fast_as_any_on_record_is_good() -> None:
    assert set(found((1.5 + 1.77 * minute / 60 for minute in range(120)), RATE)) == {""}


def test_a_jump_is_held_until_fresh_readings_agree_and_then_believed() -> None:
    assert found([1.6, 1.6, 4.0, 4.02, 4.01, 4.03], RATE) == ["", "", "rate", "rate", "", ""]


def test_readings_beyond_the_rate_that_do_not_agree_confirm_nothing() -> None:
    assert found([1.6, 1.6, 4.0, 2.5, 4.0, 2.5, 1.6], RATE) == ["", "", "rate", "rate", "rate", "rate", ""]


def test_the_way_back_from_an_outlier_is_good() -> None:
    assert found([1.6, 4.0, 1.6, 1.61], RATE) == ["", "rate", "", ""]


@given(st.lists(st.floats(-2, 12), min_size=1, max_size=40), st.floats(-2, 12))
def test_nothing_is_held_for_ever(before: list[float], after: float) -> None:
    limits = replace(RATE, spike=0.3)
    assert found([*before, *[after] * 5], limits)[-2:] == ["", ""]


def test_a_flat_line_is_suspect_from_the_time_that_the_registry_names_and_until_it_moves() -> None:
    limits = replace(GAUGE, flat_ms=5.0 * MINUTE)
    assert found([1.6] * 7 + [1.61], limits) == ["", "", "", "", "", "flat", "flat", ""]
    assert set(found([1.6] * 500, GAUGE)) == {""}


def test_a_flat_line_has_a_tolerance_and_does_not_run_through_a_gap() -> None:
    limits = replace(GAUGE, flat_ms=3.0 * MINUTE, flat_tolerance=0.02)
    assert found([1.60, 1.61, 1.62, 1.61, 1.63], limits) == ["", "", "", "flat", ""]
    assert found([1.6, 1.6, 1.6, 1.6], limits, [0, 1, 2, 9]) == ["", "", "", "gap"]


def test_the_first_reading_after_a_gap_is_named_and_good() -> None:
    assert found([1.6, 1.6, 1.6], GAUGE, [0, 3, 7]) == ["", "", "gap"]


def test_a_clock_that_stands_is_suspect() -> None:
    assert found([1.6, 1.7, 1.8, 1.9, 1.9], GAUGE, [0, 0, 0, 0, 1]) == [
        "",
        "duplicate",
        "stuck-clock",
        "stuck-clock",
        "",
    ]


@pytest.mark.parametrize("time_ms", [0, EARLIEST_MS - 1, NOW + FUTURE_MS + 1, -(10**18), 10**18])
def test_an_impossible_date_is_bad_and_leaves_no_trace(time_ms: int) -> None:
    window = Window()
    assert judge(reading(time_ms, 1.6), GAUGE, window, NOW).test == "time"
    assert window == Window()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_is_bad_and_leaves_no_trace(value: float) -> None:
    window = Window()
    assert judge(reading(START, value), GAUGE, window, NOW).test == "syntax"
    assert window == Window()


def test_a_possible_but_odd_value_is_suspect() -> None:
    odd = replace(GAUGE, odd_low=0.2, odd_high=6.0)
    assert found([0.1, 0.2, 6.0, 6.1, 12.1], odd) == ["suspect-range", "", "", "suspect-range", "range"]


def test_what_the_edge_found_wrong_stays_wrong() -> None:
    window = Window()
    assert judge(reading(START, 1.6, Flag.BAD), GAUGE, window, NOW) == VERDICTS["edge", 4]
    assert judge(reading(START, 1.6, Flag.SUSPECT), GAUGE, window, NOW) == VERDICTS["edge", 3]


def test_without_limits_nothing_is_judged_or_remembered() -> None:
    window = Window()
    assert judge(reading(START, 1.6), None, window, NOW).flag is Flag.NOT_EVALUATED
    assert window == Window()


def test_the_registry_sets_the_limits_and_its_defaults_test_nothing_that_is_not_asked_for() -> None:
    registry = sample()
    plain = limits_of(registry)[LEVEL]
    assert (plain.spike, plain.rate_per_ms, plain.flat_ms, plain.gap_ms) == (None, None, None, 180_000.0)
    quality = Quality(spike=0.3, rate_per_h=3.6, noise=0.02, flat_after_s=60, suspect_range=(-1, 7), gap_intervals=5)
    sensor = registry.sensors[0].model_copy(update={"quality": quality})
    limits = Limits.of(sensor)
    assert (limits.spike, limits.rate_per_ms, limits.noise) == (0.3, 1e-6, 0.02)
    assert (limits.flat_ms, limits.odd_low, limits.odd_high, limits.gap_ms) == (60_000.0, -1.0, 7.0, 300_000.0)


numbers = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
any_limits = st.builds(
    Limits,
    low=st.none() | numbers,
    high=st.none() | numbers,
    sentinels=st.lists(numbers, max_size=2).map(tuple),
    odd_low=st.none() | numbers,
    odd_high=st.none() | numbers,
    spike=st.none() | positive,
    rate_per_ms=st.none() | positive,
    noise=st.floats(0, 1e300),
    confirm=st.integers(1, 60),
    flat_ms=st.none() | positive,
    flat_tolerance=st.floats(0, 1e300),
    gap_ms=st.floats(1, 1e12),
)
# Values near each other and times near each other, so that the tests meet what they look for, and any others.
any_reading = st.builds(
    reading,
    st.integers(0, 40).map(lambda minute: START + minute * MINUTE) | st.integers(-(2**62), 2**62),
    st.integers(0, 40).map(lambda n: n / 10) | numbers,
    st.sampled_from(Flag),
)


@given(st.lists(any_reading, max_size=60), any_limits)
def test_any_finite_reading_gets_a_verdict_and_the_memory_stays_small(readings: list[Reading], limits: Limits) -> None:
    window = Window()
    for one in readings:
        verdict = judge(one, limits, window, NOW)
        assert VERDICTS[verdict.test, int(verdict.flag)] == verdict
        assert len(window.times) == len(window.values) == len(window.verdicts) <= REMEMBERED
        assert window.times == sorted(set(window.times))
        assert len(json.dumps(window.dump(), allow_nan=False)) < 1500


@given(st.lists(any_reading, max_size=60), any_limits, st.integers(0, 60))
def test_a_restart_between_two_readings_changes_no_verdict(
    readings: list[Reading], limits: Limits, restart: int
) -> None:
    through, window = Window(), Window()
    for place, one in enumerate(readings):
        if place == restart:
            window = Window.load(json.loads(json.dumps(window.dump())))
        assert judge(one, limits, window, NOW) == judge(one, limits, through, NOW)
    assert window == through


@given(st.lists(any_reading, min_size=1, max_size=30), any_limits)
def test_what_is_heard_again_at_once_gets_the_same_verdict(readings: list[Reading], limits: Limits) -> None:
    window = Window()
    for one in readings:
        new = not window.times or one.time_ms > window.times[-1]
        verdict = judge(one, limits, window, NOW)
        if new:
            assert judge(one, limits, window, NOW).flag is verdict.flag


@given(any_reading, any_limits)
def test_a_first_reading_is_judged_with_and_without_a_window_alike(one: Reading, limits: Limits) -> None:
    assert judge(one, limits, Window(), NOW) == assess(one, limits, None, NOW)


@pytest.mark.parametrize(
    "dumped", [None, [], {}, "x", [[1], [], []], [[1], [1.0], [["no-such", 1]], 0, 0, 0, 0, 0, 0, 0]]
)
def test_a_memory_that_cannot_be_read_is_an_empty_one(dumped: object) -> None:
    assert Window.load(dumped) == Window()
