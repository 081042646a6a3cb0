"""How long from the serial frame that confirms a crossing to the siren command, and to the first audio sample.

The whole path runs as real processes: simulated gauge on a pseudo-terminal, edge, broker with mutual TLS, alerts, two
loudspeakers with mpv. Ingest, store, console and Grafana are not running; the bench stands in for the console only
where it owns something (the registry, receipts for evidence, the stop after each crossing).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from keng.bench.figures import percentiles
from keng.demo.children import Children
from keng.demo.plan import GAUGE, NODE, Plan
from keng_broker.provision import provision
from keng_contracts.alerts import FLOOD
from keng_contracts.commands import Command, Stop
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.receipts import Receipt
from keng_contracts.registry import HazardRule, Registry, SirenPattern
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_firmware_sim import control, orders
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.settings import BrokerSettings

LOAD_NODE = "tram-nen"
#: Above báo động 3, and well below báo động 1.
HIGH_M, LOW_M = 5.0, 0.5
#: A crossing whose sound has not come by then counts as missed.
PATIENCE_S = 10.0


@dataclass(slots=True)
class Crossing:
    """One crossing of báo động 3 as it was observed: times in ms since 1970 UTC, sounds by loudspeaker."""

    measured_ms: int = 0
    commanded_ms: int = 0
    sounded_ms: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Observer:
    """Hears commands, evidence and alerts, as the console would, and receipts the evidence."""

    link: Link
    commune: str
    level: int = 0
    crossings: dict[int, Crossing] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    commanded: asyncio.Queue[int] = field(default_factory=asyncio.Queue)

    async def listen(self) -> None:
        for filter_ in (
            pattern(Kind.ALERT),
            pattern(Kind.ZONE, Channel.COMMAND),
            pattern(Kind.SPEAKER, Channel.PLAYBACK),
        ):
            await self.link.subscribe(filter_)
        async for message in self.link.messages():
            at_ms = now_ms()
            message.ack()
            topic = Topic.parse(message.topic)
            if topic.kind is Kind.ALERT:
                document = json.loads(message.payload)
                if document["kind"] == FLOOD:
                    self.level = document["level"]
            elif topic.kind is Kind.ZONE:
                self.commanded.put_nowait(at_ms)
            elif topic.id is not None:
                self._evidence(topic.id, PlaybackEvent.model_validate_json(message.payload))
            self.news.set()

    def _evidence(self, speaker: str, event: PlaybackEvent) -> None:
        receipt = Receipt(boot=event.boot, stored=[(event.seq, event.seq)])
        topic = Topic(self.commune, Kind.SPEAKER, speaker, Channel.PLAYBACK_RECEIPT)
        self.link.send(str(topic), receipt.to_bytes())
        cause = event.cause
        if event.what is What.STARTED and event.kind == "siren" and cause and event.first_sample_ms:
            crossing = self.crossings.setdefault(cause.episode, Crossing())
            crossing.measured_ms = cause.measured_ms
            crossing.commanded_ms = cause.decided_ms
            crossing.sounded_ms.setdefault(speaker, []).append(event.first_sample_ms)

    async def until(self, condition: Any) -> bool:
        """Wait for news until the condition holds; False when the patience is over."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return False
        return True


def bench_registry(plan: Plan) -> Registry:
    """The demo's commune with one short siren at báo động 3, and levels that clear within half a second."""
    registry = plan.registry
    short = SirenPattern(id="do-tre", blasts=1, blast_s=1, gap_s=0)
    authority = [row.model_copy(update={"siren": "do-tre"}) for row in registry.authority if row.level == 3]
    rule = HazardRule(sensor=GAUGE, raise_samples=3, clear_after_s=0.3)
    return registry.model_copy(update={"sirens": [short], "authority": authority, "hazard_rules": [rule]})


