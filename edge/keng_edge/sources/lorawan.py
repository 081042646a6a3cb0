"""Uplinks as ChirpStack v4 tells of them, and the profiles of LoRaWAN devices. Pure.

ChirpStack publishes each uplink once, however many gateways heard it, as JSON on
``application/<id>/device/<devEui>/event/up``: ``deduplicationId``, ``time``, ``deviceInfo.devEui``, ``fPort``,
``data`` (base64), ``object`` (only with a codec), ``rxInfo`` with ``rssi`` and ``snr`` for each gateway. What has its
default may be absent. (ChirpStack v4, Integrations / Events.)

>>> event = b'{"deduplicationId": "a", "time": "2026-11-16T06:00:00.25Z", "deviceInfo": {"devEui": "A84041F15612C0DE"},'
>>> event += b' "fPort": 85, "data": "AXVkA4IeAA==", "rxInfo": [{"rssi": -97, "snr": 7.5}]}'
>>> uplink = read_uplink(event)
>>> uplink.dev_eui, uplink.time_ms, uplink.data.hex(" "), uplink.rssi
('a84041f15612c0de', 1794808800250, '01 75 64 03 82 1e 00', -97.0)
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import Field
from pydantic_core import from_json

from keng_contracts.names import Slug
from keng_contracts.telemetry import EARLIEST_MS, LATEST_MS
from keng_edge.pipeline.pipeline import Raw
from keng_edge.sources.payloads import Payload, decode
from keng_edge.sources.profiles import AnyProfile, Decoded, Scaled

#: Integers beyond this lose digits as a float: no measurement.
_GREATEST = 1 << 53
_NUMBER = re.compile(r"\s*(-?\d{1,15}(?:\.\d{1,15})?)(?:\s*[^\d\s.].{0,15})?", re.ASCII)
#: The quality of the radio, which every uplink has, by the names of its quantities.
RADIO = ("rssi", "snr")


class BadEvent(ValueError):
    """What came is no uplink that can be read."""


class Uplink(NamedTuple):
    """One uplink. ``rssi`` (dBm) and ``snr`` (dB) are of the gateway that heard it best."""

    id: str
    dev_eui: str
    time_ms: int | None
    port: int
    data: bytes
    object: Mapping[str, Any] | None
    rssi: float | None
    snr: float | None


class Field_(Scaled):
    """One number of a payload. ``field`` is its name there; unset: that of the quantity."""

    field: str = Field("", description="name in the decoder's output, or path in ``object`` such as soil.moisture")


class LorawanProfile(AnyProfile):
    """One model of LoRaWAN device. ``payload`` says who decodes: one of our decoders, or ChirpStack's codec."""

    kind: Literal["lorawan"] = "lorawan"
    payload: Payload | Literal["object"]
    ports: list[int] = Field([], description="fPorts that carry measurements; empty: every one")
    quantities: Mapping[Slug, Field_] = Field(min_length=1)

    def decode(self, uplink: Uplink) -> Decoded:
        """The quantities in an uplink, and what in it makes no sense. Whatever it holds, nothing is raised."""
        radio = {name: Raw(value) for name in RADIO if (value := getattr(uplink, name)) is not None}
        if not uplink.port or (self.ports and uplink.port not in self.ports):  # it says nothing of what it measures
            return Decoded(self._checked(radio, RADIO).values, [])
        found = _numbers(uplink.object or {}) if self.payload == "object" else decode(self.payload, uplink.data)
        checked = self._checked({**found.values, **radio}, ())
        faults = [*found.faults, *checked.faults]
        if self.payload == "object" and not uplink.object:
            faults.append("ChirpStack sent no 'object': its device profile needs a codec")
        return Decoded(checked.values, faults)

    def _checked(self, found: Mapping[str, Raw], only: tuple[str, ...]) -> Decoded:
        values: dict[str, Raw] = {}
        faults: list[str] = []
        for name, quantity in self.quantities.items():
            raw = found.get(quantity.field or name)
            if raw is None or (only and name not in only):
                continue
            if fault := quantity.fault(raw):
                faults.append(f"{name} {fault}")
            else:
                values[name] = raw
        return Decoded(values, faults)


def read_uplink(payload: bytes) -> Uplink:
    """Read an event ``up``; raises :class:`BadEvent` and nothing else, whatever the bytes."""
    try:
        event = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise BadEvent(f"not JSON: {error}") from None
    if not isinstance(event, dict):
        raise BadEvent("not a JSON object")
    device = event.get("deviceInfo")
    eui = device.get("devEui") if isinstance(device, dict) else None
    if not isinstance(eui, str) or not re.fullmatch(r"[0-9a-fA-F]{16}", eui, re.ASCII):
        raise BadEvent("it names no device (deviceInfo.devEui)")
    data = event.get("data", "")
    try:
        content = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        raise BadEvent("its data are not base64") from None
    port, name, objects = event.get("fPort", 0), event.get("deduplicationId", ""), event.get("object")
    heard = _best(event.get("rxInfo"))
    return Uplink(
        id=name if isinstance(name, str) else "",
        dev_eui=eui.lower(),
        time_ms=_time_ms(event.get("time")),
        port=port if type(port) is int and 0 <= port <= 255 else 0,
        data=content,
        object=objects if isinstance(objects, dict) else None,
        rssi=heard[0],
        snr=heard[1],
    )


def _best(receptions: Any) -> tuple[float | None, float | None]:
    """RSSI and SNR where it was heard best."""
    heard = [one for one in receptions if isinstance(one, dict)] if isinstance(receptions, list) else []
    pairs = [(rssi, _number(one.get("snr", 0))) for one in heard if (rssi := _number(one.get("rssi"))) is not None]
    return max(pairs, key=lambda pair: pair[0]) if pairs else (None, None)


def _time_ms(text: Any) -> int | None:
    """RFC 3339 in ms since 1970; None for what is no possible time."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        time_ms = round(moment.timestamp() * 1000) if moment.tzinfo else 0
    except (ValueError, OverflowError, OSError):
        return None
    return time_ms if EARLIEST_MS <= time_ms < LATEST_MS else None


def _numbers(objects: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Decoded:
    """The numbers of a decoded object by their path; codecs also write them as text with a unit ("1234 mm")."""
    values: dict[str, Raw] = {}
    for key, value in objects.items():
        if isinstance(value, dict) and depth < 8:
            values |= _numbers(value, f"{prefix}{key}.", depth + 1).values
        elif (number := _number(value)) is not None:
            values[f"{prefix}{key}"] = Raw(number)
    return Decoded(values, [])


def _number(value: Any) -> float | None:
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
        return float(match[1])
    if isinstance(value, int | float) and abs(value) < _GREATEST and math.isfinite(value):
        return float(value)
    return None
