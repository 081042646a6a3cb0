"""What of a series is told, and how often a gauge is read: calibration, mean, dead band, heartbeat, pace."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag, Reading
from keng_edge.pipeline import pace
from keng_edge.pipeline.pace import Pace
from keng_edge.pipeline.pipeline import Channel, Pipeline, Raw, Sample
from keng_edge.plan import plan
from keng_edge.settings import EdgeSettings

NOW = 1_763_258_400_000
SERIES = "quang-tho/phu-oc/level"
DAY_MS = 86_400_000


def tell(values: list[tuple[int, float]], **channel: Any) -> list[Reading]:
    line = Pipeline({("gauge", "level"): Channel(SERIES, "m", **channel)})
    return [r for at, value in values for r in line.readings(Sample("gauge", NOW + at, {"level": Raw(value)}))]


def test_the_examples_in_the_docs_are_true() -> None:
    assert doctest.testmod(pace).failed == 0


def test_a_calibration_counts_from_its_day_on_instead_of_the_one_before() -> None:
    told = tell(
        [(0, 1.0), (DAY_MS, 1.0), (2 * DAY_MS, 1.0)],
        offset=0.5,
        calibration=((NOW + DAY_MS, 0.03), (NOW + 2 * DAY_MS, -0.02)),
    )
    assert [reading.value for reading in told] == [1.5, 1.53, 1.48]


def test_the_mean_of_a_window_is_told_once_and_a_sentinel_is_no_part_of_it() -> None:
    values = [(0, 1.0), (1000, 2.0), (1500, -9999), (2000, 3.0), (3000, 9.0), (5000, 11.0)]
    told = tell(values, average_ms=2000, sentinels=frozenset({-9999}))
    assert [(r.time_ms - NOW, r.value, r.flag) for r in told] == [
        (1500, -9999.0, Flag.MISSING),
        (2000, 2.0, Flag.NOT_EVALUATED),
        (5000, 10.0, Flag.NOT_EVALUATED),
    ]


def test_only_changes_are_told_and_a_heartbeat() -> None:
    values = [(0, 1.0), (1000, 1.04), (2000, 1.05), (3000, 1.05), (12_000, 1.05), (13_000, 1.06)]
    told = tell(values, dead_band=0.05, heartbeat_ms=10_000)
    assert [r.time_ms - NOW for r in told] == [0, 2000, 12_000]


def test_a_sensor_that_fails_says_so_within_its_dead_band() -> None:
    told = tell([(0, -1.0), (1000, -1.001), (2000, -1.0)], dead_band=5.0, sentinels=frozenset({-1.001}))
    assert [r.flag for r in told] == [Flag.NOT_EVALUATED, Flag.MISSING, Flag.NOT_EVALUATED]


@given(
    steps=st.lists(st.tuples(st.integers(-(10**12), 10**12), st.floats(-100, 100)), max_size=50),
    dead_band=st.floats(0.01, 50),
)
def test_whatever_the_clock_does_what_was_told_last_is_never_farther_away_than_the_dead_band(
    steps: list[tuple[int, float]], dead_band: float
) -> None:
    line = Pipeline({("gauge", "level"): Channel(SERIES, "m", dead_band=dead_band)})
    last: float | None = None
    for at, value in steps:
        for reading in line.readings(Sample("gauge", NOW + at, {"level": Raw(value)})):
            last = reading.value
        assert last is not None and abs(last - value) <= dead_band + 1e-9


def test_a_gauge_is_read_faster_while_the_river_moves_and_not_for_one_splash() -> None:
    gauge = Pace(slow_s=60, fast_s=10, rate_per_h=0.6)
    assert {gauge.after(at * 60_000, 1.0) for at in range(10)} == {60}
    rising = [gauge.after((10 + at) * 60_000, 1.0 + 0.02 * at) for at in range(10)]
    assert rising[0] == 60 and rising[-1] == 10
    calm = [gauge.after((20 + at) * 60_000, 1.18) for at in range(30)]
    assert calm[0] == 10 and calm[-1] == 60
    assert calm == sorted(calm), "it changes once"


@given(values=st.lists(st.tuples(st.integers(-(10**13), 10**13), st.floats(-50, 50)), max_size=100))
def test_a_pace_is_one_of_two_and_its_memory_is_bounded(values: list[tuple[int, float]]) -> None:
    gauge = Pace(slow_s=60, fast_s=10, thresholds=(4.5,), near=0.5, rate_per_h=1.0)
    for at, value in values:
        assert gauge.after(at, value) in (10, 60)
        assert len(gauge._seen) <= pace.KEPT + 2


def settings(**slave: Any) -> EdgeSettings:
    one = {"id": "muc-nuoc", "profile": "qdy30a", "address": 1, "station": "phu-oc", **slave}
    return EdgeSettings.model_validate({"buses": [{"id": "song", "port": "/dev/ttyUSB0", "slaves": [one]}]})


def test_settings_reach_the_channel_and_the_pace(tmp_path: Path) -> None:
    told = plan(settings(calibration={"level": [{"from": "2026-03-01", "offset": 0.03}]}, dead_band={"level": 0.01}))
    channel = told.channels["muc-nuoc", "level"]
    assert channel.calibration == ((1_772_323_200_000, 0.03),) and channel.dead_band == 0.01
    gauge = plan(settings(thresholds={"level": [4.5]}, near={"level": 0.5}, interval_s=60))
    assert gauge.alarms == {"muc-nuoc"}
    assert gauge.paces["quang-tho/phu-oc/level"].after(NOW, 4.2) == 15.0


@pytest.mark.parametrize(
    ("slave", "words"),
    [
        ({"alarm": True, "dead_band": {"level": 0.1}}, "keep readings back"),
        ({"thresholds": {"level": [1.0]}, "average_s": {"level": 60}}, "keep readings back"),
        ({"near": {"level": 0.5}}, "near: level has no thresholds"),
    ],
)
def test_settings_that_would_delay_an_alarm_are_refused(slave: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings(**slave)


def test_a_quantity_that_the_profile_does_not_have_is_named() -> None:
    with pytest.raises(Problem, match="has no quantity"):
        plan(settings(dead_band={"rain": 0.1}))
