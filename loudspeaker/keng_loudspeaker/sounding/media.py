"""From an item of a command to a sound file, made once and kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from keng_contracts.commands import Item, Siren
from keng_loudspeaker.sounding import gong, siren, speech
from keng_loudspeaker.sounding.cache import Cache, seconds

log = logging.getLogger(__name__)


class Unplayable(Exception):
    """There is no sound for this item; the message is the reason in evidence."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A sound file, its length, where in it sound is due: (start, end) in seconds, and how much louder to play it."""

    path: Path
    seconds: float
    spans: tuple[tuple[float, float], ...]
    gain_db: float = 0.0


class Media:
    """Makes clips. A siren's is there at once if it was made before, and within some tens of milliseconds if not."""

    def __init__(self, cache: Cache, words_per_minute: int) -> None:
        self._cache = cache
        self._speed = words_per_minute

    async def clip(self, item: Item) -> Clip:
        """The clip of an item; raises :class:`Unplayable`."""
        if isinstance(item, Siren):
            if siren.seconds(item) > siren.LONGEST_S:
                raise Unplayable(f"too-long: {siren.seconds(item):.0f} s of siren")
            path = await self._made("siren", siren.key(item), lambda to: asyncio.to_thread(siren.write, item, to))
            return Clip(path, siren.seconds(item), tuple(siren.blasts(item)), item.gain_db)
        try:
            path = await self._made(
                "speech", speech.key(item, self._speed), lambda to: speech.write(item, self._speed, to)
            )
        except speech.Unspeakable as error:
            raise Unplayable(f"unspeakable: {error}") from None
        length = seconds(path) or 0.0
        return Clip(path, length, ((0.0, length),), item.gain_db)

    async def gong(self) -> Clip:
        """The gong before an announcement; raises :class:`Unplayable`."""
        path = await self._made("gong", gong.KEY, lambda to: asyncio.to_thread(gong.write, to))
        return Clip(path, gong.SECONDS, ((0.0, gong.STROKES[-1]),))

    async def make_ready(self, sirens: Iterable[Siren]) -> None:
        """Make sirens, and the gong, before they are needed."""
        for item in sirens:
            try:
                await self.clip(item)
            except Unplayable as error:
                log.error("the siren pattern %s can't be made ready: %s", item.pattern, error)
        try:
            await self.gong()
        except Unplayable as error:
            log.error("the gong can't be made ready: %s", error)

    async def _made(self, kind: str, key: str, make: Callable[[Path], Awaitable[None]]) -> Path:
        if (found := self._cache.find(kind, key)) is not None:
            return found
        complaint = ""
        for temporary in self._cache.places(kind, key):
            try:
                await make(temporary)
                return self._cache.keep(temporary)
            except OSError as error:
                complaint = f"{temporary.parent}: {error.strerror}"
                log.error("a sound can't be written (%s); free the disk or mend its mode", complaint)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
        raise Unplayable(f"no-room: {complaint}")
