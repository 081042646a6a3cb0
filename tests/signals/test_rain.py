"""Rain from counters: resets and wraps lose nothing that was counted, and add nothing that was not."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keng_contracts.telemetry import Flag
from keng_signals.rain import Counter, credible, totals
from keng_signals.samples import Sample

START = 1_763_323_200_000
MINUTE = 60_000
HOUR = 60 * MINUTE
TIPS = Counter(mm_per_count=0.2, wrap=65536)


def counts(*values: float, every_ms: int = 10 * MINUTE) -> list[Sample]:
    return [Sample(START + i * every_ms, v) for i, v in enumerate(values)]


def rain(samples: list[Sample], window_ms: int = HOUR, counter: Counter = TIPS) -> list[tuple[float, Flag]]:
    """All totals of a series."""
    made = totals(samples, counter, window_ms, window_ms, START, START + 10**9)
    return [(round(s.value, 6), s.flag) for s in made]


GOOD, SUSPECT = Flag.GOOD, Flag.SUSPECT


@pytest.mark.parametrize(
    ("what", "values", "mm"),
    [
        ("no rain", (7, 7, 7, 7, 7, 7, 7), 0.0),
        ("rain", (0, 5, 10, 10, 10, 20, 30), 6.0),
        ("a wrap", (65530, 65533, 65535, 0, 4, 4, 4), 2.0),
        ("a reset", (1000, 1010, 0, 0, 5, 5, 10), 4.0),
        ("a reset with rain after it", (1000, 1010, 4, 4, 4, 4, 4), 2.8),
        ("a reset of a counter that was small", (3, 5, 1, 1, 1, 1, 1), 0.6),
    ],
)
def test_an_hour_of_rain(what: str, values: tuple[float, ...], mm: float) -> None:
    assert rain(counts(*values))[-1] == (mm, GOOD), what


def test_a_running_sum_in_mm_needs_no_tips() -> None:
    assert rain(counts(53.6, 53.6, 54.0, 54.0, 60.0, 60.0, 60.0), counter=Counter())[-1] == (6.4, GOOD)


def test_a_counter_that_falls_a_little_is_in_doubt_and_adds_nothing() -> None:
    assert rain(counts(500, 500, 499, 499, 499, 499, 499))[-1] == (0.0, SUSPECT)


def test_rain_heavier_than_any_is_counted_but_suspect() -> None:
    assert rain(counts(0, 0, 0, 2000, 2000, 2000, 2000))[-1] == (400.0, SUSPECT)


def test_a_total_is_suspect_until_the_counter_was_heard_for_the_whole_window() -> None:
    assert [flag for _, flag in rain(counts(0, 1, 2, 3, 4, 5, 6, 7))] == [SUSPECT] * 6 + [GOOD] * 2


def test_windows_slide() -> None:
    ten_minutes = rain(counts(0, 5, 5, 15), window_ms=10 * MINUTE)
    assert ten_minutes[1:] == [(1.0, GOOD), (0.0, GOOD), (2.0, GOOD)]


def test_what_fell_in_a_gap_is_spread_over_it() -> None:
    samples = [Sample(START, 0), Sample(START + 2 * HOUR, 100), Sample(START + 3 * HOUR, 100)]
    made = totals(samples, TIPS, HOUR, 2 * HOUR, START, START + 3 * HOUR)
    assert [s.value for s in made[1:]] == [10.0, 0.0]


def test_a_gain_over_too_long_a_gap_is_unknown() -> None:
    samples = [Sample(START, 0), Sample(START + 2 * HOUR + 1, 100), Sample(START + 3 * HOUR, 110)]
    made = totals(samples, TIPS, HOUR, 2 * HOUR, START, START + 3 * HOUR)
    assert [(s.value, s.flag) for s in made[1:]] == [(0.0, SUSPECT), (2.0, SUSPECT)]


def test_bad_and_missing_counts_are_passed_over_and_suspect_ones_make_suspect() -> None:
    samples = counts(0, 9999, 5, 5, 5, 5, 10)
    samples[1] = samples[1]._replace(flag=Flag.BAD)
    assert rain(samples)[-1] == (2.0, GOOD)
    samples[4] = samples[4]._replace(flag=SUSPECT)
    assert rain(samples)[-1] == (2.0, SUSPECT)


falls = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 60), st.booleans()), min_size=1, max_size=60)


@given(falls, st.integers(0, 65535))
def test_wraps_and_resets_do_not_change_the_sum(steps: list[tuple[int, int, bool]], first: int) -> None:
    """A true rain, counted by a 16-bit counter that restarts now and then, between two readings without rain."""
    time_ms, count, fallen = START, first, 0
    samples = [Sample(time_ms, count)]
    for minutes, tips, restart in steps:
        time_ms += minutes * MINUTE
        assume(tips * 0.2 <= credible(minutes * MINUTE, TIPS))
        if restart:
            # A restart just before the register's end looks like a wrap; no reading can tell them apart.
            assume((tips + 65536 - count) * 0.2 > credible(minutes * MINUTE, TIPS))
            assume(tips < count)
            count = 0
        count = (count + tips) % 65536
        fallen += tips
        samples.append(Sample(time_ms, count))
    window = time_ms - START
    last = totals(samples, TIPS, window, window, time_ms, time_ms)[0]
    assert last == Sample(time_ms, round(fallen * 200_000) / 1_000_000, GOOD)


any_value = st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 70_000).map(float)
any_counts = st.dictionaries(st.integers(0, 600), st.tuples(any_value, st.sampled_from(Flag)), max_size=50).map(
    lambda at: [Sample(START + minute * MINUTE, *at[minute]) for minute in sorted(at)]
)


@given(any_counts, st.integers(1, 180), st.floats(0, 1e12), st.floats(1e-6, 1000))
def test_any_counts_give_totals_that_are_not_negative_and_rest_on_their_window_alone(
    samples: list[Sample], minutes: int, wrap: float, per_count: float
) -> None:
    counter, window = Counter(per_count, wrap), minutes * MINUTE
    whole = totals(samples, counter, window, window, START, START + 600 * MINUTE)
    assert all(0 <= s.value < 1e9 for s in whole)
    for total in whole:
        needed = [s for s in samples if total.time_ms - 2 * window <= s.time_ms <= total.time_ms]
        assert totals(needed, counter, window, window, total.time_ms, total.time_ms) == [total]
