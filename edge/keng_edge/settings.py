"""Settings of the edge agent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, model_validator
from pydantic_settings import SettingsConfigDict

from keng_contracts.names import Slug
from keng_edge.sources.kinds import KINDS, is_port
from keng_edge.sources.profiles import Parity
from keng_runtime.settings import ServiceSettings, sample_toml


class Calibration(BaseModel):
    """An offset that a calibration found, and the day (UTC) from which it counts."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: date = Field(alias="from")
    offset: FiniteFloat

    @property
    def from_ms(self) -> int:
        return (self.from_ - date(1970, 1, 1)).days * 86_400_000


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
    calibration: dict[str, list[Calibration]] = Field(
        {},
        description="what calibrations found, each added from its day on instead of the one before, "
        "e.g. { level = [{ from = 2026-03-01, offset = 0.03 }] }",
    )
    average_s: dict[str, PositiveFloat] = Field(
        {}, description="tell the mean of so many seconds, e.g. { pm2-5 = 600 }; not for a sensor with an alarm"
    )
    dead_band: dict[str, PositiveFloat] = Field(
        {}, description="tell only what differs by at least that much from what was told last; not with an alarm"
    )
    heartbeat_s: float = Field(
        3600.0, gt=0, description="what stays within its dead band is told that often all the same"
    )
    thresholds: dict[str, list[FiniteFloat]] = Field(
        {}, description="levels at which somebody has to act, in the unit; makes it a sensor with an alarm"
    )
    near: dict[str, PositiveFloat] = Field({}, description="within so much of a threshold it is read faster")
    rate_per_h: dict[str, PositiveFloat] = Field(
        {}, description="a change of so much in an hour makes it read faster; makes it a sensor with an alarm"
    )
    fast_interval_s: float | None = Field(
        None, ge=0.05, le=86_400, description="seconds between two readings then; unset: a quarter of interval_s"
    )

    @property
    def relevant(self) -> bool:
        """Whether an alert depends on it."""
        return self.alarm or bool(self.thresholds) or bool(self.rate_per_h)

    @model_validator(mode="after")
    def _an_alarm_is_told_whole(self) -> Self:
        if self.relevant and (self.average_s or self.dead_band):
            raise ValueError("average_s and dead_band keep readings back: they are not for a sensor with an alarm")
        for quantity in self.near:
            if quantity not in self.thresholds:
                raise ValueError(f"near: {quantity} has no thresholds")
        return self


#: Each has its row in ``kinds``.
KindName = Literal["modbus", "lorawan", "text", "sdi12", "e22", "rak3172", "machine"]


class BusSettings(BaseModel):
    """One line with the sensors on it."""

    model_config = ConfigDict(extra="forbid")

    id: Slug = Field(description="name of this line", examples=["bus-song"])
    kind: KindName = Field("modbus", description=f"what is spoken on it: {', '.join(KINDS)}")
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
    rssi_byte: bool = Field(False, description="e22: it is configured to add a byte with the signal's strength")
    radio: str = Field(
        "923200000:9:125:0:8:14",
        pattern=r"^\d{9}:\d{1,2}:\d{1,3}:[0-3]:\d{1,5}:\d{1,2}$",
        description="rak3172: frequency in Hz, spreading factor, bandwidth in kHz, coding rate, preamble, power in dBm",
    )
    slaves: list[SlaveSettings] = Field(default=[], description="the sensors")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if not is_port(self.kind, self.port):
            raise ValueError(f"port: {self.port!r} is {KINDS[self.kind].not_port}")
        for position, slave in enumerate(self.slaves):
            try:
                slave.address = KINDS[self.kind].address(slave.address)
            except ValueError as error:
                raise ValueError(f"slaves.{position}.address: {slave.id}: {error}") from None
        return self


class EdgeSettings(ServiceSettings):
    """Settings of keng-edge."""

    model_config = SettingsConfigDict(env_prefix="KENG_EDGE_")

    state: Path = Field(Path("/var/lib/keng-edge"), description="folder for what must survive a restart")
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
    trial_s: float = Field(
        60.0, gt=0, description="settings read anew by command are taken back unless ingest is reached in that time"
    )
    profiles: Path | None = Field(
        None, description="folder with profiles of your own; they come before the shipped ones"
    )
    buses: list[BusSettings] = Field(default=[], description="the lines")

    @model_validator(mode="after")
    def _names_exist_once(self) -> Self:
        buses = [(f"buses.{number}", bus) for number, bus in enumerate(self.buses)]
        slaves = [(f"{at}.slaves.{number}", slave) for at, bus in buses for number, slave in enumerate(bus.slaves)]
        _unique("line", [(f"{at}.id", bus.id) for at, bus in buses])
        _unique("port", [(f"{at}.port", bus.port) for at, bus in buses])
        _unique("sensor", [(f"{at}.id", slave.id) for at, slave in slaves])
        for at, bus in buses:
            own = [(f"{at}.slaves.{number}.address", slave.address) for number, slave in enumerate(bus.slaves)]
            _unique(f"{bus.id}: address", [(place, address) for place, address in own if address is not None])
        return self

    @property
    def outbox(self) -> Path:
        return self.state / "edge-outbox.db"

    @property
    def orders(self) -> Path:
        return self.state / "edge-orders.json"


def _unique(what: str, names: Sequence[tuple[str, str | int]]) -> None:
    """``names`` with the place of each in the settings."""
    for number, (place, name) in enumerate(names):
        if any(name == other for _, other in names[:number]):
            raise ValueError(f"{place}: {what} {name!r} is there twice")


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

# Other kinds of line, as an example.
# [[buses]]
# id = "tcp-tram-bom"
# port = "tcp://192.168.1.40:502"
#
# [[buses.slaves]]
# id = "be-hut"
# profile = "ultrasonic-0100"
# address = 1
# station = "tram-bom"
# interval_s = 30.0
#
# [[buses]]
# id = "lora"
# kind = "lorawan"
# port = "mqtt://localhost:1883"
#
# [[buses.slaves]]
# id = "cong-tieu"
# profile = "lora-em500-udl"
# address = "24e124713b456789"
# station = "cong-tieu"
# interval_s = 600.0
#
# [[buses]]
# id = "may"
# kind = "machine"
# port = "/"
#
# [[buses.slaves]]
# id = "may-pi"
# profile = "raspberry-pi"
# station = "tram-phu-oc"
# interval_s = 60.0
"""


def sample() -> str:
    """sample.toml: every setting, and the installation of the sample commune."""
    return (
        sample_toml(EdgeSettings, "keng-edge: the agent beside the sensors, here trạm Phú Ốc of xã Quảng Thọ") + _MORE
    )
