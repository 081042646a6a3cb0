"""Roll-ups, retention and the past of derived series beside the taking of telemetry, in at most a fifth of a thread's
time.

It has a store object of its own, so that no commit waits for it here. What it does not get done, for a store that is
away or a process that is stopped, is done later: nothing is lost by it (see :mod:`keng_store.maintenance`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client import Counter

from keng_ingest.past import Past
from keng_runtime.clock import now_ms
from keng_signals.derived import Plan
from keng_store.maintenance import Maintenance
from keng_store.protocol import StoreUnavailable
from keng_store.settings import RollupSettings, StoreSettings, open_store

log = logging.getLogger(__name__)

PAST = Counter("keng_ingest_derived_past_points_total", "Points of derived series made of what was stored before")
ROLLED = Counter("keng_ingest_rolled_up_buckets_total", "Ten-minute buckets rolled up")

#: Buckets in one step: some ten milliseconds.
BUDGET = 100
IDLE_S = 60.0
#: Pause between steps, in times of the step before.
SHARE = 4


async def keep_up(
    store_settings: StoreSettings, settings: RollupSettings, state: Path, plan: Callable[[], Plan]
) -> None:
    """Roll up, remove, and make the past of what ``plan()`` describes, for ever; to be cancelled."""
    loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, "upkeep")  # one heap, as for the commits
    store = await loop.run_in_executor(thread, open_store, store_settings)
    maintenance, past = Maintenance(store, settings), Past(store, state / "derived.json")
    try:
        while True:
            start = time.monotonic()
            more = await _whole(loop.run_in_executor(thread, _step, maintenance, past, plan()))
            await asyncio.sleep(SHARE * (time.monotonic() - start) if more else IDLE_S)
    finally:
        store.close()


def _step(maintenance: Maintenance, past: Past, plan: Plan) -> bool:
    """One step of what is to be done; whether there is more."""
    try:
        progress = maintenance.step(now_ms(), BUDGET)
        ROLLED.inc(progress.rolled)
        if progress.forgotten:
            log.info("removed raw readings that are too old, of %d series", progress.forgotten)
        if progress.more:
            return True
        made = past.step(plan, now_ms())
        PAST.inc(made or 0)
        return made is not None
    except StoreUnavailable as error:
        log.info("roll-ups wait for the store: %s", error)
        return False


async def _whole(running: asyncio.Future[bool]) -> bool:
    """Wait for a step to its end also when cancelled: the store must not be closed under its hands."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise
