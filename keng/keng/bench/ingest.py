"""How much ingest takes, how fast it answers, and whether anything is ever lost or doubled.

Broker, store, ingest and the load generator are real processes on the same machine, with mutual TLS. The generator's
book of QoS 1 acknowledgements is held against the rows of the store, so durability is measured and not assumed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from keng.bench import rival
from keng.bench.flood import Load
from keng.bench.rig import Rig
from keng_contracts.errors import Problem

STORES = ("sqlite", "influxdb")


class Sizes:
    """How much of each: ``--quick`` is for a look, the rest for a figure to publish."""

    def __init__(self, quick: bool, minutes: float | None) -> None:
        self.single = 15_000 if quick else 300_000
        self.packs = 3_000 if quick else 60_000
        self.receipt_s = 1.5 if quick else 30.0
        self.overload_minutes = (0.04 if quick else 10.0) if minutes is None else minutes
        self.backlog = 50_000 if quick else 1_000_000


async def outcome(child: asyncio.subprocess.Process) -> dict[str, Any]:
    """The generator's last line."""
    out, _ = await child.communicate()
    answer: dict[str, Any] = json.loads(out.decode().strip().splitlines()[-1])
    return answer


async def throughput(rig: Rig, load: Load) -> dict[str, Any]:
    """One load from its first pack to its last receipt."""
    before, cpu = await asyncio.to_thread(rig.counts), rig.cpu_s()
    child = await rig.flood(load)
    result = await outcome(child)
    spent = {name: seconds - cpu[name] for name, seconds in rig.cpu_s().items()} | {"generator": result["cpu_s"]}
    readings = result["packs"] * load.size
    audit = await asyncio.to_thread(rig.audit, load, result["acknowledged"], before)
    return {
        "messages_per_s": round(result["packs"] / result["seconds"]),
        "readings_per_s": round(readings / result["seconds"]),
        **audit,
        "cpu_s_per_million": {name: round(seconds * 1e6 / readings, 2) for name, seconds in spent.items()},
        "receipt_ms": result["receipt_ms"],
    }