async def measure(folder: Path, crossings: int, load: float, say: Any) -> dict[str, Any]:
    """Run it all; returns the figures."""
    plan = Plan(folder, lapse=1.0, device="null")
    plan.write()
    provision(folder / "credentials", commune=plan.registry.commune.id, nodes=[LOAD_NODE])
    settings = folder / "settings" / f"{NODE}.toml"
    settings.write_text(settings.read_text().replace("interval_s = 0.25", "interval_s = 0.1"), encoding="utf-8")
    children = Children(folder / "logs")
    children.start("broker", plan.broker_command(), changes_user=True)
    broker = BrokerSettings(host="127.0.0.1", port=plan.broker_port, credentials=folder / "credentials" / "console")
    commune = plan.registry.commune.id
    speakers = [speaker.id for speaker in plan.registry.speakers]
    try:
        async with Link(broker) as link:
            key = link.credentials.signing_key()
            await link.wait_connected()
            token = key.sign(bench_registry(plan).model_dump_json(by_alias=True).encode())
            await link.publish(str(Topic(commune, Kind.REGISTRY)), token, retain=True)
            for part in plan.parts():
                if part.name not in ("console", "ingest"):
                    children.start(part.name, part.command)
            if load:
                load_credentials = str(folder / "credentials" / LOAD_NODE)
                arguments = ["127.0.0.1", str(plan.broker_port), load_credentials, commune, LOAD_NODE, str(load)]
                children.start("load", [sys.executable, "-m", "keng.bench.load", *arguments])
            observer = Observer(link, commune)
            listening = asyncio.create_task(observer.listen())
            socket = folder / "ports" / "control.sock"
            while not socket.exists():
                children.check()
                await asyncio.sleep(0.1)

            async def hold(level: float) -> None:
                await asyncio.to_thread(control.send, socket, orders.Hold(quantity="level", value=level))

            await hold(LOW_M)
            await asyncio.sleep(3.0)  # the loudspeakers and the load come up; nothing tells when all have
            counter = now_ms()
            for number in range(1, crossings + 1):
                await hold(HIGH_M)
                await observer.until(lambda n=number: len(_sounded(observer, n)) == len(speakers))
                await hold(LOW_M)
                counter += 1
                stop = Command(
                    iss=key.issuer,
                    commune=commune,
                    aud="commune",
                    jti=str(uuid.uuid4()),
                    ctr=counter,
                    iat=now_ms() / 1000,
                    nbf=now_ms() / 1000,
                    exp=now_ms() / 1000 + 60,
                    action=Stop(),
                )
                everywhere = Topic(commune, Kind.ZONE, "toan-xa", Channel.COMMAND)
                await link.publish(str(everywhere), key.sign(stop.model_dump_json().encode()))
                if not await observer.until(lambda: observer.level == 0):
                    say(f"crossing {number}: the level did not clear")
                children.check()
                if number % 10 == 0:
                    say(f"{number} of {crossings} crossings")
            listening.cancel()
        return figures(observer, crossings, len(speakers), load)
    finally:
        children.stop_all()


def _sounded(observer: Observer, episode: int) -> dict[str, list[int]]:
    return observer.crossings.get(episode, Crossing()).sounded_ms


def figures(observer: Observer, crossings: int, speakers: int, load: float) -> dict[str, Any]:
    """The JSON object: latencies from the frame that confirmed a crossing, per crossing and loudspeaker."""
    seen = list(observer.crossings.values())
    sounds = [at - c.measured_ms for c in seen for times in c.sounded_ms.values() for at in times[:1]]
    return {
        "crossings": crossings,
        "loudspeakers": speakers,
        "load_readings_per_s": load,
        "command_ms": percentiles([c.commanded_ms - c.measured_ms for c in seen], 50, 99, 99.9),
        "sound_ms": percentiles(sounds, 50, 99, 99.9),
        "missed": crossings * speakers - len(sounds),
        "doubled": sum(len(times) - 1 for c in seen for times in c.sounded_ms.values()),
    }


@click.command()
@click.option("--crossings", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option(
    "--load", default=1000.0, show_default=True, type=click.FloatRange(0, 20_000), help="Readings per second."
)
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(crossings: int, load: float, as_json: bool, keep: Path | None) -> None:
    """Measure serial frame → siren command → first audio sample, with ingest, store and console stopped."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    try:
        click.echo(json.dumps(asyncio.run(measure(folder, crossings, load, say))))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
