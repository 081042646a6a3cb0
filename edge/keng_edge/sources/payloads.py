"""What LoRaWAN devices put into their payloads: pure functions from bytes to raw numbers.

Each decoder gives the numbers that it found, by field, as the device sends them (``Raw`` with its decimals, so 234 with
one decimal is 23.4), and what made no sense. Whatever the bytes, nothing is raised. Units and ranges are the profile's.

>>> decode("em500-udl", bytes.fromhex("01 75 64 03 82 1E 00")).values
{'battery': Raw(number=100, decimals=0), 'distance': Raw(number=30, decimals=0)}
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from keng_edge.pipeline.pipeline import Raw
from keng_edge.sources.profiles import Decoded

Payload = Literal["ldds75", "lse01", "em500-udl", "em500-smtc", "wts506", "cayenne-lpp"]


class _Item(NamedTuple):
    """How one number lies in its bytes: field, format of struct, decimals, and a factor before them."""

    field: str
    format: str
    decimals: int = 0
    factor: int = 1

    @property
    def size(self) -> int:
        return struct.calcsize(self.format)

    def raw(self, data: bytes) -> Raw:
        return Raw(struct.unpack(self.format, data[: self.size])[0] * self.factor, self.decimals)


class _Channel(NamedTuple):
    """What follows channel and type of a Milesight TLV: its whole length, and the number in its first bytes, if any."""

    size: int
    item: _Item | None = None


_BATTERY = {(0x01, 0x75): _Channel(1, _Item("battery", "<B"))}
#: What the maker's devices tell of themselves when they join; nothing to measure, but its length must be known.
_ATTRIBUTES = {
    (0xFF, 0x01): _Channel(1),
    (0xFF, 0x09): _Channel(2),
    (0xFF, 0x0A): _Channel(2),
    (0xFF, 0x0B): _Channel(1),
    (0xFF, 0x0F): _Channel(1),
    (0xFF, 0x16): _Channel(8),
    (0xFF, 0xFE): _Channel(1),
    (0xFF, 0xFF): _Channel(2),
}
_UDL = {**_ATTRIBUTES, **_BATTERY, (0x03, 0x82): _Channel(2, _Item("distance", "<H"))}
_SMTC = {
    **_ATTRIBUTES,
    **_BATTERY,
    (0x03, 0x67): _Channel(2, _Item("temperature", "<h", 1)),
    (0x04, 0x68): _Channel(1, _Item("moisture", "<B", 1, 5)),
    (0x05, 0x7F): _Channel(2, _Item("ec", "<H")),
}
_WTS = {
    **_ATTRIBUTES,
    **_BATTERY,
    (0x03, 0x67): _Channel(2, _Item("temperature", "<h", 1)),
    (0x04, 0x68): _Channel(1, _Item("humidity", "<B", 1, 5)),
    (0x05, 0x84): _Channel(2, _Item("wind-direction", "<H", 1)),
    (0x06, 0x73): _Channel(2, _Item("pressure", "<H", 1)),
    (0x07, 0x92): _Channel(2, _Item("wind-speed", "<H", 1)),
    (0x08, 0x77): _Channel(3, _Item("rain", "<H", 2)),  # and a byte that counts the phases of accumulation
}


def _milesight(channels: Mapping[tuple[int, int], _Channel]) -> Callable[[bytes], Decoded]:
    """Milesight's TLV: channel, type, little-endian data. A channel that is not known has no known length, so what
    follows it can't be read; what stands before it can."""

    def read(payload: bytes) -> Decoded:
        values: dict[str, Raw] = {}
        at = 0
        while at < len(payload):
            head = payload[at : at + 2]
            channel = channels.get((head[0], head[1])) if len(head) == 2 else None
            if channel is None:
                return Decoded(values, [f"unknown from byte {at} on: {payload[at : at + 8].hex(' ')}"])
            at += 2
            if at + channel.size > len(payload):
                return Decoded(values, [f"cut off at byte {at}"])
            if channel.item is not None:
                values[channel.item.field] = channel.item.raw(payload[at:])
            at += channel.size
        return Decoded(values, [])

    return read


