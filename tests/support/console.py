"""The console as a real process, and what it shows put there by those who really say it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from keng_contracts.alerts import AlertDocument, Delivery, Hazard
from keng_contracts.playback import PlaybackEvent
from keng_contracts.registry import AuthorityMode
from keng_contracts.status import EdgeStatus, SpeakerStatus
from keng_contracts.telemetry import Flag
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.mqtt import Link
from keng_store.protocol import Row
from keng_store.settings import StoreSettings, open_store
from tests.support import services
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import Process, eventually
from tests.support.registry import LEVEL, SAMPLE

HOUR_MS = 3_600_000
#: The November 2025 flood at Phú Ốc: hours since 13:00 on the 16th, and the level in m (public bulletins).
FLOOD = ((0, 1.65), (3, 2.18), (8, 3.06), (11, 3.80), (13, 4.43), (14, 4.57), (17, 4.87), (19, 4.96), (28, 4.90))


@dataclass
class RunningConsole:
    """``url`` ends without a slash; ``store_url`` is where ingest would write."""

    process: Process
    url: str
    folder: Path
    store_url: str

    @property
    def registry_file(self) -> Path:
        return self.folder / "commune.toml"

    def get(self, path: str, **headers: str) -> tuple[int, Any, bytes]:
        """Status, headers and body of an answer, whatever the status."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def post(self, path: str, data: bytes, kind: str = "application/cap+xml") -> Any:
        """What is answered, as JSON; ``status`` is added to it."""
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return {**json.loads(answer.read()), "status": answer.status}
        except urllib.error.HTTPError as error:
            return {**json.loads(error.read()), "status": error.code}

    def overview(self) -> Any:
        return json.loads(self.get("/api/overview")[2])


def console_settings(broker: RunningBroker, folder: Path, more: str = "", port: int = 0) -> tuple[str, str]:
    """A settings file's text for a console in ``folder``, and the address of its store."""
    store_url = f"sqlite:///{folder / 'readings.sqlite'}"
    lines = f"port = {port}\nregistry_file = {json.dumps(str(folder / 'commune.toml'))}\n{more}"
    text = services.settings(broker, "console", folder / "console", lines)
    return text + f'[store]\nurl = "{store_url}"\n', store_url


@contextmanager
def running_console(
    broker: RunningBroker, folder: Path, more: str = "", registry: str | None = None, port: int = 0
) -> Iterator[RunningConsole]:
    """``keng-console run`` with the sample commune, or the registry text given, and a SQLite store in ``folder``."""
    (folder / "commune.toml").write_text(registry or SAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    text, store_url = console_settings(broker, folder, more, port)
    (folder / "console.log").unlink(missing_ok=True)  # of an earlier run in this folder
    with services.start("keng-console", "console", folder, text) as process:
        process.says("the page is at ")
        port = re.findall(r"the page is at http://127\.0\.0\.1:(\d+)/", process.text())[0]
        yield RunningConsole(process, f"http://127.0.0.1:{port}", folder, store_url)


def flood_rows(end_ms: int, hours: float = 16, every_s: float = 300, series: str = LEVEL) -> list[Row]:
    """The flood's first ``hours`` as stored rows that end now, after a day and a half of quiet water."""
    rows = []
    start_ms = round(end_ms - 48 * HOUR_MS)
    rise_ms = round(end_ms - hours * HOUR_MS)
    for time_ms in range(start_ms, end_ms + 1, round(every_s * 1000)):
        hour = (time_ms - rise_ms) / HOUR_MS
        value = 1.30 + 0.35 * (time_ms - start_ms) / (rise_ms - start_ms) if hour < 0 else _flood(hour)
        rows.append(Row(series, time_ms, round(value, 2), Flag.GOOD))
    return rows


def _flood(hour: float) -> float:
    for (h0, v0), (h1, v1) in pairwise(FLOOD):
        if hour <= h1:
            return v0 + (v1 - v0) * (hour - h0) / (h1 - h0)
    return FLOOD[-1][1]


def write_rows(store_url: str, rows: Sequence[Row]) -> None:
    store = open_store(StoreSettings(url=store_url))
    store.write(rows)
    store.close()


def alert(level: int, now_ms: int, *, value: float = 4.57, version: int = 1, **changes: Any) -> AlertDocument:
    """The alert of the gauge at Phú Ốc as alerts would tell it."""
    fields: dict[str, Any] = {
        "id": "phu-oc-level",
        "version": version,
        "commune": COMMUNE,
        "sensor": "phu-oc/level",
        "station": "phu-oc",
        "episode": 1,
        "level": level,
        "peak_level": level,
        "official": True,
        "hazard": Hazard.RAISED if level else Hazard.CLEARED,
        "mode": AuthorityMode.AUTO if level > 1 else AuthorityMode.MANUAL,
        "value": value,
        "unit": "m",
        "threshold": {1: 1.5, 2: 3.0, 3: 4.5}.get(level),
        "raised_ms": now_ms - 14 * HOUR_MS,
        "updated_ms": now_ms,
        "cleared_ms": None if level else now_ms,
    }
    if level > 1:
        fields["play"] = f"phu-oc-level-1-{level}"
        fields["deliveries"] = {"loa-phuoc-yen": Delivery.CONFIRMED, "loa-niem-pho": Delivery.ORDERED}
    return AlertDocument(**{**fields, **changes})


async def say_alert(broker: RunningBroker, document: AlertDocument) -> None:
    async with Link(broker.settings("alerts")) as link:
        await link.publish(str(Topic(COMMUNE, Kind.ALERT, document.id)), document.to_bytes(), retain=True)


async def say_status(broker: RunningBroker, node: str, status: EdgeStatus | SpeakerStatus) -> None:
    kind = Kind.EDGE if isinstance(status, EdgeStatus) else Kind.SPEAKER
    async with Link(broker.settings(node)) as link:
        topic = str(Topic(COMMUNE, kind, node, Channel.STATUS))
        await link.publish(topic, status.model_dump_json().encode(), retain=True)


async def say_played(broker: RunningBroker, node: str, *events: PlaybackEvent) -> None:
    async with Link(broker.settings(node)) as link:
        for event in events:
            await link.publish(str(Topic(COMMUNE, Kind.SPEAKER, node, Channel.PLAYBACK)), event.to_bytes())


def ready(console: RunningConsole) -> None:
    """Wait until broker, store, database and registry are all there."""
    eventually(lambda: console.get("/healthz")[0] == 200, what="the console is healthy")
