"""The button at the loudspeaker, which needs no network. Held for two seconds it starts the emergency set; held
again, it ends it.

Any input device of the kernel's will do: a GPIO line as the overlay ``gpio-key`` gives it, a pedal, a key switch. What
is read is its ``struct input_event`` (linux/input.h); a FIFO that carries the same takes its place where there is none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

#: Two longs of time, type, code and value.
EVENT = struct.Struct("llHHi")
EV_KEY = 1
DEBOUNCE_S = 0.05
RETRY_S = 5.0
TICK_S = 0.02


class Hold:
    """Whether a button that bounces was held for long enough. Pure; times are monotonic seconds."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._down_s: float | None = None
        self._up_s: float | None = None
        self._told = False

    def pressed(self, down: bool, at_s: float) -> None:
        """The contact has closed or opened."""
        if not down:
            self._up_s = at_s
            return
        if self._down_s is None or (self._up_s is not None and at_s - self._up_s >= DEBOUNCE_S):
            self._down_s, self._told = at_s, False
        self._up_s = None

    def held(self, now_s: float) -> bool:
        """Ask often; true once in every hold."""
        if self._up_s is not None and now_s - self._up_s >= DEBOUNCE_S:
            self._down_s = self._up_s = None
        if self._down_s is None or self._up_s is not None or self._told or now_s - self._down_s < self._hold_s:
            return False
        self._told = True
        return True


async def watch(device: Path, hold_s: float, held: Callable[[], None]) -> None:
    """Watch a device until cancelled; one that is lost or not there yet is looked for again and again."""
    complaint = ""
    while True:
        try:
            file = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if str(error) != complaint:
                complaint = str(error)
                log.error("%s: the button can't be watched (%s); looking for it again", device, error.strerror)
            await asyncio.sleep(RETRY_S)
            continue
        complaint = ""
        log.info("watching the button %s", device)
        try:
            await _follow(file, Hold(hold_s), held)
        except OSError as error:
            log.error("%s: the button is lost (%s)", device, error.strerror)
        finally:
            os.close(file)
        await asyncio.sleep(TICK_S)


async def _follow(file: int, hold: Hold, held: Callable[[], None]) -> None:
    rest = b""
    while True:
        try:
            data = os.read(file, 64 * EVENT.size)
        except BlockingIOError:
            data = b""
        rest += data
        while len(rest) >= EVENT.size:
            _, _, kind, _, value = EVENT.unpack_from(rest)
            rest = rest[EVENT.size :]
            if kind == EV_KEY and value in (0, 1):  # 2 is a repeat
                hold.pressed(value == 1, time.monotonic())
        if hold.held(time.monotonic()):
            held()
        await asyncio.sleep(TICK_S)
