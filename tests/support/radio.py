"""Frames of LoRa nodes as docs/wire.md has them, written down anew."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

KEY = bytes(range(16))
OTHER_KEY = bytes(range(1, 17))


def crc(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021 from 0xFFFF; 0x29B1 for 123456789."""
    value = 0xFFFF
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def frame(node: int, sequence: int, payload: bytes, key: bytes = KEY) -> bytes:
    signed = b"\x01" + node.to_bytes(2, "big") + sequence.to_bytes(4, "big") + bytes([len(payload)]) + payload
    checked = signed + hmac.new(key, signed, hashlib.sha256).digest()[:8]
    return b"KG" + checked + crc(checked).to_bytes(2, "big")


def payload(number: int, *, time_s: int = 0, channel: int = 1) -> bytes:
    """One number of two bytes."""
    return time_s.to_bytes(4, "big") + bytes([0x40 | channel]) + number.to_bytes(2, "big", signed=True)


def rak(setting: Callable[[str], None] = lambda command: None, mode: str = "0") -> Callable[[bytes], bytes]:
    """A RAK3172's answers to AT commands; ``setting`` gets each. ``mode`` is what it is in at first, 1 is LoRaWAN."""
    state = {"mode": mode, "rest": ""}

    def hear(data: bytes) -> bytes:
        said = ""
        state["rest"] += data.decode()
        while "\r\n" in state["rest"]:
            command, _, state["rest"] = state["rest"].partition("\r\n")
            setting(command)
            if command == "AT+NWM=?":
                said += f"AT+NWM={state['mode']}\r\nOK\r\n"
            elif command == "AT+NWM=0":
                state["mode"] = "0"
                said += "RAKwireless RAK3172-E\r\nCurrent Work Mode: LoRa P2P.\r\n"
            elif command == "AT+VER=?":
                said += "AT+VER=RUI_4.0.6_RAK3172-E\r\nOK\r\n"
            elif command.startswith(("AT+P2P=", "AT+PRECV=")):
                said += "OK\r\n"
            else:
                said += "AT_ERROR\r\n"
        return said.encode()

    return hear
