"""Text lines of a sensor on a UART: NMEA 0183, ``key=value`` pairs, columns. Pure.

A profile declares where the numbers stand, as fields and keys. It has no regular expressions: whatever a line holds,
and whoever wrote the profile, reading it takes time in proportion to its length.

>>> wind = TextProfile(kind="text", form="nmea", model="x", begins="$WIMWV", require={"5": "A"},
...     quantities={"wind-speed": TextQuantity(field=3, unit="m/s", low=0, high=75)})
>>> wind.decode(b"$WIMWV,214.8,R,0.1,M,A*2E")
Decoded(values={'wind-speed': Raw(number=1, decimals=1)}, faults=[])
>>> wind.decode(b"$WIMWV,214.8,R,9.1,M,A*28").faults
['a damaged line: its check sum is not 28']
>>> wind.decode(b"$GPGGA,,") is None
True
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from keng_contracts.names import Slug
from keng_edge.pipeline.pipeline import Raw
from keng_edge.sources.profiles import AnyProfile, Decoded, Scaled

#: A longer line is noise (NMEA 0183 has 82 characters; sensors with key=value lines reach 150).
MAX_LINE = 256
#: At most nine digits before and six behind the point: what a float keeps exactly, and no exponent.
_NUMBER = re.compile(r"([+-]?)(\d{1,9})(?:\.(\d{0,6}))?", re.ASCII)


class TextQuantity(Scaled):
    """One number in a line."""

    field: int | str = Field(description="column from 0 (nmea, csv; the sentence's name is 0), or the key")
    prefix: str = Field("", max_length=16, description="stands before the number, e.g. R in R1234")
    suffix: str = Field("", max_length=16, description="stands behind it, e.g. its unit")


class TextProfile(AnyProfile):
    """One model of sensor that writes lines."""

    kind: Literal["text"]
    form: Literal["nmea", "key-value", "csv"]
    begins: str = Field("", max_length=32, description="what its lines begin with; others are another's")
    delimiter: str = Field(",", min_length=1, max_length=1, description="between columns or pairs")
    equals: str = Field("=", min_length=1, max_length=1, description="between key and value")
    columns: int | None = Field(None, ge=1, le=64, description="how many there must be")
    checksum: Literal["none", "xor"] = Field("none", description="xor: *HH at the end, always with nmea")
    require: Mapping[str, str] = Field({}, description="what must stand in other fields, e.g. A for valid")
    quantities: Mapping[Slug, TextQuantity] = Field(min_length=1)

    @model_validator(mode="after")
    def _fields_fit_the_form(self) -> Self:
        kind = str if self.form == "key-value" else int
        for name, quantity in self.quantities.items():
            if not isinstance(quantity.field, kind):
                raise ValueError(f"{name}: field must be a {'key' if kind is str else 'column'}")
        return self

    def decode(self, line: bytes) -> Decoded | None:
        """The numbers of one line without its end; None when it is not one of this sensor's. Raises nothing."""
        text = line.decode("ascii", "replace").strip()
        if not text.startswith(self.begins):
            return None
        if self.form == "nmea" or self.checksum == "xor":
            text, star, said = text.rpartition("*")
            if not star or not (said.isalnum() and said.isascii() and said.upper() == _xor(text.lstrip("$!"))):
                return Decoded({}, [f"a damaged line: its check sum is not {said[:4]}"])
        fields = self._fields(text)
        if self.columns is not None and len(fields) != self.columns:
            return Decoded({}, [f"a damaged line: {len(fields)} columns instead of {self.columns}"])
        for key, value in self.require.items():
            if fields.get(key) != value:
                return Decoded({}, [f"it says itself that it has no valid value: field {key} is not {value!r}"])
        values: dict[str, Raw] = {}
        faults: list[str] = []
        for name, quantity in self.quantities.items():
            raw = _raw(fields.get(str(quantity.field), ""), quantity)
            if raw is None:
                faults.append(f"a damaged line: {name} is not a number")
            elif fault := quantity.fault(raw):
                faults.append(f"{name} {fault}")
            else:
                values[name] = raw
        return Decoded(values, faults)

    def _fields(self, text: str) -> dict[str, str]:
        parts = [part.strip() for part in text.split(self.delimiter)]
        if self.form != "key-value":
            return {str(column): part for column, part in enumerate(parts)}
        pairs = (part.partition(self.equals) for part in parts)
        return {key.strip(): value.strip() for key, _, value in pairs}


def _raw(text: str, quantity: TextQuantity) -> Raw | None:
    if not (text.startswith(quantity.prefix) and text.endswith(quantity.suffix)):
        return None
    number = _NUMBER.fullmatch(text[len(quantity.prefix) : len(text) - len(quantity.suffix)].strip())
    if number is None:
        return None
    sign, whole, part = number.groups(default="")
    part = part.rstrip("0")  # -9999.0 is the sentinel -9999
    return Raw(int(f"{sign}{whole}{part}"), len(part))


def _xor(text: str) -> str:
    """The check sum of NMEA 0183: all characters between $ and *, exclusive or."""
    value = 0
    for byte in text.encode("latin-1", "replace"):
        value ^= byte
    return f"{value:02X}"


class Lines:
    """Cuts what is heard into lines. One without end is dropped and counted, and costs no memory."""

    def __init__(self, longest: int = MAX_LINE, *, mid_line: bool = True) -> None:
        """``mid_line``: what is heard first may be the tail of a line, and is left out."""
        self._rest = bytearray()
        self._longest = longest
        self._skipping = mid_line

    def feed(self, data: bytes) -> tuple[list[bytes], int]:
        """The lines that ``data`` completes, and how many were too long."""
        lines: list[bytes] = []
        dropped = 0
        for piece in re.split(rb"([\r\n])", data):
            if piece in (b"\r", b"\n"):
                if self._rest and not self._skipping:
                    lines.append(bytes(self._rest))
                self._rest.clear()
                self._skipping = False
            elif not self._skipping:
                self._rest += piece
                if len(self._rest) > self._longest:
                    self._rest.clear()
                    self._skipping = True
                    dropped += 1
        return lines, dropped
