"""What plays a sound: what a performance asks of it, whoever does it.

:class:`keng_loudspeaker.playing.mpv.Mpv` plays into a sink of the sound server,
:class:`keng_loudspeaker.playing.file_player.FilePlayer` into nothing, in real time. Both are measured at their output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keng_loudspeaker.playing.filters import Shape
from keng_loudspeaker.playing.sound import Sound
from keng_loudspeaker.proving.meter import Ears


class PlayerFailed(Exception):
    """The player died, hangs or can't play; the message is the reason in evidence."""


class Silent(PlayerFailed):
    """It plays, and nothing comes out."""


class Player(Protocol):
    """Plays one sound at a time. What it is asked raises :class:`PlayerFailed`."""

    async def play(self, source: Path | str, shape: Shape = ..., *, from_s: float = 0.0) -> None:
        """Begin to play a file or the address of a stream, ``from_s`` seconds after its beginning. What can't be played
        may be said here or by :meth:`ended`."""

    async def play_at(self, source: Path, shape: Shape, due_s: Callable[[], float]) -> str:
        """Begin to play a file at a moment of the monotonic clock; ``due_s`` tells it anew each time, since the
        machine's clock may be set before. Returns when it begins, with the reason if that was another moment."""

    async def hear_live(self, pipe: Path, rate: int, *, gain_db: float, volume: int | None) -> None:
        """Begin to play raw sound (16 bit, mono, ``rate`` samples a second) that is written to a named pipe, without
        waiting for more than is there. Nothing else should be played with this player after it."""

    async def ended(self, within_s: float) -> bool:
        """Whether it ends within this time; fails if it does so for another reason than that it is over."""

    async def alive_still(self) -> None:
        """Fails unless it answers."""

    def silence(self) -> None:
        """End it at once: the sound stops with it."""

    async def close(self) -> None:
        """Silence it and leave nothing behind."""


class Players(Protocol):
    """Hands out players."""

    async def take(self) -> Player:
        """A fresh player, the taker's to close; raises :class:`PlayerFailed`, or
        :class:`keng_contracts.errors.Problem` where something is not installed."""


@dataclass(frozen=True, slots=True)
class Device:
    """An open device that can be played on and listened to. ``name`` is what is behind it: a sink's name, ``null`` or
    ``file``; ``sound`` is our sink on the sound server, if it is one's."""

    name: str
    ears: Ears
    players: Players
    sound: Sound | None = None
