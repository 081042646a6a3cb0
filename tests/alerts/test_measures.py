"""What an alarm sees of a sensor: as the sums over stored readings say, as far as a stream can know."""

import json

from hypothesis import given
from hypothesis import strategies as st

from keng_alerts.alarms.measures import RECENT, Air, Doubt, Flat, Measure, Rain, Silence
from keng_contracts.telemetry import Flag, Reading
from keng_signals.air import vn_aqi
from keng_signals.quality import Verdict
from keng_signals.rain import Counter, totals
from keng_signals.samples import Sample

START = 1_763_323_200_000
MINUTE, HOUR = 60_000, 3_600_000
GOOD, BAD = Verdict(Flag.GOOD), Verdict(Flag.BAD, "range")


def take(measure: Measure, minutes: float, value: float, verdict: Verdict = GOOD, series: str = "") -> float | None:
    at = START + round(minutes * MINUTE)
    seen = measure.take(Reading(series, at, value, ""), verdict, at)
    measure.load(json.loads(json.dumps(measure.dump())))
    return None if seen is None else seen.value


counts = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 8)), min_size=2, max_size=60)


@given(counts)
def test_rain_is_what_the_store_would_say_once_the_window_was_heard(steps: list[tuple[int, int]]) -> None:
    counter, window = Counter(), HOUR
    measure, at, total = Rain(counter, window), START, 0.0
    samples: list[Sample] = []
    for minutes, mm in steps:
        at, total = at + minutes * MINUTE, total + mm
        samples.append(Sample(at, total))
        seen = measure.take(Reading("", at, total, "mm"), GOOD, at)
        assert seen is not None
        [stored] = totals(samples, counter, window, window, at, at)
        assert seen.whole == (at - samples[0].time_ms >= window)
        assert abs(seen.value - stored.value) < 8 / 60 + 1e-5  # the oldest minute is prorated
        measure.load(json.loads(json.dumps(measure.dump())))


def test_rain_over_a_gap_is_spread_and_over_a_long_one_unknown() -> None:
    ten_minutes = Rain(Counter(), 10 * MINUTE)
    assert [take(ten_minutes, m, v) for m, v in ((0, 0.0), (50, 50.0))] == [0.0, 10.0]
    assert take(ten_minutes, 150, 150.0) == 0.0
    seen = ten_minutes.take(Reading("", START + 151 * MINUTE, 155.0, "mm"), GOOD, START + 151 * MINUTE)
    assert seen is not None and seen.value == 5.0 and not seen.whole


def test_rain_that_no_sky_gives_is_left_out_and_a_reset_is_none() -> None:
    measure = Rain(Counter(), HOUR)
    assert [take(measure, m, v) for m, v in ((0, 100.0), (1, 101.0), (2, 900.0), (3, 901.0), (4, 1.0))] == [
        *(0.0, 1.0, 1.0, 2.0, 3.0)
    ]


def test_bad_and_late_counts_show_nothing() -> None:
    measure = Rain(Counter(), HOUR)
    assert [take(measure, 5, 1.0), take(measure, 6, 99.0, BAD), take(measure, 4, 0.0), take(measure, 7, 2.0)] == [
        *(0.0, None, None, 1.0)
    ]


@given(st.lists(st.tuples(st.sampled_from([10, 20, 30, 70]), st.integers(0, 300)), min_size=1, max_size=40))
def test_the_air_of_an_hour_that_is_over_is_what_the_store_says(steps: list[tuple[int, int]]) -> None:
    measure, samples, at = Air({"pm": ("pm2-5", 1.0)}), [], START
    for minutes, value in steps:
        before = at // HOUR
        at += minutes * MINUTE
        seen = measure.take(Reading("pm", at, float(value), "ug/m3"), GOOD, at)
        if samples and at // HOUR > before:
            stored = vn_aqi({"pm2-5": samples}, before * HOUR, before * HOUR)
            assert (None if seen is None else seen.value) == (stored[0].value if stored else None)
        else:
            assert seen is None
        samples.append(Sample(at, float(value)))
        measure.load(json.loads(json.dumps(measure.dump())))


def test_silence_counts_intervals_and_what_nobody_could_hear_clears_nothing() -> None:
    measure = Silence(60.0)
    assert measure.tick(START, 0) is None
    take(measure, 0, 1.0, BAD)
    seen = measure.tick(START + 6 * MINUTE, START + 2 * MINUTE)
    assert seen is not None and (seen.value, seen.whole) == (4.0, False)
    seen = measure.tick(START + 6 * MINUTE, 0)
    assert seen is not None and (seen.value, seen.whole) == (6.0, True)


def test_a_value_that_stands_still_is_seen_though_it_is_doubted() -> None:
    measure, flat = Flat(0.02, 180 * MINUTE), Verdict(Flag.SUSPECT, "flat")
    values = [take(measure, m, v, flat) for m, v in ((0, 1.0), (60, 1.02), (120, 1.0), (180, 1.04), (240, 1.04))]
    assert values == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert take(measure, 600, 1.04) == 0.0


def test_the_share_of_doubtful_readings_needs_enough_of_them() -> None:
    measure = Doubt()
    seen = [take(measure, m, 1.0, BAD if m % 4 == 0 else GOOD) for m in range(RECENT)]
    assert seen == [None] * (RECENT - 1) + [25.0]
