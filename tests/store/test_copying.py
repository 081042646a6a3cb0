"""History moves between any two stores, can be stopped anywhere, and is compared to the last bit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keng_contracts.telemetry import Flag
from keng_store.copying import Report, copy
from keng_store.maintenance import DAY_MS, Maintenance
from keng_store.protocol import Resolution, Row, Store
from keng_store.rollup import bucket_of
from keng_store.settings import RollupSettings, StoreSettings, open_store
from tests.store.conftest import Clock
from tests.support.processes import Process, eventually

LEVEL = "quang-tho/phu-oc/level"
RAIN = "quang-tho/phu-oc/rain"
NOON = 1_763_258_400_000
END = 1 << 42
_COMMAND = "from keng_store.cli import main; main()"


def rows_of(series: str, count: int, start_ms: int = NOON, step_ms: int = 60_000) -> list[Row]:
    return [Row(series, start_ms + i * step_ms, i / 7, list(Flag)[i % 5]) for i in range(count)]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(StoreSettings(url=f"sqlite:///{tmp_path}/source.sqlite"))) as opened:
        yield opened


def told(_: Report) -> None:
    pass


def test_all_series_of_all_communes_arrive_with_flags(source: Store, store: Store) -> None:
    rows = rows_of(LEVEL, 20_000) + rows_of(RAIN, 10, step_ms=DAY_MS) + rows_of("xã/phú ốc/mực nước", 3)
    source.write(rows)
    seen: list[int] = []
    report = copy(source, store, END, lambda so_far: seen.append(so_far.rows))
    assert report.is_verified and (report.series, report.rows, report.written) == (3, len(rows), len(rows))
    assert report.values == pytest.approx(sum(row.value for row in rows), rel=1e-15)
    assert seen == sorted(seen) and len(seen) > 3
    for series, span in source.spans().items():
        assert store.range(series, 0, END) == source.range(series, 0, END)
        assert store.spans()[series] == span


def test_the_way_back_is_the_same(source: Store, store: Store) -> None:
    store.write(rows_of(LEVEL, 5000))
    assert copy(store, source, END, told).is_verified
    assert source.range(LEVEL, 0, END) == rows_of(LEVEL, 5000)


def test_a_second_run_writes_only_what_is_new_or_other(source: Store, store: Store) -> None:
    source.write(rows_of(LEVEL, 3000))
    copy(source, store, END, told)
    assert copy(source, store, END, told).written == 0
    source.write(rows_of(LEVEL, 3010))
    source.write([rows_of(LEVEL, 1)[0]._replace(value=9.9)])
    report = copy(source, store, END, told)
    assert (report.written, report.replaced) == (11, 1)
    assert store.range(LEVEL, 0, END) == source.range(LEVEL, 0, END)


def test_rows_that_only_the_target_has_stay_and_are_told(source: Store, store: Store) -> None:
    source.write(rows_of(LEVEL, 100))
    own = Row(LEVEL, NOON + 1, 5.0, Flag.GOOD)
    store.write([own])
    report = copy(source, store, END, told)
    assert report.is_verified and report.extra == 1
    assert own in store.range(LEVEL, 0, END) and store.counts("quang-tho") == {LEVEL: 101}


def test_what_came_after_the_start_is_for_the_next_run(source: Store, store: Store) -> None:
    source.write(rows_of(LEVEL, 100))
    assert copy(source, store, NOON + 50 * 60_000, told).rows == 50


def test_roll_ups_of_removed_rows_come_along_and_stay_final(source: Store, store: Store, clock: Clock) -> None:
    rows = rows_of(LEVEL, 20 * 24, start_ms=bucket_of(clock.now_ms()) - 61 * DAY_MS, step_ms=180 * 60_000)
    only_old = rows_of(RAIN, 5, start_ms=bucket_of(clock.now_ms()) - 61 * DAY_MS)
    source.write(rows + only_old)
    keeping = Maintenance(source, RollupSettings(raw_days=10))
    while keeping.step(clock.now_ms()).more:
        pass
    assert RAIN not in source.spans()
    report = copy(source, store, END, told)
    assert report.is_verified and report.rollups > 0
    clock.pass_minutes(30)
    maintenance = Maintenance(store, RollupSettings(raw_days=0))
    while maintenance.step(clock.now_ms()).more:
        pass
    for series in (LEVEL, RAIN):
        assert store.raw_from(series) == source.raw_from(series)
        for resolution in Resolution:
            assert store.rollups(series, resolution, 0, END) == source.rollups(series, resolution, 0, END)


def test_a_copy_that_was_killed_goes_on_where_it_stopped(
    source: Store, settings: StoreSettings, tmp_path: Path
) -> None:
    rows = [row for n in range(8) for row in rows_of(f"quang-tho/phu-oc/q{n}", 5000)]
    source.write(rows)
    command = [sys.executable, "-c", _COMMAND, "copy", f"sqlite:///{tmp_path}/source.sqlite", settings.url]
    with closing(open_store(settings)) as target:

        def there() -> int:
            return sum(target.counts("quang-tho").values())

        with Process(command, log=tmp_path / "log") as running:
            eventually(lambda: there() > 0)
            running.kill()
        stopped_at = there()
        assert 0 < stopped_at < len(rows)
        report = copy(source, target, END, told)
        assert report.is_verified and report.written <= len(rows) - stopped_at
        assert target.counts("quang-tho") == source.counts("quang-tho")


def test_roll_ups_that_were_killed_are_finished_by_the_next(settings: StoreSettings, tmp_path: Path) -> None:
    late = Clock()
    late.pass_minutes(-60)  # what was written an hour ago has settled
    rows = [row for n in range(4) for row in rows_of(f"quang-tho/phu-oc/q{n}", 5000)]
    with closing(open_store(settings, now_ns=late.now_ns)) as store:
        store.write(rows)
    command = [sys.executable, "-c", _COMMAND, "rollup", "--store", settings.url, "--raw-days", "0"]
    with closing(open_store(settings)) as store:
        with Process(command, log=tmp_path / "log") as running:
            eventually(lambda: len(store.spans(Resolution.DAY)) > 1)
            running.kill()
        with Process(command, log=tmp_path / "log") as running:
            eventually(lambda: not running.running, within=30)
            assert "ten-minute buckets rolled up" in running.text()
        for series in sorted({row.series for row in rows}):
            whole = Maintenance(store, RollupSettings(raw_days=0))
            before = {r: store.rollups(series, r, 0, END) for r in Resolution}
            assert sum(one.count for one in before[Resolution.TEN_MINUTES]) == 5000
            assert sum(one.count for one in before[Resolution.DAY]) == 5000
            whole.again(series, NOON, NOON + 5000 * 60_000)
            assert before == {r: store.rollups(series, r, 0, END) for r in Resolution}
