"""Modbus: one serial line and the slaves on it (RTU). A port ``tcp://`` speaks the same in TCP, see ``modbus_tcp``.

pymodbus makes the frames and checks them. Its own client is not used, for it can't tell a damaged answer from silence,
takes a stray byte before a frame (usual when RS-485 turns round) for a damaged frame, doesn't say why a port can't be
opened, and has one time-out for all slaves.
"""

from __future__ import annotations

import asyncio
import logging
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from keng_edge.pipeline.pipeline import Sample
from keng_edge.plan import PlannedLine
from keng_edge.sources.polled import PolledBus, Port
from keng_edge.sources.profiles import Block, Parity, Profile
from keng_edge.sources.serialport import BITS_PER_BYTE, SerialPort, vanished
from keng_edge.sources.source import Failure, Health, Outcome, Sensor, Source

#: A slave may think for that long before it answers; USB adapters add 16 ms of their own.
MARGIN_S = 0.3
#: Silence that ends a frame which is long enough and still makes no sense.
GAP_S = 0.05

_REQUESTS = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
_EXCEPTIONS = {
    1: "it does not know this function code",
    2: "it has no such register",
    3: "it does not take this count of registers",
    4: "its device has failed",
    5: "it needs more time",
    6: "it is busy",
    10: "the gateway has no way to it",
    11: "it did not answer the gateway",
}
_framer = FramerRTU(DecodePDU(False))
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what matters of it is said here, once and with its place


Slave = Sensor[Profile]


class Answer(NamedTuple):
    """The registers of one block, and when the last byte of the frame was in (ms since 1970 UTC)."""

    words: Sequence[int]
    time_ms: int


def request_for(address: int, function: int, block: Block) -> ModbusPDU:
    """The request for one block of registers."""
    return _REQUESTS[function](address=block.register, count=block.length, dev_id=address)


def checked(pdu: ModbusPDU, block: Block) -> Sequence[int]:
    """The registers of an answer; raises :class:`Failure` when it refuses, or gives others than were asked for."""
    if isinstance(pdu, ExceptionResponse):
        reason = _EXCEPTIONS.get(pdu.exception_code, "for a reason of its own")
        raise Failure(
            f"it refuses registers {block.register} to {block.register + block.length - 1}: {reason} "
            f"(exception {pdu.exception_code})",
            todo="check that the profile is of this model",
        )
    if len(pdu.registers) != block.length:
        raise Failure(f"it answered {len(pdu.registers)} registers instead of {block.length}")
    return pdu.registers


def find_answer(heard: bytes, address: int, function: int) -> ModbusPDU | None:
    """The first whole frame with a right check sum in ``heard`` that answers this request, wherever it begins."""
    for start in range(len(heard) - 4):
        if heard[start] != address or heard[start + 1] & 0x7F != function:
            continue
        try:
            _, pdu = _framer.handleFrame(heard[start:], address, 0)
        except ModbusException:
            continue
        if isinstance(pdu, ExceptionResponse) or (pdu is not None and pdu.registers):  # else it is our request's echo
            return pdu
    return None