async def overload(rig: Rig, minutes: float, packs_per_s: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Twice what it can take. What the broker's bounded queue could not hold stays at the edge, as it does in the
    field: the generator stops sending at 40,000 packs without receipt, and ``held_s`` is how long it stood there."""
    load = rig.load(50, seconds=minutes * 60, rate=2 * packs_per_s, window=40_000)
    before = await asyncio.to_thread(rig.counts)
    child = await rig.flood(load)
    answer = asyncio.create_task(outcome(child))
    rss: list[float] = []
    every = max(0.5, minutes * 60 / 40)
    while not answer.done():
        await asyncio.wait({answer}, timeout=every)
        rss.append(rig.rss_mib())
        say(f"overload: ingest {rss[-1]} MiB, broker {rig.rss_mib('broker')} MiB")
    result = answer.result()
    audit = await asyncio.to_thread(rig.audit, load, result["acknowledged"], before)
    # The first tenth is the way up: caches and the window of the broker fill.
    steady = rss[len(rss) // 10 :]
    return {
        "minutes": round(minutes, 2),
        "offered_packs_per_s": round(2 * packs_per_s),
        "rss_mib_first": steady[0],
        "rss_mib_last": rss[-1],
        "rss_mib": rss,
        "held_s": result["held_s"],
        **audit,
    }


async def backlog(rig: Rig, readings: int) -> dict[str, Any]:
    """What waited at the broker while ingest was away; timed from its start."""
    rig.end_ingest()
    load = rig.load(50, total=readings // 50, window=1 << 30)
    before = await asyncio.to_thread(rig.counts)
    child = await rig.flood(load)
    assert child.stdout is not None
    await child.stdout.readuntil(b"published\n")
    start = asyncio.get_running_loop().time()
    await rig.start_ingest()
    result = await outcome(child)
    seconds = asyncio.get_running_loop().time() - start
    audit = await asyncio.to_thread(rig.audit, load, result["acknowledged"], before)
    return {"readings": readings, "seconds": round(seconds, 1), **audit}


async def measure(folder: Path, store: str, sizes: Sizes, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures of one store."""
    rig = Rig(folder / store, store)
    figures: dict[str, Any] = {}
    try:
        await rig.start_all()
        await rig.start_ingest()
        figures["one_per_message"] = await throughput(rig, rig.load(1, total=sizes.single))
        say(f"{store}: {figures['one_per_message']['messages_per_s']} messages/s")
        figures["packs_of_50"] = await throughput(rig, rig.load(50, total=sizes.packs, window=4_000))
        say(f"{store}: {figures['packs_of_50']['readings_per_s']} readings/s in packs of 50")
        steady = rig.load(10, seconds=sizes.receipt_s, rate=100)
        figures["receipt_ms"] = (await throughput(rig, steady))["receipt_ms"]
        say(f"{store}: receipts at 1,000 readings/s after {figures['receipt_ms']} ms")
        figures["backlog"] = await backlog(rig, sizes.backlog)
        say(f"{store}: backlog of {sizes.backlog} readings in {figures['backlog']['seconds']} s")
        if sizes.overload_minutes:
            figures["overload"] = await overload(
                rig, sizes.overload_minutes, figures["packs_of_50"]["messages_per_s"], say
            )
        rig.end_ingest()
        await rig.start_ingest(2)
        figures["two_replicas"] = {
            "one_per_message": await throughput(rig, rig.load(1, total=sizes.single)),
            "packs_of_50": await throughput(rig, rig.load(50, total=sizes.packs, window=4_000)),
        }
        say(f"{store}: two replicas {figures['two_replicas']['packs_of_50']['readings_per_s']} readings/s")
    finally:
        rig.end_all()
    return figures


async def against_node_red(folder: Path, sizes: Sizes, ours: dict[str, Any], say: Callable[[str], None]) -> Any:
    """The same loads through Node-RED into InfluxDB; ``ratio`` is how many times more we take."""
    figures: dict[str, Any] = {}
    rig = Rig(folder / "rival", "influxdb")
    try:
        await rig.start_all()
        for name, load in (
            ("one_per_message", rig.load(1, total=sizes.single)),
            ("packs_of_50", rig.load(50, total=sizes.packs)),
        ):
            figures[name] = await rival.measure(rig, load, folder / "node-red", say)
            figures[name]["ratio"] = round(ours[name]["readings_per_s"] / max(1, figures[name]["readings_per_s"]), 1)
            say(f"Node-RED, {name}: {figures[name]}")
    except Problem as problem:
        say(f"Node-RED could not be measured: {problem}")
        figures["problem"] = str(problem)
    finally:
        rig.end_all()
    return figures


@click.command()
@click.option("--quick", is_flag=True, help="All of it with small loads, in under a minute.")
@click.option("--store", "stores", multiple=True, type=click.Choice(STORES), help="Only this store.")
@click.option("--minutes", type=click.FloatRange(0, 600), help="Minutes of overload.  [default: 10; --quick: 0.04]")
@click.option("--rival", "against", type=click.Choice(["node-red"]), help="The same load through Node-RED as well.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(
    quick: bool, stores: tuple[str, ...], minutes: float | None, against: str | None, as_json: bool, keep: Path | None
) -> None:
    """Measure messages/s, readings/s, receipts, overload and backlog, on SQLite and on InfluxDB."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    try:
        sizes = Sizes(quick, minutes)
        figures: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 1)}
        for store in stores or STORES:
            figures[store] = asyncio.run(measure(folder, store, sizes, say))
            for name in ("receipt_ms", "overload", "backlog"):  # at the top those of the first store
                figures.setdefault(name, figures[store].get(name))
        if against and "influxdb" in figures:
            figures["node_red"] = asyncio.run(against_node_red(folder, sizes, figures["influxdb"], say))
        click.echo(json.dumps(figures))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
