"""Loudspeakers that start together: whether the moment is waited for, and that it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from keng_contracts.playback import What
from keng_contracts.telemetry import Clock
from keng_loudspeaker.playing.filters import Shape
from keng_loudspeaker.playing.player import Player
from keng_loudspeaker.playing.together import MOST_AHEAD_S, ahead, begin
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


@pytest.mark.parametrize(("set_by_s", "moved_s"), [(0.0, 0.0), (0.04, -0.04), (5.0, 0.0), (-3e8, 0.0)])
async def test_a_moment_follows_the_clock_but_not_where_it_jumps(
    monkeypatch: pytest.MonkeyPatch, set_by_s: float, moved_s: float
) -> None:
    monkeypatch.setattr(time, "time", lambda: time.monotonic() + NOW_S)
    waited = []

    class Waits:
        async def play_at(self, source: Path, shape: Shape, due_s: Callable[[], float]) -> str:
            before_s = due_s()
            monkeypatch.setattr(time, "time", lambda: time.monotonic() + NOW_S + set_by_s)
            waited.append(due_s() - before_s)
            return ""

    await begin(cast(Player, Waits()), Path(), Shape(), start_s=time.time() + 2, clock=Clock.SYNCED)
    assert waited == [pytest.approx(moved_s, abs=0.001)]


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
