"""Roll-ups are made while ingest runs, wait for a store that is away, and end with their step."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from keng_contracts.telemetry import Flag
from keng_ingest import upkeep
from keng_signals.derived import Plan
from keng_store.protocol import Resolution, Row
from keng_store.settings import RollupSettings, StoreSettings, open_store
from tests.support.processes import eventually

LEVEL = "quang-tho/phu-oc/level"
NOON = 1_763_258_400_000


async def test_what_is_written_is_rolled_up_beside_and_old_rows_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "IDLE_S", 0.01)
    settings = StoreSettings(url=f"sqlite:///{tmp_path}/readings.sqlite")
    running = asyncio.create_task(upkeep.keep_up(settings, RollupSettings(raw_days=1), tmp_path, Plan))
    with closing(open_store(settings)) as store:
        store.write([Row(LEVEL, NOON + i * 60_000, float(i), Flag.GOOD) for i in range(3000)])
        await asyncio.to_thread(eventually, lambda: not store.counts("quang-tho"), within=20)
        assert sum(one.count for one in store.rollups(LEVEL, Resolution.DAY, 0, 1 << 42)) == 3000
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_store_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "IDLE_S", 0.01)
    away = StoreSettings(url="http://127.0.0.1:9/keng")
    running = asyncio.create_task(upkeep.keep_up(away, RollupSettings(), tmp_path, Plan))
    done, _ = await asyncio.wait([running], timeout=0.3)
    assert not done
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
