"""kill -9 of ingest, broker and store at random moments under load, round after round: none lost, none doubled."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from keng.bench.ingest import STORES, outcome
from keng.bench.rig import Rig

LOAD_S = 1.5


async def one_round(rig: Rig, victim: str, after_s: float) -> dict[str, Any]:
    """A load during which the victim is killed after so many seconds and started again; the books at its end."""
    load = rig.load(10, seconds=LOAD_S, rate=300, window=2_000, again_s=2.0, patience_s=60)
    before = await asyncio.to_thread(rig.counts)
    answer = asyncio.create_task(outcome(await rig.flood(load)))
    await asyncio.sleep(after_s)
    rig.end(victim, signal.SIGKILL)
    rig.start(victim)
    result = await answer
    await rig.store_answers()  # what was receipted before the kill must be there after it
    audit = await asyncio.to_thread(rig.audit, load, result["packs"], before)
    return {"victim": victim, "packs": result["packs"], "without_receipt": result["without_receipt"], **audit}


async def kills(
    folder: Path, store: str, victims: Sequence[str], chance: random.Random, say: Callable[[str], None]
) -> dict[str, Any]:
    """One round for each victim (``ingest``, ``ingest-2``, ``broker``, ``influxdb``), with two replicas."""
    rig = Rig(folder / store, store)
    rounds = []
    try:
        await rig.start_all()
        await rig.start_ingest(2)
        for number, victim in enumerate(victims, 1):
            rounds.append(await one_round(rig, victim, chance.uniform(0.5, 0.5 + LOAD_S)))
            say(f"{store} {number} of {len(victims)}: {rounds[-1]}")
    finally:
        rig.end_all()
    return {
        "rounds": len(rounds),
        "readings": sum(one["packs"] for one in rounds) * 10,
        **{key: sum(one[key] for one in rounds) for key in ("without_receipt", "lost", "doubled")},
        "killed": {victim: list(victims).count(victim) for victim in sorted(set(victims))},
    }


@click.command()
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Rounds for each store.")
@click.option("--seed", type=int, help="The same victims and moments again.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(rounds: int, seed: int | None, as_json: bool, keep: Path | None) -> None:
    """Kill a replica of ingest, the broker or InfluxDB in the middle of a load, and hold the books together."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()
    chance = random.Random(seed)

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    try:
        figures = {}
        for store in STORES:
            victims = ["ingest", "ingest-2", "broker", *(["influxdb"] if store == "influxdb" else [])]
            chosen = [chance.choice(victims) for _ in range(rounds)]
            figures[store] = asyncio.run(kills(folder, store, chosen, chance, say))
        click.echo(json.dumps(figures))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
