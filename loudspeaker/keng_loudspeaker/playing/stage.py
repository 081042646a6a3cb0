"""The open device with what hangs on it: our sink, the ears on it, and players. Reopened whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from keng_contracts.errors import Problem
from keng_loudspeaker.playing.file_player import FILE, open_file
from keng_loudspeaker.playing.mpv import Mpvs
from keng_loudspeaker.playing.player import Device, PlayerFailed
from keng_loudspeaker.playing.sound import open_sound
from keng_loudspeaker.playing.wav import Recording
from keng_loudspeaker.proving.meter import listen

log = logging.getLogger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 0.5, 10.0


class Stage:
    """Owns the device: one process does, so that nobody else holds it when a siren is due. ``recording`` takes what
    sounds on the device ``file``."""

    def __init__(
        self,
        node: str,
        device: str,
        folder: Path,
        *,
        latency_ms: int,
        volume: int,
        recording: Recording | None = None,
    ) -> None:
        self._node = node
        self._device = device
        self._folder = folder
        self._latency_ms = latency_ms
        self._recording = recording
        self.volume = volume
        self._open: Device | None = None
        self._opened = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None

    @property
    def device(self) -> str:
        """The device that is open, empty while there is none."""
        return self._open.name if self._open else ""

    async def opened(self, within_s: float) -> Device:
        """The open device; raises :class:`PlayerFailed` if there is none within this time."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    await self._opened.wait()
                    if self._open is not None and not self._open.ears.lost.is_set():
                        return self._open
                    await asyncio.sleep(0.02)  # it is lost, and about to be closed
        except TimeoutError:
            raise PlayerFailed("no-sound-device") from None

    async def run(self) -> None:
        """Keep the device open until cancelled."""
        retry_s, complaint = RETRY_MIN_S, ""
        while True:
            try:
                async with self._opening() as device:
                    retry_s, complaint = RETRY_MIN_S, ""
                    self._set(device)
                    await device.ears.lost.wait()
                    self._set(None)
                    log.error("%s", Problem("the sound device is lost", where=device.name, retried=True))
            except (Problem, PlayerFailed, OSError) as error:
                if str(error) != complaint:  # once, not with every try
                    complaint = str(error)
                    log.error("no sound: %s", error)
            finally:
                self._set(None)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    @contextlib.asynccontextmanager
    async def _opening(self) -> AsyncIterator[Device]:
        if self._device == FILE:
            async with open_file(self.volume, self._recording) as device:
                log.info("playing on no device: what would sound is only measured")
                yield device
            return
        async with (
            open_sound(self._node, self._device, self._folder, self._latency_ms) as sound,
            listen(sound) as ears,
            Mpvs(sound, self.volume) as mpvs,
        ):
            log.info("playing on %s, through the sink %s", sound.device, sound.sink)
            yield Device(sound.device, ears, mpvs, sound)

    def _set(self, open_: Device | None) -> None:
        if open_ is self._open:
            return
        self._open = open_
        if open_ is None:
            self._opened.clear()
        else:
            self._opened.set()
        self.changed()
