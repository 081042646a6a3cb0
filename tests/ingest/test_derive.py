"""Derived series in real stores and behind a real broker: right after late data, and written only where they change."""

from pathlib import Path
from typing import Any

from keng_contracts.registry import Registry
from keng_contracts.telemetry import Flag, Reading
from keng_ingest.derive import derive
from keng_runtime.clock import now_ms
from keng_signals.derived import plan_of
from keng_store.protocol import Row, Store
from keng_store.settings import StoreSettings, open_store
from tests.support.broker import RunningBroker
from tests.support.registry import sample, signed
from tests.support.services import start_ingest
from tests.support.telemetry import edge, retain_registry

START = 1_763_323_200_000
MINUTE = 60_000
RAIN, HOURLY = "quang-tho/phu-oc/rain", "quang-tho/phu-oc/rain-1h"


def with_hourly_rain() -> Registry:
    hourly: dict[str, Any] = {"id": "phu-oc/rain-1h", "name": "Mưa 1 giờ", "kind": "rain"}
    return sample(derived=[hourly | {"inputs": {"counter": "phu-oc/rain"}, "parameters": {"window_s": 3600}}])


def counted(minute: int, mm: float) -> Row:
    return Row(RAIN, START + minute * MINUTE, mm, Flag.GOOD)


def take(store: Store, *rows: Row) -> int:
    store.write(rows)
    return derive(store, plan_of(with_hourly_rain()), rows)


def totals(store: Store) -> list[tuple[int, float]]:
    return [((row.time_ms - START) // MINUTE, row.value) for row in store.range(HOURLY, 0, 2**42)]


def test_late_data_gives_the_totals_that_data_in_time_would_have_given(store: Store) -> None:
    take(store, *(counted(minute, minute / 10) for minute in (0, 20, 40, 60, 75)))
    assert totals(store)[-1] == (75, 6.0)
    assert take(store, counted(10, 2.0)) == 2  # itself, and the total whose hour began at minute 15
    assert totals(store) == [(0, 0.0), (10, 2.0), (20, 2.0), (40, 4.0), (60, 6.0), (75, 5.5)]


def test_the_same_batch_again_writes_nothing(store: Store) -> None:
    rows = [counted(minute, minute / 10) for minute in range(10)]
    assert take(store, *rows) == 10
    assert take(store, *rows) == 0


def test_a_total_whose_count_turns_out_to_be_bad_is_marked_as_missing(store: Store) -> None:
    take(store, counted(0, 0.0), counted(60, 6.0))
    assert take(store, counted(60, 6.0)._replace(flag=Flag.BAD)) == 1
    assert [row.flag for row in store.range(HOURLY, 0, 2**42)] == [Flag.SUSPECT, Flag.MISSING]
    assert take(store, counted(60, 6.0)._replace(flag=Flag.BAD)) == 0


def test_a_point_that_another_replica_made_too_early_is_mended_by_the_next_batch(store: Store) -> None:
    take(store, counted(0, 0.0), counted(2, 5.0))
    store.write([Row(HOURLY, START + 2 * MINUTE, 0.0, Flag.GOOD)])
    take(store, counted(3, 5.0))
    assert totals(store) == [(0, 0.0), (2, 5.0), (3, 5.0)]


async def test_a_receipt_means_that_derived_series_are_there_too(broker: RunningBroker, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'readings.sqlite'}"
    await retain_registry(broker, signed(with_hourly_rain(), broker.credentials))
    now = now_ms()
    with start_ingest(broker, tmp_path, url) as process:
        process.says("taking telemetry")
        async with edge(broker) as node:
            counts = [Reading(RAIN, now - (90 - m) * MINUTE, m / 10, "mm") for m in range(0, 91, 10)]
            await node.receipt_for(await node.send(counts[:5] + counts[6:]))
            await node.receipt_for(await node.send(counts[5:6]))
    rows = open_store(StoreSettings(url=url), read_only=True).range(HOURLY, 0, 2**42)
    assert [(row.value, row.flag) for row in rows[-4:]] == [(6.0, Flag.GOOD)] * 4
    assert len(rows) == 10
