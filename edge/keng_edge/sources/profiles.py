"""Profiles: what a model of sensor says in its registers, as data.

There is no common Modbus map, so each model has a TOML file: function code, registers, types, scale, unit and the
words by which it says "no value". :meth:`Profile.blocks` says what to ask, :meth:`Profile.decode` what the answer
means. Both are pure.

>>> rain = Profile(model="rain gauge", function=3, baud=9600, quantities={
...     "rain": Quantity(register=0, type="u16", scale=0.1, unit="mm", sentinels=[-9999])})
>>> rain.blocks()
[Block(register=0, length=1)]
>>> rain.decode({0: 0x0218})
Decoded(values={'rain': Raw(number=536, decimals=0)}, faults=[])
>>> rain.decode({0: 0xD8F1}).values["rain"].number
-9999
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from keng_contracts.names import Slug
from keng_edge.pipeline.pipeline import Raw

#: Most registers that one request may ask for (Modbus Application Protocol 1.1b3, section 6.3).
MAX_BLOCK = 125
#: More decimals than this are no setting of a gauge, they are a damaged or wrong register.
MAX_DECIMALS = 4

Type = Literal["i16", "u16", "i32", "u32", "f32"]
Parity = Literal["N", "E", "O"]
_FORMATS: dict[Type, str] = {"i16": ">h", "u16": ">H", "i32": ">i", "u32": ">I", "f32": ">f"}


class Block(NamedTuple):
    """Adjacent registers that are read by one request."""

    register: int
    length: int


class Decoded(NamedTuple):
    """The raw numbers of an answer by quantity, and what in it makes no sense. Good values survive bad neighbours."""

    values: dict[str, Raw]
    faults: list[str]


class Scaled(BaseModel):
    """How a raw number becomes a value: ``number × scale ÷ 10^decimals + offset``, in ``unit``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: FiniteFloat = 1.0
    offset: FiniteFloat = 0.0
    unit: str = Field(max_length=16, description="SenML or UCUM symbol of the series")
    sentinels: list[int] = Field([], description="numbers that mean 'no value', as the maker writes them")
    low: FiniteFloat | None = Field(None, description="least value that the sensor can measure, in ``unit``")
    high: FiniteFloat | None = Field(None, description="greatest value that it can measure, in ``unit``")

    wrap: int | None = Field(None, ge=256, description="a counter: it starts again from 0 after so many counts")
    fastest: FiniteFloat = Field(1800.0, gt=0, description="a counter: the most that it grows in an hour, in ``unit``")

    def fault(self, raw: Raw) -> str:
        """Why this number can't be a measurement of this sensor; empty when it can (or means 'no value')."""
        if not math.isfinite(raw.number):
            return "is not a number"
        if raw.number in self.sentinels:
            return ""
        value = raw.number * self.scale / 10**raw.decimals + self.offset
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            return f"is out of range: {value:g} {self.unit}"
        return ""


class AnyProfile(BaseModel):
    """What the profiles of all kinds of line have. ``baud`` and ``parity`` are as the model leaves the factory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    model: str
    baud: int = Field(9600, gt=0)
    parity: Parity = "N"
    quantities: Mapping[Slug, Scaled] = Field(min_length=1)

    def series(self, quantity: str, line: str) -> str:
        """The name of its series at the station, unless the settings give another; ``line`` is where it is heard."""
        return quantity


class Quantity(Scaled):
    """One number in the registers."""

    register_: int = Field(ge=0, le=0xFFFF, alias="register", description="address on the wire, counted from 0")
    type: Type = "u16"
    word_order: Literal["big", "little"] = Field("big", description="which word of a 32-bit number comes first")
    decimals_register: int | None = Field(None, ge=0, le=0xFFFF, description="register that holds the decimals")

    @property
    def words(self) -> int:
        return struct.calcsize(_FORMATS[self.type]) // 2

    def number(self, words: Mapping[int, int]) -> int | float:
        """The number in the registers; a sentinel in unsigned registers comes back as the maker writes it (-9999)."""
        own = [words[self.register_ + i] for i in range(self.words)]
        if self.word_order == "little":
            own.reverse()
        packed = struct.pack(f">{len(own)}H", *own)
        number: int | float = struct.unpack(_FORMATS[self.type], packed)[0]
        if isinstance(number, float):
            return float(f"{number:.7g}")  # a 32-bit float has 7 digits; the rest is noise of the conversion
        span = 1 << 16 * self.words
        return next((s for s in self.sentinels if s % span == number % span), number)


class Profile(AnyProfile):
    """One model of Modbus sensor."""

    kind: Literal["modbus"] = "modbus"
    function: Literal[3, 4] = Field(description="3: holding registers, 4: input registers")
    baud: int = Field(gt=0)
    max_gap: int = Field(0, ge=0, description="registers of no use that may be read to save a request")
    quantities: Mapping[Slug, Quantity] = Field(min_length=1)

    def blocks(self) -> list[Block]:
        """The fewest requests that read every register that is needed, in rising order."""
        needed = {q.register_ + i for q in self.quantities.values() for i in range(q.words)}
        needed |= {q.decimals_register for q in self.quantities.values() if q.decimals_register is not None}
        blocks: list[Block] = []
        for register in sorted(needed):
            if blocks:
                first, length = blocks[-1]
                if register - (first + length) <= self.max_gap and register - first < MAX_BLOCK:
                    blocks[-1] = Block(first, register - first + 1)
                    continue
            blocks.append(Block(register, 1))
        return blocks

    def decode(self, words: Mapping[int, int]) -> Decoded:
        """The numbers in ``words`` (register address → 16 bits). Whatever they hold, nothing is raised."""
        values: dict[str, Raw] = {}
        faults: list[str] = []
        for name, quantity in self.quantities.items():
            number = quantity.number(words)
            decimals = 0 if quantity.decimals_register is None else words[quantity.decimals_register]
            if decimals > MAX_DECIMALS:
                faults.append(f"{name}: register {quantity.decimals_register} says {decimals} decimals")
            elif fault := quantity.fault(Raw(number, decimals)):
                faults.append(f"{name} {fault}")
            else:
                values[name] = Raw(number, decimals)
        return Decoded(values, faults)
