"""Lines that are not Modbus, as their sensors speak: text on a UART, SDI-12, LoRa nodes behind a radio. Pure.

After SDI-12 1.4; docs/wire.md for the nodes' frames; RUI3's AT commands for the RAK3172. What is measured is level and
temperature, of the nodes level and rain.

>>> LineSensor("5", bytes(16)).sdi12("5I!", 0.0, {"level": 1.652, "soil-temperature": 24.1}.__getitem__)
b'514KENG    LEVEL 001\\r\\n'
"""

from __future__ import annotations

import hmac
import math
from binascii import crc_hqx
from dataclasses import dataclass, field

from keng_firmware_sim.faults import Read

#: How long a measurement takes, s.
MEASURING_S = 1
#: What the sensors of each kind of line measure, and their word for 'no value': a number, of nodes the least one.
MEASURED = {
    "text": ("level", "soil-temperature"),
    "sdi12": ("level", "soil-temperature"),
    "e22": ("level", "rain"),
    "rak3172": ("level", "rain"),
}
_MISSING, _MISSING_NODE = "-9999", -(1 << 31)
_BANNER = "RAKwireless RAK3172-E\r\nCurrent Work Mode: LoRa P2P.\r\n"


@dataclass(slots=True)
class LineSensor:
    """One sensor; ``address`` is its SDI-12 address or its node's number."""

    address: str
    key: bytes
    sequence: int = 0
    ready_s: float = field(default=float("inf"))
    checked: bool = False
    values: bytes = b""
    measuring_s: int = MEASURING_S

    def reboot(self) -> None:
        """The power was cut: what it was measuring is gone. A node keeps its sequence number over that."""
        self.ready_s, self.values = float("inf"), b""

    def text(self, read: Read) -> bytes:
        """A line as the profile level-key-value has it."""
        body = f"level={_word(read('level'), '.3f')};temp={_word(read('soil-temperature'), '.1f')};bat=12.6"
        value = 0
        for byte in body.encode():
            value ^= byte
        return f"{body}*{value:02X}\r\n".encode()

    def sdi12(self, command: str, now_s: float, read: Read) -> bytes:
        """The answer to a command with its exclamation mark; nothing for another's."""
        if command not in ("?!",) and not command.startswith(self.address):
            return b""
        match command[1:]:
            case "!":
                return f"{self.address}\r\n".encode()
            case "I!":
                return f"{self.address}14KENG    LEVEL 001\r\n".encode()
            case "M!" | "C!" | "MC!" | "CC!":
                self.ready_s, self.checked = now_s + self.measuring_s, "C" in command[2:]
                self.values = f"{_word(read('level'), '+.3f')}{_word(read('soil-temperature'), '+.1f')}".encode()
                count = "02" if command[1] == "C" else "2"
                return f"{self.address}{self.measuring_s:03d}{count}\r\n".encode()
            case "D0!":
                body = self.address.encode() + (self.values if now_s >= self.ready_s else b"")
                return body + (sdi12_crc(body) if self.checked else b"") + b"\r\n"
        return b""

    def frame(self, wall_s: int, read: Read) -> bytes:
        """What the node sends: its time, level in mm on channel 1, rain in tenths of a mm on channel 2."""
        self.sequence = max(self.sequence + 1, wall_s)  # grows over restarts of the simulator too
        measured = ((1, read("level") * 1000), (2, read("rain") * 10))
        numbers = ((channel, _MISSING_NODE if math.isnan(value) else round(value)) for channel, value in measured)
        payload = wall_s.to_bytes(4) + b"".join(bytes((0x80 | ch,)) + n.to_bytes(4, signed=True) for ch, n in numbers)
        signed = b"\x01" + int(self.address).to_bytes(2) + self.sequence.to_bytes(4) + bytes((len(payload),)) + payload
        checked = signed + hmac.digest(self.key, signed, "sha256")[:8]
        return b"KG" + checked + crc_hqx(checked, 0xFFFF).to_bytes(2)


def _word(value: float, form: str) -> str:
    return _MISSING if math.isnan(value) else format(value, form)


def sdi12_crc(data: bytes) -> bytes:
    """Three characters (SDI-12 1.4, section 4.4.12).

    >>> sdi12_crc(b"0+3.14")
    b'OqZ'
    """
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return bytes((0x40 | value >> 12, 0x40 | value >> 6 & 0x3F, 0x40 | value & 0x3F))


@dataclass(slots=True)
class Rak3172:
    """The module: it hears the air only after AT+PRECV=65534 in P2P mode, and starts in LoRaWAN mode."""

    mode: str = "1"
    listening: bool = False
    _rest: str = ""

    def reboot(self) -> bytes:
        """It starts anew: its mode is kept, but it hears nothing until it is told to. What it says when it is up."""
        self.listening, self._rest = False, ""
        return _BANNER.encode()

    def hear(self, data: bytes) -> bytes:
        self._rest = (self._rest + data.decode("ascii", "replace"))[-256:]
        said = ""
        while "\r\n" in self._rest:
            command, _, self._rest = self._rest.partition("\r\n")
            said += self._obey(command)
        return said.encode()

    def _obey(self, command: str) -> str:
        match command:
            case "AT" | "AT+PRECV=0":
                self.listening = self.listening and command == "AT"
                return "OK\r\n"
            case "AT+VER=?":
                return "AT+VER=RUI_4.0.6_RAK3172-E\r\nOK\r\n"
            case "AT+NWM=?":
                return f"AT+NWM={self.mode}\r\nOK\r\n"
            case "AT+NWM=0":
                self.mode = "0"
                return _BANNER
        if self.mode != "0":
            return "AT_MODE_NO_SUPPORT\r\n"
        if self.listening:  # while it listens it takes no settings
            return "AT_BUSY_ERROR\r\n"
        if command.startswith("AT+P2P="):
            return "OK\r\n" if command.count(":") == 5 else "AT_PARAM_ERROR\r\n"
        if command in ("AT+PRECV=65534", "AT+PRECV=65533"):
            self.listening = True
            return "OK\r\n"
        return "AT_ERROR\r\n"

    def air(self, frame: bytes) -> bytes:
        return f"+EVT:RXP2P:-87:5:{frame.hex()}\r\n".encode() if self.listening else b""
