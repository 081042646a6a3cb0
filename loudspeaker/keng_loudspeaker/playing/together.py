"""Loudspeakers that start together: a command may name the moment at which its first item begins.

When the moment can't be kept, the item begins at once, and ``started`` says why (:func:`ahead`).
"""

from __future__ import annotations

import time
from pathlib import Path

from keng_contracts.telemetry import Clock
from keng_loudspeaker.playing.filters import Shape
from keng_loudspeaker.playing.player import Player

#: Farther ahead no start is waited for: an error in the command must not keep a siren silent.
MOST_AHEAD_S = 30.0
#: A clock that is set by more than this while the moment is waited for has jumped: the moment stays where it was.
JUMP_S = 0.5


def ahead(start_s: float, now_s: float, clock: Clock) -> tuple[float, str]:
    """How long to wait for a start (seconds since 1970 UTC), or 0 and why it is not waited for. Pure."""
    if clock is Clock.UNKNOWN:
        return 0.0, "on-arrival: clock-unknown"
    if start_s <= now_s:
        return 0.0, "on-arrival: late"
    if start_s - now_s > MOST_AHEAD_S:
        return 0.0, "on-arrival: too-far-ahead"
    return start_s - now_s, ""


async def begin(player: Player, path: Path, shape: Shape, *, start_s: float, clock: Clock) -> str:
    """Play ``path`` from ``start_s`` on; returns when it begins, with the reason if that was another moment. Raises
    :class:`keng_loudspeaker.playing.player.PlayerFailed`."""
    left_s, reason = ahead(start_s, time.time(), clock)
    if not left_s:
        await player.play(path, shape)
        return reason
    first_s = time.monotonic() + left_s

    def due_s() -> float:
        now_s = time.monotonic() + start_s - time.time()
        return now_s if abs(now_s - first_s) <= JUMP_S else first_s

    return await player.play_at(path, shape, due_s)
