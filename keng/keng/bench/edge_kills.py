"""``kill -9`` at random moments: what the agent committed is in the store afterwards, each reading once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import click

from keng.bench.edge import Bench, Say, lines
from keng_edge.outbox.outbox import inspect

#: An agent lives between so many seconds; it needs about one to start, so some die before they have read anything.
SHORTEST_S, LONGEST_S = 0.3, 4.0


class Kills(Bench):
    """The bench of ``keng bench edge`` with an agent that is killed again and again."""

    def __init__(self, folder: Path, say: Say, rounds: int, seed: int) -> None:
        super().__init__(folder, say)
        self._rounds = rounds
        self._random = random.Random(seed)
        self._with_readings = 0

    async def kill_and_count(self) -> dict[str, Any]:
        ports = await self.start_simulator()
        committed = 0
        for number in range(1, self._rounds + 1):
            pid = self.start_edge(lines(ports))
            await asyncio.sleep(self._random.uniform(SHORTEST_S, LONGEST_S))
            self.children.check()
            os.kill(pid, signal.SIGKILL)
            self.children.stop("edge")
            now = inspect(self.outbox)[0].committed if self.outbox.exists() else 0
            self._with_readings += now > committed
            committed = now
            if number % 10 == 0:
                self.say(f"{number} of {self._rounds} kills, {committed} readings committed")
        self.children.stop("firmware-sim")
        self.start_edge("")
        await self.until(lambda: inspect(self.outbox)[0].packs == 0, "the outbox is empty")
        depth, ledger = inspect(self.outbox)
        stored = self._stored_by_series()
        return {
            "rounds": self._rounds,
            "killed_with_readings": self._with_readings,
            "committed": depth.committed,
            "stored": sum(stored.values()),
            "lost": sum(max(0, count - stored.get(series, 0)) for series, count in ledger.items()),
            "doubled": sum(max(0, count - ledger.get(series, 0)) for series, count in stored.items()),
            "damaged": len(list(self.outbox.parent.glob("*.damaged-*"))),
        }

    def _stored_by_series(self) -> dict[str, int]:
        path = self.folder / "readings.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
            return dict(
                db.execute("SELECT name, count(*) FROM reading JOIN series ON series.id = series_id GROUP BY name")
            )


@click.command()
@click.option("--rounds", default=300, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--seed", default=1, show_default=True, help="Of the moments.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep all files and logs in this folder."
)
def command(rounds: int, seed: int, as_json: bool, keep: Path | None) -> None:
    """Kill the agent at random moments, and count what the store has of what was committed."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="keng-bench-"))).absolute()
    try:
        bench = Kills(folder, lambda line: click.echo(line, err=as_json), rounds, seed)
        click.echo(json.dumps(asyncio.run(bench.run(bench.kill_and_count))))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
