"""An installation: which sensors hang on which line, and the models that they are. All of it is data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keng_contracts.errors import Problem
from keng_firmware_sim import files
from keng_firmware_sim.lorawan import PayloadKind

#: One name that is a file's name, an argument and a key at once.
_NAME = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Register(_Strict):
    """One register: a quantity of the world, scaled; or a fixed word."""

    at: int = Field(ge=0, le=0xFFFF, description="address in the frame, counted from 0")
    name: str
    word: int | Literal["address", "baud-code", "count"] | None = None
    quantity: str | None = None
    unit: str = ""
    type: Literal["i16", "u16", "u32-low", "u32-high"] = Field(
        "u16", description="u32-low and u32-high are the words of one 32-bit number, in neighbouring registers"
    )
    scale: float = Field(1.0, gt=0, description="what one step of the register means")
    counter: bool = Field(False, description="counts whole steps, wraps at 65536, starts from 0 at power-on")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.word is None) == (self.quantity is None):
            raise ValueError(f"{self.name}: either a word or a quantity")
        return self

    def encode(self, value: float) -> int:
        """The word for a value in the register's unit. Out of range it stops at the end, as an instrument does.

        >>> Register(at=4, name="level", quantity="level", type="i16", scale=0.001).encode(-0.012)
        65524
        """
        if self.type.startswith("u32"):
            number = int(max(0.0, value) / self.scale + 1e-6) % 0x1_0000_0000
            return number >> 16 if self.type == "u32-high" else number & 0xFFFF
        if self.counter:
            return int(value / self.scale + 1e-6) % 0x10000
        low, high = (-0x8000, 0x7FFF) if self.type == "i16" else (0, 0xFFFF)
        return min(max(round(value / self.scale), low), high) & 0xFFFF

    def decode(self, word: int) -> float:
        """The value that a word (or the two of a 32-bit number) stands for, without the noise of binary fractions."""
        if self.type == "i16" and word >= 0x8000:
            word -= 0x10000
        return round(word * self.scale, 6)


class Model(_Strict):
    """A kind of sensor."""

    model: str
    title: str
    source: str = Field(description="where the table of registers comes from")
    function: Literal[3, 4]
    baud_codes: list[int] = []
    missing: int | None = Field(None, ge=0, le=0xFFFF, description="the word for 'no value'")
    registers: list[Register]

    @property
    def measured(self) -> list[Register]:
        return [register for register in self.registers if register.quantity is not None]


class SlaveSpec(_Strict):
    address: int = Field(ge=1, le=247)
    name: str = Field(pattern=_NAME, description="the name by which faults are ordered")
    model: str
    baud: int | None = Field(
        None, ge=300, le=4_000_000, description="its own speed, where it can't be set to the line's"
    )


class BusSpec(_Strict):
    """One RS-485 line, a port of that name. Frames are 8N1."""

    name: str = Field(pattern=_NAME)
    baud: int = Field(ge=300, le=4_000_000)
    slaves: list[SlaveSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        addresses = [slave.address for slave in self.slaves]
        if len(set(addresses)) < len(addresses):
            raise ValueError(f"{self.name}: two slaves have one address")
        return self


class RadioSpec(_Strict):
    """One LoRaWAN device. It speaks when its time has come, every ``interval_s``."""

    name: str = Field(pattern=_NAME)
    dev_eui: str = Field(pattern=r"^[0-9a-f]{16}$")
    model: PayloadKind
    interval_s: float = Field(600.0, ge=0.05)


class LineSensorSpec(_Strict):
    name: str = Field(pattern=_NAME)
    address: str = Field("0", pattern=r"^[0-9A-Za-z]{1,5}$", description="of SDI-12, or the number of a LoRa node")
    key: str = Field(
        "00" * 16, pattern=r"^[0-9a-f]{32}$", description="of a LoRa node: no secret, it is a simulated one"
    )


#: Lines whose sensors stand behind a radio module, which can fail by itself.
RADIO_LINES = ("e22", "rak3172")


class LineSpec(_Strict):
    """One line that is not Modbus, a port of that name. ``interval_s`` is how often its sensors speak unasked."""

    name: str = Field(pattern=_NAME)
    kind: Literal["text", "sdi12", "e22", "rak3172"]
    baud: int = Field(9600, ge=300, le=4_000_000)
    interval_s: float = Field(1.0, ge=0.05)
    sensors: list[LineSensorSpec] = Field(min_length=1)


class Installation(_Strict):
    schema_: Literal["keng.installation/1"] = Field(alias="schema")
    title: str = ""
    buses: list[BusSpec] = []
    lorawan: list[RadioSpec] = []
    lines: list[LineSpec] = []

    @model_validator(mode="after")
    def _names(self) -> Self:
        for what, names in (
            ("bus", [bus.name for bus in self.buses] + [line.name for line in self.lines]),
            (
                "sensor",  # faults are ordered by these names
                [slave.name for bus in self.buses for slave in bus.slaves]
                + [device.name for device in self.lorawan]
                + [sensor.name for line in self.lines for sensor in line.sensors]
                + [line.name for line in self.lines if line.kind in RADIO_LINES],
            ),
            ("DevEUI", [device.dev_eui for device in self.lorawan]),
        ):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{what} {', '.join(sorted(twice))} is there twice")
        if not self.buses and not self.lorawan and not self.lines:
            raise ValueError("there is neither a bus nor another line nor a LoRaWAN device")
        return self


def models() -> dict[str, Model]:
    """Every model that comes with the package, by its own name."""
    found = (files.load(Model, "models", name) for name in files.names("models"))
    return {model.model: model for model in found}


def model_of(slave: SlaveSpec, known: Mapping[str, Model]) -> Model:
    """The model of a slave; raises :class:`Problem` with those that there are."""
    if slave.model not in known:
        raise Problem(
            f"there is no model {slave.model!r}", where=slave.name, todo=f"take one of {', '.join(sorted(known))}"
        )
    return known[slave.model]
