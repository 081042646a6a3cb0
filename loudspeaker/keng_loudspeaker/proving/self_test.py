"""A soft test at night: whether a loudspeaker that had nothing to say would be heard.

What is played by day is checked while it sounds; only where nothing was for most of a day, soft blasts are played in
the still of the night, for the microphone. They are the loudspeaker's own (its settings name the
hour, and that is off by default): 30 dB below a siren, and of the lowest priority, so that they give way to everything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from keng_contracts.commands import Play, Priority, Siren
from keng_loudspeaker.hours import Hours
from keng_loudspeaker.playing.jobs import Jobs
from keng_loudspeaker.proving.reports import Clockwork, Order

log = logging.getLogger(__name__)

#: How such plays are named, with the date.
NAME = "thu-loa-"
#: Five short blasts have a course that no bird has.
TONES = Siren(pattern="thu-loa", blasts=5, blast_s=0.4, gap_s=0.4, gain_db=-30)
#: A machine that was off at the hour tests up to so much later.
WITHIN = timedelta(minutes=30)
#: What was checked so recently needs no test.
RECENT_S = 20 * 3600.0
LOOK_S = 5.0


def due(at: str, now: datetime, checked_s: float | None) -> str:
    """The name of the test that is due at ``now`` (local time) for an hour such as ``02:30``, else empty. Pure.

    ``checked_s``: how long ago something was checked last, None if nothing was.

    >>> due("02:30", datetime(2025, 11, 17, 2, 31), None)
    'thu-loa-20251117'
    >>> due("02:30", datetime(2025, 11, 17, 2, 29), None), due("02:30", datetime(2025, 11, 17, 2, 31), 3600.0)
    ('', '')
    """
    hour, minute = map(int, at.split(":"))
    begins = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if not begins <= now < begins + WITHIN or (checked_s is not None and checked_s < RECENT_S):
        return ""
    return f"{NAME}{now:%Y%m%d}"


async def watch(
    at: str, jobs: Jobs, clock: Clockwork, hours: Callable[[], Hours], checked_s: Callable[[], float | None]
) -> None:
    """Test when it is due and nothing else sounds, until cancelled. Without a clock that is kept, never."""
    while True:
        await asyncio.sleep(LOOK_S)
        if not clock.trusted() or jobs.playing:
            continue
        name = due(at, datetime.now(UTC).astimezone(ZoneInfo(hours().zone)), checked_s())
        if name and name not in jobs.ended:
            log.info("nothing was checked for most of a day: a soft test, %s", name)
            play = Play(play=name, priority=Priority.RELAY, items=[TONES], night="loudspeaker")
            jobs.play(Order(play, "self-test", time.monotonic()), jobs.keep_ended)
