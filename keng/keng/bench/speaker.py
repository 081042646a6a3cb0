"""One loudspeaker node as a real process: command → first sample, its memory, and the time until it is ready.

``start_ms`` is from the moment at which the command is given to the broker to the first sample that left the node's
sink, by the node's own meter on the sink's monitor; the siren is in its cache. ``rss_mib`` is the node's own memory,
without mpv and the sound server, after all of them and a spoken text, with its unit's settings for the allocator.
``boot_s`` is from the start of the process to an open sound device, with the broker
there; ``boot_alone_s`` is without.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from keng.bench.figures import percentiles
from keng.bench.speaker_sync import order, send
from keng.demo.children import Children
from keng.demo.plan import Plan
from keng_contracts.commands import Play, Priority, Speech
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.receipts import Receipt
from keng_contracts.registry import Speaker
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_runtime.mqtt import Link
from keng_runtime.settings import BrokerSettings

NODE = "loa-do"
READY_S, PATIENCE_S, LOOK_S = 60.0, 10.0, 0.02
#: As ``keng-loudspeaker.service`` has it.
ALLOCATOR = "MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536"
TEXT = "Mực nước sông Bồ tại Phú Ốc là 3,06 m."


async def _ready(status: Path, began_s: float, children: Children) -> float:
    """How long the node took to have a sound device, in seconds since ``began_s``."""
    while time.monotonic() - began_s < READY_S:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(await asyncio.to_thread(status.read_text)).get("device"):
                return time.monotonic() - began_s
        children.check()
        await asyncio.sleep(LOOK_S)
    raise Problem("has no sound device", where=NODE, todo="see its log with --keep")


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def measure(folder: Path, starts: int, say: Any) -> dict[str, Any]:
    """Run it all; returns the figures."""
    plan = Plan(folder, lapse=1.0, device="null")
    plan.registry = plan.registry.model_copy(update={"speakers": [Speaker(id=NODE, name=NODE, zones=["toan-xa"])]})
    plan.write()
    settings, status = folder / "settings" / f"{NODE}.toml", plan.state(NODE) / "status.json"
    settings.write_text('clock = "trusted"\n' + settings.read_text())
    command = ["env", *ALLOCATOR.split(), sys.executable, "-m", "keng_loudspeaker", "run", "--settings", str(settings)]
    children = Children(folder / "logs")
    commune = plan.registry.commune.id
    broker = BrokerSettings(host="127.0.0.1", port=plan.broker_port, credentials=folder / "credentials" / "console")
    try:
        began_s = time.monotonic()
        children.start(NODE, command)
        alone_s = await _ready(status, began_s, children)
        children.stop(NODE)
        status.unlink()
        children.start("broker", plan.broker_command(), changes_user=True)
        async with Link(broker) as link:
            await link.wait_connected()
            key = link.credentials.signing_key()
            token = key.sign(plan.registry.model_dump_json(by_alias=True).encode())
            await link.publish(str(Topic(commune, Kind.REGISTRY)), token, retain=True)
            began_s = time.monotonic()
            pid = children.start(NODE, command)
            boot_s = await _ready(status, began_s, children)
            say(f"ready after {boot_s:.1f} s, without a network after {alone_s:.1f} s")
            await link.subscribe(pattern(Kind.SPEAKER, Channel.PLAYBACK))
            events: asyncio.Queue[PlaybackEvent] = asyncio.Queue()

            async def listen() -> None:
                async for message in link.messages():
                    message.ack()
                    event = PlaybackEvent.model_validate_json(message.payload)
                    answer = Topic(commune, Kind.SPEAKER, NODE, Channel.PLAYBACK_RECEIPT)
                    link.send(str(answer), Receipt(boot=event.boot, stored=[(event.seq, event.seq)]).to_bytes())
                    events.put_nowait(event)

            listening = asyncio.create_task(listen())

            async def first_sample_ms(play: str) -> int | None:
                """When a job that is waited for began to sound; None if it did not."""
                first_ms = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE_S):
                        while (event := await events.get()).play != play or event.what is not What.FINISHED:
                            if event.play == play and event.what is What.STARTED:
                                first_ms = event.first_sample_ms
                return first_ms

            await asyncio.sleep(3.0)  # the zone is subscribed and the sirens are made; nothing tells when all is
            took: list[float] = []
            for number in range(starts + 1):
                given_ms = await order(link, key, commune, f"do-{number}")
                first_ms = await first_sample_ms(f"do-{number}")
                if first_ms is not None and number:  # the first one is made
                    took.append(first_ms - given_ms)
                await asyncio.sleep(0.8)  # the next player is ready, as it is between two orders of people
                if number and number % 10 == 0:
                    say(f"{number} of {starts} starts")
            said = Play(play="doc", priority=Priority.EMERGENCY, items=[Speech(text=TEXT)])
            await send(link, key, commune, said)
            if await first_sample_ms(said.play) is None:
                raise Problem("did not say a text", where=NODE, todo="see its log with --keep")
            rss_mib = _rss_mib(pid)
            listening.cancel()
    finally:
        children.stop_all()
    return {
        "starts": len(took),
        "start_ms": percentiles(took, 50, 99),
        "rss_mib": round(rss_mib, 1),
        "boot_s": round(boot_s, 2),
        "boot_alone_s": round(alone_s, 2),
        "missed": starts - len(took),
        "load": [round(x, 1) for x in os.getloadavg()],
    }


@click.command()
@click.option("--starts", default=40, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(starts: int, as_json: bool, keep: Path | None) -> None:
    """Measure one loudspeaker: command → first sample, memory, and the time until it is ready."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    try:
        click.echo(json.dumps(asyncio.run(measure(folder, starts, say))))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
