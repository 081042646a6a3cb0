"""Modbus slaves on a pseudo-terminal that say exactly what a test wants, byte by byte.

>>> # with ModbusSlaves(tmp_path / "bus", {(1, 3): {0: 536}}) as slaves:
>>> #     read(slaves.port)                              # a master reads 536
>>> #     slaves.spoil = lambda request, answer: [(0.0, answer[:-1])]      # from now on: one byte short

Its own Modbus, so that a mistake in the code under test is not repeated here.
"""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

#: What goes over the line instead of the right answer: pauses in seconds, and the bytes after each.
Spoil = Callable[[bytes, bytes], list[tuple[float, bytes]]]


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS, bit by bit (Modbus over serial line 1.02, appendix B)."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


def framed(body: bytes) -> bytes:
    return body + crc(body)


class ModbusSlaves:
    """Answers function codes 3 and 4 for each ``(address, function)`` of ``registers``; an unknown register with
    exception 2, an unknown address not at all. ``port`` is a link that can be pulled out and plugged in again."""

    def __init__(self, port: Path, registers: Mapping[tuple[int, int], Mapping[int, int]]) -> None:
        self.port = port
        self.registers = {key: dict(values) for key, values in registers.items()}
        self.requests: list[tuple[float, bytes]] = []
        self.spoil: Spoil = lambda request, answer: [(0.0, answer)]
        self._ends: tuple[int, int] | None = None
        self._in_hand = threading.Lock()  # whoever reads, writes or closes the ends holds it
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer, name="modbus slaves")
        self.plug_in()

    def plug_in(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self.port.symlink_to(os.ttyname(slave))
        self._ends = (master, slave)

    def pull_out(self) -> None:
        """As when a USB adapter is unplugged: the path is gone, and who has it open reads an error."""
        self.port.unlink()
        with self._in_hand:
            for end in self._ends or ():
                os.close(end)
            self._ends = None

    def say(self, data: bytes) -> None:
        """Put bytes on the line unasked."""
        assert self._ends is not None
        os.write(self._ends[0], data)

    def asked(self, address: int) -> list[float]:
        """When requests to this address came, by the monotonic clock."""
        return [at for at, request in self.requests if request[0] == address]

    def _answer(self) -> None:
        heard, ends = b"", self._ends
        while not self._over.is_set():
            if ends is not self._ends:
                heard, ends = b"", self._ends
            if ends is None:
                time.sleep(0.01)
                continue
            try:
                if not select.select([ends[0]], [], [], 0.02)[0]:
                    continue
                with self._in_hand:
                    if self._ends is not ends:
                        continue
                    heard += os.read(ends[0], 256)
            except OSError:  # pulled out just then
                continue
            while len(heard) >= 8:
                request, heard = heard[:8], heard[8:]
                self.requests.append((time.monotonic(), request))
                for pause, data in self.spoil(request, self._right(request)):
                    time.sleep(pause)
                    with self._in_hand:
                        if data and self._ends is ends:
                            os.write(ends[0], data)

    def _right(self, request: bytes) -> bytes:
        address, function = request[0], request[1]
        first, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        own = self.registers.get((address, function))
        if own is None or crc(request[:6]) != request[6:]:
            return b""
        if any(first + i not in own for i in range(count)):
            return framed(bytes([address, function | 0x80, 2]))
        words = b"".join((own[first + i] & 0xFFFF).to_bytes(2, "big") for i in range(count))
        return framed(bytes([address, function, len(words)]) + words)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self._ends is not None:
            self.pull_out()
