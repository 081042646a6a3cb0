"""``keng doctor``: what is there, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import click
from cryptography import x509
from rich.console import Console
from rich.table import Table

from keng_alerts.notify.settings import NotifySettings
from keng_alerts.settings import AlertsSettings
from keng_broker.home import check_mosquitto
from keng_broker.provision import RENEW_BEFORE
from keng_console.settings import ConsoleSettings
from keng_contracts.errors import Problem
from keng_contracts.telemetry import Clock
from keng_edge.settings import EdgeSettings
from keng_ingest.settings import IngestSettings
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_runtime.clock import clock_state
from keng_runtime.credentials import Credentials
from keng_runtime.settings import ServiceSettings, installed, load

#: What can be installed as a service; whose settings file is not there is not.
SERVICES: tuple[type[ServiceSettings], ...] = (
    EdgeSettings,
    IngestSettings,
    AlertsSettings,
    NotifySettings,
    ConsoleSettings,
    LoudspeakerSettings,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. ``needed_for`` tells who can do without it; ``remedy`` says how to get it."""

    name: str
    needed_for: str
    ok: bool
    detail: str
    remedy: str = ""


def _run(*command: str) -> str:
    """The output of a short command; empty if it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python ≥ 3.11", "everything", sys.version_info >= (3, 11), version, "apt-get install python3")


def _mosquitto() -> Finding:
    try:
        return Finding("mosquitto ≥ 2.0.13", "broker, demo", True, check_mosquitto())
    except Problem as problem:
        return Finding("mosquitto ≥ 2.0.13", "broker, demo", False, problem.what, problem.todo)


def _program(name: str, needed_for: str, package: str, *version: str) -> Callable[[], Finding]:
    def probe() -> Finding:
        path = shutil.which(name)
        lines = _run(name, *version).splitlines() if path and version else []
        detail = lines[0][:60] if lines else (path or "not there")
        return Finding(name, needed_for, path is not None, detail, "" if path else f"apt-get install {package}")

    return probe


def _voice() -> Finding:
    ok = any(" vi " in line for line in _run("espeak-ng", "--voices").splitlines())
    remedy = "" if ok else "apt-get install espeak-ng"
    return Finding("espeak-ng, Vietnamese", "loudspeaker, demo", ok, "voice vi" if ok else "not there", remedy)


def _sound() -> Finding:
    sinks = [line.split("\t")[1] for line in _run("pactl", "list", "short", "sinks").splitlines() if "\t" in line]
    real = [sink for sink in sinks if "null" not in sink and not sink.startswith("keng_")]
    detail = real[0] if real else "none answers: sound goes into a silent sink in real time, and is measured there"
    return Finding("sound device", "being heard", True, detail)


def _clock() -> Finding:
    state = clock_state()
    remedy = "" if state is Clock.SYNCED else "apt-get install chrony (readings are marked until the clock is synced)"
    return Finding("clock synchronised", "edge, loudspeaker", state is not Clock.UNKNOWN, state.value, remedy)


def _apprise() -> Finding:
    there = importlib.util.find_spec("apprise") is not None
    remedy = "" if there else "pip install 'keng-alerts[notify]'"
    return Finding("apprise", "notifier", there, "there" if there else "not there", remedy)


def services(now: datetime) -> Iterator[Finding]:
    """Of each service that is installed here: whether it would start, and until when its identity lasts."""
    for kind in SERVICES:
        file = installed(kind)
        if not file.exists():
            continue
        name = f"keng-{file.stem}"
        try:
            settings = load(kind, file)
            folder = settings.broker.credentials
            if folder.exists() and not os.access(folder, os.X_OK):
                yield Finding(name, file.stem, True, f"settings are right; {folder} is not for you", "sudo keng doctor")
                continue
            identity = Credentials.open(folder).identity
        except Problem as problem:
            yield Finding(name, file.stem, False, f"{problem.where}: {problem.what}", problem.todo)
            continue
        ends = x509.load_pem_x509_certificate((folder / "node.crt").read_bytes()).not_valid_after_utc
        remedy = "" if ends - now > RENEW_BEFORE else "keng provision, as in docs/operations.md"
        yield Finding(name, file.stem, not remedy, f"{identity}, until {ends:%Y-%m-%d}", remedy)


PROBES: tuple[Callable[[], Finding], ...] = (
    _python,
    _mosquitto,
    _program("mpv", "loudspeaker, demo", "mpv", "--version"),
    _voice,
    _program("pactl", "loudspeaker, demo", "pulseaudio-utils", "--version"),
    _program("setpriv", "loudspeaker, demo", "util-linux", "--version"),
    _program("parec", "loudspeaker, demo", "pulseaudio-utils", "--version"),
    _program("pulseaudio", "a machine without a sound server", "pulseaudio", "--version"),
    _sound,
    _clock,
    _apprise,
    _program("influxd", "tests; a store other than SQLite", "influxdb", "version"),
    _program("chromium", "browser tests", "chromium", "--version"),
    _program("docker-compose", "tests of docker-compose.yml", "docker-compose", "--version"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def doctor(as_json: bool) -> None:
    """Say what is missing on this machine and how to get it; of installed services, what keeps them from starting.

    Ends with status 1 if the demo can't run here.

    \b
    Examples:
      keng doctor
      keng doctor --json
    """
    findings = [*(probe() for probe in PROBES), *services(datetime.now(UTC))]
    lacking = [f for f in findings if not f.ok and ("demo" in f.needed_for or f.needed_for == "everything")]
    if as_json:
        click.echo(json.dumps({"ok": not lacking, "findings": [asdict(f) for f in findings]}, ensure_ascii=False))
    else:
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for column in ("", "what", "needed for", "found", "how to get it"):
            table.add_column(column, overflow="fold")
        for f in findings:
            table.add_row("[green]✓[/]" if f.ok else "[red]✗[/]", f.name, f.needed_for, f.detail, f.remedy)
        Console().print(table)
        click.echo("The demo can run here." if not lacking else "The demo can't run here yet: see the last column.")
    sys.exit(1 if lacking else 0)
