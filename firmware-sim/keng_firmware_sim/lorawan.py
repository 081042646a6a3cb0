"""LoRaWAN devices as ChirpStack v4 tells of them: values in, payload and event out, byte for byte. Pure.

Payloads are as their makers document them: Milesight's TLV is little-endian, Dragino's and Cayenne LPP are big-endian.

>>> payload("em500-udl", {"distance": 0.03}.__getitem__)[0].hex(" ")
'01 75 64 03 82 1e 00'
"""

from __future__ import annotations

import base64
import json
import math
import struct
import uuid
from datetime import UTC, datetime
from typing import Literal

from keng_firmware_sim.faults import Read

PayloadKind = Literal["ldds75", "ldds75-new", "lse01", "em500-udl", "em500-smtc", "wts506", "cayenne-lpp"]

#: The application's id in the simulated ChirpStack.
APPLICATION = "8f2b6f0e-0c2c-4d0e-9b5d-6a3f0d3b7c11"
GATEWAY = "a84041ffff1e2d3c"
#: Milesight's devices speak on 85, Dragino's on 2.
_PORT: dict[PayloadKind, int] = {"ldds75": 2, "ldds75-new": 2, "lse01": 2, "cayenne-lpp": 1}
_BATTERY_MV = 3400

#: Devices that have a word for 'no value'.
WITH_MISSING: frozenset[PayloadKind] = frozenset({"ldds75", "ldds75-new"})


def measured(kind: PayloadKind) -> tuple[str, ...]:
    """The quantities of a device."""
    return tuple(payload(kind, lambda quantity: 1.0)[1])


def payload(kind: PayloadKind, read: Read) -> tuple[bytes, dict[str, float]]:
    """What a device of this kind sends, and the values that it holds then, by quantity."""
    told: dict[str, float] = {}

    def number(quantity: str, step: float, low: int, high: int) -> int:
        """The number on the air for a quantity; out of range it stops at the end, as an instrument does. No value is 0,
        as Dragino's LDDS75 has it."""
        if math.isnan(read(quantity)):
            return 0
        counted = min(max(round(read(quantity) / step), low), high)
        told[quantity] = round(counted * step, 6)
        return counted

    def u16(quantity: str, step: float) -> int:
        return number(quantity, step, 0, 0xFFFF)

    def i16(quantity: str, step: float) -> int:
        return number(quantity, step, -0x8000, 0x7FFF)

    match kind:
        case "ldds75":
            data = struct.pack(">HHB", _BATTERY_MV, u16("distance", 0.001), 0)
        case "ldds75-new":
            distance = u16("distance", 0.001)
            data = struct.pack(">HHBhB", _BATTERY_MV, distance, 0, i16("air-temperature", 0.1), 1)
        case "lse01":
            moisture, temperature = u16("soil-moisture", 0.01), i16("soil-temperature", 0.01)
            data = struct.pack(">HhHhHB", _BATTERY_MV, 0, moisture, temperature, u16("soil-ec", 0.001), 0x10)
        case "em500-udl":
            data = b"\x01\x75\x64" + struct.pack("<BBH", 0x03, 0x82, u16("distance", 0.001))
        case "em500-smtc":
            data = b"\x01\x75\x64" + struct.pack("<BBh", 0x03, 0x67, i16("soil-temperature", 0.1))
            data += struct.pack("<BBB", 0x04, 0x68, number("soil-moisture", 0.5, 0, 0xFF))
            data += struct.pack("<BBH", 0x05, 0x7F, u16("soil-ec", 0.001))
        case "wts506":
            data = b"\x01\x75\x64" + struct.pack("<BBh", 0x03, 0x67, i16("air-temperature", 0.1))
            data += struct.pack("<BBB", 0x04, 0x68, number("air-humidity", 0.5, 0, 0xFF))
            data += struct.pack("<BBH", 0x05, 0x84, u16("wind-direction", 0.1))
            data += struct.pack("<BBH", 0x06, 0x73, u16("air-pressure", 0.1))
            data += struct.pack("<BBH", 0x07, 0x92, u16("wind-speed", 0.1))
            data += struct.pack("<BBHB", 0x08, 0x77, u16("rain", 0.01), 1)
        case "cayenne-lpp":
            data = struct.pack(">BBI", 1, 0x82, number("distance", 0.001, 0, 0xFFFFFFFF))
            data += struct.pack(">BBh", 2, 0x67, i16("air-temperature", 0.1))
            data += struct.pack(">BBB", 3, 0x68, number("air-humidity", 0.5, 0, 0xFF))
            data += struct.pack(">BBH", 4, 0x73, u16("air-pressure", 0.1))
            data += struct.pack(">BBh", 5, 0x02, _BATTERY_MV // 10)
    return data, told


def event(dev_eui: str, name: str, kind: PayloadKind, data: bytes, count: int, wall_ms: int) -> bytes:
    """ChirpStack v4's event ``up``, as its MQTT integration marshals it in JSON. What has its default is left out."""
    time = datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds")
    document = {
        "deduplicationId": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{dev_eui}/{count}/{wall_ms}")),
        "time": time,
        "deviceInfo": {
            "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
            "tenantName": "Kẻng",
            "applicationId": APPLICATION,
            "applicationName": "quang-tho",
            "deviceProfileName": kind,
            "deviceName": name,
            "devEui": dev_eui,
        },
        "devAddr": "01" + dev_eui[-6:],
        "adr": True,
        "dr": 4,
        "fCnt": count,
        "fPort": _PORT.get(kind, 85),
        "data": base64.b64encode(data).decode(),
        "rxInfo": [
            {
                "gatewayId": GATEWAY,
                "uplinkId": (count * 7919 + 1) % 0xFFFFFFFF,
                "nsTime": time,
                "rssi": -92 - count % 11,
                "snr": 8.5 - count % 5,
                "channel": 2,
                "context": "EFwMtA==",
                "crcStatus": "CRC_OK",
            }
        ],
        "txInfo": {
            "frequency": 923_200_000,
            "modulation": {"lora": {"bandwidth": 125_000, "spreadingFactor": 8, "codeRate": "CR_4_5"}},
        },
    }
    if count == 0:  # protobuf's JSON leaves defaults out
        del document["fCnt"]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
