"""The alarm table, row by row, and what holds whatever comes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_alerts.alarms.alarms import TABLE, UP, Change, Event, Phase, Seen, State, step
from keng_contracts.rules import Bounds

START = 1_763_323_200_000
MINUTE = 60_000
GAP = 30 * MINUTE
#: Raised at 40 for ten minutes and by three, cleared at 20 for half an hour.
BOUNDS = Bounds(True, 40.0, 20.0, 10 * MINUTE, 3, 30 * MINUTE)
NORMAL, PENDING, RAISED, CLEARING = Phase
HIGH, MIDDLE, LOW = 45.0, 30.0, 10.0


def run(seen: list[tuple[float, float]], state: State, bounds: Bounds = BOUNDS) -> tuple[State, list[Change]]:
    changes = []
    for minutes, value in seen:
        state, change = step(state, Seen(START + round(minutes * MINUTE), value), bounds, GAP)
        if change:
            changes.append(change)
    return state, changes


def at(phase: Phase) -> State:
    """An alarm that has been in a phase for two minutes."""
    counts = phase in (PENDING, CLEARING)
    began = START - 2 * MINUTE
    return State(phase, began if counts else 0, 2 if counts else 0, START - 1, phase is not NORMAL, began)


@pytest.mark.parametrize(
    ("phase", "seen", "after", "changes"),
    [
        (NORMAL, [(0, MIDDLE)], NORMAL, []),
        (NORMAL, [(0, LOW)], NORMAL, []),
        (NORMAL, [(0, HIGH)], PENDING, []),
        (PENDING, [(0, HIGH)], PENDING, []),
        (PENDING, [(8, HIGH)], RAISED, [Change.RAISED]),
        (PENDING, [(0, MIDDLE)], NORMAL, []),
        (PENDING, [(0, LOW)], NORMAL, []),
        (PENDING, [(31, HIGH)], PENDING, []),
        (RAISED, [(0, HIGH)], RAISED, []),
        (RAISED, [(0, MIDDLE)], RAISED, []),
        (RAISED, [(0, LOW)], CLEARING, []),
        (CLEARING, [(0, LOW)], CLEARING, []),
        (CLEARING, [(28, LOW)], NORMAL, [Change.CLEARED]),
        (CLEARING, [(0, MIDDLE)], RAISED, []),
        (CLEARING, [(0, HIGH)], RAISED, []),
        (CLEARING, [(31, LOW)], CLEARING, []),
    ],
)
def test_a_row_of_the_table(phase: Phase, seen: list[tuple[float, float]], after: Phase, changes: list[Change]) -> None:
    state, told = run(seen, at(phase))
    assert (state.phase, told) == (after, changes)


def test_every_row_of_the_table_is_one_of_those() -> None:
    assert set(TABLE) <= {(phase, event) for phase in Phase for event in Event}
    up_by = {(before, event) for (before, event), after in TABLE.items() if after in UP and before not in UP}
    down_by = {(before, event) for (before, event), after in TABLE.items() if after not in UP and before in UP}
    assert {event for _, event in up_by} == {Event.HIGH_DUE}
    assert {event for _, event in down_by} == {Event.LOW_DUE}


def test_many_readings_in_no_time_raise_nothing_and_a_long_time_with_few_readings_neither() -> None:
    assert run([(i / 60, HIGH) for i in range(60)], State())[0].phase is PENDING
    assert run([(0, HIGH), (20, HIGH)], State())[0].phase is PENDING
    assert run([(0, HIGH), (10, HIGH), (20, HIGH)], State())[1] == [Change.RAISED]


def test_at_once_where_the_rule_asks_for_nothing_more() -> None:
    assert run([(0, HIGH), (1, LOW)], State(), Bounds(True, 40, 20, 0, 1, 0))[1] == [Change.RAISED, Change.CLEARED]


def test_below_for_what_is_dangerous_when_low() -> None:
    battery = Bounds(False, 3.4, 3.6, 0, 1, 0)
    assert run([(0, 3.9), (1, 3.4), (2, 3.5), (3, 3.6)], State(), battery)[1] == [Change.RAISED, Change.CLEARED]


def test_late_readings_count_but_neither_raise_nor_clear() -> None:
    state, _ = run([(0, HIGH), (5, HIGH)], State())
    late, change = step(state, Seen(START + 11 * MINUTE, HIGH, fresh=False), BOUNDS, GAP)
    assert (late.phase, change) == (PENDING, None)
    assert step(late, Seen(START + 12 * MINUTE, HIGH), BOUNDS, GAP)[1] is Change.RAISED


def test_a_lower_bound_can_raise_and_never_clears() -> None:
    assert step(at(RAISED), Seen(START, LOW, whole=False), BOUNDS, GAP)[0].phase is RAISED
    assert step(at(CLEARING), Seen(START + 28 * MINUTE, LOW, whole=False), BOUNDS, GAP)[0].phase is RAISED
    assert step(at(PENDING), Seen(START + 8 * MINUTE, HIGH, whole=False), BOUNDS, GAP)[1] is Change.RAISED


sights = st.lists(
    st.tuples(
        st.sampled_from([-60, 0, 30, 60, 120, 600, 4000]),  # seconds since the last
        st.sampled_from([LOW, 20.0, MIDDLE, 40.0, HIGH]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=80,
)
bounds = st.builds(
    Bounds,
    above=st.just(True),
    raise_at=st.just(40.0),
    clear_at=st.just(20.0),
    raise_after_ms=st.sampled_from([0, MINUTE, 10 * MINUTE]),
    raise_samples=st.integers(1, 4),
    clear_after_ms=st.sampled_from([0, MINUTE, 30 * MINUTE]),
)


@given(sights, bounds)
def test_it_keeps_its_word_whatever_comes(steps: list[tuple[int, float, bool, bool]], rule: Bounds) -> None:
    state, now = State(), START
    high_since: int | None = None
    low_since: int | None = None
    for seconds, value, fresh, whole in steps:
        now += seconds * 1000
        seen = Seen(now, value, fresh, whole)
        after, change = step(state, seen, rule, GAP)
        if now <= state.last_ms:
            assert after == state and change is None
            now = state.last_ms
            continue
        broken = now - state.last_ms > GAP
        high_since = None if value < 40 else now if high_since is None or broken else high_since
        low_since = None if value > 20 or not whole else now if low_since is None or broken else low_since
        if change is Change.RAISED:
            assert fresh and high_since is not None and now - high_since >= rule.raise_after_ms
        if change is Change.CLEARED:
            assert fresh and whole and low_since is not None and now - low_since >= rule.clear_after_ms
        # A restart between any two sights changes nothing.
        state = State(*json.loads(json.dumps([getattr(after, name) for name in State.__slots__])))
        state = State(Phase(state.phase), *[getattr(state, name) for name in State.__slots__][1:])
        assert state == after
