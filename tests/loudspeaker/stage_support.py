"""A stage without a node around it, and what a performance on it tells."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from keng_contracts.commands import Siren
from keng_contracts.playback import What
from keng_loudspeaker.playing.player import Device
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.meter import Hearing
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.media import Clip, Media
from keng_loudspeaker.sounding.speech import Voice


@contextlib.asynccontextmanager
async def running(node: str, device: str, folder: Path) -> AsyncIterator[tuple[Stage, Device]]:
    stage = Stage(node, device, folder / node, latency_ms=20, volume=100)
    (folder / node).mkdir()
    task = asyncio.create_task(stage.run())
    try:
        yield stage, await stage.opened(20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Told:
    """Every step that was said, and a way to act on one."""

    def __init__(self) -> None:
        self.steps: list[tuple[What, str, Hearing | None]] = []
        self.on: dict[What, Callable[[], None]] = {}

    def __call__(self, what: What, item: int, *, reason: str = "", hearing: Hearing | None = None) -> None:
        self.steps.append((what, reason, hearing))
        self.on.pop(what, lambda: None)()

    @property
    def whats(self) -> list[What]:
        return [what for what, _, _ in self.steps]


def siren(pattern: Siren, folder: Path) -> Callable[[], Coroutine[Any, Any, Clip]]:
    cache = Cache(folder / "kept", folder / "spare", 1 << 30)
    cache.prepare()
    return lambda: Media(cache, Voice()).clip(pattern)
