"""The edge agent as a real process, and an ingest that a test has in its hand."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keng_contracts.receipts import DeadLettered, Receipt, to_ranges
from keng_contracts.status import EdgeStatus
from keng_contracts.telemetry import Pack, decode
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import Process
from tests.support.services import command, settings, start

NODE = "tram-phu-oc"


def slave(id_: str, profile: str, address: int, station: str, interval_s: float = 0.1, **more: Any) -> str:
    extra = "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items())
    return (
        f'[[buses.slaves]]\nid = "{id_}"\nprofile = "{profile}"\naddress = {address}\n'
        f'station = "{station}"\ninterval_s = {interval_s}\n{extra}'
    )


def bus(id_: str, port: Path | str, *slaves: str, baud: int = 9600) -> str:
    return f'[[buses]]\nid = "{id_}"\nport = "{port}"\nbaud = {baud}\n' + "".join(slaves)


def edge_settings(broker: RunningBroker, folder: Path, buses: str, more: str = "") -> str:
    quick = "" if "receipt_timeout_s" in more else "receipt_timeout_s = 1.0\n"
    return settings(broker, NODE, folder, f"{quick}commit_every_s = 0.2\n{more}") + buses


def start_edge(broker: RunningBroker, folder: Path, buses: str, more: str = "") -> Process:
    """``keng-edge run`` with its state in ``folder``; its log stays over restarts."""
    return start("keng-edge", "edge", folder, edge_settings(broker, folder / "state", buses, more))


def outbox(folder: Path) -> dict[str, Any]:
    """What ``keng-edge outbox --json`` says of the agent in ``folder``."""
    done = subprocess.run(
        [command("keng-edge"), "outbox", "--json", "--settings", folder / "edge.toml"],
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(done.stdout))


class IngestInATest:
    """Hears what edges publish, and receipts what and when the test says."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.packs: list[Pack] = []
        self.status: list[EdgeStatus] = []
        self._receipted: set[tuple[str, int]] = set()
        self.receipting = False

    @property
    def names(self) -> Counter[tuple[str, int]]:
        """How often each pack came, by (boot, seq)."""
        return Counter((pack.boot, pack.seq) for pack in self.packs)

    def rows(self) -> dict[str, set[int]]:
        """The times of the readings of each series: what a store would have."""
        found: dict[str, set[int]] = {}
        for pack in self.packs:
            for reading in pack.readings:
                found.setdefault(reading.series, set()).add(reading.time_ms)
        return found

    async def receipt(self, *packs: Pack, dead: str = "") -> None:
        """Say of these packs that they are safe, or dead-lettered for that reason."""
        for boot in {pack.boot for pack in packs}:
            seqs = [pack.seq for pack in packs if pack.boot == boot]
            receipt = Receipt(boot=boot, stored=to_ranges(seqs))
            if dead:
                receipt = Receipt(boot=boot, dead=[DeadLettered(seq=seq, reason=dead) for seq in seqs])
            await self.send_receipt(receipt.to_bytes())

    async def send_receipt(self, payload: bytes) -> None:
        await self.link.publish(str(Topic(COMMUNE, Kind.EDGE, NODE, Channel.RECEIPT)), payload)

    async def run(self) -> None:
        while True:
            messages = await self.link.batch(100)  # as ingest does: a round trip for each would take its time
            packs = [decode(message.payload) for message in messages]
            self.packs += packs
            self.link.acknowledge(messages)
            if self.receipting:
                await self.receipt(*packs)


@asynccontextmanager
async def ingest(broker: RunningBroker, *, receipting: bool = False) -> AsyncIterator[IngestInATest]:
    """An ingest that hears every pack; with ``receipting`` it receipts each at once."""
    async with Link(broker.settings("ingest"), session_expiry_s=300) as link:
        one = IngestInATest(link)
        one.receipting = receipting
        await link.subscribe(pattern(Kind.EDGE, Channel.TELEMETRY))
        task = asyncio.create_task(one.run())
        try:
            yield one
        finally:
            task.cancel()


@asynccontextmanager
async def statuses(broker: RunningBroker) -> AsyncIterator[list[EdgeStatus]]:
    """Every status document of the node, as it comes; the console's view."""
    said: list[EdgeStatus] = []

    async def listen(link: Link) -> None:
        async for message in link.messages():
            said.append(EdgeStatus.model_validate_json(message.payload))
            message.ack()

    async with Link(broker.settings("console")) as link:
        await link.subscribe(str(Topic(COMMUNE, Kind.EDGE, NODE, Channel.STATUS)))
        task = asyncio.create_task(listen(link))
        try:
            yield said
        finally:
            task.cancel()
