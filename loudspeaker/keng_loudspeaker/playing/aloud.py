"""Something played at once by a person at the machine: the node's own device, player and meter, without the node."""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from keng_contracts.commands import Speech
from keng_contracts.errors import Problem
from keng_contracts.playback import What
from keng_loudspeaker.playing.performance import Performance
from keng_loudspeaker.playing.player import PlayerFailed
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.meter import Hearing
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.media import Clip, Media, Unplayable
from keng_loudspeaker.sounding.speech import Voice

Maker = Callable[[Path], Coroutine[Any, Any, Clip]]


def spoken(speech: Speech) -> Maker:
    """Makes a text's clip in a folder."""

    async def make(folder: Path) -> Clip:
        cache = Cache(folder / "sounds", folder / "spare", 1 << 30)
        cache.prepare()
        return await Media(cache, Voice()).clip(speech)

    return make


def stored(file: Path) -> Maker:
    """A file of any kind that mpv plays; how long it lasts is not known before."""

    path = file.absolute()

    async def make(_folder: Path) -> Clip:
        return Clip(path, math.inf, ((0.0, math.inf),))

    return make


def told(what: What, device: str, reason: str, hearing: Hearing | None, began_s: float) -> str:
    """A step as the person at the machine reads it: Vietnamese, then English."""
    vi, en = _WORDS.get(what, what.value), what.value
    why = f" ({reason})" if reason else ""
    vi, en = f"{vi} trên {device or 'không có loa'}{why}", f"{en} on {device or 'no device'}{why}"
    if hearing is not None and hearing.first_s is not None:
        after_ms, long_s, level = (hearing.first_s - began_s) * 1000, hearing.sounded_s, hearing.level_dbfs
        vi += f", nghe thấy sau {after_ms:.0f} ms, kêu {long_s:.1f} s ở {level} dBFS"
        en += f", heard after {after_ms:.0f} ms, {long_s:.1f} s of sound at {level} dBFS"
    return f"{vi} · {en}"


_WORDS = {
    What.STARTED: "bắt đầu",
    What.SILENT: "không nghe thấy gì",
    What.CUT: "bị dừng",
    What.FAILED: "không phát được",
    What.FINISHED: "phát xong",
}


async def aloud(device: str, make: Maker, tell: Callable[[str], None]) -> None:
    """Play it on ``device`` and tell what was heard; raises :class:`Problem` if nothing was."""
    with tempfile.TemporaryDirectory(prefix="keng-") as name:
        folder = Path(name)
        stage = Stage(f"aloud-{os.getpid()}", device, folder, latency_ms=20, volume=100)
        running = asyncio.create_task(stage.run())
        try:
            clip = await make(folder)
            await stage.opened(15.0)
            began_s = time.monotonic()

            def say(what: What, item: int, *, reason: str = "", hearing: Hearing | None = None) -> None:
                tell(told(what, stage.device, reason, hearing, began_s))

            performance = Performance([lambda: _same(clip)], stage, say)
            if not await performance.start():
                raise Problem("nothing was heard", where=stage.device, todo="run 'keng loudspeaker check'")
        except (Unplayable, PlayerFailed) as error:
            raise Problem(str(error), where=f"device {device}", todo="run 'keng loudspeaker check'") from None
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _same(clip: Clip) -> Clip:
    return clip
