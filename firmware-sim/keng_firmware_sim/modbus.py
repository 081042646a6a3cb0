"""Modbus RTU as a slave sees it: bytes in, frames out; a frame and registers in, the answer out. Pure.

After "MODBUS over Serial Line" V1.02 (frames, CRC, silent intervals) and "MODBUS Application Protocol" V1.1b3
(functions, exceptions). A request is ``address function data… crc-low crc-high``.

>>> respond(bytes.fromhex("01 03 00 00 00 01 84 0A"), {3: {0: 536}}).data.hex(" ").upper()
'01 03 02 02 18 B9 2E'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

MAX_FRAME = 256
#: Registers that one request may ask for (V1.1b3, sections 6.3 and 6.4).
MAX_REGISTERS = 125

READ_HOLDING = 3
READ_INPUT = 4

#: Length of a request by its function, with address and CRC. 15, 16 and 23 say it themselves, see ``_BYTE_COUNT_AT``.
_LENGTH = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6}
_BYTE_COUNT_AT = {15: 6, 16: 6, 23: 10}


class Refusal(IntEnum):
    """Why a slave refuses (V1.1b3, section 7)."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _table()


def crc16(data: bytes) -> bytes:
    """CRC-16/MODBUS (reflected polynomial 0xA001, start 0xFFFF), low byte first as on the wire.

    >>> crc16(b"123456789").hex()
    '374b'
    """
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def is_intact(frame: bytes) -> bool:
    return len(frame) >= 4 and crc16(frame[:-2]) == frame[-2:]


def silent_interval_s(baud: int) -> float:
    """The silence that ends a frame: 3.5 characters, and never less than 1.75 ms (V1.02, section 2.5.1.1)."""
    return max(3.5 * characters_s(1, baud), 0.00175)


def characters_s(count: int, baud: int) -> float:
    """How long ``count`` characters take on the wire, at 10 bits each (8N1: start, 8 data, stop)."""
    return count * 10 / baud


class Framer:
    """Finds the requests in what comes over the line, whatever else comes with them.

    A request ends where its function says and its CRC agrees; bytes that make no request are skipped one by one, so a
    request that follows noise is found. After a silence what was left unfinished is dropped. A request with a function
    that is not known here has no known length: it is taken when all that came since the last silence has a right CRC.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._buffer = bytearray()
        self._last_s = float("-inf")

    def feed(self, data: bytes, now_s: float) -> list[bytes]:
        """The requests that ``data`` completes, in order. ``now_s`` is any clock that only grows."""
        if now_s - self._last_s >= self._silence_s:
            self._buffer.clear()
        self._last_s = now_s
        frames = []
        for at in range(0, len(data), MAX_FRAME):  # in pieces, so that a flood of noise costs time in proportion
            self._buffer += data[at : at + MAX_FRAME]
            while (frame := self._take()) is not None:
                frames.append(frame)
            del self._buffer[:-MAX_FRAME]
        return frames

    def _take(self) -> bytes | None:
        for start in range(len(self._buffer) - 3):
            end = self._end(start)
            if end is not None and is_intact(frame := bytes(self._buffer[start:end])):
                del self._buffer[:end]
                return frame
        return None

    def _end(self, start: int) -> int | None:
        """Where a request that starts here would end, if it is all there."""
        buffer = self._buffer
        function = buffer[start + 1]
        length = _LENGTH.get(function)
        if length is None and function in _BYTE_COUNT_AT:
            at = start + _BYTE_COUNT_AT[function]
            length = _BYTE_COUNT_AT[function] + 3 + buffer[at] if at < len(buffer) else None
        elif length is None and start == 0:
            length = len(buffer)
        return start + length if length is not None and start + length <= len(buffer) else None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it goes over the wire, and what it says: the registers read, or why it refuses."""

    data: bytes
    registers: Mapping[int, int]
    exception: Refusal | None = None


def respond(frame: bytes, banks: Mapping[int, Mapping[int, int]]) -> Response:
    """Answer an intact request to this slave. ``banks`` gives, for each read function that it has, word by address.

    The checks and their order are those of V1.1b3, figures 13 and 14: function, quantity, addresses.
    """
    address, function = frame[0], frame[1]
    bank = banks.get(function)
    if bank is None or function not in (READ_HOLDING, READ_INPUT):
        return _refuse(address, function, Refusal.ILLEGAL_FUNCTION)
    start, count = int.from_bytes(frame[2:4]), int.from_bytes(frame[4:6])
    if not 1 <= count <= MAX_REGISTERS:
        return _refuse(address, function, Refusal.ILLEGAL_DATA_VALUE)
    registers = {}
    for at in range(start, start + count):
        if at not in bank:
            return _refuse(address, function, Refusal.ILLEGAL_DATA_ADDRESS)
        registers[at] = bank[at]
    body = bytes((address, function, 2 * count)) + b"".join(word.to_bytes(2) for word in registers.values())
    return Response(body + crc16(body), registers)


def _refuse(address: int, function: int, why: Refusal) -> Response:
    body = bytes((address, function | 0x80, why))
    return Response(body + crc16(body), {}, why)
