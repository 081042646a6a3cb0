"""The first quality checks: each finds what it is for, and a raw value is never called good when it can't be."""

from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.telemetry import Flag, Reading
from keng_signals.quality import FUTURE_MS, Last, Limits, Verdict, assess, worse

NOW = 1_763_323_200_000
GAUGE = Limits(-2.0, 12.0, (-9999.0, -3276.8))


def judged(value: float, *, time_ms: int = NOW, flag: Flag = Flag.NOT_EVALUATED, last: Last | None = None) -> Verdict:
    return assess(Reading("quang-tho/phu-oc/level", time_ms, value, "m", flag), GAUGE, last, NOW)


def test_a_plausible_level_is_good() -> None:
    assert judged(4.57) == Verdict(Flag.GOOD)


def test_the_instruments_word_for_no_value_is_missing_however_it_was_scaled() -> None:
    assert judged(-9999.0) == Verdict(Flag.MISSING, "sentinel")
    assert judged(-32768 * 0.1) == Verdict(Flag.MISSING, "sentinel")


def test_what_the_edge_saw_as_missing_stays_missing() -> None:
    assert judged(3.0, flag=Flag.MISSING) == Verdict(Flag.MISSING, "sentinel")


def test_a_level_beyond_the_instrument_is_bad() -> None:
    assert judged(12.01) == Verdict(Flag.BAD, "range")
    assert judged(-2.01) == Verdict(Flag.BAD, "range")
    assert judged(12.0).flag is Flag.GOOD


def test_a_time_of_measurement_in_the_future_is_bad() -> None:
    assert judged(3.0, time_ms=NOW + FUTURE_MS + 1) == Verdict(Flag.BAD, "time")
    assert judged(3.0, time_ms=NOW + FUTURE_MS).flag is Flag.GOOD


def test_a_second_value_for_one_time_is_suspect_and_the_same_value_again_is_not() -> None:
    assert judged(3.1, last=Last(NOW, 3.0)) == Verdict(Flag.SUSPECT, "duplicate")
    assert judged(3.0, last=Last(NOW, 3.0)).flag is Flag.GOOD


def test_a_sensor_that_the_registry_does_not_know_is_not_evaluated() -> None:
    reading = Reading("quang-tho/moi/level", NOW, 3.0, "m")
    assert assess(reading, None, None, NOW).flag is Flag.NOT_EVALUATED


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2 * NOW), st.sampled_from(Flag))
def test_good_means_in_range_not_a_sentinel_and_not_from_the_future(value: float, time_ms: int, flag: Flag) -> None:
    if judged(value, time_ms=time_ms, flag=flag).flag is Flag.GOOD:
        assert -2.0 <= value <= 12.0
        assert time_ms <= NOW + FUTURE_MS
        assert flag in (Flag.GOOD, Flag.NOT_EVALUATED)


@given(st.sampled_from(Flag), st.sampled_from(Flag))
def test_the_worse_of_two_flags_does_not_depend_on_their_order(one: Flag, other: Flag) -> None:
    assert worse(one, other) is worse(other, one)
