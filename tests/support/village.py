"""A village of real processes: simulated sensors, edge, broker, ingest, a store. Each can be killed and revived."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from keng_edge.outbox.outbox import inspect
from keng_store.settings import StoreSettings, open_store
from tests.support import services
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import Process, eventually
from tests.support.registry import sample, signed
from tests.support.simulator import Simulator
from tests.support.telemetry import retain_registry

NODE = "tram-phu-oc"
GAUGE = f"{COMMUNE}/phu-oc/level"

_EDGE = """
commune = "quang-tho"
commit_every_s = 0.5
receipt_timeout_s = 3.0
"""
_BUSES = """
[[buses]]
id = "bus-song"
port = {song}
baud = 9600
[[buses.slaves]]
id = "muc-nuoc"
profile = "qdy30a"
address = 1
station = "phu-oc"
interval_s = 0.1
alarm = true
[[buses.slaves]]
id = "mua"
profile = "xm9505"
address = 2
station = "phu-oc"
interval_s = 0.5

[[buses]]
id = "bus-dong"
port = {dong}
baud = 4800
[[buses.slaves]]
id = "dat"
profile = "soil-7in1-a"
address = 1
station = "phuoc-yen"
interval_s = 0.5
[[buses.slaves]]
id = "khong-khi"
profile = "pm-delta-ohm"
address = 3
station = "uy-ban"
interval_s = 0.5
"""


class Village:
    """Up when entered: the flood runs at ×2400 and readings reach the store at ``store_url``."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self.folder = folder
        self.store_url = store_url
        self.broker = RunningBroker()
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        self.broker.start()
        asyncio.run(retain_registry(self.broker, signed(sample(), self.broker.credentials)))
        self.simulator = Simulator(self.folder / "ports", "--lapse", "2400")
        self.start_ingest()
        self.start_edge()
        return self

    def start_ingest(self) -> None:
        self.processes["ingest"] = services.start_ingest(self.broker, self.folder, self.store_url)

    def start_edge(self) -> None:
        buses = _BUSES.format(
            song=json.dumps(self.simulator.port("bus-song")), dong=json.dumps(self.simulator.port("bus-dong"))
        )
        text = services.settings(self.broker, NODE, self.folder / "edge", _EDGE) + buses
        self.processes["edge"] = services.start("keng-edge", "edge", self.folder, text)

    def kill(self, name: str) -> None:
        """SIGKILL, and start again at once."""
        if name == "broker":
            self.broker.kill()
            self.broker.start()
            return
        self.processes[name].kill()
        if name == "ingest":
            self.start_ingest()
        else:
            self.start_edge()

    def sent(self) -> dict[str, int]:
        """Readings by series that were ever committed to the edge's outbox."""
        file = self.folder / "edge" / "edge-outbox.db"
        return inspect(file)[1] if file.exists() else {}

    def stored(self) -> dict[str, int]:
        """Readings by series in the store."""
        with closing(open_store(StoreSettings(url=self.store_url), read_only=True)) as store:
            return store.counts(COMMUNE)

    def await_readings(self, more: int) -> None:
        """Wait until the gauge has committed this many more readings."""
        before = self.sent().get(GAUGE, 0)
        eventually(lambda: self.sent().get(GAUGE, 0) >= before + more, within=60, what=f"{more} readings of the gauge")

    def drained(self) -> None:
        """Silence the sensors, stop the edge gracefully, and let a fresh run of it bring the rest to the store."""
        self.simulator.process.stop()
        assert self.processes["edge"].stop() == 0
        self.start_edge()
        eventually(lambda: self.stored() == self.sent(), within=60, what="the store holds what was sent")

    def frames_answered(self) -> list[dict[str, Any]]:
        """What the gauge was heard to say on its line."""
        return [frame for frame in self.simulator.journal() if frame["name"] == "river-level" and frame["values"]]

    def __exit__(self, kind: type[BaseException] | None, *rest: BaseException | TracebackType | None) -> None:
        for process in reversed(self.processes.values()):
            process.__exit__(kind, *rest)
        self.simulator.__exit__(kind, *rest)
        self.broker.__exit__(kind, *rest)
