"""Modbus TCP: one connection to a server, or to a gateway with a line of slaves behind it.

pymodbus makes the frames (MBAP, Modbus Messaging on TCP/IP 1.0b, section 3.1). An answer is known by its
transaction, so a late one is passed over; a stream that has lost its frames can't be found again, and is begun anew.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

from keng_edge.sources.modbus import Answer, checked, request_for
from keng_edge.sources.profiles import Block, Parity
from keng_edge.sources.serialport import PortLost, vanished
from keng_edge.sources.source import Failure
from keng_runtime.clock import now_ms

#: How long a server may take to answer, unless the line says otherwise; a gateway waits for its slave meanwhile.
TIMEOUT_S = 2.0
#: How long one may take to be found missing.
CONNECT_S = 5.0
#: A frame is no longer than this (section 3.1: the protocol data unit has at most 253 bytes).
MAX_FRAME = 260
HEADER = 6
#: After so many requests in a row without an answer the connection is begun anew.
UNANSWERED = 3

_framer = FramerSocket(DecodePDU(False))


def frame_length(heard: bytes | bytearray) -> int | None:
    """Length of the frame that begins ``heard``; None while that can't be seen. Raises ValueError for what is none.

    >>> frame_length(bytes.fromhex("00 01 00 00 00 05 0C 03 02 19 8F"))
    11
    """
    if len(heard) < HEADER:
        return None
    length = HEADER + int.from_bytes(heard[4:6])
    if heard[2:4] != b"\0\0" or not HEADER + 3 <= length <= MAX_FRAME:
        raise ValueError("no MBAP header")
    return length


class TcpLine:
    """One server as Modbus master sees it; the port of a ``ModbusBus``."""

    def __init__(self, port: str, timeout_s: float | None = None) -> None:
        url = urlsplit(port)
        self.port = port
        self._host, self._number = url.hostname or "", url.port or 502
        self._timeout_s = timeout_s or TIMEOUT_S
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._heard = bytearray()
        self._transaction = 0
        self._unanswered = 0

    @property
    def is_open(self) -> bool:
        return self._streams is not None

    async def open(self) -> None:
        """Raises :class:`PortLost`."""
        try:
            async with asyncio.timeout(CONNECT_S):
                self._streams = await asyncio.open_connection(self._host, self._number)
        except (OSError, TimeoutError):
            todo = "check that it runs, and its address"
            raise PortLost("the Modbus server is not there", todo=todo, where=self.port) from None
        self._heard.clear()

    def close(self) -> None:
        if self._streams is not None:
            (_, writer), self._streams = self._streams, None
            writer.close()

    def set_speed(self, baud: int, parity: Parity) -> None:
        """A connection has none."""

    async def read(self, address: int, function: int, block: Block) -> Answer:
        """Read one block of registers; raises :class:`Failure` that says in which way it did not work."""
        self._transaction = self._transaction % 0xFFFF + 1
        request = request_for(address, function, block)
        request.transaction_id = self._transaction
        pdu = await self._ask(address, function, _framer.buildFrame(request))
        return Answer(checked(pdu, block), now_ms())

    async def _ask(self, address: int, function: int, frame: bytes) -> ModbusPDU:
        if self._streams is None:
            raise vanished(self.port)
        reader, writer = self._streams
        deadline = time.monotonic() + self._timeout_s
        try:
            writer.write(frame)
            while True:
                pdu = self._answer(address, function)
                if pdu is not None:
                    self._unanswered = 0
                    return pdu
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    data = await reader.read(MAX_FRAME)
                if not data:
                    raise ConnectionResetError
                self._heard += data
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered >= UNANSWERED or reader.exception() is not None:  # it may be gone without a word
                self.close()
            what = f"no answer within {self._timeout_s:.2g} s"
            raise Failure(what, todo="check power, wiring and address behind the gateway") from None
        except OSError:
            self.close()
            raise PortLost(
                "the connection was lost", todo="check the server and the network", where=self.port
            ) from None

    def _answer(self, address: int, function: int) -> ModbusPDU | None:
        """The answer in what was heard, when it is whole. Late answers to earlier requests are dropped."""
        try:
            while (length := frame_length(self._heard)) is not None and length <= len(self._heard):
                frame = bytes(self._heard[:length])
                del self._heard[:length]
                if int.from_bytes(frame[:2]) == self._transaction:
                    _, pdu = _framer.handleFrame(frame, address, self._transaction)
                    if pdu is None or pdu.function_code & 0x7F != function:
                        raise ValueError("an answer to something else")
                    return pdu
        except (ValueError, ModbusException):
            start = bytes(self._heard[:16]).hex(" ")
            self.close()
            raise Failure(f"a damaged answer: {start}", todo="check that it speaks Modbus TCP") from None
        return None
