"""The other end of a serial line, on a pseudo-terminal: says what a test wants, asked and unasked.

Its own frames and check sums, so that a mistake in the code under test is not repeated here.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self


class Twin:
    """``hear`` gets all bytes that came and returns what is answered at once; ``talk`` is called each ``every_s``.
    ``port`` is a link that can be pulled out and plugged in again."""

    def __init__(
        self,
        port: Path,
        *,
        hear: Callable[[bytes], bytes] = lambda data: b"",
        talk: Callable[[], bytes] = lambda: b"",
        every_s: float = 0.05,
    ) -> None:
        self.port = port
        self.heard = b""
        self._hear, self._talk, self._every_s = hear, talk, every_s
        self._ends: tuple[int, int] | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._live, name="twin")
        self.plug_in()

    def plug_in(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        with self._lock:
            self.port.symlink_to(os.ttyname(slave))
            self._ends = (master, slave)

    def pull_out(self) -> None:
        with self._lock:
            self.port.unlink()
            ends, self._ends = self._ends, None
            for end in ends or ():
                os.close(end)

    def say(self, data: bytes) -> None:
        with self._lock:
            self._say(data)

    def _say(self, data: bytes) -> None:
        if self._ends is not None and data:
            with contextlib.suppress(BlockingIOError):  # nobody reads
                os.write(self._ends[0], data)

    def _live(self) -> None:
        next_s = 0.0
        while not self._over.wait(0.005):
            with self._lock:
                if self._ends is None:
                    continue
                if time.monotonic() >= next_s:
                    next_s = time.monotonic() + self._every_s
                    self._say(self._talk())
                if select.select([self._ends[0]], [], [], 0)[0]:
                    data = os.read(self._ends[0], 4096)
                    self.heard += data
                    self._say(self._hear(data))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self._ends is not None:
            self.pull_out()


def nmea(body: str) -> bytes:
    """A sentence with its check sum (NMEA 0183)."""
    value = 0
    for byte in body.encode():
        value ^= byte
    return f"${body}*{value:02X}\r\n".encode()


def sdi12_crc(data: bytes) -> bytes:
    """CRC of SDI-12 1.4, section 4.4.12, as it is written there."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            lowest, value = value & 1, value >> 1
            value ^= 0xA001 if lowest else 0
    return bytes((0x40 | value >> 12 & 0x3F, 0x40 | value >> 6 & 0x3F, 0x40 | value & 0x3F))
