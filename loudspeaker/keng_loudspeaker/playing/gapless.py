"""How mpv begins at a moment to the millisecond.

A sound server lets a stream begin at its next period, up to 20 ms later than was asked and differently on every node.
So nothing begins at the moment itself: silence begins before it, is measured where the server says that it sounds now,
and is followed by exactly as much silence as is missing, and then by the item, without a gap. Nodes whose clocks agree
are then within a millisecond of each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keng_loudspeaker.playing.player import PlayerFailed
from keng_loudspeaker.playing.sound import RATE

if TYPE_CHECKING:
    from keng_loudspeaker.playing.mpv import Mpv

#: The silence before, and for how long before the moment it is begun.
LEAD_S, BEGUN_S = 1.4, 1.7
#: The silence after. Between files without a gap mpv calls one ended that it has read to its end, and what is shorter
#: than its buffer (0.4 s) has ended before it is heard.
REST_S = 0.6
#: What follows the silence is there so long before its end, or it is too late for that: a player without anything to
#: play has ended.
APPEND_S = 0.25
#: The silence is measured so long after it began, so often, so far apart: what the sound server says of its delay gets
#: better in the first half second (0.2 s: nodes up to 1.4 ms apart; 0.6 s: up to 0.5 ms).
FLOWS_S, LOOKS, LOOK_S = 0.6, 28, 0.004


async def play_at(mpv: Mpv, path: Path, due_s: Callable[[], float]) -> str:
    """Play ``path`` from a moment on (``due_s`` by the monotonic clock, told anew each time); returns when it begins,
    with the reason if that was another moment. Raises :class:`PlayerFailed`."""
    await mpv.ask("set_property", "pause", True)
    if due_s() - time.monotonic() < BEGUN_S:
        await mpv.load(path)
        await _sleep_until(due_s())
        await mpv.ask("set_property", "pause", False)
        return ""
    await mpv.ask("set_property", "gapless-audio", "yes")
    await mpv.load(_silence(LEAD_S))
    await _sleep_until(due_s() - BEGUN_S)
    await mpv.ask("set_property", "pause", False)
    await asyncio.sleep(FLOWS_S)
    ends_s = await _ends(mpv)
    begins_s = due_s()  # the clock may have been set meanwhile
    if ends_s is None or begins_s <= ends_s or time.monotonic() > ends_s - APPEND_S:
        await mpv.load(path)
        return "on-arrival: silence-not-measured"
    await mpv.append(_silence(begins_s - ends_s))
    await mpv.append(path)
    await mpv.append(_silence(REST_S))
    await _sleep_until(begins_s)
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
