"""Roll-ups are always what a computation from scratch would give, on every backend, whatever came late or twice."""

from __future__ import annotations

import doctest
import itertools
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keng_contracts.telemetry import Flag
from keng_store import rollup
from keng_store.maintenance import DAY_MS, Maintenance, Progress
from keng_store.protocol import Aggregate, Resolution, Row, Store, Touched
from keng_store.rollup import aggregate, bucket_of, day_of, plan
from keng_store.settings import RollupSettings
from tests.store.conftest import Clock
from tests.support.processes import eventually

LEVEL = "quang-tho/phu-oc/level"
RAIN = "quang-tho/phu-oc/rain"
HUE = ZoneInfo("Asia/Ho_Chi_Minh")
NOON = 1_763_258_400_000  # 2025-11-16 in Huế
MINUTE = 60_000
FOR_EVER = RollupSettings(raw_days=0)

fresh = itertools.count()


def scratch(rows: Sequence[Row], resolution: Resolution, zone: ZoneInfo = HUE) -> list[Aggregate]:
    """The roll-ups of one series, computed the plain way."""
    held = {row.time_ms: row for row in rows}
    buckets: dict[int, list[Row]] = {}
    for time_ms, row in sorted(held.items()):
        start = bucket_of(time_ms) if resolution is Resolution.TEN_MINUTES else day_of(time_ms, zone).start_ms
        buckets.setdefault(start, []).append(row)
    return [aggregate(start, inside) for start, inside in buckets.items()]


def assert_right(store: Store, rows: Sequence[Row]) -> None:
    for series in {row.series for row in rows}:
        mine = [row for row in rows if row.series == series]
        for resolution in Resolution:
            assert store.rollups(series, resolution, 0, 1 << 42) == scratch(mine, resolution)


def finish(maintenance: Maintenance, clock: Clock, budget: int = 500) -> int:
    """Let the buckets settle, then step until nothing is left; the buckets that were rolled up."""
    clock.pass_minutes(30)
    rolled = 0
    while (progress := maintenance.step(clock.now_ms(), budget)).more:
        rolled += progress.rolled
    return rolled


def levels(count: int, start_ms: int = NOON, step_ms: int = MINUTE, series: str = LEVEL) -> list[Row]:
    return [Row(series, start_ms + i * step_ms, float(i % 17), Flag.GOOD) for i in range(count)]


# -- the pure part ------------------------------------------------------------------------------------------------


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(rollup).failed == 0


def test_a_faulty_reading_is_counted_and_is_no_extreme() -> None:
    rows = [
        Row(LEVEL, NOON, 1.0, Flag.GOOD),
        Row(LEVEL, NOON + 1, 99.0, Flag.BAD),
        Row(LEVEL, NOON + 2, 2.0, Flag.SUSPECT),
    ]
    assert aggregate(NOON, rows) == Aggregate(LEVEL, NOON, 1.0, 1.5, 2.0, 3, 1, Flag.BAD, NOON, NOON + 2)
    only_bad = aggregate(NOON, rows[1:2])
    assert (only_bad.max, only_bad.count, only_bad.bad) == (99.0, 1, 1)


def test_the_mean_of_the_largest_numbers_is_finite() -> None:
    rows = [Row(LEVEL, NOON + i, 1.7e308, Flag.GOOD) for i in range(3)]
    assert aggregate(NOON, rows).mean == pytest.approx(1.7e308)


@pytest.mark.parametrize("name", ["Asia/Ho_Chi_Minh", "Asia/Kathmandu", "Europe/Berlin", "America/Sao_Paulo", "UTC"])
@given(time_ms=st.integers(1_577_836_800_000, 1_900_000_000_000))
def test_a_day_holds_its_time_and_meets_the_next(name: str, time_ms: int) -> None:
    zone = ZoneInfo(name)
    day = day_of(time_ms, zone)
    assert day.start_ms <= time_ms < day.end_ms
    assert day_of(day.start_ms, zone) == day == day_of(day.end_ms - 1, zone)
    assert day_of(day.end_ms, zone).start_ms == day.end_ms