class Line(SerialPort):
    """One serial port as Modbus master. ``timeout_s`` None: from the speed and the length of what is expected."""

    def __init__(self, port: str, baud: int, parity: Parity = "N", timeout_s: float | None = None) -> None:
        super().__init__(port, baud, parity)
        self._timeout_s = timeout_s

    def timeout_for(self, count: int) -> float:
        """How long an answer of ``count`` registers may take, from the first byte of the request on."""
        if self._timeout_s is not None:
            return self._timeout_s
        return (8 + 5 + 2 * count) * self._byte_s + MARGIN_S

    async def read(self, address: int, function: int, block: Block) -> Answer:
        """Read one block of registers; raises :class:`Failure` that says in which way it did not work."""
        await self._silence()
        frame = _framer.buildFrame(request_for(address, function, block))
        pdu = await self._ask(address, function, frame, block.length)
        return Answer(checked(pdu, block), self._heard_ms)

    def set_speed(self, baud: int, parity: Parity) -> None:
        """Speak as the slave that is asked next does: not all on a line can be set to one speed."""
        if (baud, parity) == (self._baud, self._parity):
            return
        self._baud, self._parity, self._byte_s = baud, parity, BITS_PER_BYTE / baud
        if self._serial is not None:
            with suppress(OSError, ValueError, termios.error):  # what is wrong with it is found when it is written to
                self._serial.baudrate, self._serial.parity = baud, parity

    async def _ask(self, address: int, function: int, frame: bytes, count: int) -> ModbusPDU:
        self.write(frame)
        expected = 5 + 2 * count
        timeout = self.timeout_for(count)
        deadline = time.monotonic() + timeout
        while True:
            pdu = find_answer(self.heard, address, function)
            if pdu is not None:
                return pdu
            if not self.is_open:
                raise vanished(self.port)
            patience = deadline - time.monotonic()
            echo = len(frame) if self._heard.startswith(frame) else 0  # of a two-wire adapter: no part of the answer
            if len(self._heard) >= echo + expected:
                patience = min(patience, self._heard_at + GAP_S - time.monotonic())
            if not await self.more(patience):
                if self._heard:
                    start = self._heard[:16].hex(" ")
                    raise Failure(
                        f"a damaged answer, {len(self._heard)} bytes: {start}", todo="check wiring and termination"
                    )
                raise Failure(f"no answer within {timeout:.2g} s", todo="check power, wiring and address")

    async def _silence(self) -> None:
        """At least 3.5 bytes of silence stand between two frames (Modbus over serial line 1.02, section 2.5.1.1)."""
        wait = self._heard_at + max(3.5 * self._byte_s, 0.00175) - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)


class Master(Port, Protocol):
    """What asks slaves: a serial line, or a connection."""

    def set_speed(self, baud: int, parity: Parity) -> None: ...

    async def read(self, address: int, function: int, block: Block) -> Answer: ...


class ModbusBus(PolledBus[Profile]):
    """A line and its slaves, as one source. ``own_speeds``: each slave speaks as its model leaves the factory."""

    def __init__(self, line: Master, slaves: Sequence[Slave], health: Health, *, own_speeds: bool = False) -> None:
        super().__init__(line, slaves, health)
        self._modbus = line
        self._own_speeds = own_speeds
        self._blocks = {slave.id: slave.profile.blocks() for slave in slaves}

    async def measure(self, slave: Slave) -> Outcome:
        assert isinstance(slave.address, int)  # the settings saw to it
        words: dict[int, int] = {}
        time_ms = 0
        if self._own_speeds:
            self._modbus.set_speed(slave.profile.baud, slave.profile.parity)
        try:
            for block in self._blocks[slave.id]:  # the first failure ends it: a dead slave costs one time-out
                answer = await self._modbus.read(slave.address, slave.profile.function, block)
                words.update(enumerate(answer.words, block.register))
                time_ms = answer.time_ms
        except Failure as failure:
            return Outcome(slave.id, None, failure)
        values, faults = slave.profile.decode(words)
        fault = Failure("; ".join(faults), todo="check the profile and the sensor") if faults else None
        return Outcome(slave.id, Sample(slave.id, time_ms, values) if values else None, fault)


PROFILE = Profile


def source(line: PlannedLine, health: Health) -> Source:
    """The source of a planned line of this kind."""
    if line.port.startswith("tcp://"):
        from keng_edge.sources.modbus_tcp import TcpLine

        return ModbusBus(TcpLine(line.port, line.settings.timeout_s), line.slaves, health)
    serial = Line(line.port, line.baud, line.parity, line.settings.timeout_s)
    return ModbusBus(serial, line.slaves, health, own_speeds=line.settings.baud is None)
