"""What the edge agent costs and how fast it is: 50 sensors at 1 Hz over TLS, then a backlog that drains.

Everything that meets is a real process: simulated gauges on pseudo-terminals, the agent, the broker with mutual TLS,
ingest with SQLite. The bench stands in for the console only: it owns the registry, and hears telemetry as a subscriber.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from keng.bench.figures import percentiles
from keng.demo.children import Children
from keng.demo.plan import NODE, Plan
from keng_contracts.registry import Registry, Sensor
from keng_contracts.telemetry import Clock, Reading, decode
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_edge.outbox.outbox import Batch, Boot, Outbox, inspect
from keng_runtime.clock import new_boot_id, now_ms
from keng_runtime.mqtt import Link
from keng_runtime.settings import BrokerSettings

LINES, A_LINE = 5, 10
#: So many of the sensors are gauges on which an alert depends; the rest is telemetry.
ALARMS = 2
#: Readings in a pack of the backlog: what 50 sensors at 1 Hz make in the 2 s between two commits.
PACK = 100
PATIENCE_S = 600.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel says of a process: MiB resident now and at most, CPU seconds, bytes that went to the disk."""

    rss_mib: float
    peak_mib: float
    cpu_s: float
    written: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        folder = Path("/proc") / str(pid)
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        io = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
        times = (folder / "stat").read_text().rpartition(")")[2].split()
        return cls(
            int(status["VmRSS"].split()[0]) / 1024,
            int(status["VmHWM"].split()[0]) / 1024,
            (int(times[11]) + int(times[12])) * TICK_S,
            int(io["write_bytes"]),
        )


def sensor_name(number: int) -> str:
    return f"do-{number:02}"


def bench_registry(registry: Registry) -> Registry:
    """The sample commune with 50 more gauges, so that ingest takes their readings."""
    sensors = [
        Sensor(id=f"phu-oc/{sensor_name(i)}", name=sensor_name(i), node=NODE, unit="m", range=(-50.0, 50.0))
        for i in range(LINES * A_LINE)
    ]
    return registry.model_copy(update={"sensors": [*registry.sensors, *sensors]})


def installation() -> str:
    """Five lines of ten level gauges, as firmware-sim reads it."""
    text = 'schema = "keng.installation/1"\ntitle = "Đo tải: 50 cảm biến"\n'
    for line in range(LINES):
        text += f'\n[[buses]]\nname = "bus-{line}"\nbaud = 115200\n'
        for address in range(1, A_LINE + 1):
            name = sensor_name(line * A_LINE + address - 1)
            text += f'[[buses.slaves]]\naddress = {address}\nname = "{name}"\nmodel = "QDY30A"\n'
    return text


