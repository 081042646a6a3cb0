"""Broker, store and replicas of ingest as real processes on this machine, for benchmarks that load and kill them."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from keng.bench.flood import SERIES, Load, written
from keng.demo.plan import free_port
from keng_broker.home import make_home
from keng_broker.provision import provision
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_contracts.topics import Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.settings import BrokerSettings
from keng_store.settings import StoreSettings, open_store

COMMUNE, NODE = "quang-tho", "tram-nen"
DAY_MS = 86_400_000
#: More than the readings of a quarter of an hour's load cover.
_DAYS_A_LOAD = 30
#: A start may check a database of some gigabytes first.
_START_S = 300.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_INFLUX = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{home}/meta"
[data]
  dir = "{home}/data"
  wal-dir = "{home}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[logging]
  level = "warn"
"""


def registry() -> Registry:
    """A commune with one node of 200 sensors, all of them judged."""
    sensors = [
        {"id": f"nen/s-{n}", "name": f"Kênh {n}", "node": NODE, "unit": "m", "range": [-2.0, 12.0]}
        for n in range(SERIES)
    ]
    return Registry.model_validate(
        {
            "schema": "keng.registry/1",
            "version": 1,
            "commune": {"id": COMMUNE, "name": "Xã Quảng Thọ", "province": "Thành phố Huế"},
            "stations": [{"id": "nen", "name": "Trạm tải nền"}],
            "sensors": sensors,
        }
    )


class Rig:
    """One broker, one store (``sqlite`` or ``influxdb``) and as many replicas of ingest as are started, below
    ``folder``. Every process is ended by its own id at the end."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder, self.store = folder, store
        self.port, self.influx_port = free_port(), free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._floods: list[asyncio.subprocess.Process] = []
        self._runs = 0
        if store == "sqlite":
            self.url = f"sqlite:///{folder / 'readings.sqlite'}"
        else:
            self.url = f"http://127.0.0.1:{self.influx_port}/keng"
        folder.mkdir(parents=True, exist_ok=True)
        provision(folder / "credentials", commune=COMMUNE, nodes=[NODE], replicas=4)

    # -- processes ----------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start ``broker``, ``influxdb``, ``ingest`` or ``ingest-2`` …, again with the same files after a kill."""
        if name == "broker":
            command = make_home(self.folder / "broker", self.folder / "credentials/broker", port=self.port)
        elif name == "influxdb":
            command = self._influxd()
        else:
            command = [sys.executable, "-m", "keng", "ingest", "run", "--settings", str(self._settings(name))]
        self.start_other(name, command)

    def start_other(self, name: str, command: list[str]) -> None:
        """Start a process of one's own under this rig; its output goes into ``name.log``."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def _influxd(self) -> list[str]:
        program = shutil.which("influxd")
        if program is None:
            raise Problem("influxd is not installed", todo="apt-get install influxdb")
        home = self.folder / "influxdb"
        home.mkdir(exist_ok=True)
        config = home / "influxdb.conf"
        config.write_text(_INFLUX.format(home=home, port=self.influx_port, rpc=free_port()), encoding="utf-8")
        return [program, "-config", str(config)]

    def _settings(self, name: str) -> Path:
        state = self.folder / name
        state.mkdir(exist_ok=True)
        file = self.folder / f"{name}.toml"
        file.write_text(
            f'state = {json.dumps(str(state))}\n\n[broker]\nhost = "127.0.0.1"\nport = {self.port}\n'
            f"credentials = {json.dumps(str(self.folder / 'credentials' / name))}\n"
            f"\n[store]\nurl = {json.dumps(self.url)}\n",
            encoding="utf-8",
        )
        return file

    async def start_all(self) -> None:
        """Broker and store with the registry retained; no ingest yet."""
        self.start("broker")
        if self.store == "influxdb":
            self.start("influxdb")
            await self.store_answers()
        console = BrokerSettings(host="127.0.0.1", port=self.port, credentials=self.folder / "credentials/console")
        async with Link(console) as link:
            await link.wait_connected()
            token = link.credentials.signing_key().sign(registry().model_dump_json(by_alias=True).encode())
            await link.publish(str(Topic(COMMUNE, Kind.REGISTRY)), token, retain=True)

    async def store_answers(self) -> None:
        """Wait for an InfluxDB that was just started."""
        if self.store == "influxdb":
            await until(self._influx_answers, "influxd answers")

    def _influx_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.influx_port}/ping", timeout=1) as answer:
                return bool(answer.status == 204)
        except OSError:
            return False

    async def start_ingest(self, replicas: int = 1) -> None:
        """Start replicas and wait until each takes telemetry."""
        for number in range(1, replicas + 1):
            name = "ingest" if number == 1 else f"ingest-{number}"
            before = self.said(name)
            self.start(name)
            await until(functools.partial(self._says_more, name, before), f"{name} takes telemetry", _START_S)

    def _says_more(self, name: str, before: int) -> bool:
        return self.said(name) > before

    def said(self, name: str) -> int:
        """How often a replica has said that it takes telemetry."""
        log = self.folder / f"{name}.log"
        return log.read_text(encoding="utf-8", errors="replace").count("taking telemetry") if log.exists() else 0

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait until the process is gone."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_ingest(self) -> None:
        for name in [name for name in self.processes if name.startswith("ingest")]:
            self.end(name)

    def end_all(self) -> None:
        for flood in self._floods:
            if flood.returncode is None:
                flood.kill()
        self.end_ingest()
        for name in list(self.processes):
            self.end(name)

    # -- loads and books ----------------------------------------------------------------------------------------

    def load(self, size: int, **more: Any) -> Load:
        """A load whose times no other load of this rig has."""
        self._runs += 1
        return Load(
            port=self.port,
            credentials=str(self.folder / "credentials" / NODE),
            commune=COMMUNE,
            node=NODE,
            base_ms=now_ms() // DAY_MS * DAY_MS - (390 - _DAYS_A_LOAD * self._runs) * DAY_MS,
            size=size,
            **more,
        )

    async def flood(self, load: Load) -> asyncio.subprocess.Process:
        """Start the generator as its own process."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "keng.bench.flood", json.dumps(load._asdict()), stdout=asyncio.subprocess.PIPE
        )
        self._floods.append(child)
        return child

    def counts(self) -> dict[str, int]:
        with closing(open_store(StoreSettings(url=self.url), read_only=True)) as store:
            return store.counts(COMMUNE)

    def audit(self, load: Load, packs: int, before: dict[str, int]) -> dict[str, int]:
        """What the store has of ``packs`` packs that the broker acknowledged, against what it had before: ``lost``
        readings are missing, ``doubled`` are more than were sent."""
        after, sent = self.counts(), written(load, packs)
        found = {name: after.get(name, 0) - before.get(name, 0) for name in sent.keys() | after.keys()}
        return {
            "lost": sum(max(0, sent.get(name, 0) - n) for name, n in found.items()),
            "doubled": sum(max(0, n - sent.get(name, 0)) for name, n in found.items()),
        }

    def cpu_s(self) -> dict[str, float]:
        """User and system time of each process so far, in seconds."""
        return {name: _cpu_s(process.pid) for name, process in self.processes.items()}

    def rss_mib(self, name: str = "ingest") -> float:
        fields = Path(f"/proc/{self.processes[name].pid}/statm").read_text(encoding="ascii").split()
        return round(int(fields[1]) * _PAGE_MIB, 1)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_S


async def until(condition: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    """Wait for a condition; raises Problem when it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise Problem(
                f"{what} did not happen within {within_s:g} s", todo="run again with --keep and read the logs"
            )
        await asyncio.sleep(0.05)
