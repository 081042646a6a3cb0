"""The parts as the real processes that serve a commune, started by their own commands."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

from tests.support.broker import RunningBroker
from tests.support.processes import Process


def command(part: str) -> Path:
    """The installed command of a part, beside the interpreter that runs the tests."""
    return Path(sys.executable).parent / part


def settings(broker: RunningBroker, identity: str, state: Path, more: str = "") -> str:
    """A settings file's text: top-level settings and tables of one's own go into ``more``."""
    link = broker.settings(identity)
    return (
        f"state = {json.dumps(str(state))}\n{more}\n"
        f'[broker]\nhost = "{link.host}"\nport = {link.port}\ncredentials = {json.dumps(str(link.credentials))}\n'
    )


def start(part: str, name: str, folder: Path, text: str) -> Process:
    """Start ``part run`` with these settings; its log is ``folder/name.log``, over restarts too."""
    file = folder / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return Process([command(part), "run", "--settings", file], log=folder / f"{name}.log")


def start_ingest(
    broker: RunningBroker, folder: Path, store_url: str, identity: str = "ingest", more: str = ""
) -> Process:
    text = settings(broker, identity, folder / identity, more) + f'[store]\nurl = "{store_url}"\n'
    return start("keng-ingest", identity, folder, text)


def metrics(port: int) -> dict[str, float]:
    """What a service's metrics page says now, by name (and labels); empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return {}
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def start_alerts(broker: RunningBroker, folder: Path) -> Process:
    return start("keng-alerts", "alerts", folder, settings(broker, "alerts", folder / "alerts"))