def lines(ports: Path) -> str:
    """The same as the agent's settings."""
    text = ""
    for line in range(LINES):
        text += f'\n[[buses]]\nid = "bus-{line}"\nport = "{ports / f"bus-{line}"}"\nbaud = 115200\n'
        for address in range(1, A_LINE + 1):
            number = line * A_LINE + address - 1
            name = sensor_name(number)
            alarm = "true" if number % (LINES * A_LINE // ALARMS) == 0 else "false"
            text += (
                f'[[buses.slaves]]\nid = "{name}"\nprofile = "qdy30a"\naddress = {address}\nstation = "phu-oc"\n'
                f'interval_s = 1.0\nalarm = {alarm}\nseries = {{ level = "{name}" }}\n'
            )
    return text


class Bench:
    """The bench's files and processes."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.plan = Plan(folder, lapse=1.0, device="null")
        self.plan.write()
        self.folder = folder
        self.say = say
        self.commune = self.plan.registry.commune.id
        self.link = Link(
            BrokerSettings(host="127.0.0.1", port=self.plan.broker_port, credentials=folder / "credentials" / "console")
        )
        self.children = Children(folder / "logs")
        self.settings = folder / "settings" / f"{NODE}.toml"
        self._head = self.settings.read_text(encoding="utf-8").partition("[[buses]]")[0]
        self._head = self._head.replace("commit_every_s = 1.0\n", "")
        self.outbox = self.plan.state(NODE) / "edge-outbox.db"

    def start_edge(self, buses: str) -> int:
        self.settings.write_text(self._head + buses, encoding="utf-8")
        command = [sys.executable, "-c", "from keng_edge.cli import main; main()", "run", "--settings"]
        return self.children.start("edge", [*command, str(self.settings)])

    def stored(self) -> int:
        """Rows of the bench's sensors in the store."""
        path = self.folder / "readings.sqlite"
        if not path.exists():
            return 0
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
            try:
                counted = db.execute(
                    "SELECT count(*) FROM reading WHERE series_id IN (SELECT id FROM series WHERE name LIKE ?)",
                    ("quang-tho/phu-oc/do-%",),
                )
                return int(counted.fetchone()[0])
            except sqlite3.OperationalError:  # it is being made
                return 0

    async def until(self, condition: Callable[[], bool], what: str, every_s: float = 0.2) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self.children.check()
            if time.monotonic() > deadline:
                raise click.ClickException(f"not within {PATIENCE_S:g} s: {what}")
            await asyncio.sleep(every_s)

    async def run(self, measure: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Measure beside a broker and an ingest that know the sensors."""
        self.children.start("broker", self.plan.broker_command(), changes_user=True)
        try:
            async with self.link:
                await self.link.wait_connected()
                document = bench_registry(self.plan.registry).model_dump_json(by_alias=True).encode()
                token = self.link.credentials.signing_key().sign(document)
                await self.link.publish(str(Topic(self.commune, Kind.REGISTRY)), token, retain=True)
                ingest = next(part for part in self.plan.parts() if part.name == "ingest")
                self.children.start("ingest", ingest.command)
                return await measure()
        finally:
            self.children.stop_all()

    async def start_simulator(self) -> Path:
        """The gauges; returns the folder of their ports once they are there."""
        ports = self.folder / "ports"
        (self.folder / "load.toml").write_text(installation(), encoding="utf-8")
        simulator = [sys.executable, "-m", "keng", "firmware-sim", "run", "--dir", str(ports)]
        simulator += ["--installation", str(self.folder / "load.toml"), "--control", str(ports / "control.sock")]
        self.children.start("firmware-sim", simulator)
        await self.until((ports / f"bus-{LINES - 1}").exists, "the simulator's ports")
        return ports

    async def measure(self, seconds: float, backlog: int) -> dict[str, Any]:
        live = await self._live(seconds)
        return {**live, **await self._drain(backlog, live.pop("committed"))}

    # -- 50 sensors at 1 Hz ---------------------------------------------------------------------------------------

    async def _live(self, seconds: float) -> dict[str, Any]:
        link, ports = self.link, await self.start_simulator()
        gauges = {f"{self.commune}/phu-oc/{sensor_name(i * 25)}" for i in range(ALARMS)}
        latencies: list[int] = []

        async def listen() -> None:
            await link.subscribe(pattern(Kind.EDGE, Channel.TELEMETRY))
            async for message in link.messages():
                at_ms = now_ms()
                message.ack()
                latencies.extend(at_ms - r.time_ms for r in decode(message.payload).readings if r.series in gauges)

        listening = asyncio.create_task(listen())
        pid = self.start_edge(lines(ports))
        await self.until(lambda: self.stored() > 500, "the first readings in the store")
        latencies.clear()
        before, started, rows = Usage.of(pid), time.monotonic(), inspect(self.outbox)[0].committed
        resident: list[float] = []
        for tenth in range(10):
            await asyncio.sleep(seconds / 10)
            self.children.check()
            resident.append(Usage.of(pid).rss_mib)
            self.say(f"live: {(tenth + 1) * seconds / 10:.0f} of {seconds:.0f} s, {resident[-1]:.1f} MiB")
        after, ended = Usage.of(pid), time.monotonic()
        read = inspect(self.outbox)[0].committed - rows
        listening.cancel()
        self.children.stop("edge")
        self.children.stop("firmware-sim")
        return {
            "sensors": LINES * A_LINE,
            "alarm_sensors": ALARMS,
            "seconds": round(ended - started, 1),
            "readings": read,
            "readings_per_s": round(read / (ended - started), 1),
            "rss_mib": round(statistics.median(resident), 1),
            "cpu_percent": round(100 * (after.cpu_s - before.cpu_s) / (ended - started), 2),
            "bytes_per_reading": round((after.written - before.written) / max(1, read)),
            "latency_ms": percentiles(latencies, 50, 99),
            "committed": inspect(self.outbox)[0].committed,
        }

    # -- a backlog -------------------------------------------------------------------------------------------------

    async def _drain(self, backlog: int, committed: int) -> dict[str, Any]:
        """Fill the outbox as a month without a link would, then let the agent empty it."""
        self.start_edge("")  # what the first part left over goes out before the clock starts
        await self.until(lambda: inspect(self.outbox)[0].packs == 0, "the outbox is empty")
        self.children.stop("edge")
        for batch in self._fill(backlog):
            self.say(f"backlog: {batch} of {backlog} readings")
        held = inspect(self.outbox)[0]
        self.say(f"backlog: {held.packs} packs, {held.bytes / 1e6:.1f} MB")
        before = self.stored()
        pid = self.start_edge("")
        await self.until(lambda: inspect(self.outbox)[0].packs < held.packs, "the first receipt", every_s=0.02)
        started, first = time.monotonic(), inspect(self.outbox)[0].readings
        at_start = Usage.of(pid).rss_mib
        while (left := inspect(self.outbox)[0].readings) > 0:
            self.children.check()
            self.say(f"drain: {left} readings left, {Usage.of(pid).rss_mib:.1f} MiB")
            await self.until(lambda left=left: inspect(self.outbox)[0].readings < left, "the backlog shrinks", 0.1)  # type: ignore[misc]
        seconds = time.monotonic() - started
        peak = Usage.of(pid).peak_mib
        rows = self.stored()
        expected = committed + backlog
        return {
            "backlog": backlog,
            "outbox_bytes_per_reading": round(held.bytes / backlog, 1),
            "drain_readings_per_s": round(first / seconds),
            "drain_start_rss_mib": round(at_start, 1),
            "drain_peak_rss_mib": round(peak, 1),
            "drained": rows - before,
            "lost": max(0, expected - rows),
            "doubled": max(0, rows - expected),
        }

    def _fill(self, backlog: int) -> Iterator[int]:
        """Packs as the agent commits them; yields how many readings are in every 100,000."""
        outbox = Outbox(self.outbox, Boot(new_boot_id()), 1_000_000_000)
        names = [f"{self.commune}/phu-oc/{sensor_name(i)}" for i in range(LINES * A_LINE)]
        start_ms = now_ms() - 24 * 3_600_000 - backlog * 1000 // len(names)
        for first in range(0, backlog, PACK):
            readings = [
                Reading(names[i % len(names)], start_ms + i * 1000 // len(names), 1.5 + i % 977 / 1000, "m")
                for i in range(first, min(first + PACK, backlog))
            ]
            made_ms = readings[-1].time_ms + 2000
            outbox.append([Batch(readings, False)], made_ms=made_ms, clock=Clock.SYNCED, sync=False)
            if first % 100_000 == 0 and first:
                yield first
        outbox.close()


@click.command()
@click.option("--seconds", default=120.0, show_default=True, type=click.FloatRange(5, 86_400), help="Of live reading.")
@click.option("--backlog", default=1_000_000, show_default=True, type=click.IntRange(1000, 10_000_000))
@click.option("--quick", is_flag=True, help="20 s and a backlog of 100,000 readings.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(seconds: float, backlog: int, quick: bool, as_json: bool, keep: Path | None) -> None:
    """Measure the edge agent: 50 sensors at 1 Hz over TLS, and the drain of a backlog, with ingest and SQLite."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()
    if quick:
        seconds, backlog = 20.0, 100_000
    try:
        bench = Bench(folder, lambda line: click.echo(line, err=as_json))
        click.echo(json.dumps(asyncio.run(bench.run(lambda: bench.measure(seconds, backlog)))))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
