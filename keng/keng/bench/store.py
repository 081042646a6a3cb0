"""The SQLite store at the size of a commune's year: room, answers, and whether readers hold up the writer.

A year has 525,600 minutes; with fewer rows than 105 million there are fewer series, each still a year long. The first
WRITTEN_ROWS go through the store's own ``write``, which is measured; the rest are put in by SQL, into the same
table, minute by minute with all series side by side, for a row's place on its page, and so the size, depends on that
order. Cold answers are measured with the file's pages dropped from the system's cache.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import click

from keng.bench.figures import percentiles
from keng_contracts.telemetry import Flag
from keng_store.maintenance import Maintenance
from keng_store.protocol import Row
from keng_store.settings import RollupSettings
from keng_store.sqlite import SqliteStore
from keng_store.sqlite_backup import backup

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
YEAR_MINUTES = 525_600
START_MS = 1_735_664_400_000  # 2025-01-01 in Huế
YEAR_ROWS = 200 * YEAR_MINUTES
#: Minutes of all series in one commit while the file is made.
COMMIT_MINUTES = 20
WRITTEN_ROWS = 1_000_000
#: How many series' year is rolled up.
ROLLED_SERIES = 5
ASKS = 40


def name(number: int) -> str:
    return f"quang-tho/tram-{number // 5}/q-{number % 5}"


def written(store: SqliteStore, series: int, minutes: int) -> float:
    """Write the first minutes as ingest does; rows a second."""
    chance, taken = random.Random(4), 0.0
    names = [name(number) for number in range(series)]
    for start in range(0, minutes, COMMIT_MINUTES):
        rows = [
            Row(series_name, START_MS + minute * MINUTE_MS + number, round(2 + chance.random(), 3), Flag.GOOD)
            for minute in range(start, min(start + COMMIT_MINUTES, minutes))
            for number, series_name in enumerate(names)
        ]
        began = time.perf_counter()
        store.write(rows)
        taken += time.perf_counter() - began
    return series * minutes / taken


_FILL = """
WITH RECURSIVE minute(n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM minute WHERE n + 1 < ?2)
INSERT INTO reading
SELECT id, ?3 + n * 60000 + id - 1, 2 + (abs(random()) % 1000) / 1000.0, 1 FROM minute CROSS JOIN series
"""


def filled(path: Path, first: int, minutes: int, say: Callable[[str], None]) -> None:
    """Put the rest of the minutes in by SQL."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = NORMAL")
        for start in range(first, minutes, 1440):
            db.execute(_FILL, (start, min(start + 1440, minutes), START_MS))
            if start // 1440 % 30 == 0:
                say(f"day {start // 1440} of {minutes // 1440}")


