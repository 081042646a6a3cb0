"""The newest rows of a series, from the wire and from the store."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keng_console.live import CHART_ROWS, MAX_ALERTS, SHORT_ROWS, Live, Track
from keng_contracts.telemetry import Flag
from keng_store.protocol import Row
from tests.support.console import alert
from tests.support.registry import LEVEL, sample

rows = st.builds(Row, st.just(LEVEL), st.integers(0, 5000), st.floats(-5, 15), st.sampled_from(Flag))


@given(st.lists(rows, max_size=80), st.lists(rows, max_size=80), st.sampled_from([SHORT_ROWS, 40]))
def test_a_track_is_in_order_bounded_and_has_the_newest(heard: list[Row], stored: list[Row], limit: int) -> None:
    track = Track(limit)
    for row in heard:
        track.hear(row)
    unique = sorted({row.time_ms: row for row in stored}.values(), key=lambda row: row.time_ms)
    track.restore(unique)
    kept = track.since(-1)
    times = [row.time_ms for row in kept]
    assert times == sorted(set(times))
    assert len(kept) <= limit
    everything = [*heard, *unique]
    assert (track.newest.time_ms if track.newest else None) == max((r.time_ms for r in everything), default=None)


@given(st.lists(rows, min_size=1, max_size=40, unique_by=lambda row: row.time_ms))
def test_the_store_knows_better_than_the_wire(stored: list[Row]) -> None:
    stored.sort(key=lambda row: row.time_ms)
    track = Track(2 * CHART_ROWS)
    for row in stored:
        track.hear(row._replace(value=-99.0, flag=Flag.NOT_EVALUATED))
    track.restore(stored)
    assert track.since(0) == stored
    track.correct(stored[-1]._replace(flag=Flag.BAD))
    assert track.newest is not None and track.newest.flag is Flag.BAD


def test_a_day_at_one_reading_a_second_keeps_its_extremes_and_its_newest_rows() -> None:
    track = Track(2 * CHART_ROWS)
    for second in range(20_000):
        value = 9.0 if second == 7_000 else 2.0
        track.hear(Row(LEVEL, second * 1000, value, Flag.GOOD))
    kept = track.since(0)
    assert len(kept) <= 2 * CHART_ROWS
    assert max(row.value for row in kept) == 9.0
    assert [row.time_ms for row in kept[-5:]] == [(19_995 + n) * 1000 for n in range(5)]


def test_since_gives_the_row_before_too_where_the_line_comes_from() -> None:
    track = Track(SHORT_ROWS)
    for time_ms in (10, 20, 30):
        track.hear(Row(LEVEL, time_ms, 1.0, Flag.GOOD))
    assert [row.time_ms for row in track.since(25)] == [20, 30]


def test_a_new_registry_keeps_what_is_known_of_its_series_and_forgets_the_rest() -> None:
    live = Live()
    live.adopt(sample())
    live.tracks[LEVEL].hear(Row(LEVEL, 10, 1.0, Flag.GOOD))
    sensors = [s.model_dump() for s in sample().sensors if s.id in ("phu-oc/level", "phu-oc/rain")]
    live.adopt(sample(version=2, sensors=sensors))
    assert set(live.tracks) == {LEVEL, "quang-tho/phu-oc/rain"}
    assert live.tracks[LEVEL].newest == Row(LEVEL, 10, 1.0, Flag.GOOD)


def test_of_too_many_alerts_the_old_and_over_fall_out_first() -> None:
    live = Live()
    live.alert("raised", alert(3, 1_000_000, id="raised"))
    for n in range(MAX_ALERTS + 20):
        live.alert(f"over-{n}", alert(0, 2_000_000 + n, id=f"over-{n}"))
    assert len(live.alerts) == MAX_ALERTS and "raised" in live.alerts and "over-0" not in live.alerts
