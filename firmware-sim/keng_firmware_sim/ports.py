"""Where a simulated line meets the world: a pseudo-terminal, or a TCP port as a serial device server has it.

Both hand over what they hear and send what they are given; what is said over them is not their business.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from keng_contracts.errors import Problem

log = logging.getLogger(__name__)

#: Called with what was heard, and at which speed where that can be seen.
Hear = Callable[[bytes, int | None], None]

_SPEED = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}
_CODE = {baud: code for code, baud in _SPEED.items()}
_ISPEED, _OSPEED = 4, 5  # where tcgetattr(3) has them


class Port(Protocol):
    where: str

    async def open(self, hear: Hear) -> None: ...

    def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class PtyPort:
    """A pseudo-terminal behind the stable name ``link``, in raw mode.

    The simulator keeps the terminal's own end open as well, so that readers may come, die and come back and always find
    the same port. What is sent while nobody reads waits in the terminal, as in an adapter's buffer; whoever opens a
    serial port flushes that first. A reader that sets another speed than the line's is not understood.
    """

    def __init__(self, link: Path, baud: int, *others: int) -> None:
        self.where = str(link)
        self._link = link
        self._baud = baud
        self._bauds = {baud, *others}  # of slaves that have a speed of their own
        self._master = self._slave = -1
        self._wrong_baud = 0

    async def open(self, hear: Hear) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        if self._baud in _CODE:
            attributes = termios.tcgetattr(self._slave)
            attributes[_ISPEED] = attributes[_OSPEED] = _CODE[self._baud]
            termios.tcsetattr(self._slave, termios.TCSANOW, attributes)
        os.set_blocking(self._master, False)
        self._make_link(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable, hear)

    def send(self, data: bytes) -> None:
        """Write what fits; a wire holds nothing back for a reader who isn't there."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)

    def close(self) -> None:
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        with contextlib.suppress(OSError):
            if str(self._link.readlink()) == os.ttyname(self._slave):
                self._link.unlink()
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def _readable(self, hear: Hear) -> None:
        try:
            data = os.read(self._master, 4096)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:  # EIO can't happen while our own end is open; if it does, don't spin
            log.warning("%s: %s", self.where, error.strerror)
            asyncio.get_running_loop().remove_reader(self._master)
            return
        baud = _SPEED.get(termios.tcgetattr(self._slave)[_OSPEED], 0)
        if self._is_understood(baud):
            hear(data, baud if self._baud in _CODE else None)

    def _is_understood(self, baud: int) -> bool:
        """Whether the reader speaks at a speed of the line. Only the speed can be seen, not parity or stop bits."""
        if self._baud not in _CODE or baud in self._bauds:
            self._wrong_baud = 0
            return True
        if baud != self._wrong_baud:
            log.warning("%s: the reader speaks at %d baud, the line at %d: no answer", self.where, baud, self._baud)
        self._wrong_baud = baud
        return False

    def _make_link(self, target: str) -> None:
        temporary = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        try:
            if self._link.exists() and not self._link.is_symlink():
                raise Problem(
                    "is there and is no port of ours", where=self.where, todo="move it, or take another --dir"
                )
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(target)
            temporary.replace(self._link)
        except OSError as error:
            raise Problem(f"the port can't be made: {error.strerror}", where=self.where, todo="check --dir") from None


class TcpPort:
    """A listening TCP port that carries the line's bytes as they are, for readers of ``socket://host:port``."""

    def __init__(self, host: str, port: int) -> None:
        self.where = f"socket://{host}:{port}"
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._readers: set[asyncio.StreamWriter] = set()

    async def open(self, hear: Hear) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._readers.add(writer)
            try:
                while data := await reader.read(4096):
                    hear(data, None)
            except OSError:
                pass
            finally:
                self._readers.discard(writer)
                writer.close()

        try:
            self._server = await asyncio.start_server(serve, self._host, self._port)
        except OSError as error:
            raise Problem(
                f"can't listen: {os.strerror(error.errno or 0)}", where=self.where, todo="take another port"
            ) from None
        self._port = self._server.sockets[0].getsockname()[1]
        self.where = f"socket://{self._host}:{self._port}"

    def send(self, data: bytes) -> None:
        for writer in self._readers:
            writer.write(data)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._readers):
            writer.close()


def claim(folder: Path) -> int:
    """Take ``folder`` for this simulator alone; the lock lasts as long as the descriptor that is returned."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Problem(f"can't be used: {error.strerror}", where=str(folder), todo="take another --dir") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Problem(
            "another simulator has its ports here", where=str(folder), todo="stop it, or take another --dir"
        ) from None
    return descriptor
