"""The pipeline, the turns of sensors on a line, and the window: pure, with time as an argument."""

import doctest
import itertools
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.telemetry import Flag
from keng_edge import window
from keng_edge.pipeline import counters, pipeline
from keng_edge.pipeline.pipeline import STEP_BACK_MS, Channel, Pipeline, Raw, Sample
from keng_edge.sources import lorawan, modbus_tcp, payloads, profiles, schedule
from keng_edge.sources.schedule import Turn
from keng_edge.window import Window

NOW = 1_763_258_400_250
LEVEL = "quang-tho/phu-oc/level"


@pytest.mark.parametrize(
    "module",
    [counters, lorawan, modbus_tcp, payloads, pipeline, profiles, schedule, window],
    ids=lambda module: module.__name__,
)
def test_the_examples_in_the_docs_are_true(module: ModuleType) -> None:
    assert doctest.testmod(module) == (0, doctest.testmod(module).attempted)
    assert doctest.testmod(module).attempted > 0


def times(*at: int) -> list[int]:
    line = Pipeline({("gauge", "level"): Channel(LEVEL, "m")})
    return [line.readings(Sample("gauge", time_ms, {"level": Raw(1)}))[0].time_ms for time_ms in at]


def test_scale_comes_before_the_technicians_offset() -> None:
    channel = Channel(LEVEL, "m", scale=0.5, offset=0.12)
    assert channel.measure(Raw(1652, decimals=3)) == (0.946, Flag.NOT_EVALUATED)


def test_a_sentinel_is_flagged_and_keeps_its_number_without_offset() -> None:
    channel = Channel(LEVEL, "m", scale=0.1, offset=5.0, sentinels=frozenset({-9999}))
    assert channel.measure(Raw(-9999)) == (-999.9, Flag.MISSING)


def test_binary_noise_is_not_passed_on() -> None:
    assert Channel(LEVEL, "m", scale=0.1).measure(Raw(3))[0] == 0.3


def test_a_quantity_without_channel_is_left_out() -> None:
    line = Pipeline({("gauge", "level"): Channel(LEVEL, "m")})
    assert [r.series for r in line.readings(Sample("gauge", NOW, {"level": Raw(1), "battery": Raw(2)}))] == [LEVEL]


def test_two_readings_in_one_millisecond_are_two_rows() -> None:
    assert times(NOW, NOW, NOW, NOW + 10) == [NOW, NOW + 1, NOW + 2, NOW + 10]


def test_a_clock_that_steps_back_a_little_is_caught_up_with() -> None:
    assert times(NOW, NOW - 5000, NOW - 4000, NOW + 1) == [NOW, NOW + 1, NOW + 2, NOW + 3]


def test_a_clock_that_was_years_ahead_is_not_followed_for_years() -> None:
    year = 365 * 86_400_000
    assert times(NOW + year, NOW, NOW + 1000) == [NOW + year, NOW, NOW + 1000]


@given(st.lists(st.integers(0, STEP_BACK_MS - 1000), min_size=1, max_size=500))
def test_times_of_a_series_only_grow(steps: list[int]) -> None:
    made = times(*(NOW + step for step in steps))
    assert all(later > earlier for earlier, later in itertools.pairwise(made))


@given(interval=st.floats(0.05, 3600), failures=st.integers(1, 40))
def test_a_dead_sensor_costs_ever_less_and_is_never_given_up(interval: float, failures: int) -> None:
    turn = Turn(interval, due=0.0)
    pauses = []
    for _ in range(failures):
        before = turn.due
        turn.failed(before)
        pauses.append(turn.due - before)
    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(pauses))
    assert 0 < pauses[0] <= interval + 1e-6
    assert max(pauses) <= max(30.0, interval) + 1e-6


@given(interval=st.floats(0.05, 3600), late=st.floats(0, 10_000))
def test_an_answer_keeps_the_grid_and_makes_up_for_nothing(interval: float, late: float) -> None:
    turn = Turn(interval, due=0.0, failures=3)
    turn.answered(late)
    assert turn.failures == 0
    assert turn.due > late - 1e-6 * max(1.0, late)
    assert turn.due <= late + interval + 1e-6
    assert abs(turn.due / interval - round(turn.due / interval)) < 1e-6 * max(1.0, turn.due / interval)


def test_another_interval_counts_from_the_last_answer_and_a_dead_sensor_is_not_asked_sooner() -> None:
    turn = Turn(60.0, due=0.0)
    turn.answered(0.2)
    turn.paced(5.0)
    assert turn.due == 5.0
    turn.paced(3600.0)
    assert turn.due == 3600.0
    turn.failed(3600.0)
    before = turn.due
    turn.paced(5.0)
    assert turn.due == before


def test_without_any_receipt_packs_are_sent_again_ever_more_rarely() -> None:
    one = Window(10, timeout_s=20)
    now, sent = 0.0, []
    while now < 3600:
        one.expire(now)
        if 1 not in one:
            one.sent(1, now)
            sent.append(now)
        now = one.next_expiry() or now
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert gaps[:6] == [20, 40, 80, 160, 320, 320]


def test_a_receipt_ends_the_patience() -> None:
    one = Window(10, timeout_s=20)
    one.sent(1, 0.0)
    one.expire(20.0)
    one.sent(1, 20.0)
    one.sent(2, 20.0)
    assert one.next_expiry() == 60.0, "twice the time"
    one.settled([2])
    assert one.next_expiry() == 40.0


def test_after_a_reconnect_only_what_the_link_still_has_is_under_way() -> None:
    one = Window(2, timeout_s=20)
    one.sent(1, 0.0)
    one.sent(2, 0.0)
    one.reset(keep={2})
    assert (1 in one, 2 in one, one.room()) == (False, True, 1)


def test_what_is_fresh_takes_no_room_from_the_backlog() -> None:
    one = Window(2, timeout_s=20)
    for id_ in range(100, 200):
        one.sent(id_, 0.0, fresh=True)
    assert one.room() == 2
    one.sent(1, 0.0)
    assert one.room() == 1
    one.expire(20.0)
    one.sent(100, 20.0)
    assert (one.room(), list(one.ids)) == (1, [100]), "what was fresh and came to nothing is backlog"
