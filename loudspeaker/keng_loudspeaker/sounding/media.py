"""From an item of a command to a sound file, made once and kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from keng_contracts import commands
from keng_contracts.commands import Recorded, Relay, Siren, Speech
from keng_loudspeaker.sounding import gong, loudness, siren
from keng_loudspeaker.sounding.cache import Cache, named, seconds
from keng_loudspeaker.sounding.fetch import NoRoom, Unfetched, authorities, digest, fetch
from keng_loudspeaker.sounding.speech import Unspeakable, Voice

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


@dataclass(frozen=True, slots=True)
class Stream:
    """What is relayed, until ``ends_s`` (monotonic seconds); ``fallback`` is for when it fails or is silent. Without
    ``lufs`` it is as loud as the station sends it."""

    url: str
    ends_s: float
    silent_after_s: float
    fallback: Clip | None = None
    gain_db: float = 0.0
    lufs: float | None = None


#: What was spoken in a hurry is measured so much later: the siren before it must not wait for the machine.
MEASURED_AFTER_S = 20.0
#: A relay ends after this time whatever its order says: the clock may be wrong.
LONGEST_RELAY_S = 4 * 3600.0


class Media:
    """Makes clips. A siren's is there at once if it was made before, and within some tens of milliseconds if not.

    ``lufs`` is the loudness to which words, files and streams are brought; sirens and the gong stay as they were made.
    ``ca`` is the commune's authority, for servers that media are fetched from.
    """

    def __init__(self, cache: Cache, voice: Voice, *, lufs: float = -16.0, ca: Path | None = None) -> None:
        self._cache = cache
        self._voice = voice
        self._lufs = lufs
        self._ca = ca
        self._whole: set[Path] = set()  # files whose hash was found right in this run
        self._fetching: dict[str, asyncio.Lock] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def part(self, item: Recorded, *, hurry: bool = False) -> Clip | Stream:
        """The clip or the stream of an item; raises :class:`Unplayable`."""
        if not isinstance(item, Relay):
            return await self.clip(item, hurry=hurry)
        left_s = min(item.until - time.time(), LONGEST_RELAY_S)
        if left_s <= 0:
            raise Unplayable("over: its time had passed")
        ends_s = time.monotonic() + left_s
        fallback = None
        if item.fallback is not None:
            try:
                fallback = await self.clip(item.fallback)
            except Unplayable as error:
                log.error("the fallback of %s can't be had: %s", item.url, error)
        return Stream(item.url, ends_s, item.silent_after_s, fallback, item.gain_db, self._lufs)

    def has(self, item: commands.Media) -> bool:
        """Whether a file is there, and need not be fetched."""
        return self._cache.find(self._name(item), lambda path: path.stat().st_size == item.size) is not None

    async def clip(self, item: Siren | Speech | commands.Media, *, hurry: bool = False) -> Clip:
        """The clip of an item; raises :class:`Unplayable`. In a ``hurry`` a new text is not measured before it is
        spoken: it is near full scale as it is."""
        if isinstance(item, Siren):
            return await self._siren(item)
        path = await self._speech(item) if isinstance(item, Speech) else await self._file(item)
        if hurry and isinstance(item, Speech) and loudness.known(path) is None:
            task = asyncio.create_task(self._measure_later(path))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            length = seconds(path) or 0.0
            return Clip(path, length, ((0.0, length),), item.gain_db)
        try:
            measure = await loudness.measured(path)
        except loudness.NoSound as error:
            raise Unplayable(f"no-sound: {error}") from None
        gain_db = measure.gain_db(self._lufs) + item.gain_db
        return Clip(path, measure.seconds, ((0.0, measure.seconds),), gain_db)

    async def gong(self) -> Clip:
        """The gong before an announcement; raises :class:`Unplayable`."""
        path = await self._made(_GONG, lambda to: asyncio.to_thread(gong.write, to))
        return Clip(path, gong.SECONDS, ((0.0, gong.STROKES[-1]),))

    async def make_ready(self, sirens: Iterable[Siren]) -> None:
        """Make sirens, and the gong, before they are needed; they stay."""
        ready = list(sirens)
        self._cache.protect("sirens", [_GONG, *(named("siren", siren.key(item)) for item in ready)])
        for item in ready:
            try:
                await self.clip(item)
            except Unplayable as error:
                log.error("the siren pattern %s can't be made ready: %s", item.pattern, error)
        try:
            await self.gong()
        except Unplayable as error:
            log.error("the gong can't be made ready: %s", error)

    async def prepare(self, owner: str, items: Iterable[Recorded]) -> list[str]:
        """Have these sounds ready, and keep them for ``owner`` in place of what was kept for it before; with an empty
        owner they are kept as any other. Returns what could not be made, with the reason."""
        wanted: list[Siren | Speech | commands.Media] = []
        for item in items:  # of a relay only its fallback can be had before
            ready = item.fallback if isinstance(item, Relay) else item
            wanted += [ready] if ready is not None else []
        room = sum({item.sha256: item.size for item in wanted if isinstance(item, commands.Media)}.values())
        if room > self._cache.max_bytes // 2:
            return [f"no-room: {room >> 20} MB is more than half of the cache"]
        if owner:  # before they are there, so that one does not push out the other; and the old ones until they are
            names = [self._name(item) for item in wanted]
            self._cache.protect(owner, [*names, *self._cache.protected(owner)])
        failed = []
        for item in wanted:
            try:
                await self.clip(item)
            except Unplayable as error:
                failed.append(f"{self._name(item)}: {error}")
        if owner and not failed:
            self._cache.protect(owner, names)
        return failed

    async def _siren(self, item: Siren) -> Clip:
        if siren.seconds(item) > siren.LONGEST_S:
            raise Unplayable(f"too-long: {siren.seconds(item):.0f} s of siren")
        path = await self._made(self._name(item), lambda to: asyncio.to_thread(siren.write, item, to))
        return Clip(path, siren.seconds(item), tuple(siren.blasts(item)), item.gain_db)

    async def _speech(self, item: Speech) -> Path:
        try:
            return await self._made(self._name(item), lambda to: self._voice.write(item, to))
        except Unspeakable as error:
            raise Unplayable(f"unspeakable: {error}") from None

    async def _file(self, item: commands.Media) -> Path:
        """A file from the cache, or fetched into it. Its hash is checked once a run."""
        name = self._name(item)
        async with self._fetching.setdefault(name, asyncio.Lock()):
            if (found := self._cache.find(name, lambda path: path.stat().st_size == item.size)) is not None:
                if await self._is_whole(found, item):
                    return found
                found.unlink(missing_ok=True)
            complaint = ""
            for part in self._cache.parts(name):
                try:
                    self._cache.make_room(part, item.size)
                    await fetch(item, part, lambda: authorities(self._ca))
                    path = self._cache.keep(part)
                    self._whole.add(path)
                    return path
                except Unfetched as error:
                    raise Unplayable(str(error)) from None
                except (NoRoom, OSError) as error:
                    complaint = f"{part.parent}: {error}"
                    log.error("a file can't be written (%s); free the disk or mend its mode", complaint)
                    with contextlib.suppress(OSError):
                        part.unlink(missing_ok=True)
            raise Unplayable(f"no-room: {complaint}")

    async def _is_whole(self, path: Path, item: commands.Media) -> bool:
        if path not in self._whole and await asyncio.to_thread(digest, path) != item.sha256:
            log.error("%s on disk is not what it was; fetching it again", path.name)
            return False
        self._whole.add(path)
        return True

    def _name(self, item: Siren | Speech | commands.Media) -> str:
        if isinstance(item, Siren):
            return named("siren", siren.key(item))
        if isinstance(item, Speech):
            return named("speech", self._voice.key(item))
        return f"media-{item.sha256}"

    async def _measure_later(self, path: Path) -> None:
        await asyncio.sleep(MEASURED_AFTER_S)
        with contextlib.suppress(loudness.NoSound):
            await loudness.measured(path)

    async def _made(self, name: str, make: Callable[[Path], Awaitable[None]]) -> Path:
        if (found := self._cache.find(name)) is not None:
            return found
        complaint = ""
        for temporary in self._cache.places(name):
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


_GONG = named("gong", gong.KEY)
