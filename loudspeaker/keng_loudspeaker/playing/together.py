"""Loudspeakers that start together: a command may name the moment at which its first item begins.

A sound server lets a stream begin at its next period, up to 20 ms later than was asked and differently on every node.
So nothing begins at the moment itself: silence begins before it, is measured where the server says that it sounds now,
and is followed by exactly as much silence as is missing, and then by the item, without a gap. Nodes whose clocks agree
are then within a millisecond of each other.

When the moment can't be kept, the item begins at once, and ``started`` says why (:func:`ahead`).
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from pathlib import Path

from keng_contracts.telemetry import Clock
from keng_loudspeaker.playing.player import Mpv, PlayerFailed
from keng_loudspeaker.playing.sound import RATE

#: Farther ahead no start is waited for: an error in the command must not keep a siren silent.
MOST_AHEAD_S = 30.0
#: The silence before, and for how long before the moment it is begun.
LEAD_S, BEGUN_S = 1.4, 1.7
#: The silence after. Between files without a gap mpv calls one ended that it has read to its end, and what is shorter
#: than its buffer (0.4 s) has ended before it is heard.
REST_S = 0.6
#: The silence is measured so long after it began, so often, so far apart: what the sound server says of its delay gets
#: better in the first half second (0.2 s: nodes up to 1.4 ms apart; 0.6 s: up to 0.5 ms).
FLOWS_S, LOOKS, LOOK_S = 0.6, 28, 0.004


def ahead(start_s: float, now_s: float, clock: Clock) -> tuple[float, str]:
    """How long to wait for a start (seconds since 1970 UTC), or 0 and why it is not waited for. Pure."""
    if clock is Clock.UNKNOWN:
        return 0.0, "on-arrival: clock-unknown"
    if start_s <= now_s:
        return 0.0, "on-arrival: late"
    if start_s - now_s > MOST_AHEAD_S:
        return 0.0, "on-arrival: too-far-ahead"
    return start_s - now_s, ""


async def begin(mpv: Mpv, path: Path, start_s: float, clock: Clock) -> str:
    """Play ``path`` from ``start_s`` on; returns when it begins, with the reason if that was another moment. Raises
    :class:`PlayerFailed`."""
    left_s, reason = ahead(start_s, time.time(), clock)
    if not left_s:
        await mpv.play(path, filters=None)
        return reason
    due_s = time.monotonic() + left_s
    await mpv.ask("set_property", "pause", True)
    if left_s < BEGUN_S:
        await mpv.play(path, filters=None)
        await _sleep_until(due_s)
        await mpv.ask("set_property", "pause", False)
        return ""
    await mpv.ask("set_property", "gapless-audio", "yes")
    await mpv.play(_silence(LEAD_S), filters=None)
    await _sleep_until(due_s - BEGUN_S)
    await mpv.ask("set_property", "pause", False)
    await asyncio.sleep(FLOWS_S)
    ends_s = await _ends(mpv)
    due_s = time.monotonic() + start_s - time.time()  # the clock may have been set meanwhile
    if ends_s is None or due_s <= ends_s:
        await mpv.play(path, filters=None)
        return "on-arrival: silence-not-measured"
    await mpv.append(_silence(due_s - ends_s))
    await mpv.append(path)
    await mpv.append(_silence(REST_S))
    await _sleep_until(due_s)
    await mpv.ask("set_property", "gapless-audio", "no")
    return ""


def _silence(seconds: float) -> str:
    """Silence for mpv, exact to the sample of our sinks."""
    return f"av://lavfi:anullsrc=r={RATE}:cl=mono,atrim=end_sample={max(1, round(seconds * RATE))}"


async def _ends(mpv: Mpv) -> float | None:
    """When the silence will have left the loudspeaker, by the monotonic clock. An answer that took long says little of
    when it was true: the middle one of the quicker half counts."""
    answers = []
    for _ in range(LOOKS):
        asked_s = time.monotonic()
        with contextlib.suppress(PlayerFailed):  # "unavailable" for as long as nothing has been heard
            heard_s = await mpv.ask("get_property", "audio-pts")
            told_s = time.monotonic()
            answers.append((told_s - asked_s, (asked_s + told_s) / 2 + LEAD_S - heard_s))
        await asyncio.sleep(LOOK_S)
    quick = sorted(answers)[: (len(answers) + 1) // 2]
    return statistics.median(end_s for _, end_s in quick) if quick else None


async def _sleep_until(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.monotonic()))
