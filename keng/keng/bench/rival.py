"""Node-RED with its InfluxDB node under the same load: what a flow does that many would draw instead.

It is installed by npm into a temporary folder. The flow takes packs over MQTT 5 with QoS 1 and mutual TLS, takes them
apart in a function and writes each as one batch; it judges nothing, receipts nothing, and acknowledges first.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from keng.bench.flood import Load, written
from keng.bench.rig import COMMUNE, Rig
from keng.demo.plan import free_port
from keng_contracts.errors import Problem
from keng_store.settings import StoreSettings, open_store

PACKAGES = ("node-red", "node-red-contrib-influxdb")
_INSTALL_S = 300
#: Without a new row for so long it is done, or has lost the rest.
_QUIET_S = 10.0
_FUNCTION = """
let name = "", base = 0;
msg.payload = msg.payload.map(r => {
  name = r.bn ?? name; base = r.bt ?? base;
  const [commune, station, quantity] = (name + r.n).split("/");
  return {measurement: "reading", tags: {commune, station, quantity}, fields: {value: r.v, flag: 2},
          timestamp: new Date(Math.round((base + (r.t ?? 0)) * 1000))};
});
return msg;
"""


def install(folder: Path) -> Path:
    """Install Node-RED below ``folder``; the script that starts it. Raises Problem if that can't be done."""
    npm = shutil.which("npm")
    if npm is None:
        raise Problem("npm is not installed", todo="apt-get install npm")
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--silent", *PACKAGES]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S, check=False, env=None
        )
    except subprocess.TimeoutExpired:
        raise Problem("npm did not install Node-RED in time", todo="try again with a better network") from None
    if done.returncode:
        raise Problem(f"npm could not install Node-RED: {done.stderr.strip()[-300:]}", todo="look at the network")
    return folder / "node_modules" / "node-red" / "red.js"


def flow(rig: Rig, identity: str, influx_port: int) -> list[dict[str, Any]]:
    """mqtt in → json → function → influxdb batch."""
    keys = rig.folder / "credentials" / identity
    tls = {"cert": str(keys / "node.crt"), "key": str(keys / "node.key"), "ca": str(keys / "ca.crt")}
    place = {"z": "tab", "x": 0, "y": 0}
    return [
        {"id": "tab", "type": "tab", "label": "rival"},
        {"id": "tls", "type": "tls-config", **tls, "verifyservercert": True},
        {
            **{"id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(rig.port), "tls": "tls"},
            **{"clientid": identity, "usetls": True, "protocolVersion": "5", "keepalive": "60", "cleansession": True},
        },
        {
            **{"id": "db", "type": "influxdb", "hostname": "127.0.0.1", "port": str(influx_port), "protocol": "http"},
            **{"database": "rival", "influxdbVersion": "1.x", "usetls": False, "tls": ""},
        },
        {
            **{"id": "in", "type": "mqtt in", "topic": f"keng/v1/{COMMUNE}/edge/+/telemetry", "qos": "1"},
            **{"datatype": "utf8", "broker": "broker", "wires": [["json"]], **place},
        },
        {"id": "json", "type": "json", "action": "obj", "property": "payload", "wires": [["split"]], **place},
        {"id": "split", "type": "function", "func": _FUNCTION, "outputs": 1, "wires": [["out"]], **place},
        {"id": "out", "type": "influxdb batch", "influxdb": "db", "precision": "", "wires": [], **place},
    ]


async def measure(rig: Rig, load: Load, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The load through Node-RED into the InfluxDB of a rig on which no ingest runs."""
    script = await asyncio.to_thread(install, folder)
    say("Node-RED is installed")
    port = rig.influx_port
    url = f"http://127.0.0.1:{port}/rival"
    await asyncio.to_thread(_create_database, port)
    before = await asyncio.to_thread(_stored, url)
    flows = folder / "flows.json"
    flows.write_text(json.dumps(flow(rig, "ingest-4", port)), encoding="utf-8")
    log = rig.folder / "node-red.log"
    command = ["node", str(script), "-u", str(folder), "-p", str(free_port()), str(flows)]
    log.unlink(missing_ok=True)
    rig.start_other("node-red", command)
    deadline = time.monotonic() + 60
    while not log.exists() or "Connected to broker" not in log.read_text(encoding="utf-8", errors="replace"):
        if time.monotonic() > deadline:
            raise Problem("Node-RED has not connected to the broker", where=str(log), todo="read its log")
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)  # it subscribes after it has said so
    start, cpu = time.monotonic(), rig.cpu_s()
    child = await rig.flood(load._replace(window=1 << 30, patience_s=0.0))
    wanted, have, last = load.total * load.size, -1, start
    while have < wanted and time.monotonic() - last < _QUIET_S:
        await asyncio.sleep(0.25)
        now = await asyncio.to_thread(_stored, url) - before
        if now != have:
            have, last = now, time.monotonic()
    await child.communicate()
    spent = {name: seconds - cpu[name] for name, seconds in rig.cpu_s().items()}
    rig.end("node-red")
    sent, seconds = sum(written(load, load.total).values()), last - start
    return {
        "messages_per_s": round(have / load.size / seconds),
        "readings_per_s": round(have / seconds),
        "lost": sent - have,
        "cpu_s_per_million": {name: round(s * 1e6 / max(1, have), 2) for name, s in spent.items()},
    }


def _create_database(port: int) -> None:
    query = urllib.parse.urlencode({"q": "CREATE DATABASE rival"}).encode()
    urllib.request.urlopen(f"http://127.0.0.1:{port}/query", data=query, timeout=10).close()


def _stored(url: str) -> int:
    with closing(open_store(StoreSettings(url=url), read_only=True)) as store:
        return sum(store.counts(COMMUNE).values())
