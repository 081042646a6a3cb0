"""Roll-ups and retention, a step at a time.

    maintenance = Maintenance(open_store(settings.store), settings.rollup)   # a store object of its own
    while True:
        progress = await asyncio.to_thread(maintenance.step, now_ms())
        await asyncio.sleep(0 if progress.more else 60)

A step is short (some ten milliseconds a unit of work) and may be killed anywhere: the marks of what was not finished
are still there and it is done again. Several processes may do this on the same store; the work is then done twice and
counted once. StoreUnavailable passes through: try again later. Nothing here is needed for readings to be taken.
"""

from __future__ import annotations

import logging
from typing import NamedTuple
from zoneinfo import ZoneInfo

from keng_store.protocol import Aggregate, Resolution, RowRefused, Store
from keng_store.rollup import Interval, Unit, aggregates, day_of, every_day, plan
from keng_store.settings import RollupSettings

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
#: A clock further ahead of the newest reading than this is not believed when it says that rows are too old.
CLOCK_GRACE_MS = 30 * DAY_MS


class Progress(NamedTuple):
    """What a step did: ten-minute buckets rolled up, series whose old rows were removed, and whether there is more."""

    rolled: int
    forgotten: int
    more: bool


class Maintenance:
    """Keeps the roll-ups of ``store`` right and its raw rows no longer than ``settings`` say."""

    def __init__(self, store: Store, settings: RollupSettings) -> None:
        self._store = store
        self._zone = ZoneInfo(settings.timezone)
        self._raw_days = settings.raw_days
        self._asked = self._line = 0

    def step(self, now_ms: int, budget: int = 500) -> Progress:
        """Roll up at most ``budget`` touched buckets; when none is left, remove what is too old, a series at a time."""
        marks = self._store.touched(now_ms, budget)
        rolled = sum(self._roll_up(unit) for unit in plan(marks, self._zone))
        if rolled:
            return Progress(rolled, 0, True)
        # Marks that others keep making under our hands are no reason to come back at once.
        forgotten = 0
        if self._raw_days:
            forgotten = self._store.forget(self._too_old_before(now_ms), 1)
        return Progress(0, forgotten, forgotten > 0)

    def _too_old_before(self, now_ms: int) -> int:
        """The midnight before which raw rows go. What a clock that jumped ahead removed would not come back."""
        line = self._midnight(now_ms)
        if line != self._asked:  # once a day, for InfluxDB looks through everything to answer
            newest = max((span.last_ms for span in self._store.spans().values()), default=0)
            self._line = min(line, self._midnight(newest + CLOCK_GRACE_MS))
            self._asked = line if newest else 0
            if newest and self._line < line:
                ahead = (now_ms - newest) // DAY_MS
                log.warning("the clock is %d days ahead of the newest reading: what it calls too old is kept", ahead)
        return self._line

    def _midnight(self, now_ms: int) -> int:
        return max(0, day_of(max(0, now_ms - self._raw_days * DAY_MS), self._zone).start_ms)

    def again(self, series: str, start_ms: int, end_ms: int) -> int:
        """Roll up every day of a series in that range anew, marked or not; how many ten-minute buckets there were."""
        return sum(self._roll_up(unit) for unit in every_day(series, start_ms, end_ms, self._zone))

    def _roll_up(self, unit: Unit) -> int:
        """Compute a unit; how many buckets of it are settled."""
        span = unit.span
        rows = self._store.range(unit.series, span.start_ms, span.end_ms)
        wanted = {
            Resolution.TEN_MINUTES: self._open(unit, Resolution.TEN_MINUTES, unit.buckets),
            Resolution.DAY: self._open(unit, Resolution.DAY, unit.days),
        }
        found: dict[Resolution, list[Aggregate]] = {
            resolution: aggregates(rows, intervals) for resolution, intervals in wanted.items()
        }
        try:
            settled = self._store.settle(found, unit.done)
        except RowRefused as refusal:  # an InfluxDB 2 whose bucket keeps nothing that old, for one: others go on
            log.error("%s: the store refuses a roll-up: %s", unit.series, refusal.detail)
            settled = self._store.settle({}, unit.done)
        return len(unit.buckets) if settled else 0

    def _open(self, unit: Unit, resolution: Resolution, intervals: tuple[Interval, ...]) -> list[Interval]:
        """The intervals that may be computed: not those of which raw rows were removed since they were rolled up.

        A row that comes so late can't be told from one that was counted already, so it changes no roll-up; where it is
        taken at all (SQLite, 2.x) it stays among the raw rows for ever.
        """
        raw_from = self._store.raw_from(unit.series)
        if intervals[0].start_ms >= raw_from:
            return list(intervals)
        end = intervals[-1].end_ms
        final = {found.start_ms for found in self._store.rollups(unit.series, resolution, intervals[0].start_ms, end)}
        return [one for one in intervals if one.start_ms >= raw_from or one.start_ms not in final]