def marked(path: Path, series: int) -> int:
    """Mark all buckets of the first series as touched, none of the others; rows to be rolled up."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM touched")
        db.execute(
            "INSERT INTO touched SELECT DISTINCT series_id, time_ms - time_ms % 600000, 0 FROM reading"
            " WHERE series_id <= ?",
            (series,),
        )
        found: int = db.execute("SELECT count(*) FROM reading WHERE series_id <= ?", (series,)).fetchone()[0]
        return found


def in_use(path: Path) -> int:
    """Bytes of the database, its free pages left out."""
    with closing(sqlite3.connect(path)) as db:
        size, pages, free = (
            db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_size", "page_count", "freelist_count")
        )
        return int(size * (pages - free))


def timed(ask: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> list[float]:
    """Milliseconds of each of ASKS calls."""
    taken = []
    for _ in range(ASKS):
        before()
        start = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - start) * 1000)
    return taken


def rounded(values: list[float], *wanted: float) -> dict[str, float]:
    return {key: round(value, 2) for key, value in percentiles(values, *wanted).items()}


def read_for_ever(path: str, series: int, end_ms: int, at_work: Event) -> None:
    """What a reading process does while the writer is measured; ``at_work`` is set after its first answer."""
    chance = random.Random(os.getpid())
    with closing(SqliteStore(Path(path), read_only=True)) as store:
        while True:
            store.range(name(chance.randrange(series)), START_MS, end_ms, 1000)
            at_work.set()


def commits(store: SqliteStore, series: int, start_ms: int) -> list[float]:
    """Milliseconds of each of 200 commits of one reading of each series."""
    taken = []
    for n in range(200):
        rows = [Row(name(k), start_ms + n * MINUTE_MS, n + k / 7, Flag.GOOD) for k in range(series)]
        start = time.perf_counter()
        store.write(rows)
        taken.append((time.perf_counter() - start) * 1000)
    return taken


@contextlib.contextmanager
def readers(path: Path, count: int, series: int, end_ms: int) -> Iterator[None]:
    spawn = multiprocessing.get_context("spawn")
    running = {}
    for _ in range(count):
        at_work = spawn.Event()
        process = spawn.Process(target=read_for_ever, args=(str(path), series, end_ms, at_work), daemon=True)
        process.start()
        running[process] = at_work
    try:
        for at_work in running.values():
            if not at_work.wait(60):
                raise TimeoutError("a reader does not come to work")
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def measure(folder: Path, rows: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Make the file and ask it; the figures."""
    path = folder / "readings.sqlite"
    series = max(1, min(200, rows // YEAR_MINUTES))
    minutes = min(YEAR_MINUTES, rows // series)
    end_ms = START_MS + minutes * MINUTE_MS
    figures: dict[str, Any] = {"rows": series * minutes, "series": series, "days": minutes // 1440}
    with closing(SqliteStore(path)) as store:
        first = min(minutes, WRITTEN_ROWS // series)
        figures["write_rows_per_s"] = round(written(store, series, first))
        filled(path, first, minutes, say)
        marked(path, 0)
        size = in_use(path)
        figures["bytes_per_row"] = round(size / (series * minutes), 2)
        figures["year_of_200_series_gb"] = round(size / (series * minutes) * YEAR_ROWS / 1e9, 2)

        def cold() -> None:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

        some = min(series, ROLLED_SERIES)
        rows_rolled = marked(path, some)
        with closing(SqliteStore(path, read_only=True)) as reader:
            chance = random.Random(1)

            def last_day() -> None:
                reader.range(name(chance.randrange(series)), end_ms - DAY_MS, end_ms)

            def one_year() -> None:
                reader.range(name(chance.randrange(some)), START_MS, end_ms, 1000)

            for key, ask in (("last_day", last_day), ("year_1000_points_without_rollups", one_year)):
                figures[f"{key}_ms"] = rounded(timed(ask), 50, 99)
                figures[f"{key}_cold_ms"] = rounded(timed(ask, cold), 50, 99)
            figures["latest_ms"] = rounded(timed(lambda: reader.latest("quang-tho")), 50, 99)
            say("answers measured; roll-ups")

            steps = []
            maintenance = Maintenance(store, RollupSettings(raw_days=0))
            start = time.perf_counter()
            while True:
                step = time.perf_counter()
                if not maintenance.step(end_ms + DAY_MS, 200).more:
                    break
                steps.append((time.perf_counter() - step) * 1000)
            figures["rollup_rows_per_s"] = round(rows_rolled / (time.perf_counter() - start))
            figures["rollup_step_ms"] = rounded(steps, 50, 99)
            figures["rollups_of_200_series_gb"] = round((in_use(path) - size) / some * 200 / 1e9, 2)
            figures["year_1000_points_ms"] = rounded(timed(one_year), 50, 99)
            figures["year_1000_points_cold_ms"] = rounded(timed(one_year, cold), 50, 99)

        say("a writer alone, then with two readers of a year each")
        figures["commit_alone_ms"] = rounded(commits(store, series, end_ms), 50, 99)
        with readers(path, 2, series, end_ms):
            figures["commit_with_readers_ms"] = rounded(commits(store, series, end_ms + DAY_MS), 50, 99)
        start = time.perf_counter()
        backup(path, folder / "backup.sqlite")
        figures["backup_s"] = round(time.perf_counter() - start, 1)
    start = time.perf_counter()
    SqliteStore(path).close()
    figures["open_and_check_s"] = round(time.perf_counter() - start, 1)
    figures["fsync_ms"] = round(statistics.median(_fsync(folder) for _ in range(20)), 2)
    return figures


def _fsync(folder: Path) -> float:
    """Milliseconds in which the disk takes one page: what a commit can't be faster than."""
    with (folder / "probe").open("wb") as file:
        file.write(bytes(4096))
        file.flush()
        start = time.perf_counter()
        os.fsync(file.fileno())
        return (time.perf_counter() - start) * 1000


@click.command()
@click.option("--rows", default=10_000_000, show_default=True, type=click.IntRange(100_000, YEAR_ROWS))
@click.option(
    "--year", "whole_year", is_flag=True, help="The whole year: 105,120,000 rows, 3 GB and as much for a backup."
)
@click.option("--quick", is_flag=True, help="A million rows: two series, under a minute.")
@click.option("--json", "as_json", is_flag=True, help="Only the JSON object on standard output.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where the file is made, and removed.")
def command(rows: int, whole_year: bool, quick: bool, as_json: bool, folder: Path | None) -> None:
    """Measure the SQLite store at the size of a commune's year."""
    place = Path(tempfile.mkdtemp(prefix="keng-bench-", dir=folder))
    try:
        wanted = YEAR_ROWS if whole_year else 1_100_000 if quick else rows
        click.echo(json.dumps(measure(place, wanted, lambda line: click.echo(line, err=as_json))))
    finally:
        shutil.rmtree(place, ignore_errors=True)
