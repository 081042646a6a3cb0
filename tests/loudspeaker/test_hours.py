"""Nothing but an emergency sounds in the night unless two people wanted it."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.commands import Play, Priority, Speech
from keng_contracts.quiet import ANY_HOUR
from keng_loudspeaker.hours import Hours, volumes


def at(hour: int, minute: int = 0) -> float:
    """That time of a day in Viet Nam, which is seven hours ahead of UTC."""
    return datetime(2025, 11, 17, hour, minute, tzinfo=UTC).timestamp() - 7 * 3600


def play(priority: Priority, night: str | None = None) -> Play:
    return Play(play="tin", priority=priority, items=[Speech(text="Tin")], night=night)


@pytest.mark.parametrize(
    ("hour", "minute", "quiet"),
    [(21, 29, False), (21, 30, True), (0, 0, True), (3, 15, True), (4, 59, True), (5, 0, False), (12, 0, False)],
)
def test_the_night_is_from_half_past_nine_to_five(hour: int, minute: int, quiet: bool) -> None:
    assert Hours().is_quiet(at(hour, minute)) is quiet


def test_quiet_hours_may_lie_within_a_day_or_not_be_at_all() -> None:
    noon = Hours(quiet=(time(11, 30), time(13, 30)))
    assert [noon.is_quiet(at(hour)) for hour in (11, 12, 13, 14, 2)] == [False, True, True, False, False]
    assert not any(Hours(quiet=(time(0), time(0))).is_quiet(at(hour)) for hour in range(24))


@pytest.mark.parametrize("priority", Priority)
def test_at_night_only_an_emergency_sounds_without_a_second_confirmation(priority: Priority) -> None:
    assert Hours().may_sound(play(priority), at(3, 15)) is (priority in ANY_HOUR)
    assert Hours().may_sound(play(priority, night="Chủ tịch xã"), at(3, 15))
    assert Hours().may_sound(play(priority), at(6))


def test_the_volume_follows_the_hour_and_an_emergency_does_not() -> None:
    hours = Hours(volumes=volumes(["05:00 100", "06:30 80", "20:00 50"]))
    said = [hours.volume(Priority.SCHEDULED, at(hour)) for hour in (3, 5, 7, 19, 20, 23)]
    assert said == [50, 100, 80, 80, 50, 50]
    assert hours.volume(Priority.EMERGENCY, at(3)) is None and hours.volume(Priority.URGENT, at(3)) is None
    assert Hours().volume(Priority.SCHEDULED, at(3)) is None


@pytest.mark.parametrize("row", ["", "21:30", "25:00 10", "21:30 101", "21:30 -1", "21:30 x"])
def test_a_volume_that_is_none_is_told(row: str) -> None:
    with pytest.raises(ValueError, match="volume"):
        volumes([row])


def test_an_unknown_time_zone_is_taken_as_that_of_viet_nam() -> None:
    assert Hours(zone="Nowhere/Atlantis").is_quiet(at(3, 15))


@given(st.floats(0, 4e9), st.times(), st.times())
def test_every_moment_is_either_quiet_or_not_and_the_complement_is_the_other(
    at_s: float, start: time, end: time
) -> None:
    if start != end:
        assert Hours((start, end)).is_quiet(at_s) is not Hours((end, start)).is_quiet(at_s)
