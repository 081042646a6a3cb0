"""The kinds of line: which module reads them, and how an address on them is written.

A kind is one module with ``PROFILE`` (the model of its profiles' files) and ``source(line, health)``, and one row in
:data:`KINDS`. The module is imported when a line of its kind is there, and not before: memory is short on a Pi.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

Address = int | str | None
#: A device, or one behind a serial device server.
SERIAL = r"/.+|socket://[^/:]+:\d+"
#: What ChirpStack's broker hands over before we have acknowledged any of it, at most.
UNACKNOWLEDGED = 32


class Kind(NamedTuple):
    """``address`` returns it as the source wants it, or raises :class:`ValueError` with what it may be."""

    module: str
    address: Callable[[Address], Address]
    title: str
    port: str = SERIAL  # pattern of the setting 'port'
    not_port: str = "neither the path of a device nor socket://HOST:PORT"
    unasked: bool = False  # its sensors speak when they like: no interval of ours makes them
    again: int = 0  # how many samples its other end may hand over again after a crash

    def load(self) -> ModuleType:
        return import_module(self.module)


def _modbus(address: Address) -> Address:
    if not isinstance(address, int) or not 1 <= address <= 247:
        raise ValueError("a Modbus address is a number from 1 to 247")
    return address


def _dev_eui(address: Address) -> Address:
    if not isinstance(address, str) or not re.fullmatch(r"[0-9a-fA-F]{16}", address, re.ASCII):
        raise ValueError("a DevEUI has 16 hexadecimal digits, in quotes")
    return address.lower()


def _none(address: Address) -> Address:
    if address is not None:
        raise ValueError("there is no address on this kind of line")
    return None


def _sdi12(address: Address) -> Address:
    text = str(address)
    if not re.fullmatch(r"[0-9A-Za-z]", text, re.ASCII):
        raise ValueError("an SDI-12 address is one digit or letter, in quotes")
    return text


def _radio_node(address: Address) -> Address:
    if not isinstance(address, int) or not 1 <= address <= 65_534:
        raise ValueError("a radio node has a number from 1 to 65534")
    return address


KINDS: Mapping[str, Kind] = {
    "modbus": Kind(
        "keng_edge.sources.modbus",
        _modbus,
        "Modbus",
        SERIAL + r"|tcp://[^/:]+:\d+",
        "neither the path of a device nor socket://HOST:PORT nor tcp://HOST:PORT",
    ),
    "lorawan": Kind(
        "keng_edge.sources.chirpstack",
        _dev_eui,
        "LoRaWAN through ChirpStack",
        r"mqtts?://[^/:]+(:\d+)?",
        "neither mqtt://HOST:PORT nor mqtts://HOST:PORT of ChirpStack's broker",
        unasked=True,
        again=UNACKNOWLEDGED,
    ),
    "text": Kind("keng_edge.sources.text", _none, "lines of text", unasked=True),
    "sdi12": Kind("keng_edge.sources.sdi12", _sdi12, "SDI-12"),
    "e22": Kind("keng_edge.sources.e22", _radio_node, "LoRa nodes through an Ebyte E22", unasked=True),
    "rak3172": Kind("keng_edge.sources.rak3172", _radio_node, "LoRa nodes through a RAK3172", unasked=True),
    "machine": Kind(
        "keng_edge.sources.machine", _none, "this machine", "/.*", "not the root of the system's files, '/'"
    ),
}


#: A profile of this kind fits every kind of line that speaks to such a device, of which this is one.
PROFILE_KINDS: Mapping[str, str] = {kind: kind for kind in KINDS if kind not in ("e22", "rak3172")} | {"radio": "e22"}


def is_port(kind: str, port: str) -> bool:
    number = re.search(r":(\d+)$", port) if "://" in port else None
    return re.fullmatch(KINDS[kind].port, port) is not None and (number is None or 0 < int(number[1]) < 65_536)
