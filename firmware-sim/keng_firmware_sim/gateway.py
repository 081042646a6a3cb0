"""A Modbus gateway: requests of Modbus TCP go onto the line as RTU frames, and its answers back.

A frame of Modbus TCP is transaction, protocol 0, length, then what RTU has without its check sum (Modbus Messaging on
TCP/IP 1.0b, section 3.1). What comes from the line with a wrong check sum does not leave the gateway.

>>> to_rtu(bytes.fromhex("00 07 00 00 00 06 01 03 00 00 00 01")).hex(" ")
'01 03 00 00 00 01 84 0a'
>>> to_tcp(7, bytes.fromhex("01 03 02 02 18 B9 2E")).hex(" ")
'00 07 00 00 00 05 01 03 02 02 18'
"""

from __future__ import annotations

import asyncio
import os

from keng_contracts.errors import Problem
from keng_firmware_sim import modbus
from keng_firmware_sim.ports import Hear

_HEADER = 6
_MAX_BODY = 254


def to_rtu(frame: bytes) -> bytes:
    body = frame[_HEADER:]
    return body + modbus.crc16(body)


def to_tcp(transaction: int, frame: bytes) -> bytes:
    body = frame[:-2]
    return transaction.to_bytes(2) + b"\0\0" + len(body).to_bytes(2) + body


class GatewayPort:
    """A listening Modbus TCP port in front of a line."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.where = f"tcp://{host}:{port}"
        self._server: asyncio.Server | None = None
        self._asked: dict[int, tuple[asyncio.StreamWriter, int]] = {}  # by unit: who asked last, in which transaction
        self._readers: set[asyncio.StreamWriter] = set()

    async def open(self, hear: Hear) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._readers.add(writer)
            try:
                while True:
                    head = await reader.readexactly(_HEADER)
                    length = int.from_bytes(head[4:6])
                    if head[2:4] != b"\0\0" or not 2 <= length <= _MAX_BODY:
                        return
                    frame = head + await reader.readexactly(length)
                    self._asked[frame[_HEADER]] = (writer, int.from_bytes(frame[:2]))
                    hear(to_rtu(frame), None)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                self._readers.discard(writer)
                writer.close()

        try:
            self._server = await asyncio.start_server(serve, self._host, self._port)
        except OSError as error:
            what = f"can't listen: {os.strerror(error.errno or 0)}"
            raise Problem(what, where=self.where, todo="take another port") from None
        self._port = self._server.sockets[0].getsockname()[1]
        self.where = f"tcp://{self._host}:{self._port}"

    def send(self, data: bytes) -> None:
        """Hand an answer to whoever asked that unit."""
        asked = self._asked.pop(data[0], None)
        if asked is not None and modbus.is_intact(data):
            writer, transaction = asked
            writer.write(to_tcp(transaction, data))

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._readers):
            writer.close()
