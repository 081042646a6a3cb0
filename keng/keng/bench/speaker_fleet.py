"""Many loudspeaker nodes on one broker obey one zone command: how many, how soon, and how far from the moment.

Everything is as it runs in a commune but the sound: mosquitto with mutual TLS and an identity for each node, the node's
own code, signed commands, evidence with receipts. Only the player is the file player, since one machine has no room for
hundreds of sound servers; some tens of nodes share a process. A node's first sample is when its player began, as its
meter heard it: ``start_error_ms`` is by how much that missed the moment that the command named, ``on_arrival_ms`` how
long after the publishing of a command without one. What the machine's own load adds is in both.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from keng.bench.figures import percentiles
from keng.bench.speaker_sync import SIREN, order, send
from keng.demo.children import Children
from keng.demo.plan import Plan
from keng_contracts.commands import Stop
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.receipts import Receipt
from keng_contracts.registry import Registry, SirenPattern, Speaker
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.media import Media
from keng_loudspeaker.sounding.speech import Voice
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.settings import BrokerSettings

#: Nodes in one process at most: paho waits with select(2), which knows 1024 files, and a node has about a dozen.
TOGETHER = 64
READY_S, PATIENCE_S, ASK_S = 180.0, 60.0, 2.0
#: Commands with a moment come so long before it.
AHEAD_MS = 5000
#: Between two commands: what was late is still counted, and the machine is calm again.
PAUSE_S = 2.0
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@dataclass(slots=True)
class Order:
    """A command as it was obeyed: when it was given and due (ms since 1970 UTC), and what each node said when."""

    given_ms: int = 0
    due_ms: int | None = None
    accepted_ms: dict[str, int] = field(default_factory=dict)
    first_ms: dict[str, int] = field(default_factory=dict)
    started: Counter[str] = field(default_factory=Counter)
    finished: set[str] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Fleet:
    """Hears the evidence of all nodes and receipts it, as the console does."""

    link: Link
    commune: str
    there: set[str] = field(default_factory=set)  # who has answered a zone command
    orders: dict[str, Order] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        async for message in self.link.messages():
            message.ack()
            node = Topic.parse(message.topic).id or ""
            event = PlaybackEvent.model_validate_json(message.payload)
            answer = Topic(self.commune, Kind.SPEAKER, node, Channel.PLAYBACK_RECEIPT)
            self.link.send(str(answer), Receipt(boot=event.boot, stored=[(event.seq, event.seq)]).to_bytes())
            self._take(node, event)
            self.news.set()

    def _take(self, node: str, event: PlaybackEvent) -> None:
        if event.what is What.ACCEPTED and event.reason == "stop":
            self.there.add(node)
        if (told := self.orders.get(event.play)) is None:
            return
        if event.what is What.ACCEPTED:
            told.accepted_ms.setdefault(node, event.at_ms)
        elif event.what is What.STARTED and event.first_sample_ms is not None:
            told.first_ms.setdefault(node, event.first_sample_ms)
            told.started[node] += 1
            told.reasons[event.reason] += 1
        elif event.what is What.FINISHED:
            told.finished.add(node)

    async def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait for news until the condition holds; False when the time is over."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return False
        return True

    async def all_there(self, nodes: int, check: Callable[[], None], say: Callable[[str], None]) -> None:
        """Ask the zone to stop what nobody plays, until every node has answered once: then all hear the zone."""
        began_s = time.monotonic()
        while len(self.there) < nodes:
            check()
            if time.monotonic() - began_s > READY_S:
                raise Problem(f"only {len(self.there)} of {nodes} nodes answer", todo="see the logs with --keep")
            await send(self.link, self.link.credentials.signing_key(), self.commune, Stop(play="khong-co"))
            await self.until(lambda: len(self.there) == nodes, ASK_S)
            say(f"{len(self.there)} of {nodes} nodes answer")

    async def give(self, name: str, nodes: int, ahead_ms: int | None) -> bool:
        """Order a siren in the zone; whether all nodes played it to its end in time."""
        told = self.orders[name] = Order()
        told.due_ms = None if ahead_ms is None else now_ms() + ahead_ms
        told.given_ms = await order(self.link, self.link.credentials.signing_key(), self.commune, name, told.due_ms)
        return await self.until(lambda: len(told.finished) == nodes, PATIENCE_S)


def figures(orders: Sequence[Order], nodes: int) -> dict[str, Any]:
    """The JSON object: how many obeyed, and how soon."""
    together = [told for told in orders if told.due_ms is not None]
    alone = [told for told in orders if told.due_ms is None]
    errors = [abs(first - (told.due_ms or 0)) for told in together for first in told.first_ms.values()]
    fanout = [at - told.given_ms for told in orders for at in told.accepted_ms.values()]
    obeyed = sum(len(told.finished) for told in orders)
    return {
        "nodes": nodes,
        "orders": len(orders),
        "obeyed": obeyed,
        "missed": nodes * len(orders) - obeyed,
        "doubled": sum(count - 1 for told in orders for count in told.started.values()),
        "start_error_ms": {**percentiles(errors, 50, 99), "worst": max(errors, default=None)},
        "on_arrival_ms": percentiles([at - told.given_ms for told in alone for at in told.first_ms.values()], 50, 99),
        "command_fanout_ms": percentiles(fanout, 50, 99),
        "too_late_for_the_moment": sum(n for told in together for reason, n in told.reasons.items() if reason),
    }


def _settings(plan: Plan, folder: Path) -> list[str]:
    """Write the nodes' settings as a fleet needs them; returns their names."""
    names = [speaker.id for speaker in plan.registry.speakers]
    for name in names:
        file = folder / "settings" / f"{name}.toml"
        file.write_text('clock = "trusted"\nrecording_s = 0\n' + file.read_text(encoding="utf-8"), encoding="utf-8")
    return names


