"""What a derived series that is new in the registry gets of the past, on both stores and in the running service."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keng_contracts.registry import Registry
from keng_contracts.telemetry import Flag, Reading
from keng_ingest import derive as deriving
from keng_ingest.cli import cli
from keng_ingest.past import DAY_MS, Past, remake
from keng_runtime.clock import now_ms
from keng_signals.derived import Plan, plan_of
from keng_store.protocol import Row, Store
from keng_store.settings import StoreSettings, open_store
from tests.support.broker import RunningBroker
from tests.support.processes import Process, until
from tests.support.registry import sample, signed
from tests.support.services import settings
from tests.support.telemetry import edge, retain_registry

MINUTE = 60_000
NOW = 1_763_323_200_000
START = NOW - 3 * DAY_MS
RAIN, HOURLY = "quang-tho/phu-oc/rain", "quang-tho/phu-oc/rain-1h"


def described(version: int = 2, **parameters: float) -> Registry:
    derived: dict[str, Any] = {"id": "phu-oc/rain-1h", "name": "Mưa 1 giờ", "kind": "rain"}
    derived |= {"inputs": {"counter": "phu-oc/rain"}, "parameters": {"window_s": 3600, **parameters}}
    return sample(version=version, derived=[derived])


PLAN = plan_of(described())


def counts(minutes: range) -> list[Row]:
    return [Row(RAIN, START + minute * MINUTE, minute / 10, Flag.GOOD) for minute in minutes]


def points(store: Store) -> list[Row]:
    return store.range(HOURLY, 0, 2**42)


def as_if_always(store: Store) -> list[Row]:
    """What the series would be had it been there from the beginning."""
    [rule] = PLAN.rules
    inputs = {"counter": [deriving.Sample(*row[1:]) for row in store.range(RAIN, 0, 2**42)]}
    return [Row(HOURLY, *one) for one in deriving.compute(deriving.Task(rule, START, NOW), inputs)]


def finish(past: Past, plan: Plan = PLAN) -> int:
    made = 0
    while (step := past.step(plan, NOW)) is not None:
        made += step
    return made


def test_its_past_is_made_and_a_second_run_has_nothing_to_do(store: Store, tmp_path: Path) -> None:
    store.write(counts(range(0, 4000, 10)))
    assert finish(Past(store, tmp_path / "derived.json")) == 400
    assert points(store) == as_if_always(store)
    again = Past(store, tmp_path / "derived.json")
    assert again.step(PLAN, NOW) is None


def test_what_was_stopped_goes_on_where_it_ended(store: Store, tmp_path: Path) -> None:
    store.write(counts(range(0, 4000, 10)))
    first = Past(store, tmp_path / "derived.json").step(PLAN, NOW)
    assert first and 0 < first < 400
    newest = points(store)[0].time_ms
    assert finish(Past(store, tmp_path / "derived.json")) == 400 - first, "the newest day comes first, and once"
    assert newest > START + DAY_MS and points(store) == as_if_always(store)


def test_a_file_that_is_lost_or_torn_costs_only_a_second_look(store: Store, tmp_path: Path) -> None:
    store.write(counts(range(0, 4000, 10)))
    finish(Past(store, tmp_path / "derived.json"))
    for content in (b"", b"[]", b'{"a": 1}'):
        (tmp_path / "derived.json").write_bytes(content)
        assert finish(Past(store, tmp_path / "derived.json")) == 0


def test_points_that_are_there_stay_when_a_parameter_changes_and_are_made_anew_on_demand(
    store: Store, tmp_path: Path
) -> None:
    store.write(counts(range(0, 400, 10)))
    finish(Past(store, tmp_path / "derived.json"))
    store.write(counts(range(400, 800, 10)))
    before, changed = points(store), plan_of(described(3, mm_per_count=2.0))
    past = Past(store, tmp_path / "derived.json")
    assert finish(past, changed) == 40
    assert points(store)[:40] == before
    assert points(store)[-1].value == 12.0, "6 mm an hour, counted double"
    assert remake(store, changed.rules[0], START, NOW) == 39, "all but the first, which was 0 and is"
    assert {row.value for row in points(store)[6:]} == {12.0}
    assert remake(store, changed.rules[0], START, NOW) == 0


def test_a_series_that_was_given_up_and_comes_back_gets_what_it_missed(store: Store, tmp_path: Path) -> None:
    store.write(counts(range(0, 400, 10)))
    finish(Past(store, tmp_path / "derived.json"))
    finish(Past(store, tmp_path / "derived.json"), Plan())
    store.write(counts(range(400, 800, 10)))
    assert finish(Past(store, tmp_path / "derived.json")) == 40
    assert points(store) == as_if_always(store)


def test_where_readings_were_removed_no_point_is_made_of_what_is_left(store: Store, tmp_path: Path) -> None:
    store.write(counts(range(2000, 4000, 10)))
    store.seal(RAIN, START + 2000 * MINUTE)
    finish(Past(store, tmp_path / "derived.json"))
    assert points(store) == [row for row in as_if_always(store) if row.time_ms >= START + 2120 * MINUTE]


def test_a_reading_that_comes_late_meanwhile_is_not_undone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(counts(range(0, 100, 10)))
    late = [Row(RAIN, START + 45 * MINUTE, 4.9, Flag.GOOD)]
    write = deriving.write_all

    def interrupted(_: Store, rows: list[Row]) -> list[tuple[Row, str]]:
        monkeypatch.setattr(deriving, "write_all", write)
        store.write(late)
        deriving.derive(store, PLAN, late)
        return write(store, rows)

    monkeypatch.setattr(deriving, "write_all", interrupted)
    finish(Past(store, tmp_path / "derived.json"))
    assert points(store) == as_if_always(store)
    assert 4.9 in {row.value for row in points(store)}


def test_without_readings_there_is_nothing_to_do(store: Store, tmp_path: Path) -> None:
    store.write([Row("quang-tho/phu-oc/level", NOW, 1.0, Flag.GOOD)])
    assert Past(store, tmp_path / "derived.json").step(PLAN, NOW) is None


_SOON = """
from keng_ingest import upkeep
upkeep.IDLE_S = 0.1
from keng_ingest.cli import main
main()
"""


async def test_the_running_service_makes_it_when_the_registry_comes_and_the_command_makes_it_anew(
    broker: RunningBroker, tmp_path: Path
) -> None:
    url, now = f"sqlite:///{tmp_path / 'readings.sqlite'}", now_ms()
    file = tmp_path / "ingest.toml"
    file.write_text(settings(broker, "ingest", tmp_path / "ingest") + f'[store]\nurl = "{url}"\n')
    await retain_registry(broker, signed(sample(), broker.credentials))
    store = open_store(StoreSettings(url=url))
    store.write([Row(RAIN, now - (3000 - m) * MINUTE, m / 10, Flag.GOOD) for m in range(0, 2990, 10)])

    def totals() -> list[float]:
        return [row.value for row in points(store)[6:]]

    command = [sys.executable, "-c", _SOON, "run", "--settings", file]
    with Process(command, log=tmp_path / "ingest.log") as ingest:
        ingest.says("taking telemetry")
        await retain_registry(broker, signed(described(), broker.credentials))
        await asyncio.to_thread(ingest.says, f"{HOURLY}: its past is made")
        assert len(points(store)) == 299
        async with edge(broker) as node:
            await node.receipt_for(await node.send([Reading(RAIN, now - 10 * MINUTE, 299.0, "mm")]))
        assert totals() == [6.0] * 294
        await retain_registry(broker, signed(described(3, mm_per_count=2.0), broker.credentials))
        await until(lambda: "version 3" in ingest.text())
        done = await asyncio.to_thread(
            CliRunner().invoke, cli, ["derive", HOURLY, "--from", "2025-01-01", "--settings", str(file)]
        )
        assert (done.exit_code, done.output) == (0, f"{HOURLY}: 299 points made anew.\n")
        assert totals() == [12.0] * 294


def test_the_command_says_which_series_there_are(broker: RunningBroker, tmp_path: Path) -> None:
    file = tmp_path / "ingest.toml"
    file.write_text(settings(broker, "ingest", tmp_path))
    done = CliRunner().invoke(cli, ["derive", HOURLY, "--from", "2025-01-01", "--settings", str(file)])
    assert done.exit_code == 2 and "is no derived series of the registry that ingest has" in done.output
