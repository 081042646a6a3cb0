"""What the demo writes down before it starts anything: identities, the registry in shortened time, all settings."""

from __future__ import annotations

import re
import socket
import sys
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from keng_broker.home import make_home
from keng_broker.provision import provision
from keng_contracts.registry import Registry

SAMPLE = files("keng_console") / "sample" / "commune.toml"
SCENARIO = "quang-tho-2025-11"
NODE = "tram-phu-oc"
GAUGE = "phu-oc/level"
#: How often the gauge is read, in seconds of real time: in the demo's compressed time every few minutes of the river.
GAUGE_INTERVAL_S = 0.25
#: The gauge must have fallen for 45 minutes of the river before a level is lowered.
CLEAR_AFTER_RIVER_S = 45 * 60


@dataclass(frozen=True, slots=True)
class Part:
    """A child process: its name in logs, and its command line after ``keng``."""

    name: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "keng", *self.arguments]


@dataclass
class Plan:
    """All of the demo's files lie below ``folder``. ``lapse`` is seconds of the river per second."""

    folder: Path
    lapse: float
    seed: int = 1
    store_url: str = ""
    device: str = "auto"
    broker_port: int = field(default_factory=lambda: free_port())
    console_port: int = field(default_factory=lambda: free_port())

    def __post_init__(self) -> None:
        self.store_url = self.store_url or f"sqlite:///{self.folder / 'readings.sqlite'}"
        self.registry = Registry.model_validate(tomllib.loads(self.registry_toml()))

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.console_port}/"

    def state(self, name: str) -> Path:
        return self.folder / "state" / name

    def registry_toml(self) -> str:
        """The sample commune, marked as an exercise, with its waiting times shortened as the river's time is, and with
        short sirens: báo động 3's real one lasts for nearly nine minutes, and the message comes after it."""
        rule = (
            f'\n[[hazard_rules]]\nsensor = "{GAUGE}"\nraise_samples = 3\n'
            f"clear_after_s = {max(1.0, CLEAR_AFTER_RIVER_S / self.lapse):.3f}\n"
        )
        text = SAMPLE.read_text(encoding="utf-8")
        text = text.replace("[commune]\n", "[commune]\nexercise = true\n", 1)
        for name, seconds in (("blast_s", 2), ("gap_s", 1), ("repeats", 1)):
            text = re.sub(rf"^{name} = \d+$", f"{name} = {seconds}", text, flags=re.MULTILINE)
        return str(text).replace("[[sensors]]\n", "[[sensors]]\ninterval_s = 2.0\n") + rule

    def write(self) -> None:
        """Make identities, registry and settings."""
        for folder in ("settings", "logs", "ports"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        nodes = sorted({s.node for s in self.registry.sensors} | {s.id for s in self.registry.speakers})
        provision(self.folder / "credentials", commune=self.registry.commune.id, nodes=nodes)
        (self.folder / "commune.toml").write_text(self.registry_toml(), encoding="utf-8")
        for name, text in self.settings().items():
            (self.folder / "settings" / f"{name}.toml").write_text(text, encoding="utf-8")

    def broker_command(self) -> list[str]:
        credentials = self.folder / "credentials" / "broker"
        return make_home(self.folder / "broker", credentials, port=self.broker_port, bind="127.0.0.1")

    def parts(self) -> list[Part]:
        """Every part but the broker, in the order in which it starts: first who listens, then who speaks."""

        def service(command: str, name: str) -> Part:
            return Part(name, (command, "run", "--settings", str(self.folder / "settings" / f"{name}.toml")))

        simulator = Part(
            "firmware-sim",
            (
                *("firmware-sim", "run", "--scenario", SCENARIO, "--lapse", str(self.lapse), "--seed", str(self.seed)),
                *("--dir", str(self.folder / "ports"), "--control", str(self.folder / "ports" / "control.sock")),
            ),
        )
        speakers = [service("loudspeaker", s.id) for s in self.registry.speakers]
        return [
            service("console", "console"),
            service("ingest", "ingest"),
            service("alerts", "alerts"),
            *speakers,
            simulator,
            service("edge", NODE),
        ]

    def settings(self) -> dict[str, str]:
        """Each part's settings file, by its name."""
        commune = self.registry.commune.id
        store = f'[store]\nurl = "{self.store_url}"\n'
        hours = 24 * 3600 / self.lapse / 3600
        files = {
            "console": self._common("console")
            + f'port = {self.console_port}\nregistry_file = "{self.folder / "commune.toml"}"\n'
            + f"chart_hours = {hours:.5f}\ntime_lapse = {self.lapse}\n"
            + self._broker("console")
            + store,
            "ingest": self._common("ingest") + self._broker("ingest") + store,
            "alerts": self._common("alerts") + self._broker("alerts"),
            NODE: self._common(NODE)
            + f'commune = "{commune}"\ncommit_every_s = 1.0\n'
            + self._broker(NODE)
            + self._buses(),
        }
        for speaker in self.registry.speakers:
            files[speaker.id] = (
                self._common(speaker.id)
                + f'commune = "{commune}"\ndevice = "{self.device}"\n'
                + self._broker(speaker.id)
            )
        return files

    def _common(self, name: str) -> str:
        return f'state = "{self.state(name)}"\n'

    def _broker(self, name: str) -> str:
        credentials = self.folder / "credentials" / name
        return f'[broker]\nhost = "127.0.0.1"\nport = {self.broker_port}\ncredentials = "{credentials}"\n'

    def _buses(self) -> str:
        ports = self.folder / "ports"
        return f"""
[[buses]]
id = "bus-song"
port = "{ports / "bus-song"}"
baud = 9600

[[buses.slaves]]
id = "muc-nuoc"
profile = "qdy30a"
address = 1
station = "phu-oc"
interval_s = {GAUGE_INTERVAL_S}
alarm = true

[[buses.slaves]]
id = "mua"
profile = "xm9505"
address = 2
station = "phu-oc"
interval_s = 1.0

[[buses]]
id = "bus-dong"
port = "{ports / "bus-dong"}"
baud = 4800

[[buses.slaves]]
id = "dat"
profile = "soil-7in1-a"
address = 1
station = "phuoc-yen"
interval_s = 1.0

[[buses.slaves]]
id = "khong-khi"
profile = "pm-delta-ohm"
address = 3
station = "uy-ban"
interval_s = 1.0
"""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
