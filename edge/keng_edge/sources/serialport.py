"""One serial port on the event loop: opened, written, heard, lost, found again. No protocol.

pyserial has the port and the event loop watches it: no thread, no polling, so that what is heard is stamped when its
last byte is in.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import termios
import time
from pathlib import Path

import serial

from keng_edge.sources.profiles import Parity
from keng_edge.sources.source import Failure
from keng_runtime.clock import now_ms

#: Bits on the line for one byte, at most: start, eight, parity, stop.
BITS_PER_BYTE = 11
#: Noise on the line must not grow memory: this much is kept between two looks at it.
MAX_BUFFER = 512


class PortLost(Failure):
    """The port is not there, or not ours: nothing on this line can be read."""


class SerialPort:
    """A device, or ``socket://host:port`` for one behind a serial device server. ``bits`` are data bits of a byte."""

    def __init__(self, port: str, baud: int, parity: Parity = "N", bits: int = 8) -> None:
        self.port = port
        self._baud = baud
        self._parity = parity
        self._bits = bits
        self._byte_s = BITS_PER_BYTE / baud
        self._serial: serial.Serial | None = None
        self._heard = bytearray()
        self._heard_ms = 0
        self._heard_at = 0.0
        self._arrived = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._serial is not None

    @property
    def heard(self) -> bytes:
        """What came over the line since it was last cleared."""
        return bytes(self._heard)

    async def open(self) -> None:
        """Raises :class:`PortLost` with what is to be done."""
        try:
            port = await asyncio.to_thread(  # a device server may take seconds to be found missing
                serial.serial_for_url,
                self.port,
                self._baud,
                parity=self._parity,
                bytesize=self._bits,
                timeout=0,
                write_timeout=0,
                exclusive=True,
            )
            self._serial = port
            asyncio.get_running_loop().add_reader(port.fileno(), self._readable)
        except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError
            self.close()
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> PortLost:
        number = getattr(error, "errno", None)
        if "://" in self.port:
            what, todo = "the device server can't be reached", "check that it runs, and its address"
        elif not Path(self.port).exists():
            what, todo = "the port is not there", "plug the adapter in, or set 'port' to its path"
        elif number in (errno.EACCES, errno.EPERM):
            what, todo = "the port may not be opened by this user", "add the user to the group 'dialout'"
        elif number in (errno.EAGAIN, errno.EBUSY) or "lock" in str(error):
            what, todo = "the port is in use", "stop the other program that has it"
        else:
            what, todo = f"the port can't be opened ({error})", "check the adapter"
        return PortLost(what, todo=todo, where=self.port)

    def close(self) -> None:
        if self._serial is not None:
            port, self._serial = self._serial, None
            try:
                asyncio.get_running_loop().remove_reader(port.fileno())
                port.close()
            except (OSError, ValueError):  # it vanished: there is nothing left to close
                pass

    def write(self, data: bytes) -> None:
        """Clear what was heard, and send; raises :class:`Failure`."""
        if self._serial is None:
            raise vanished(self.port)
        try:
            self._serial.reset_input_buffer()  # what still comes of an earlier request answers none of ours
            self._heard.clear()
            self._serial.write(data)
        except serial.SerialTimeoutException:
            raise Failure("the port takes no more bytes", todo="check the adapter") from None
        except (OSError, termios.error):
            self.close()
            raise vanished(self.port) from None

    async def wake(self, break_s: float, marking_s: float) -> None:
        """Hold the line in break, then let it rest. An adapter that makes its own break may refuse ours."""
        for held, seconds in ((True, break_s), (False, marking_s)):
            if self._serial is not None:
                with contextlib.suppress(OSError, termios.error, AttributeError):
                    self._serial.break_condition = held
            await asyncio.sleep(seconds)

    async def more(self, patience_s: float) -> bool:
        """Wait for more bytes (or the end of the port); False when none came in time."""
        self._arrived.clear()
        try:
            async with asyncio.timeout(max(0.0, patience_s)):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> tuple[bytes, int]:
        """What was heard since it was last taken, and when its last byte was in (ms since 1970 UTC)."""
        data = bytes(self._heard)
        self._heard.clear()
        return data, self._heard_ms

    def _readable(self) -> None:
        try:
            assert self._serial is not None
            data = os.read(self._serial.fileno(), MAX_BUFFER)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # end of file: the adapter was pulled out
            self.close()
        elif len(self._heard) < MAX_BUFFER:
            self._heard += data
            self._heard_ms, self._heard_at = now_ms(), time.monotonic()
        self._arrived.set()


def vanished(port: str) -> PortLost:
    return PortLost("the port vanished", todo="plug the adapter in again", where=port)
