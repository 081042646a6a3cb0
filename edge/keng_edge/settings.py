"""Settings of the edge agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from pydantic_settings import SettingsConfigDict

from keng_contracts.names import Slug
from keng_edge.kinds import KINDS, is_port
from keng_edge.profiles import Parity
from keng_runtime.settings import ServiceSettings, sample_toml


class SlaveSettings(BaseModel):
    """One sensor on a line."""

    model_config = ConfigDict(extra="forbid")

    id: Slug = Field(description="name of this sensor in status and log", examples=["muc-nuoc"])
    profile: Slug = Field(description="model: a file in profiles/ without .toml", examples=["qdy30a"])
    address: int | str | None = Field(
        None, description="Modbus address; of SDI-12 a character, of a radio node its number", examples=[1]
    )
    station: Slug = Field(description="station in the registry at which it measures", examples=["phu-oc"])
    interval_s: float = Field(60.0, ge=0.05, le=86_400, description="seconds between two readings", examples=[10.0])
    alarm: bool = Field(
        False,
        description="true: an alert depends on it; each reading is synced to disk and sent at once",
        examples=[True],
    )
    series: dict[str, Slug] = Field(
        {}, description='other names for its quantities in the registry, e.g. { level = "level-2" }'
    )
    offset: dict[str, FiniteFloat] = Field(
        {}, description="added to a quantity, in its unit, e.g. { level = 0.12 } for a gauge whose zero lies 12 cm up"
    )


#: Each has its row in ``kinds``.
KindName = Literal["modbus", "lorawan", "text", "sdi12", "machine"]


class BusSettings(BaseModel):
    """One line with the sensors on it."""

    model_config = ConfigDict(extra="forbid")

    id: Slug = Field(description="name of this line", examples=["bus-song"])
    kind: KindName = Field("modbus", description="what is spoken on it: modbus, lorawan, text, sdi12, machine")
    port: str = Field(
        description="serial port; its path by id stays the same whichever socket the adapter is in. "
        "A serial device server is socket://HOST:PORT, a Modbus TCP server tcp://HOST:PORT, ChirpStack's broker "
        "mqtt://HOST:PORT or mqtts://HOST:PORT, and for kind machine it is /",
        examples=["/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10K3FSO-if00-port0"],
    )
    baud: int | None = Field(
        None,
        ge=300,
        le=4_000_000,
        description="speed of the line; unset: each sensor as it leaves the factory",
        examples=[9600],
    )
    parity: Parity | None = Field(
        None, description="N, E or O; unset: as its sensors leave the factory, N where they differ", examples=["N"]
    )
    timeout_s: float | None = Field(
        None, gt=0, le=30, description="wait for an answer; unset: from the speed and the answer's length, plus 0.3 s"
    )
    username: str | None = Field(None, description="lorawan: name at ChirpStack's broker; unset: as anybody")
    password_file: Path | None = Field(None, description="lorawan: file with the password, and nothing else")
    ca: Path | None = Field(
        None, description="lorawan: certificate of the authority behind mqtts://; unset: the system's authorities"
    )
    application: str | None = Field(
        None, pattern=r"^[0-9A-Za-z-]+$", description="lorawan: id of the application in ChirpStack; unset: all"
    )
    slaves: list[SlaveSettings] = Field(default=[], description="the sensors")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if not is_port(self.kind, self.port):
            raise ValueError(f"port: {self.port!r} is {KINDS[self.kind].not_port}")
        for slave in self.slaves:
            try:
                slave.address = KINDS[self.kind].address(slave.address)
            except ValueError as error:
                raise ValueError(f"{slave.id}: {error}") from None
        return self


class EdgeSettings(ServiceSettings):
    """Settings of keng-edge."""

    model_config = SettingsConfigDict(env_prefix="KENG_EDGE_")

    commune: Slug = Field("quang-tho", description="the commune, as in its registry")
    commit_every_s: float = Field(
        2.0, gt=0, le=60, description="readings are gathered that long, then committed together (SD cards wear out)"
    )
    commit_readings: int = Field(200, ge=1, le=5000, description="or until that many have come")
    sync_every_s: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="a power cut costs at most that much telemetry; alarm readings are synced at once",
    )
    outbox_max_mb: float = Field(
        250.0, ge=0.25, description="most that the outbox may hold; then the oldest telemetry is dropped, and counted"
    )
    outbox_max_days: float = Field(
        90.0, ge=1, le=3650, description="what could not be sent for as long is dropped, and counted"
    )
    receipt_timeout_s: float = Field(20.0, gt=0, description="a pack that is not receipted by then is sent again")
    profiles: Path | None = Field(
        None, description="folder with profiles of your own; they come before the shipped ones"
    )
    buses: list[BusSettings] = Field(default=[], description="the lines")

    @model_validator(mode="after")
    def _names_exist_once(self) -> Self:
        _unique("line", [bus.id for bus in self.buses])
        _unique("port", [bus.port for bus in self.buses])
        _unique("sensor", [slave.id for bus in self.buses for slave in bus.slaves])
        for bus in self.buses:
            _unique(f"{bus.id}: address", [slave.address for slave in bus.slaves if slave.address is not None])
        return self

    @property
    def outbox(self) -> Path:
        return self.state / "edge-outbox.db"


def _unique(what: str, names: Sequence[str | int]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is there twice")


#: What follows the first sensor of the first line in sample.toml.
_MORE = """
[[buses.slaves]]
id = "mua"
profile = "xm9505"
address = 2
station = "phu-oc"
interval_s = 60.0

[[buses]]
id = "bus-dong"
port = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_B20M7QWE-if00-port0"
baud = 4800
parity = "N"

[[buses.slaves]]
id = "dat"
profile = "soil-7in1-a"
address = 1
station = "phuoc-yen"
interval_s = 600.0

[[buses.slaves]]
id = "khong-khi"
profile = "pm-delta-ohm"
address = 3
station = "uy-ban"
interval_s = 60.0
"""


def sample() -> str:
    """sample.toml: every setting, and the installation of the sample commune."""
    return (
        sample_toml(EdgeSettings, "keng-edge: the agent beside the sensors, here trạm Phú Ốc of xã Quảng Thọ") + _MORE
    )
