"""Loudspeakers that start together: whether the moment is waited for, and that it is kept."""

from __future__ import annotations

import time

import pytest

from keng_contracts.playback import What
from keng_contracts.telemetry import Clock
from keng_loudspeaker.playing.together import MOST_AHEAD_S, ahead
from tests.loudspeaker.conftest import SHORT, RunningNode, Village, play
from tests.support.processes import until

NOW_S = 1_763_323_200.0


@pytest.mark.parametrize(
    ("start_s", "clock", "expected"),
    [
        (NOW_S + 2, Clock.SYNCED, (2.0, "")),
        (NOW_S + 2, Clock.HOLDOVER, (2.0, "")),
        (NOW_S + 2, Clock.UNKNOWN, (0.0, "on-arrival: clock-unknown")),
        (NOW_S, Clock.SYNCED, (0.0, "on-arrival: late")),
        (NOW_S - 3600, Clock.SYNCED, (0.0, "on-arrival: late")),
        (NOW_S + MOST_AHEAD_S + 1, Clock.SYNCED, (0.0, "on-arrival: too-far-ahead")),
    ],
)
def test_only_a_trusted_clock_waits_and_never_for_long(
    start_s: float, clock: Clock, expected: tuple[float, str]
) -> None:
    assert ahead(start_s, NOW_S, clock) == expected


async def test_what_is_ordered_for_a_moment_sounds_then_and_what_comes_late_at_once_and_says_so(
    node: RunningNode, village: Village
) -> None:
    await until(lambda: village.status.device == "null", what="the node is online")
    for ahead_ms in (2500, 800):  # with silence before it that is measured, and without
        due_ms = round(time.time() * 1000) + ahead_ms
        job = play(SHORT).model_copy(update={"start_ms": due_ms})
        await village.order(village.alerts.command(job))
        started = await village.event(job.play, What.STARTED)
        assert (started.reason, started.due_ms) == ("", due_ms)
        # Not before its moment: the meter's time is within one period of the sink, 50 ms at most.
        assert started.first_sample_ms is not None and started.first_sample_ms > due_ms - 60
        finished = await village.event(job.play, What.FINISHED)
        assert finished.sounded_s is not None and abs(finished.sounded_s - 0.6) < 0.03
    late = play(SHORT, SHORT).model_copy(update={"start_ms": round(time.time() * 1000) - 500})
    await village.order(village.alerts.command(late))
    assert (await village.event(late.play, What.STARTED, item=0)).reason == "on-arrival: late"
    assert (await village.event(late.play, What.STARTED, item=1)).reason == ""
