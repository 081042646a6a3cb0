"""A month without a link, at the rate that the outbox was made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from keng_contracts.telemetry import Clock, Reading
from keng_edge.outbox.outbox import Batch, Outbox
from keng_edge.outbox.timeline import Stamp
from tests.support.outbox import LEVEL, NOW, boot

DAY_MS = 86_400_000
#: One three-hundredth of 30 days × 20 readings a minute; pages fill in the same way at any size.
SCALE = 300
READINGS = 30 * 24 * 60 * 20 // SCALE
BYTES = 250_000_000 // SCALE


@pytest.mark.parametrize("alarm", [False, True], ids=["telemetry", "alarms"])
def test_a_month_of_twenty_readings_a_minute_fits_although_each_is_a_pack_of_its_own(
    tmp_path: Path, alarm: bool
) -> None:
    outbox = Outbox(tmp_path / "x.db", boot(), BYTES)
    stamp = Stamp(NOW - 3_000_000_000, Clock.SYNCED)  # the machine has run for a month
    series = [f"quang-tho/phuoc-yen/soil-temperature-{i}" for i in range(20)]
    for i in range(READINGS):
        time_ms = NOW + 3000 * i
        reading = Reading(LEVEL if alarm else series[i % 20], time_ms, 23.4 + i % 100 / 1000, "Cel")
        outbox.append([Batch([reading], alarm, stamp)], made_ms=time_ms + 2000, clock=Clock.SYNCED, sync=False)
    assert outbox.depth.readings == READINGS and outbox.depth.dropped == 0
    outbox.close()


def test_what_is_too_old_is_dropped_and_counted_but_not_by_a_clock_that_nobody_trusts(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "x.db", boot(), 10_000_000, max_age_ms=DAY_MS)
    for alarm in (False, True):
        outbox.append([Batch([Reading(LEVEL, NOW, 1.0, "m")] * 3, alarm)], made_ms=NOW, clock=Clock.SYNCED, sync=False)
    late = NOW + 2 * DAY_MS
    new = Batch([Reading(LEVEL, late, 2.0, "m")], alarm=True)
    outbox.append([new], made_ms=late, clock=Clock.UNKNOWN, sync=False)
    assert (outbox.depth.readings, outbox.depth.dropped) == (7, 0)
    outbox.append([new], made_ms=late, clock=Clock.SYNCED, sync=False)
    assert (outbox.depth.readings, outbox.depth.dropped) == (2, 6)
    outbox.close()
