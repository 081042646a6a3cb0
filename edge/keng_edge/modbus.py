"""Modbus RTU: one serial line and the slaves on it.

pymodbus makes the frames and checks them, pyserial has the port, and the event loop watches it: no thread, no
polling, so that a reading is stamped when the last byte of its frame is in. pymodbus's own client is not used, for
it can't tell a damaged answer from silence, takes a stray byte before a frame (usual when RS-485 turns round) for a
damaged frame, doesn't say why a port can't be opened, and has one time-out for all slaves.

One task a line, and one request at a time on it, as the protocol has it. The slave that is due next is asked; see
``schedule`` for what a dead one costs the others: its time-out, ever more rarely.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import serial
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from keng_edge.pipeline import Sample
from keng_edge.profiles import Block, Parity, Profile
from keng_edge.schedule import Turn
from keng_edge.sources import Failure, Health, Outcome
from keng_runtime.clock import now_ms

#: Bits on the line for one byte, at most: start, eight, parity, stop.
BITS_PER_BYTE = 11
#: A slave may think for that long before it answers; USB adapters add 16 ms of their own.
MARGIN_S = 0.3
#: Silence that ends a frame which is long enough and still makes no sense.
GAP_S = 0.05
#: Noise on the line must not grow memory: no frame is longer than 256 bytes.
MAX_BUFFER = 512
#: A port that is not there is looked for again after this time, doubled up to the longest.
REOPEN_S, REOPEN_LONGEST_S = 0.5, 5.0

_REQUESTS = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
_EXCEPTIONS = {
    1: "it does not know this function code",
    2: "it has no such register",
    3: "it does not take this count of registers",
    4: "its device has failed",
    5: "it needs more time",
    6: "it is busy",
}
_framer = FramerRTU(DecodePDU(False))
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what matters of it is said here, once and with its place


class PortLost(Failure):
    """The port is not there, or not ours: nothing on this line can be read."""


@dataclass(frozen=True, slots=True)
class Slave:
    """One sensor on a line."""

    id: str
    address: int
    interval_s: float
    profile: Profile


class Answer(NamedTuple):
    """The registers of one block, and when the last byte of the frame was in (ms since 1970 UTC)."""

    words: Sequence[int]
    time_ms: int


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


class Line:
    """One serial port as Modbus master: a device, or ``socket://host:port`` for one behind a serial device server.

    ``timeout_s`` None: from the speed and the length of what is expected.
    """

    def __init__(self, port: str, baud: int, parity: Parity = "N", timeout_s: float | None = None) -> None:
        self.port = port
        self._baud = baud
        self._parity = parity
        self._timeout_s = timeout_s
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
        """What came over the line since the last request."""
        return bytes(self._heard)

    async def open(self) -> None:
        """Raises :class:`PortLost` with what is to be done."""
        try:
            port = await asyncio.to_thread(  # a device server may take seconds to be found missing
                serial.serial_for_url,
                self.port,
                self._baud,
                parity=self._parity,
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

    def timeout_for(self, count: int) -> float:
        """How long an answer of ``count`` registers may take, from the first byte of the request on."""
        if self._timeout_s is not None:
            return self._timeout_s
        return (8 + 5 + 2 * count) * self._byte_s + MARGIN_S

    async def read(self, address: int, function: int, block: Block) -> Answer:
        """Read one block of registers; raises :class:`Failure` that says in which way it did not work."""
        request = _REQUESTS[function](address=block.register, count=block.length, dev_id=address)
        await self._silence()
        pdu = await self._ask(address, function, _framer.buildFrame(request), block.length)
        if isinstance(pdu, ExceptionResponse):
            reason = _EXCEPTIONS.get(pdu.exception_code, "for a reason of its own")
            raise Failure(
                f"it refuses registers {block.register} to {block.register + block.length - 1}: {reason} "
                f"(exception {pdu.exception_code})",
                todo="check that the profile is of this model",
            )
        if len(pdu.registers) != block.length:
            raise Failure(f"it answered {len(pdu.registers)} registers instead of {block.length}")
        return Answer(pdu.registers, self._heard_ms)

    async def _ask(self, address: int, function: int, frame: bytes, count: int) -> ModbusPDU:
        self._write(frame)
        expected = 5 + 2 * count
        timeout = self.timeout_for(count)
        deadline = time.monotonic() + timeout
        while True:
            pdu = find_answer(self.heard, address, function)
            if pdu is not None:
                return pdu
            if self._serial is None:
                raise PortLost("the port vanished", todo="plug the adapter in again", where=self.port)
            patience = deadline - time.monotonic()
            echo = len(frame) if self._heard.startswith(frame) else 0  # of a two-wire adapter: no part of the answer
            if len(self._heard) >= echo + expected:
                patience = min(patience, self._heard_at + GAP_S - time.monotonic())
            self._arrived.clear()
            try:
                async with asyncio.timeout(max(0.0, patience)):
                    await self._arrived.wait()
            except TimeoutError:
                if self._heard:
                    start = self._heard[:16].hex(" ")
                    raise Failure(
                        f"a damaged answer, {len(self._heard)} bytes: {start}", todo="check wiring and termination"
                    ) from None
                raise Failure(f"no answer within {timeout:.2g} s", todo="check power, wiring and address") from None

    async def _silence(self) -> None:
        """At least 3.5 bytes of silence stand between two frames (Modbus over serial line 1.02, section 2.5.1.1)."""
        wait = self._heard_at + max(3.5 * self._byte_s, 0.00175) - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)

    def _write(self, frame: bytes) -> None:
        if self._serial is None:
            raise PortLost("the port vanished", todo="plug the adapter in again", where=self.port)
        try:
            self._serial.reset_input_buffer()  # what still comes of an earlier request answers none of ours
            self._heard.clear()
            self._serial.write(frame)
        except serial.SerialTimeoutException:
            raise Failure("the port takes no more bytes", todo="check the adapter") from None
        except (OSError, termios.error):
            self.close()
            raise PortLost("the port vanished", todo="plug the adapter in again", where=self.port) from None

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


class ModbusBus:
    """A line and its slaves, as one source."""

    def __init__(self, line: Line, slaves: Sequence[Slave], health: Health) -> None:
        self._line = line
        self._slaves = slaves
        self._health = health
        self._blocks = {slave.id: slave.profile.blocks() for slave in slaves}

    async def run(self, deliver: Callable[[Sample], None]) -> None:
        try:
            now = time.monotonic()
            turns = [(slave, Turn(slave.interval_s, now)) for slave in self._slaves]
            while True:
                await self._reopen()
                slave, turn = min(turns, key=lambda pair: pair[1].due)
                await asyncio.sleep(max(0.0, turn.due - time.monotonic()))
                outcome = await self._measure(slave)
                now = time.monotonic()
                if outcome.sample is not None:
                    deliver(outcome.sample)
                    turn.answered(now)
                elif isinstance(outcome.failure, PortLost):
                    await asyncio.sleep(REOPEN_S)
                else:
                    turn.failed(now)
                self._note(outcome)
        finally:
            self._line.close()

    async def _reopen(self) -> None:
        pause = REOPEN_S
        while not self._line.is_open:
            try:
                await self._line.open()
            except PortLost as failure:
                for slave in self._slaves:
                    self._health.failed(slave.id, failure)
                await asyncio.sleep(pause)
                pause = min(2 * pause, REOPEN_LONGEST_S)

    async def read_once(self) -> list[Outcome]:
        try:
            await self._line.open()
            return [await self._measure(slave) for slave in self._slaves]
        except PortLost as failure:
            return [Outcome(slave.id, None, failure) for slave in self._slaves]
        finally:
            self._line.close()

    async def _measure(self, slave: Slave) -> Outcome:
        words: dict[int, int] = {}
        time_ms = 0
        try:
            for block in self._blocks[slave.id]:  # the first failure ends it: a dead slave costs one time-out
                answer = await self._line.read(slave.address, slave.profile.function, block)
                words.update(enumerate(answer.words, block.register))
                time_ms = answer.time_ms
        except Failure as failure:
            return Outcome(slave.id, None, failure)
        values, faults = slave.profile.decode(words)
        fault = Failure("; ".join(faults), todo="check the profile and the sensor") if faults else None
        return Outcome(slave.id, Sample(slave.id, time_ms, values) if values else None, fault)

    def _note(self, outcome: Outcome) -> None:
        if outcome.failure is not None:
            self._health.failed(outcome.source, outcome.failure)
        elif outcome.sample is not None:
            self._health.good(outcome.source, outcome.sample.time_ms)