def test_where_midnight_is_within_ten_minutes_both_days_are_computed() -> None:
    kathmandu = ZoneInfo("Asia/Kathmandu")  # UTC+5:45: midnight is at 18:15
    midnight = day_of(NOON, kathmandu).end_ms
    (unit,) = plan([Touched(LEVEL, bucket_of(midnight), 0)], kathmandu)
    assert [day.start_ms for day in unit.days] == [day_of(NOON, kathmandu).start_ms, midnight]
    assert unit.span == (unit.days[0].start_ms, unit.days[1].end_ms)


# -- on every backend ---------------------------------------------------------------------------------------------


def test_ten_minutes_and_days_of_the_commune(store: Store, clock: Clock) -> None:
    rows = levels(3 * 1440) + levels(1000, series=RAIN)
    store.write(rows)
    assert finish(Maintenance(store, FOR_EVER), clock) == 432 + 100
    assert_right(store, rows)
    days = store.rollups(LEVEL, Resolution.DAY, 0, 1 << 42)
    assert [day.start_ms for day in days] == [day_of(NOON + n * DAY_MS, HUE).start_ms for n in range(4)]
    assert store.rollups(LEVEL, Resolution.DAY, days[1].start_ms, days[2].start_ms) == [days[1]]
    assert store.rollups("quang-tho/no/such", Resolution.DAY, 0, 1 << 42) == []


def test_nothing_is_done_twice_when_nothing_came(store: Store, clock: Clock) -> None:
    maintenance = Maintenance(store, FOR_EVER)
    assert maintenance.step(clock.now_ms()) == Progress(0, 0, False)
    store.write(levels(10))
    assert finish(maintenance, clock) == 1
    assert finish(maintenance, clock) == 0


def test_late_changed_and_repeated_rows_are_counted_once(store: Store, clock: Clock) -> None:
    maintenance = Maintenance(store, FOR_EVER)
    rows = levels(200, step_ms=5 * MINUTE)
    store.write(rows[50:])
    finish(maintenance, clock)
    store.write(rows[:60])
    changed = rows[100]._replace(value=-5.0, flag=Flag.SUSPECT)
    store.write([changed])
    store.write(rows[120:130])
    finish(maintenance, clock)
    assert_right(store, [*rows, changed])


def test_a_small_budget_takes_more_steps_to_the_same_end(store: Store, clock: Clock) -> None:
    rows = levels(300, step_ms=3 * MINUTE) + levels(300, step_ms=7 * MINUTE, series=RAIN)
    store.write(rows)
    finish(Maintenance(store, FOR_EVER), clock, budget=7)
    assert_right(store, rows)


def test_a_day_rolled_up_again_on_demand_is_the_same(store: Store, clock: Clock) -> None:
    rows = levels(2000)
    store.write(rows)
    maintenance = Maintenance(store, FOR_EVER)
    maintenance.again(LEVEL, rows[0].time_ms, rows[-1].time_ms + 1)
    assert_right(store, rows)
    finish(maintenance, clock)
    assert_right(store, rows)


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.builds(
                    Row,
                    st.sampled_from([LEVEL, RAIN]),
                    st.integers(0, 3 * 144).map(lambda n: NOON + n * 5 * MINUTE),
                    st.floats(-1e9, 1e9),
                    st.sampled_from(Flag),
                ),
                max_size=12,
            ),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_any_writes_and_steps_leave_what_a_computation_from_scratch_would(
    store: Store, clock: Clock, writes: list[tuple[list[Row], bool]]
) -> None:
    marker = f"quang-tho-{next(fresh)}"
    maintenance = Maintenance(store, FOR_EVER)
    held: dict[tuple[str, int], Row] = {}
    for rows, step in writes:
        mine = [row._replace(series=row.series.replace("quang-tho", marker)) for row in rows]
        store.write(mine)
        held.update({(row.series, row.time_ms): row for row in mine})
        if step:
            clock.pass_minutes(5)
            maintenance.step(clock.now_ms(), budget=3)
    finish(maintenance, clock, budget=4)
    assert_right(store, list(held.values()))


# -- retention ----------------------------------------------------------------------------------------------------


