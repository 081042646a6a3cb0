"""Something played at once by a person at the machine: the node's own device, player and meter, without the node."""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keng_contracts.commands import Speech
from keng_contracts.playback import What
from keng_loudspeaker.playing.performance import Performance
from keng_loudspeaker.playing.player import PlayerFailed
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.meter import Hearing
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.media import Clip, Media, Unplayable
from keng_loudspeaker.sounding.speech import Voice
from keng_loudspeaker.telling import Both, Trouble

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


@dataclass(frozen=True, slots=True)
class Step:
    """What happened, and what was heard of it at the output: so long after it was to begin, for so long, so loud."""

    what: What
    device: str
    reason: str = ""
    heard_after_ms: int | None = None
    sounded_s: float | None = None
    level_dbfs: float | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """For a machine."""
        return asdict(self)

    @property
    def told(self) -> Both:
        """In words."""
        vi = f"{_WORDS.get(self.what, self.what.value)} trên {self.device or 'không có loa'}"
        en = f"{self.what.value} on {self.device or 'no device'}"
        if self.reason:
            vi, en = f"{vi} ({_vietnamese(self.reason)})", f"{en} ({self.reason})"
        if self.heard_after_ms is not None:
            long_s, level = f"{self.sounded_s or 0:.1f}", f"{self.level_dbfs}"
            vi += f", nghe thấy sau {self.heard_after_ms} ms, kêu {long_s} s ở {level} dBFS".replace(".", ",")
            en += f", heard after {self.heard_after_ms} ms, {long_s} s of sound at {level} dBFS"
        return Both(vi, en)


_WORDS = {
    What.STARTED: "bắt đầu",
    What.SILENT: "không nghe thấy gì",
    What.CUT: "bị dừng",
    What.FAILED: "không phát được",
    What.FINISHED: "phát xong",
}
_REASONS = {
    "no-sound-device": "không có thiết bị âm thanh",
    "no-sound": "không có tiếng",
    "player-error": "trình phát không mở được",
    "player-hangs": "trình phát bị treo",
    "player-died": "trình phát bị tắt giữa chừng",
    "sound-device-lost": "mất thiết bị âm thanh",
    "unspeakable": "không đọc thành tiếng được",
    "no-room": "hết chỗ trên đĩa",
}
_CHECK = Both("chạy 'keng loudspeaker check' để xem còn thiếu gì", "run 'keng loudspeaker check'")


async def aloud(device: str, make: Maker, tell: Callable[[Step], None]) -> None:
    """Play it on ``device`` and tell what was heard; raises :class:`Trouble` if nothing was."""
    with tempfile.TemporaryDirectory(prefix="keng-") as name:
        folder = Path(name)
        stage = Stage(f"aloud-{os.getpid()}", device, folder, latency_ms=20, volume=100)
        running = asyncio.create_task(stage.run())
        try:
            clip = await make(folder)
            await stage.opened(15.0)
            began_s = time.monotonic()

            def say(what: What, item: int, *, reason: str = "", hearing: Hearing | None = None) -> None:
                if hearing is None or hearing.first_s is None:
                    tell(Step(what, stage.device, reason))
                    return
                after_ms = round((hearing.first_s - began_s) * 1000)
                tell(Step(what, stage.device, reason, after_ms, hearing.sounded_s, hearing.level_dbfs))

            performance = Performance([lambda: _same(clip)], stage, say)
            if not await performance.start():
                raise Trouble(Both("không nghe thấy gì", "nothing was heard"), where=stage.device, todo=_CHECK)
        except (Unplayable, PlayerFailed) as error:
            raise Trouble(
                Both(f"không phát được ({_vietnamese(str(error))})", str(error)), where=f"device {device}", todo=_CHECK
            ) from None
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _vietnamese(reason: str) -> str:
    """A reason of evidence with its first word in Vietnamese."""
    code, colon, detail = reason.partition(":")
    return f"{_REASONS.get(code, code)}{colon}{detail}"


async def _same(clip: Clip) -> Clip:
    return clip