async def _make_sounds(plan: Plan, names: Sequence[str]) -> None:
    """Make siren and gong once for all: hundreds of nodes that each make their own are busy for a minute."""
    made = plan.folder / "sounds"
    cache = Cache(made, made, 1 << 30)
    cache.prepare()
    await Media(cache, Voice()).make_ready([SIREN])
    for name in names:
        shutil.copytree(made, plan.state(name) / "sounds", copy_function=os.link)


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_MIB


def _plan(folder: Path, nodes: int) -> Plan:
    plan = Plan(folder, lapse=1.0, device="file")
    speakers = [Speaker(id=f"loa-{n}", name=f"Loa {n}", zones=["toan-xa"]) for n in range(nodes)]
    siren = SirenPattern(id=SIREN.pattern, blasts=1, blast_s=SIREN.blast_s, gap_s=0)
    commune, zones = plan.registry.commune, plan.registry.zones
    plan.registry = Registry(version=1, commune=commune, zones=zones, speakers=speakers, sirens=[siren])
    return plan


async def measure(
    folder: Path, nodes: int, rounds: int, say: Callable[[str], None], ahead_ms: int = AHEAD_MS
) -> dict[str, Any]:
    """Run it all; returns the figures."""
    load = [round(x, 1) for x in os.getloadavg()]
    plan = _plan(folder, nodes)
    began_s = time.monotonic()
    plan.write()
    names = _settings(plan, folder)
    await _make_sounds(plan, names)
    say(f"{nodes} identities after {time.monotonic() - began_s:.1f} s")
    children = Children(folder / "logs")
    commune = plan.registry.commune.id
    broker = BrokerSettings(host="127.0.0.1", port=plan.broker_port, credentials=folder / "credentials" / "console")
    try:
        children.start("broker", plan.broker_command(), changes_user=True)
        async with Link(broker) as link:
            await link.wait_connected()
            token = link.credentials.signing_key().sign(plan.registry.model_dump_json(by_alias=True).encode())
            await link.publish(str(Topic(commune, Kind.REGISTRY)), token, retain=True)
            await link.subscribe(pattern(Kind.SPEAKER, Channel.PLAYBACK))
            fleet = Fleet(link, commune)
            listening = asyncio.create_task(fleet.listen())
            began_s, pids = time.monotonic(), []
            for number, first in enumerate(range(0, nodes, TOGETHER)):
                some = names[first : first + TOGETHER]
                command = [sys.executable, "-m", "keng.bench.fleet_nodes", str(folder / "settings"), *some]
                pids.append(children.start(f"nodes-{number}", command))
            await fleet.all_there(nodes, children.check, say)
            ready_s = time.monotonic() - began_s
            for number in range(rounds):
                for name, ahead in ((f"dung-gio-{number}", ahead_ms), (f"toi-dau-{number}", None)):
                    await asyncio.sleep(PAUSE_S)
                    whole = await fleet.give(name, nodes, ahead)
                    children.check()
                    say(f"{name}: {len(fleet.orders[name].finished)} of {nodes}{'' if whole else ', the rest did not'}")
            await asyncio.sleep(PAUSE_S)
            rss_mib = sum(map(_rss_mib, pids))
            listening.cancel()
    finally:
        children.stop_all()
    return {
        **figures(list(fleet.orders.values()), nodes),
        "processes": len(pids),
        "ready_s": round(ready_s, 1),
        "rss_mib_per_node": round(rss_mib / nodes, 2),
        "load": load,
    }


def allow_many_files() -> None:
    """Hundreds of nodes have thousands of files and sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@click.command()
@click.option("--nodes", default=500, show_default=True, type=click.IntRange(1, 5000))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 1000), help="Of two commands each.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(nodes: int, rounds: int, as_json: bool, keep: Path | None) -> None:
    """Measure how many nodes on one broker obey one zone command, how soon, and how far from its moment."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()
    allow_many_files()
    say = functools.partial(click.echo, err=as_json)
    try:
        click.echo(json.dumps(asyncio.run(measure(folder, nodes, rounds, say))))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
