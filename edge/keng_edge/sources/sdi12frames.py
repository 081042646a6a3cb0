"""SDI-12: commands and answers. Pure. After "SDI-12, a serial-digital interface standard", version 1.4.

>>> crc(b"0+3.14")
b'OqZ'
>>> answer(b"0D0!0+3.14OqZ\\r\\n", "0", checked=True)
'+3.14'
>>> numbers("+3.14-0.5")
[Raw(number=314, decimals=2), Raw(number=-5, decimals=1)]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import Field

from keng_contracts.names import Slug
from keng_edge.pipeline.pipeline import Raw
from keng_edge.sources.profiles import AnyProfile, Decoded, Parity, Scaled

#: Longest answer: 75 characters of values (section 4.4.8), address, check sum and end.
MAX_ANSWER = 81
#: A value has a sign, and at most seven digits with or without a point (table 12).
_VALUE = re.compile(r"([+-])(\d{0,7})(?:\.(\d{0,7}))?", re.ASCII)


class Sdi12Quantity(Scaled):
    """One of the values of a measurement."""

    value: int = Field(ge=1, le=99, description="which of the values, counted from 1")


class Sdi12Profile(AnyProfile):
    """One model of SDI-12 sensor."""

    kind: Literal["sdi12"]
    baud: int = Field(1200, gt=0)
    parity: Parity = "E"
    command: str = Field("CC", pattern="^[MC]C?[1-9]?$", description="M, C, MC, CC (with check sum), with its number")
    quantities: Mapping[Slug, Sdi12Quantity] = Field(min_length=1)

    @property
    def concurrent(self) -> bool:
        return self.command.startswith("C")

    @property
    def checked(self) -> bool:
        return "C" in self.command[1:]

    def decode(self, values: list[Raw]) -> Decoded:
        """The quantities among the values. Whatever they are, nothing is raised."""
        found: dict[str, Raw] = {}
        faults: list[str] = []
        for name, quantity in self.quantities.items():
            if quantity.value > len(values):
                faults.append(f"{name}: it has {len(values)} values, not {quantity.value}")
            elif fault := quantity.fault(values[quantity.value - 1]):
                faults.append(f"{name} {fault}")
            else:
                found[name] = values[quantity.value - 1]
        return Decoded(found, faults)


class Promise(NamedTuple):
    """The answer to a start of measurement: so many values, in so many seconds."""

    seconds: int
    values: int


def crc(data: bytes) -> bytes:
    """The check sum as three characters: CRC-16 with polynomial 0xA001 from 0 (section 4.4.12)."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return bytes((0x40 | value >> 12, 0x40 | value >> 6 & 0x3F, 0x40 | value & 0x3F))


def answer(heard: bytes, address: str, *, checked: bool = False) -> str | None:
    """What the sensor at ``address`` said, without address, check sum and end; None when there is no whole answer.

    An adapter may echo the command, and the break before it reads as a zero byte; bit 7 is parity where the adapter
    passes it on. An answer that is damaged is none.
    """
    for line in bytes(byte & 0x7F for byte in heard).split(b"\r\n")[:-1]:
        body = line.rpartition(b"!")[2].lstrip(b"\x00\x7f")
        if not body.startswith(address.encode()):
            continue
        if checked and len(body) >= 4:  # an answer without values carries a check sum too
            body, said = body[:-3], body[-3:]
            if crc(body) != said:
                continue
        elif checked:
            continue
        return body[1:].decode("ascii")
    return None


def promise(text: str, *, concurrent: bool) -> Promise | None:
    """Read ``tttn`` (M) or ``tttnn`` (C)."""
    if not re.fullmatch(r"\d{5}" if concurrent else r"\d{4}", text, re.ASCII):
        return None
    return Promise(int(text[:3]), int(text[3:]))


def numbers(text: str) -> list[Raw] | None:
    """The values of an answer to D0 to D9; None for what is no row of values."""
    values: list[Raw] = []
    at = 0
    while at < len(text):
        value = _VALUE.match(text, at)
        if value is None or not 1 <= len(value[2]) + len(value[3] or "") <= 7:
            return None
        part = (value[3] or "").rstrip("0")
        values.append(Raw(int(f"{value[1]}{value[2]}{part}" if value[2] + part else "0"), len(part)))
        at = value.end()
    return values