def old_rows(clock: Clock) -> list[Row]:
    """Every fourth of a hundred days, up to three days ago, a row an hour."""
    start = bucket_of(clock.now_ms()) - 100 * DAY_MS
    return [row for row in levels(97 * 24, start, step_ms=60 * MINUTE) if row.time_ms // DAY_MS % 4 == 0]


def test_raw_rows_go_when_they_are_old_and_roll_ups_stay(store: Store, clock: Clock) -> None:
    rows = old_rows(clock)
    store.write(rows)
    finish(Maintenance(store, RollupSettings(raw_days=10)), clock)
    line = day_of(clock.now_ms() - 10 * DAY_MS, HUE).start_ms
    assert store.raw_from(LEVEL) == line

    def is_removed() -> bool:  # a server drops whole weeks, a month later
        return store.spans()[LEVEL].first_ms > line - 40 * DAY_MS

    eventually(is_removed, within=10)
    left = store.range(LEVEL, 0, 1 << 42)
    assert set(left) <= set(rows) and {row for row in rows if row.time_ms >= line} <= set(left)
    assert_right(store, rows)


def test_nothing_is_removed_before_it_is_rolled_up(store: Store, clock: Clock) -> None:
    rows = old_rows(clock)
    store.write(rows)
    assert store.forget(clock.now_ms(), 10) == 0
    maintenance = Maintenance(store, RollupSettings(raw_days=10))
    clock.pass_minutes(30)
    maintenance.step(clock.now_ms(), budget=100)
    assert store.forget(clock.now_ms() - 10 * DAY_MS, 10) == 0
    assert store.counts("quang-tho") == {LEVEL: len(rows)}
    assert store.raw_from(LEVEL) == 0


def test_a_clock_that_jumps_years_ahead_removes_nothing_and_once_it_is_right_what_is_old_goes(
    store: Store, clock: Clock
) -> None:
    rows = old_rows(clock)
    store.write(rows)
    maintenance = Maintenance(store, RollupSettings(raw_days=200))
    finish(maintenance, clock)
    wrong = Clock()
    wrong.pass_minutes(10 * 366 * 1440)
    while maintenance.step(wrong.now_ms()).more:
        pass
    assert store.counts("quang-tho") == {LEVEL: len(rows)} and store.raw_from(LEVEL) <= rows[0].time_ms
    shorter = Maintenance(store, RollupSettings(raw_days=10))
    finish(shorter, clock)
    assert store.raw_from(LEVEL) == day_of(clock.now_ms() - 10 * DAY_MS, HUE).start_ms
    assert_right(store, rows)


def test_for_longer_than_there_are_dates_is_for_ever_too(store: Store, clock: Clock) -> None:
    store.write(levels(10))
    finish(Maintenance(store, RollupSettings(raw_days=10**7)), clock)
    assert store.counts("quang-tho") == {LEVEL: 10}


def test_for_ever_is_for_ever(store: Store, clock: Clock) -> None:
    rows = old_rows(clock)
    store.write(rows)
    finish(Maintenance(store, FOR_EVER), clock)
    assert store.raw_from(LEVEL) == 0 and store.counts("quang-tho") == {LEVEL: len(rows)}


def test_a_row_that_comes_after_its_neighbours_were_removed_changes_no_roll_up(store: Store, clock: Clock) -> None:
    rows = old_rows(clock)
    store.write(rows)
    maintenance = Maintenance(store, RollupSettings(raw_days=10))
    finish(maintenance, clock)
    neighbour = next(row for row in rows if row.time_ms >= store.raw_from(LEVEL) - 7 * DAY_MS)
    late = neighbour._replace(time_ms=neighbour.time_ms + 1, value=500.0)
    store.write([late])
    finish(maintenance, clock)
    finish(maintenance, clock)
    assert_right(store, rows)
    assert late in store.range(LEVEL, 0, 1 << 42), "it can't be told from one that was counted: it is kept as it is"


def test_a_seal_makes_roll_ups_final_and_is_never_lowered(store: Store, clock: Clock) -> None:
    rows = levels(1440)
    store.write(rows)
    maintenance = Maintenance(store, FOR_EVER)
    finish(maintenance, clock)
    store.seal(LEVEL, NOON + 30 * DAY_MS)
    store.seal(LEVEL, NOON)
    assert store.raw_from(LEVEL) == NOON + 30 * DAY_MS and store.raw_from(RAIN) == 0
    store.write([rows[3]._replace(value=1000.0)])
    finish(maintenance, clock)
    assert_right(store, rows)
