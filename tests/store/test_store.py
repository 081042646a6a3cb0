"""What every store promises, on every backend."""

from __future__ import annotations

import itertools
import math
import random
import threading
import unicodedata
from collections.abc import Iterable
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keng_contracts.telemetry import Flag
from keng_store.protocol import Row, RowRefused, Store, StoreUnavailable, extremes
from keng_store.settings import StoreSettings, open_store
from keng_store.writing import write_all

LEVEL = "quang-tho/phu-oc/level"
RAIN = "quang-tho/phu-oc/rain"
NOON = 1_763_258_400_000  # 2025-11-16, noon and a bit, in Huế
MINUTE = 60_000
END = NOON + 10**9

fresh = itertools.count()
several_examples = hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def levels(values: Iterable[float], series: str = LEVEL, start_ms: int = NOON, step_ms: int = MINUTE) -> list[Row]:
    return [Row(series, start_ms + i * step_ms, value, Flag.GOOD) for i, value in enumerate(values)]


def everything(store: Store, series: str = LEVEL) -> list[Row]:
    return store.range(series, 0, 1 << 42)


def test_what_is_written_is_read_back_with_its_flag_and_millisecond(store: Store) -> None:
    rows = [Row(LEVEL, NOON + i, 1.65 + i, flag) for i, flag in enumerate(Flag)]
    store.write(rows)
    assert everything(store) == rows
    assert [type(row.flag) for row in everything(store)] == [Flag] * len(rows)


def test_an_empty_write_is_no_error(store: Store) -> None:
    store.write([])
    assert write_all(store, []) == []
    assert store.counts("quang-tho") == {}


def test_the_same_rows_twice_leave_one(store: Store) -> None:
    rows = levels([1.65, 1.66, 1.68])
    store.write(rows)
    store.write(rows)
    assert everything(store) == rows
    assert store.counts("quang-tho") == {LEVEL: 3}


def test_the_last_value_and_flag_win(store: Store) -> None:
    store.write([Row(LEVEL, NOON, 9.99, Flag.SUSPECT), Row(LEVEL, NOON + 1, 2.0, Flag.GOOD)])
    store.write([Row(LEVEL, NOON, 1.65, Flag.GOOD)])
    assert everything(store) == [Row(LEVEL, NOON, 1.65, Flag.GOOD), Row(LEVEL, NOON + 1, 2.0, Flag.GOOD)]


def test_the_last_value_wins_within_one_write_too(store: Store) -> None:
    store.write([Row(LEVEL, NOON, value, Flag.GOOD) for value in (3.0, 1.0, 2.0)])
    assert everything(store) == [Row(LEVEL, NOON, 2.0, Flag.GOOD)]


def test_late_rows_take_their_place_in_history(store: Store) -> None:
    rows = levels([1.0, 2.0, 3.0, 4.0])
    store.write(rows[2:])
    store.write([rows[1], rows[0]])
    assert everything(store) == rows
    assert store.latest("quang-tho") == {LEVEL: rows[3]}


def test_latest_is_the_newest_of_each_series_of_that_commune(store: Store) -> None:
    newest = {LEVEL: Row(LEVEL, NOON + 9, 4.57, Flag.GOOD), RAIN: Row(RAIN, NOON + 5, 120.2, Flag.SUSPECT)}
    store.write([Row(LEVEL, NOON, 1.0, Flag.GOOD), Row(RAIN, NOON, 0.0, Flag.GOOD), *newest.values()])
    store.write(levels([7.0], series="quang-tho-2/phu-oc/level") + levels([8.0], series="quang/phu-oc/level"))
    assert store.latest("quang-tho") == newest
    assert store.counts("quang-tho") == {LEVEL: 2, RAIN: 2}
    assert store.latest("nowhere") == {} and store.counts("nowhere") == {}


def test_a_range_has_its_start_and_not_its_end(store: Store) -> None:
    rows = levels([1.0, 2.0, 3.0])
    store.write([*rows, *levels([9.0], series=RAIN)])
    assert store.range(LEVEL, NOON, NOON + 2 * MINUTE) == rows[:2]
    assert store.range(LEVEL, NOON + 1, NOON + 2 * MINUTE + 1) == rows[1:]
    assert store.range(LEVEL, END, NOON) == [] == store.range(LEVEL, NOON, NOON)
    assert store.range("quang-tho/phu-oc/unknown", 0, END) == [] == store.range("what's this?", 0, END)


