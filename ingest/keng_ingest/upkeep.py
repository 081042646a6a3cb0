"""Roll-ups and retention beside the taking of telemetry, in at most a fifth of a thread's time.

It has a store object of its own, so that no commit waits for it here. What it does not get done, for a store that is
away or a process that is stopped, is done later: nothing is lost by it (see :mod:`keng_store.maintenance`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from prometheus_client import Counter

from keng_runtime.clock import now_ms
from keng_store.maintenance import Maintenance, Progress
from keng_store.protocol import StoreUnavailable
from keng_store.settings import RollupSettings, StoreSettings, open_store

log = logging.getLogger(__name__)

ROLLED = Counter("keng_ingest_rolled_up_buckets_total", "Ten-minute buckets rolled up")

#: Buckets in one step: some ten milliseconds.
BUDGET = 100
IDLE_S = 60.0
#: Pause between steps, in times of the step before.
SHARE = 4


async def keep_up(store_settings: StoreSettings, settings: RollupSettings) -> None:
    """Roll up and remove for ever; to be cancelled."""
    store = await asyncio.to_thread(open_store, store_settings)
    maintenance = Maintenance(store, settings)
    try:
        while True:
            start = time.monotonic()
            progress = await _whole(asyncio.to_thread(_step, maintenance))
            await asyncio.sleep(SHARE * (time.monotonic() - start) if progress.more else IDLE_S)
    finally:
        store.close()


def _step(maintenance: Maintenance) -> Progress:
    try:
        progress = maintenance.step(now_ms(), BUDGET)
    except StoreUnavailable as error:
        log.info("roll-ups wait for the store: %s", error)
        return Progress(0, 0, False)
    ROLLED.inc(progress.rolled)
    if progress.forgotten:
        log.info("removed raw readings that are too old, of %d series", progress.forgotten)
    return progress


async def _whole(step: Coroutine[Any, Any, Progress]) -> Progress:
    """Wait for a step to its end also when cancelled: the store must not be closed under its hands."""
    running = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise
