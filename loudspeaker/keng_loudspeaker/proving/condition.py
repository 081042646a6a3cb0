"""The loudspeaker's condition: its machine from time to time, and of each item whether it came out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from keng_loudspeaker.alone.keeper import Keeper
from keng_loudspeaker.playing.jobs import Jobs
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.amplifier import Amplifier
from keng_loudspeaker.proving.evidence import Courier
from keng_loudspeaker.proving.health import look
from keng_loudspeaker.proving.loopback import Loopback, Match
from keng_loudspeaker.proving.meter import Hearing
from keng_loudspeaker.proving.reports import Evidence, Order, StatusBoard
from keng_runtime.clock import clock_error_ms

#: The machine is looked at this often.
HEALTH_S = 5.0


class Condition:
    """What is found goes to evidence, item by item, and to the status. ``microphone`` is a source of the sound server,
    ``amplifier`` the file of a current sensor; empty where there is none."""

    def __init__(
        self,
        stage: Stage,
        jobs: Jobs,
        keeper: Keeper,
        evidence: Evidence,
        courier: Courier,
        board: StatusBoard,
        *,
        state: Path,
        microphone: str = "",
        amplifier: str = "",
    ) -> None:
        self._keeper = keeper
        self._evidence = evidence
        self._courier = courier
        self._board = board
        self._state = state
        self._current = amplifier
        self._loopback = Loopback(microphone, stage) if microphone else None
        self._amplifier = Amplifier(amplifier, stage) if amplifier else None
        self._unheard = self._undriven = False
        self._checked_s: float | None = None
        self._checks: set[asyncio.Task[None]] = set()
        jobs.finished = self._finished

    def watches(self) -> list[Coroutine[Any, Any, None]]:
        """All that goes on until cancelled."""
        return [self._machine(), *(each.run() for each in (self._loopback, self._amplifier) if each is not None)]

    def checked_s(self) -> float | None:
        """How long ago it was checked whether something came out, in seconds; None if it never was in this run."""
        return None if self._checked_s is None else time.monotonic() - self._checked_s

    async def _machine(self) -> None:
        try:
            while True:
                await asyncio.sleep(HEALTH_S)  # first of all the device is opened
                health = await asyncio.to_thread(look, self._state, clock_error_ms(), self._current)
                self._board.set_health(
                    health,
                    evidence=self._courier.pending,
                    programme=self._keeper.version,
                    programme_waits=self._keeper.waits,
                    unheard=self._unheard,
                    undriven=self._undriven,
                )
        finally:
            for task in self._checks:
                task.cancel()
            await asyncio.gather(*self._checks, return_exceptions=True)

    def _finished(self, order: Order, item: int, hearing: Hearing) -> None:
        if self._amplifier is not None and (draw := self._amplifier.draw(hearing)) is not None:
            self._checked_s = time.monotonic()
            self._undriven = not draw.works
            if not draw.works:
                self._evidence.undriven(order, item, draw)
        if self._loopback is not None:
            task = asyncio.create_task(self._loopback.check(hearing, partial(self._outside, order, item)))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    def _outside(self, order: Order, item: int, match: Match) -> None:
        self._checked_s = time.monotonic()
        self._evidence.outside(order, item, match)
        self._unheard = not match.heard
