"""The hazard table, row by row, and the invariants that hold for any sequence of samples."""

from hypothesis import given
from hypothesis import strategies as st

from keng_alerts.gauge.hazard import Change, State, Transition, step
from keng_alerts.memory import STATE
from keng_contracts.registry import HazardRule

PHU_OC = {1: 1.5, 2: 3.0, 3: 4.5}
RULE = HazardRule(
    sensor="phu-oc/level",
    raise_samples=3,
    raise_pair_span_s=300,
    raise_window_s=1800,
    dead_band=0.1,
    clear_after_s=2700,
)
START = 1_763_323_200_000
MINUTE = 60_000


def run(samples: list[tuple[float, float]], state: State | None = None) -> tuple[State, list[Transition]]:
    """Feed (minutes, level) samples; the last state and every change."""
    state = state or State()
    changes = []
    for minutes, value in samples:
        state, change = step(state, START + round(minutes * MINUTE), value, PHU_OC, RULE)
        if change:
            changes.append(change)
    return state, changes


def at(level: int, episode: int = 1) -> State:
    """A gauge at a level, its last sample just before the start."""
    return State(level=level, episode=episode, peak_level=level, last_ms=START - 1)


def test_one_sample_above_a_threshold_raises_nothing() -> None:
    assert run([(0, 1.4), (1, 1.6), (2, 1.4)])[1] == []


def test_three_samples_in_a_row_raise() -> None:
    state, changes = run([(0, 1.5), (1, 1.5), (2, 1.5)])
    assert [(c.change, c.before, c.after) for c in changes] == [(Change.RAISED, 0, 1)]
    assert state.episode == 1


def test_two_samples_that_span_five_minutes_raise() -> None:
    assert run([(0, 3.1), (4.9, 3.1)])[1] == []
    assert run([(0, 3.1), (5, 3.1)])[1][0].after == 2


def test_a_sample_below_starts_the_count_again() -> None:
    assert run([(0, 1.6), (1, 1.6), (2, 1.4), (3, 1.6), (4, 1.6)])[1] == []


def test_a_fast_rise_goes_straight_to_the_highest_confirmed_level() -> None:
    state, changes = run([(0, 4.6), (1, 4.7), (2, 4.8)])
    assert [c.after for c in changes] == [3]
    assert state.peak_level == 3


def test_counts_of_higher_levels_go_on_while_a_lower_one_is_raised() -> None:
    changes = run([(0, 2.9), (1, 2.95), (2, 3.0), (3, 3.1), (4, 3.2)])[1]
    assert [(c.after, c.time_ms) for c in changes] == [(1, START + 2 * MINUTE), (2, START + 4 * MINUTE)]


def test_a_level_is_lowered_one_at_a_time_after_the_whole_time_below_the_dead_band() -> None:
    falling = [(minute, 2.0) for minute in range(0, 46)]
    state, changes = run(falling, at(3))
    assert [(c.change, c.before, c.after) for c in changes] == [(Change.LOWERED, 3, 2)]
    more = [(minute, 2.0) for minute in range(46, 92)]
    assert run(more, state)[1][0].after == 1


def test_inside_the_dead_band_nothing_is_lowered() -> None:
    assert run([(minute, 4.41) for minute in range(0, 120)], at(3))[1] == []


def test_a_rise_inside_the_wait_starts_the_wait_again() -> None:
    samples = [(m, 4.0) for m in range(0, 40)] + [(40, 4.45)] + [(m, 4.0) for m in range(41, 80)]
    assert run(samples, at(3))[1] == []


def test_nothing_is_lowered_across_a_gap() -> None:
    state, changes = run([(0, 4.0), (1, 4.0), (120, 4.0)], at(3))
    assert changes == []
    assert state.level == 3


def test_a_gap_breaks_a_rising_count() -> None:
    assert run([(0, 4.6), (1, 4.6), (60, 4.6)], at(2))[1] == []


def test_late_and_repeated_samples_change_nothing() -> None:
    state, _ = run([(10, 4.6), (11, 4.6)])
    assert run([(9, 9.0), (10, 9.0), (11, 9.0)], state) == (state, [])


def test_a_new_flood_is_a_new_episode() -> None:
    state, _ = run([(m, 1.0) for m in range(0, 46)], at(1, episode=4))
    assert state.level == 0
    state, _ = run([(50, 1.6), (51, 1.6), (52, 1.6)], state)
    assert (state.level, state.episode, state.peak_level) == (1, 5, 1)


samples = st.lists(st.tuples(st.floats(0, 600), st.floats(0, 6)), max_size=60)


@given(samples)
def test_replaying_gives_the_same_decisions(feed: list[tuple[float, float]]) -> None:
    assert run(feed) == run(feed)


@given(samples, st.integers(0, 60))
def test_a_restart_from_disk_changes_no_decision(feed: list[tuple[float, float]], cut: int) -> None:
    state, before = run(feed[:cut])
    state, after = run(feed[cut:], STATE.validate_json(STATE.dump_json(state)))
    assert (state, before + after) == run(feed)


@given(samples)
def test_levels_rise_only_to_what_is_reached_and_fall_only_by_one(feed: list[tuple[float, float]]) -> None:
    for change in run(feed)[1]:
        if change.change is Change.RAISED:
            assert change.value >= PHU_OC[change.after]
            assert change.after > change.before
        else:
            assert change.before - change.after == 1
            assert change.value < PHU_OC[change.before] - RULE.dead_band


@given(samples)
def test_time_never_runs_backwards(feed: list[tuple[float, float]]) -> None:
    times = [change.time_ms for change in run(feed)[1]]
    assert times == sorted(times)
