"""What a chart is made from: bounded, honest about its source, and with gaps as gaps."""

from __future__ import annotations

import doctest
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.telemetry import Flag
from keng_store import reading
from keng_store.maintenance import DAY_MS, Maintenance
from keng_store.protocol import Row, Store
from keng_store.reading import broken, gaps, view
from keng_store.rollup import Interval, bucket_of
from keng_store.settings import RollupSettings
from tests.store.conftest import Clock

LEVEL = "quang-tho/phu-oc/level"
NOON = 1_763_258_400_000
MINUTE = 60_000
HOUR = 60 * MINUTE


def levels(count: int, start_ms: int = NOON, step_ms: int = MINUTE) -> list[Row]:
    return [Row(LEVEL, start_ms + i * step_ms, float(i * 7919 % 1000), Flag.GOOD) for i in range(count)]


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(reading).failed == 0


def test_raw_rows_are_shown_as_they_are_and_said_to_be(store: Store) -> None:
    store.write(levels(500))
    assert view(store, LEVEL, NOON, NOON + DAY_MS) == (levels(500), ("raw",), 0)
    few = view(store, LEVEL, NOON, NOON + DAY_MS, 100)
    assert few.rows == store.range(LEVEL, NOON, NOON + DAY_MS, 100)
    assert few.width_ms == DAY_MS // 50


def test_where_raw_rows_were_removed_the_roll_ups_extremes_are_shown(store: Store, clock: Clock) -> None:
    start = bucket_of(clock.now_ms()) - 100 * DAY_MS
    rows = [row for row in levels(97 * 24, start, HOUR) if row.time_ms // DAY_MS % 4 == 0]
    peak = rows[100]._replace(time_ms=rows[100].time_ms + 1234, value=5280.0)
    store.write([*rows, peak])
    clock.pass_minutes(30)
    maintenance = Maintenance(store, RollupSettings(raw_days=10))
    while maintenance.step(clock.now_ms()).more:
        pass
    line, end = store.raw_from(LEVEL), start + 97 * DAY_MS

    every = view(store, LEVEL, start, end)
    assert every.sources == ("10m", "raw")
    assert every.rows == sorted([*rows, peak], key=lambda row: row.time_ms), "one an hour: the extremes are all"

    few = view(store, LEVEL, start, end, 200)
    assert len(few.rows) <= 200 and few.sources == ("10m", "raw") and peak in few.rows
    assert few.rows == sorted(few.rows, key=lambda row: row.time_ms)

    fewest = view(store, LEVEL, start, end, 20)
    assert len(fewest.rows) <= 20 and fewest.sources == ("1d", "raw") and peak in fewest.rows

    assert view(store, LEVEL, start, line, 200).sources == ("10m",)
    assert view(store, LEVEL, line, end, 200).sources == ("raw",)


def test_a_gap_is_where_two_readings_did_not_come() -> None:
    rows = levels(10)
    assert gaps(rows, MINUTE, NOON, NOON + 10 * MINUTE) == []
    assert gaps(rows[:3] + rows[4:], MINUTE, NOON, NOON + 10 * MINUTE) == [], "one late reading is no gap"
    assert gaps(rows[:3] + rows[5:], MINUTE, NOON, NOON + 10 * MINUTE) == [Interval(rows[2].time_ms, rows[5].time_ms)]


def test_silence_at_the_ends_and_throughout_is_a_gap() -> None:
    end = NOON + HOUR
    assert gaps(levels(10), MINUTE, NOON - HOUR, end) == [
        Interval(NOON - HOUR, NOON),
        Interval(NOON + 9 * MINUTE, end),
    ]
    assert gaps([], MINUTE, NOON, end) == [Interval(NOON, end)]


def test_a_down_sampled_view_has_no_gaps_where_there_were_none(store: Store) -> None:
    rows = levels(3000)
    store.write([row for row in rows if not 1000 <= (row.time_ms - NOON) // MINUTE < 1400])
    start, end = NOON, NOON + 3000 * MINUTE
    seen = view(store, LEVEL, start, end, 100)
    (gap,) = gaps(seen.rows, MINUTE, start, end, width_ms=seen.width_ms)
    assert gap.start_ms < NOON + 1000 * MINUTE and gap.end_ms >= NOON + 1400 * MINUTE
    pieces = broken(seen.rows, [gap])
    assert len(pieces) == 2 and list(chain.from_iterable(pieces)) == seen.rows
    assert pieces[0][-1].time_ms == gap.start_ms and pieces[1][0].time_ms == gap.end_ms


@given(st.sets(st.integers(0, 300), max_size=60))
def test_the_pieces_are_all_rows_and_no_piece_has_a_gap(minutes: set[int]) -> None:
    rows = [Row(LEVEL, NOON + minute * MINUTE, 1.0, Flag.GOOD) for minute in sorted(minutes)]
    start, end = NOON, NOON + 301 * MINUTE
    pieces = broken(rows, gaps(rows, MINUTE, start, end))
    assert list(chain.from_iterable(pieces)) == rows
    for piece in pieces:
        assert gaps(piece, MINUTE, piece[0].time_ms, piece[-1].time_ms) == []
