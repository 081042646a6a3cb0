"""The delivery table, row by row, and what evidence says."""

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_alerts.gauge import delivery
from keng_alerts.gauge.delivery import TABLE, Event, Track, begin, event_of, overdue, repeat, take
from keng_contracts.alerts import Delivery
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import ResponseRule
from keng_contracts.telemetry import Clock

PENDING, ORDERED, PLAYING = Delivery.PENDING, Delivery.ORDERED, Delivery.PLAYING
CONFIRMED, FAILED = Delivery.CONFIRMED, Delivery.FAILED
RULE = ResponseRule(sensor="phu-oc/level", retries=3, retry_after_s=20, silent_after_s=120)
ROWS = {
    Event.TAKEN: {PENDING: ORDERED, FAILED: ORDERED},
    Event.STARTED: {PENDING: PLAYING, ORDERED: PLAYING, FAILED: PLAYING},
    Event.HEARD: dict.fromkeys([PENDING, ORDERED, PLAYING, FAILED], CONFIRMED),
    Event.REFUSED: {PENDING: FAILED},
    Event.BROKEN: {PENDING: FAILED, ORDERED: FAILED, PLAYING: FAILED},
    Event.OVERDUE: {PENDING: FAILED, ORDERED: FAILED, PLAYING: FAILED},
    Event.REPEATED: {FAILED: PENDING},
}


def at(state: Delivery, **more: Any) -> Track:
    return Track("phu-oc-level-1-3", 0, 20_000, state, **more)


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("state", list(Delivery))
def test_every_state_and_event(state: Delivery, event: Event) -> None:
    assert take(at(state), event).state is ROWS[event].get(state, state)


def test_the_table_has_these_rows_and_no_others() -> None:
    assert {(s, e): a for e, row in ROWS.items() for s, a in row.items()} == TABLE


def test_the_example_in_the_module_holds() -> None:
    assert doctest.testmod(delivery).failed == 0


def event(what: What, **more: Any) -> PlaybackEvent:
    return PlaybackEvent(boot="6f1c2a90d3e4b7a1", seq=1, at_ms=0, clock=Clock.SYNCED, what=what, **more)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (event(What.ACCEPTED), Event.TAKEN),
        (event(What.ACCEPTED, reason="waiting"), Event.TAKEN),
        (event(What.ACCEPTED, reason="already"), None),
        (event(What.ACCEPTED, reason="stop"), None),
        (event(What.STARTED), Event.STARTED),
        (event(What.STARTED, level_dbfs=-70.0), Event.STARTED),
        (event(What.STARTED, level_dbfs=-12.0), Event.HEARD),
        (event(What.FINISHED, level_dbfs=-12.0), Event.HEARD),
        (event(What.FINISHED, level_dbfs=-80.0), None),
        (event(What.REFUSED, reason="expired"), Event.REFUSED),
        (event(What.REFUSED, reason="replayed"), None),
        (event(What.SILENT), Event.BROKEN),
        (event(What.FAILED), Event.BROKEN),
        (event(What.CUT, reason="node-stopped"), Event.BROKEN),
    ],
)
def test_confirmed_is_what_was_measured_and_not_the_players_word(said: PlaybackEvent, means: Event | None) -> None:
    assert event_of(said) is means


@pytest.mark.parametrize(
    ("states", "reached"),
    [
        ([Event.TAKEN, Event.BROKEN], FAILED),
        ([Event.TAKEN, Event.REFUSED], ORDERED),  # a copy was refused: the first holds
        ([Event.BROKEN, Event.REPEATED, Event.TAKEN, Event.HEARD], CONFIRMED),
        ([Event.HEARD, Event.BROKEN, Event.OVERDUE, Event.REFUSED], CONFIRMED),
    ],
)
def test_a_delivery_over_several_events(states: list[Event], reached: Delivery) -> None:
    track = begin("phu-oc-level-1-3", 0, RULE)
    for one in states:
        track = take(track, one)
    assert track.state is reached


def test_who_does_not_confirm_in_time_is_named_to_people_until_it_does() -> None:
    track = at(ORDERED)
    assert overdue(track, 119_999, RULE) is track
    late = overdue(track, 120_000, RULE)
    assert (late.state, late.silent) == (FAILED, True)
    assert overdue(late, 500_000, RULE) is late
    assert take(late, Event.HEARD).silent is False


def test_what_was_confirmed_or_stopped_is_neither_repeated_nor_missed() -> None:
    for track in (at(CONFIRMED), at(PENDING, over=True)):
        assert repeat(track, 10_000_000, RULE) is None
        assert overdue(track, 10_000_000, RULE) is track


def test_an_order_that_was_taken_is_not_repeated_while_it_may_still_come() -> None:
    assert repeat(at(ORDERED), 60_000, RULE) is None
    assert repeat(at(PLAYING), 60_000, RULE) is None


@given(st.lists(st.tuples(st.sampled_from([*Event, None]), st.integers(-100_000, 400_000)), max_size=80))
def test_repeats_are_bounded_and_a_confirmation_stays(steps: list[tuple[Event | None, int]]) -> None:
    track, now, confirmed, repeats = begin("a-1-3", 0, RULE), 0, False, 0
    for happens, after_ms in steps:
        now += after_ms
        if happens not in (None, Event.REPEATED, Event.OVERDUE):
            assert happens is not None
            track = take(track, happens)
        track = overdue(track, now, RULE)
        if again := repeat(track, now, RULE):
            assert not confirmed and now >= track.repeat_ms
            track, repeats = again, repeats + 1
        assert not confirmed or track.state is CONFIRMED
        confirmed = track.state is CONFIRMED
    assert repeats == track.repeats <= RULE.retries
