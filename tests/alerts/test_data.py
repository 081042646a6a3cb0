"""The data table, row by row, and what holds whatever comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_alerts.gauge.data import TABLE, Data, Event, sample, tick
from keng_alerts.gauge.engine import Watch
from keng_alerts.gauge.gauges import gauges
from keng_contracts.alerts import DataState
from keng_contracts.telemetry import Reading
from keng_signals.quality import Limits
from tests.support.registry import LEVEL
from tests.support.registry import sample as sample_registry

START = 1_763_323_200_000
MINUTE = 60_000
OK, SUSPECT, STALE, DEAD = DataState.OK, DataState.SUSPECT, DataState.STALE, DataState.DEAD


def at(state: DataState) -> Data:
    return Data(state, START, good_ms=START)


@pytest.mark.parametrize("state", list(DataState))
def test_a_fresh_good_sample_recovers_from_everything(state: DataState) -> None:
    assert sample(at(state), START + MINUTE, True, START + MINUTE, 60).state is OK


@pytest.mark.parametrize(("state", "after"), [(OK, SUSPECT), (SUSPECT, SUSPECT), (STALE, STALE), (DEAD, DEAD)])
def test_three_samples_in_a_row_that_are_not_good_make_data_suspect(state: DataState, after: DataState) -> None:
    data = at(state)
    for minute in (1, 2):
        data = sample(data, START + minute * MINUTE, False, START + minute * MINUTE, 60)
    assert data.state is state
    assert sample(data, START + 3 * MINUTE, False, START + 3 * MINUTE, 60).state is after


@pytest.mark.parametrize(
    ("state", "minutes", "after"),
    [
        *((OK, 2.9, OK), (OK, 3, STALE), (OK, 6, DEAD), (SUSPECT, 3, STALE), (SUSPECT, 6, DEAD)),
        *((STALE, 5.9, STALE), (STALE, 6, DEAD), (DEAD, 3, DEAD), (DEAD, 600, DEAD)),
    ],
)
def test_silence_ages(state: DataState, minutes: float, after: DataState) -> None:
    assert tick(at(state), START + round(minutes * MINUTE), 60).state is after


def test_late_data_does_not_make_a_gauge_fresh() -> None:
    assert sample(at(DEAD), START + MINUTE, True, START + 60 * MINUTE, 60).state is DEAD


def test_silence_counts_from_when_somebody_listened() -> None:
    assert tick(at(OK), START + 60 * MINUTE, 60, listening_ms=START + 58 * MINUTE).state is OK


def test_an_alert_says_that_nobody_watches_and_what_is_expected() -> None:
    gauge = gauges(sample_registry())[LEVEL]
    watch = Watch(gauge, Limits.of(gauge.sensor))
    for minute in range(0, 61, 5):
        at_ms = START + minute * MINUTE
        reading = Reading(LEVEL, at_ms, 1.6 + minute * 0.02, "m")
        watch.take(reading, at_ms, at_ms)
        watch.hear(at_ms, True, at_ms)
    document = watch.desk.document
    assert document is not None
    told = watch.marked(document)
    assert told is not None and told.forecast is not None
    assert (told.data, told.unwatched, told.forecast.level) == (OK, False, 2)
    assert watch.marked(told) is None
    assert watch.tick(START + 64 * MINUTE, 0)
    silent = watch.marked(told)
    assert silent is not None
    assert (silent.data, silent.unwatched, silent.forecast, silent.level) == (STALE, True, None, told.level)


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["good", "bad", "late", "tick"])), max_size=60))
def test_only_a_fresh_good_sample_ever_makes_data_better(steps: list[tuple[int, str]]) -> None:
    order = [OK, SUSPECT, STALE, DEAD]
    data, now = Data(good_ms=START), START
    for seconds, what in steps:
        now += seconds * 1000
        if what == "tick":
            after = tick(data, now, 60)
        else:
            after = sample(data, now - 600_000 * (what == "late"), what != "bad", now, 60)
        if order.index(after.state) < order.index(data.state):
            assert what == "good"
        data = after
    assert all(event is not Event.FRESH or after is OK for (_, event), after in TABLE.items())