@pytest.mark.parametrize("max_points", [1, 2, 7, 40, 1000])
def test_down_sampling_keeps_the_extremes_of_each_bucket(store: Store, max_points: int) -> None:
    chance = random.Random(max_points)
    # Values that repeat, so that the first of equals counts; gaps longer than a bucket; times on no boundary.
    rows = sorted({Row(LEVEL, NOON + chance.randrange(10**7), chance.randrange(9) / 2, Flag.GOOD) for _ in range(300)})
    rows = list({row.time_ms: row for row in rows if not 2 * 10**6 < row.time_ms - NOON < 5 * 10**6}.values())
    rows.sort(key=lambda row: row.time_ms)
    store.write(rows)
    start, end = NOON + 12_345, NOON + 9_876_543
    inside = [row for row in rows if start <= row.time_ms < end]
    assert store.range(LEVEL, start, end, max_points) == extremes(inside, start, end, max_points)


def test_a_peak_of_one_reading_in_a_month_is_not_averaged_away(store: Store) -> None:
    rows = levels([1.0 + (i % 7) / 100 for i in range(30 * 1440)])
    rows[12_345] = peak = Row(LEVEL, rows[12_345].time_ms, 5.28, Flag.GOOD)
    for start in range(0, len(rows), 10_000):
        store.write(rows[start : start + 10_000])
    shown = store.range(LEVEL, NOON, NOON + 30 * 1440 * MINUTE, 600)
    assert peak in shown
    assert len(shown) <= 600


