"""Days in seconds: an event loop whose clock jumps to the next timer when there is nothing else to do.

>>> # with asyncio.Runner(loop_factory=CompressedLoop) as runner: ...
>>> #     asyncio.get_running_loop().pace = 60.0       # a minute a second: what is real has a time of its own

Work in other threads takes none of that time: the clock stands while it is under way.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any


class _Selector(selectors.DefaultSelector):
    """Waits for the outside only as long as there is something to wait for."""

    loop: CompressedLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if self.loop.pace:
            return super().select(None if timeout is None else timeout / self.loop.pace)
        if timeout is None or self.loop.busy:
            return super().select(0.05)
        self.loop.skip(timeout)
        return []


class CompressedLoop(asyncio.SelectorEventLoop):
    """``time()`` is what its tasks live by: it starts at 0. With a ``pace`` it runs that much faster than the real one,
    without (0.0) it skips what nobody does anything in."""

    def __init__(self) -> None:
        self._reached, self._since, self._pace = 0.0, time.monotonic(), 0.0
        self.busy = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    @property
    def pace(self) -> float:
        return self._pace

    @pace.setter
    def pace(self, pace: float) -> None:
        self._reached, self._since, self._pace = self.time(), time.monotonic(), pace

    def time(self) -> float:
        return self._reached + (time.monotonic() - self._since) * self._pace

    def skip(self, seconds: float) -> None:
        self._reached += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        self.busy += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: setattr(self, "busy", self.busy - 1))
        return future