def _ldds75(payload: bytes) -> Decoded:
    """Dragino LDDS75, big-endian: battery (mV, 14 bits), distance (mm), interrupt; the newer form adds a DS18B20's
    temperature (tenths of a degree) and whether the ultrasonic head is there."""
    if len(payload) not in (5, 8):
        return Decoded({}, [f"{len(payload)} bytes instead of 5 or 8"])
    battery, distance = struct.unpack(">HH", payload[:4])
    values = {"battery-voltage": Raw(battery & 0x3FFF)}
    if len(payload) == 8 and (found := struct.unpack(">h", payload[5:7])[0]) not in _NO_PROBE:
        values["temperature"] = Raw(found, 1)
    if distance == 0 or payload[7:] == b"\x00":
        return Decoded(values, ["the ultrasonic head is not there"])
    if distance <= _TOO_NEAR_MM:
        return Decoded(values, [f"distance {distance} mm is invalid: too near, or no echo"])
    return Decoded({**values, "distance": Raw(distance)}, [])


#: What Dragino's devices send in place of the temperature of a DS18B20 that is not plugged in.
_NO_PROBE = (0, 0x7FFF)
#: Distances below 20 mm mean "invalid", and firmware from 1.1.4 on writes 20 for all that is nearer than 280 mm.
_TOO_NEAR_MM = 20


def _lse01(payload: bytes) -> Decoded:
    """Dragino LSE01, 11 bytes big-endian: battery (mV), DS18B20 (tenths), water content (hundredths of a percent), soil
    temperature (hundredths), conductivity (µS/cm), flags. A DS18B20 is optional; without it the word is 0 or 0x7FFF."""
    if len(payload) != 11:
        return Decoded({}, [f"{len(payload)} bytes instead of 11"])
    battery, probe, moisture, temperature, ec, _flags = struct.unpack(">HhHhHB", payload)
    values = {
        "battery-voltage": Raw(battery & 0x3FFF),
        "moisture": Raw(moisture, 2),
        "temperature": Raw(temperature, 2),
        "ec": Raw(ec),
    }
    if probe not in _NO_PROBE:
        values["probe-temperature"] = Raw(probe, 1)
    return Decoded(values, [])


#: Cayenne LPP by type, big-endian (myDevices; types above 0x73 are later additions, with their sizes).
_LPP: dict[int, tuple[_Item, ...]] = {
    0x00: (_Item("digital-in", ">B"),),
    0x01: (_Item("digital-out", ">B"),),
    0x02: (_Item("analog-in", ">h", 2),),
    0x03: (_Item("analog-out", ">h", 2),),
    0x65: (_Item("illuminance", ">H"),),
    0x66: (_Item("presence", ">B"),),
    0x67: (_Item("temperature", ">h", 1),),
    0x68: (_Item("humidity", ">B", 1, 5),),
    0x71: (_Item("acceleration-x", ">h", 3), _Item("acceleration-y", ">h", 3), _Item("acceleration-z", ">h", 3)),
    0x73: (_Item("pressure", ">H", 1),),
    0x74: (_Item("voltage", ">H", 2),),
    0x82: (_Item("distance", ">I"),),
}


def _cayenne(payload: bytes) -> Decoded:
    """Cayenne LPP: channel, type, value. A field is named ``<kind>-<channel>``, e.g. ``temperature-3``."""
    values: dict[str, Raw] = {}
    at = 0
    while at < len(payload):
        head = payload[at : at + 2]
        items = _LPP.get(head[1]) if len(head) == 2 else None
        if items is None:
            return Decoded(values, [f"unknown from byte {at} on: {payload[at : at + 8].hex(' ')}"])
        at += 2
        if at + sum(item.size for item in items) > len(payload):
            return Decoded(values, [f"cut off at byte {at}"])
        for item in items:
            values[f"{item.field}-{head[0]}"] = item.raw(payload[at:])
            at += item.size
    return Decoded(values, [])


_DECODERS: dict[Payload, Callable[[bytes], Decoded]] = {
    "ldds75": _ldds75,
    "lse01": _lse01,
    "em500-udl": _milesight(_UDL),
    "em500-smtc": _milesight(_SMTC),
    "wts506": _milesight(_WTS),
    "cayenne-lpp": _cayenne,
}


def decode(payload: Payload, data: bytes) -> Decoded:
    """The numbers in ``data``, a device's payload of that kind."""
    if not data:
        return Decoded({}, ["an empty payload"])
    return _DECODERS[payload](data)