def test_thousands_of_rows_of_hundreds_of_series_go_in_one_write(store: Store) -> None:
    rows = [Row(f"quang-tho/station-{i % 40}/q-{i % 200}", NOON + i // 200, i / 7, Flag.GOOD) for i in range(20_000)]
    store.write(rows)
    assert store.counts("quang-tho") == {row.series: 100 for row in rows}
    assert everything(store, rows[17].series) == rows[17::200]


def test_any_script_and_punctuation_survives_in_a_series_name(store: Store) -> None:
    names = [
        "xã-quảng-thọ/phú ốc/mực nước",
        unicodedata.normalize("NFD", "xã-quảng-thọ") + "/phú ốc/mực nước",
        unicodedata.normalize("NFD", "phú").join(["xã-quảng-thọ/", " ốc/mực nước"]),  # another name
        "xã-quảng-thọ/đồng 'phước' \"yên\"/a=b,c d",
        "xã-quảng-thọ/🌊/pm2.5#$;--",
    ]
    for i, name in enumerate(names):
        store.write([Row(name, NOON, float(i), Flag.GOOD)])
    assert [everything(store, name)[0].value for name in names] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert set(store.latest("xã-quảng-thọ")) == {names[0], *names[2:]}
    assert store.latest("x' OR 'a'='a") == {} == store.latest("\\' OR 1=1 --\n")


@pytest.mark.parametrize(
    "name", ["", "level", "a/b", "a/b/c/d", "a//c", "a/b/c\n", "a/b\\/c", "a/b/\ud800", "a/\x00/c"]
)
def test_what_is_no_series_is_refused(store: Store, name: str) -> None:
    with pytest.raises(RowRefused):
        store.write([Row(name, NOON, 1.0, Flag.GOOD)])
    assert everything(store, name) == []


@pytest.mark.parametrize(
    "row",
    [
        Row(LEVEL, NOON + 1, math.nan, Flag.GOOD),
        Row(LEVEL, NOON + 1, math.inf, Flag.GOOD),
        Row(LEVEL, NOON + 1, -math.inf, Flag.GOOD),
        Row(LEVEL, 1 << 70, 1.0, Flag.GOOD),
        Row(LEVEL, NOON + 1, 1.0, 7),  # type: ignore[arg-type]
        Row(LEVEL, NOON + 1, None, Flag.GOOD),  # type: ignore[arg-type]
        Row("no series", NOON + 1, 1.0, Flag.GOOD),
    ],
    ids=repr,
)
def test_a_bad_row_does_not_take_its_neighbours_with_it(store: Store, row: Row) -> None:
    good = levels(range(100), start_ms=NOON + 10)
    refused = write_all(store, [*good[:37], row, *good[37:]])
    assert [culprit for culprit, _ in refused] == [row]
    assert all(reason for _, reason in refused)
    assert everything(store) == good


def test_a_refused_write_leaves_a_store_that_works(store: Store) -> None:
    new = "quang-tho/new/level"
    with pytest.raises(RowRefused):
        store.write([Row(new, NOON, 1.0, Flag.GOOD), Row(new, NOON + 1, math.nan, Flag.GOOD)])
    store.write([Row(new, NOON + 2, 3.0, Flag.GOOD)])
    assert everything(store, new)[-1] == Row(new, NOON + 2, 3.0, Flag.GOOD)


@several_examples
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_every_finite_number_comes_back_to_the_last_bit(store: Store, values: list[float]) -> None:
    rows = levels(values)
    store.write(rows)
    assert store.range(LEVEL, NOON, NOON + len(rows) * MINUTE) == rows


@several_examples
@given(
    st.lists(
        st.lists(
            st.builds(
                Row,
                st.sampled_from([LEVEL, RAIN]),
                st.integers(NOON, NOON + 20),
                st.integers(-9, 9).map(float),
                st.sampled_from(Flag),
            ),
            max_size=12,
        ),
        max_size=6,
    )
)
def test_any_writes_leave_what_a_dictionary_would_hold(store: Store, writes: list[list[Row]]) -> None:
    marker = f"quang-tho-{next(fresh)}"
    held: dict[tuple[str, int], Row] = {}
    for rows in writes:
        mine = [row._replace(series=row.series.replace("quang-tho", marker)) for row in rows]
        store.write(mine)
        held.update({(row.series, row.time_ms): row for row in mine})
    by_series = {name: [row for row in sorted(held.values()) if row.series == name] for name, _ in held}
    assert store.counts(marker) == {name: len(rows) for name, rows in by_series.items()}
    assert store.latest(marker) == {name: rows[-1] for name, rows in by_series.items()}
    for name, rows in by_series.items():
        assert everything(store, name) == rows


def test_readers_work_while_the_writer_writes(settings: StoreSettings) -> None:
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        seen = 0
        try:
            with closing(open_store(settings, read_only=True)) as reader:
                while not done.is_set():
                    rows = reader.range(LEVEL, NOON, END)
                    if len(rows) < seen or rows != sorted(rows):
                        wrong.append(f"{seen} rows, then {len(rows)}")
                    seen = len(rows)
        except Exception as error:
            wrong.append(error)

    with closing(open_store(settings)) as writer:
        writer.write(levels([0.0]))
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for batch in range(30):
            writer.write(levels(range(200), start_ms=NOON + batch * 200 * MINUTE))
        done.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        assert writer.counts("quang-tho") == {LEVEL: 6000}


def test_what_one_wrote_another_finds_after_it_closed(settings: StoreSettings) -> None:
    rows = levels([1.0, 2.0])
    with closing(open_store(settings)) as first:
        first.write(rows)
    with closing(open_store(settings)) as second, closing(open_store(settings, read_only=True)) as reader:
        assert everything(second) == rows == everything(reader)


def test_a_store_that_no_writer_has_made_yet_is_unavailable_and_then_there(settings: StoreSettings) -> None:
    with closing(open_store(settings, read_only=True)) as reader:
        with pytest.raises(StoreUnavailable):
            reader.latest("quang-tho")
        with closing(open_store(settings)) as writer:
            writer.write(levels([1.0]))
            assert reader.latest("quang-tho") == {LEVEL: levels([1.0])[0]}


def test_a_store_may_change_threads_between_calls(store: Store) -> None:
    for i in range(3):
        thread = threading.Thread(target=store.write, args=(levels([float(i)], start_ms=NOON + i),))
        thread.start()
        thread.join()
    assert store.counts("quang-tho") == {LEVEL: 3}


def test_closing_twice_is_no_error(store: Store) -> None:
    store.close()
    store.close()
