"""From the store into what is known: the newest rows, and the spans of the charts. Thin.

A store that does not answer is asked again; meanwhile the page lives on what comes over the wire.
"""

from __future__ import annotations

import asyncio
import logging

from keng_console.live import CHART_ROWS, Live, gauges
from keng_console.overview import window
from keng_contracts.errors import Problem
from keng_runtime.clock import now_ms
from keng_store.protocol import Row, Store, StoreUnavailable
from keng_store.settings import StoreSettings, open_store

log = logging.getLogger(__name__)

PERIOD_S = 2.0
RETRY_S = 5.0
#: Charts whose span is read again in one turn: with many gauges each waits its turn, and the store has its peace.
CHARTS_A_TURN = 8


class Readings:
    """Reads the store over and over for one :class:`Live`."""

    def __init__(self, settings: StoreSettings, live: Live, chart_hours: float) -> None:
        self._settings = settings
        self._live = live
        self._chart_hours = chart_hours
        self._store: Store | None = None
        self._turn = 0
        self._complaint = ""

    async def follow(self) -> None:
        """Read for ever."""
        while True:
            answered = await self.read()
            await asyncio.sleep(PERIOD_S if answered else RETRY_S)

    async def read(self) -> bool:
        """One turn; whether the store answered."""
        registry, now = self._live.registry, now_ms()
        if registry is None:
            return False
        all_series = [registry.series(sensor) for sensor in gauges(registry)]
        turn = [all_series[(self._turn + i) % len(all_series)] for i in range(min(CHARTS_A_TURN, len(all_series)))]
        self._turn += len(turn)
        try:
            latest, histories = await asyncio.to_thread(self._query, registry.commune.id, turn, now)
        except (StoreUnavailable, Problem) as error:
            self._live.store_readable = False
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("the store can't be read (%s); charts show what comes over the wire", error)
            return False
        if self._complaint:
            self._complaint = ""
            log.info("the store can be read again")
        self._live.store_readable = True
        for series, rows in histories.items():
            self._live.history(series, rows)
        self._live.stored(latest.values(), now)
        return True

    def _query(self, commune: str, series: list[str], now: int) -> tuple[dict[str, Row], dict[str, list[Row]]]:
        if self._store is None:
            self._store = open_store(self._settings, read_only=True)
        start, end = window(now, self._chart_hours)
        # A little more than the chart: the line starts at its edge, not at the first row inside.
        before = start - (end - start) // 50
        return self._store.latest(commune), {name: self._store.range(name, before, end, CHART_ROWS) for name in series}

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
