"""LoRa nodes through a RAK3172 as a point-to-point gateway, by the AT commands of RUI3.

It is set up each time its port is opened, and again when it says that it was reset. Received packets come as
``+EVT:RXP2P:-28:5:4865…`` (RSSI in dBm, SNR in dB, hexadecimal), with older firmware in two lines::

    +EVT:RXP2P, RSSI -28, SNR 5
    +EVT:4865…

>>> event("+EVT:RXP2P:-28:5:4865", None)
Event(rssi=-28, snr=5, data=b'He')
>>> first = event("+EVT:RXP2P, RSSI -28, SNR 5", None); first
Event(rssi=-28, snr=5, data=b'')
>>> event("+EVT:4865", first)
Event(rssi=-28, snr=5, data=b'He')
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import NamedTuple

from keng_edge.plan import PlannedLine
from keng_edge.sources.e22 import RadioBus
from keng_edge.sources.radio import receiver, sequences
from keng_edge.sources.radioframes import RadioProfile, Splitter
from keng_edge.sources.serialport import SerialPort, vanished
from keng_edge.sources.source import Failure, Health, Outcome, Source
from keng_edge.sources.textlines import Lines

PROFILE = RadioProfile
#: 65534: receive without end, and let send; 65535 would stop after one packet.
LISTEN = "AT+PRECV=65534"
#: A line has up to 255 bytes as hexadecimal digits, and what stands before them.
LONGEST = 560
#: How long an answer to a command may take; a change of mode restarts the module.
ANSWER_S, RESTART_S = 1.0, 5.0
#: When nothing came for so long it is told again to listen, which does no harm to one that does.
REMIND_S = 120.0

_ONE = re.compile(r"\+EVT:RXP2P:(-?\d{1,3}):(-?\d{1,3}):([0-9A-Fa-f]{2,510})", re.ASCII)
_FIRST = re.compile(r"\+EVT:RXP2P, ?RSSI (-?\d{1,3}), ?SNR (-?\d{1,3})", re.ASCII)
_SECOND = re.compile(r"\+EVT:([0-9A-Fa-f]{2,510})", re.ASCII)
#: What it says when it starts.
_BANNER = re.compile(r"RAKwireless|Current Work Mode", re.ASCII)


class Event(NamedTuple):
    """A packet, or (without data) the first of the two lines in which it comes."""

    rssi: int
    snr: int
    data: bytes


def event(line: str, before: Event | None) -> Event | None:
    """Read a line; ``before`` is what came of the line before it. Raises nothing."""
    if one := _ONE.fullmatch(line):
        return Event(int(one[1]), int(one[2]), _bytes(one[3]))
    if first := _FIRST.fullmatch(line):
        return Event(int(first[1]), int(first[2]), b"")
    second = _SECOND.fullmatch(line)
    return before._replace(data=_bytes(second[1])) if second and before is not None and not before.data else None


def _bytes(digits: str) -> bytes:
    return bytes.fromhex(digits[: len(digits) & ~1])


class Rak3172Bus(RadioBus):
    """What a RAK3172 hears. ``p2p`` is the argument of AT+P2P."""

    p2p = ""
    _lines = Lines(LONGEST)
    _before: Event | None = None
    _heard_s = 0.0

    async def prepare(self) -> None:
        self._lines, self._before, self._heard_s = Lines(LONGEST, mid_line=False), None, time.monotonic()
        if "AT+NWM=0" not in await self._command("AT+NWM=?", ANSWER_S):
            await self._command("AT+NWM=0", RESTART_S)
        await self._command("AT+PRECV=0", ANSWER_S)  # while it listens it takes no settings
        said = await self._command(f"AT+P2P={self.p2p}", ANSWER_S)
        if "ERROR" in said:
            raise Failure(f"the radio refuses {self.p2p}: {said}", todo="check 'radio' of the line")
        said = await self._command(LISTEN, ANSWER_S)
        if "ERROR" in said:
            raise Failure(f"the radio does not listen: {said}", todo="check its firmware (RUI3)")
        self._port.take()

    async def _command(self, command: str, seconds: float) -> str:
        """Send a command; returns what came up to OK, an error or the module's start. Raises :class:`Failure`."""
        self._port.write(f"{command}\r\n".encode())
        deadline = time.monotonic() + seconds
        while True:
            text = self._port.heard.decode("ascii", "replace")
            if re.search(r"(^|\n)(OK|AT_\w*ERROR|.*Current Work Mode.*)\r?\n", text):
                return " ".join(text.split())
            if not self._port.is_open:
                raise vanished(self._port.port)
            if not await self._port.more(deadline - time.monotonic()):
                raise Failure(
                    f"no answer of the radio to {command}", todo="check its power and speed, and that it speaks RUI3"
                )

    def tick(self) -> Iterator[Outcome]:
        self._memory.save()
        if not self._port.heard and time.monotonic() - self._heard_s > REMIND_S:
            self._heard_s = time.monotonic()
            self._port.write(f"{LISTEN}\r\n".encode())
        yield from ()

    def heard(self, data: bytes, time_ms: int) -> Iterator[Outcome]:
        self._heard_s = time.monotonic()
        for line in self._lines.feed(data)[0]:
            text = line.decode("ascii", "replace")
            if _BANNER.search(text):
                raise Failure("the radio was reset", todo="check its power")
            self._before = event(text, self._before)
            if self._before is not None and self._before.data:
                yield from self._packet(self._before, time_ms)

    def _packet(self, packet: Event, time_ms: int) -> Iterator[Outcome]:
        splitter = Splitter()
        for fed in (splitter.feed(packet.data), splitter.pause()):
            for node in fed.damaged:
                yield from self._receiver.damaged(node)
            for heard in fed.frames:
                yield from self._receiver.take(heard, time_ms, packet.rssi, packet.snr)


def source(line: PlannedLine, health: Health) -> Source:
    """The source of a planned line of this kind."""
    memory = sequences(line.edge.state / "radio-sequences.json")
    port = SerialPort(line.port, line.baud, line.parity)
    bus = Rak3172Bus(port, line.slaves, health, receiver(line), memory, line.settings.timeout_s)
    bus.p2p = line.settings.radio
    return bus
