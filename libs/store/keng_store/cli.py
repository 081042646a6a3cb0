"""The command line of the store."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click
from pydantic import BaseModel, ValidationError

from keng_contracts.errors import Problem
from keng_runtime.cli import Group
from keng_runtime.clock import now_ms
from keng_runtime.settings import explain
from keng_store.copying import Report
from keng_store.copying import copy as copy_all
from keng_store.protocol import Resolution, Store, StoreUnavailable
from keng_store.settings import RollupSettings, StoreSettings, open_store, sqlite_path

DEFAULT = "/etc/keng/ingest.toml"

M = TypeVar("M", bound=BaseModel)

store_option = click.option(
    "--store",
    "--settings",
    "store_name",
    envvar=["KENG_STORE", "KENG_INGEST_STORE__URL"],
    default=DEFAULT,
    show_default=True,
    metavar="STORE",
    help="The store's address, or a settings file with a [store] in it.",
)


class StoreGroup(Group):
    """A store that is away is an operator's matter too."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StoreUnavailable as error:
            problem = Problem(error.detail, todo="start the command again when it is back: it goes on where it stopped")
            click.echo(f"keng: {problem}", err=True)
            ctx.exit(2)


@click.group(cls=StoreGroup)
def cli() -> None:
    """The history of readings: roll up, back up, move, export.

    \b
    A STORE is an address (sqlite:////var/lib/keng/readings.sqlite, http://localhost:8086/keng)
    or a settings file with a [store] table, where secrets are named.

    \b
    Examples:
      keng store series
      keng store backup /media/usb/readings-2026-11-21.sqlite
      keng store copy /etc/keng/ingest.toml http://influxdb:8086/keng
      keng store export --series quang-tho/phu-oc/level --from 2025-10-01 --output flood.csv
    """


@cli.command()
@store_option
def series(store_name: str) -> None:
    """List the series: readings, from when to when, and since when raw rows are kept."""
    with _opened(store_name, read_only=True) as store:
        spans, counts = store.spans(), {}
        for commune in {name.partition("/")[0] for name in spans}:
            counts.update(store.counts(commune))
        for name, span in spans.items():
            raw_from = store.raw_from(name)
            kept = f"  raw from {_local(raw_from)}" if raw_from else ""
            click.echo(f"{name:<44} {counts.get(name, 0):>12,}  {_local(span.first_ms)} … {_local(span.last_ms)}{kept}")
        if not spans:
            click.echo("No readings.")


@cli.command()
@store_option
@click.option("--raw-days", type=click.IntRange(min=0), help="Remove raw readings older than that; 0: none.")
@click.option("--again", is_flag=True, help="Compute all days anew from the raw readings, marked or not.")
def rollup(store_name: str, raw_days: int | None, again: bool) -> None:
    """Bring roll-ups up to date now, and remove raw readings that are too old.

    Ingest does both by itself. May be stopped at any time; what was not done is done by the next run.
    """
    from keng_store.maintenance import Maintenance

    settings = _settings(store_name, "rollup", RollupSettings)
    if raw_days is not None:
        settings = settings.model_copy(update={"raw_days": raw_days})
    with _opened(store_name) as store:
        maintenance, rolled, forgotten, say = Maintenance(store, settings), 0, 0, _now_and_then()
        if again:
            for name, span in store.spans().items():
                rolled += maintenance.again(name, max(span.first_ms, store.raw_from(name)), span.last_ms + 1)
                say(f"{rolled:,} ten-minute buckets, now {name}")
        while (progress := maintenance.step(now_ms())).more:
            rolled, forgotten = rolled + progress.rolled, forgotten + progress.forgotten
            say(f"{rolled:,} ten-minute buckets rolled up")
    click.echo(f"{rolled:,} ten-minute buckets rolled up; old raw readings of {forgotten:,} series removed")


@cli.command()
@store_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(store_name: str, file: Path) -> None:
    """Copy a SQLite store to FILE while readings go on being written, and check the copy."""
    from keng_store import sqlite_backup

    start = time.monotonic()
    held = sqlite_backup.backup(_sqlite(store_name), file)
    click.echo(
        f"{file}: {held.readings:,} readings and {held.rollups:,} roll-ups of {held.series:,} series, whole"
        f" ({file.stat().st_size / 1e6:,.0f} MB in {time.monotonic() - start:.1f} s)"
    )


@cli.command()
@store_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def restore(store_name: str, file: Path) -> None:
    """Put the backup FILE in the place of a SQLite store. Stop ingest and console first.

    The store that is there is kept beside it, with .before-restore at the end of its name.
    """
    from keng_store import sqlite_backup

    target = _sqlite(store_name)
    held = sqlite_backup.restore(file, target)
    click.echo(f"{target}: {held.readings:,} readings and {held.rollups:,} roll-ups of {held.series:,} series")


@cli.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy all history FROM one store TO another and verify it by counts and sums.

    May be stopped and started again: what is there already is compared and left alone. Where both have a reading of the
    same time and differ, that of FROM is kept. While ingest writes to FROM, run
    it once, let ingest write to TO, and run it again for the rest.
    """
    say = _now_and_then()
    with _opened(source, read_only=True) as from_, _opened(target) as to:
        report = copy_all(from_, to, now_ms(), lambda so_far: say(_rows(so_far)))
    click.echo(f"{_rows(report)}; sum of values {report.values:.6g}")
    if report.replaced:
        click.echo(f"{report.replaced:,} readings took the place of another value or flag that TO had for their time.")
    if report.extra:
        click.echo(f"TO has {report.extra:,} readings in these times that FROM has not; they stay.")
    if report.refused:
        raise Problem(
            f"TO refused {report.refused:,} readings ({report.reason})", where=target, todo="see its retention"
        )
    if not report.is_verified:
        raise Problem(f"{report.differing} windows differ after all", where=target, todo="start it again")
    click.echo("Verified: counts and sums are the same.")


def _rows(report: Report) -> str:
    return (
        f"{report.series} of {report.all_series} series: {report.rows:,} readings, {report.written:,} of them written,"
        f" and {report.rollups:,} roll-ups"
    )


@cli.command()
@store_option
@click.option("--series", "names", multiple=True, help="commune/station/quantity; may be repeated. Default: all.")
@click.option("--from", "start", default="1970-01-01", help="Date or time (2025-11-16 or 2025-11-16T07:00).")
@click.option("--to", "end", default="2100-01-01", help="Date or time, not included.")
@click.option("--timezone", default="Asia/Ho_Chi_Minh", show_default=True, help="That of --from and --to.")
@click.option("--resolution", type=click.Choice(["raw", "10m", "1d"]), default="raw", show_default=True)
@click.option("--format", "form", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File; default: standard output.")
def export(
    store_name: str,
    names: tuple[str, ...],
    start: str,
    end: str,
    timezone: str,
    resolution: str,
    form: str,
    output: Path | None,
) -> None:
    """Write readings or roll-ups to a CSV or Parquet file; times are UTC."""
    from keng_store import export as exporting

    zone = _zone(timezone)
    wanted = exporting.Wanted(
        names, _time(start, zone), _time(end, zone), None if resolution == "raw" else Resolution(resolution)
    )
    with _opened(store_name, read_only=True) as store:
        if form == "csv":
            lines = exporting.to_csv(store, wanted, output)
        elif output is None:
            raise Problem("Parquet can't go to standard output", todo="name a file with --output")
        else:
            lines = exporting.to_parquet(store, wanted, output)
    click.echo(f"{lines:,} lines" + (f" in {output}" if output else ""), err=True)


# -- what a command is given ----------------------------------------------------------------------------------------


def _settings(name: str, table: str, kind: type[M]) -> M:
    """The table of a settings file; the defaults if ``name`` is an address."""
    if "://" in name or name.startswith("sqlite:"):
        values = {"url": name} if table == "store" else {}
    else:
        try:
            values = tomllib.loads(Path(name).read_text(encoding="utf-8")).get(table, {})
        except FileNotFoundError:
            raise Problem(
                "there is no such settings file", where=name, todo="say where the store is with --store ADDRESS or FILE"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise Problem(f"can't be read ({error})", where=name, todo="mend the file") from None
    try:
        return kind(**values)
    except ValidationError as error:
        raise Problem(f"{table}: {explain(error)}", where=name, todo="mend the settings") from None


@contextmanager
def _opened(name: str, *, read_only: bool = False) -> Iterator[Store]:
    with closing(open_store(_settings(name, "store", StoreSettings), read_only=read_only)) as store:
        yield store


def _sqlite(name: str) -> Path:
    settings = _settings(name, "store", StoreSettings)
    path = sqlite_path(settings)
    if path is None:
        raise Problem(
            "is an InfluxDB, which has its own backup",
            where=settings.url,
            todo="use influxd backup, or keng store copy",
        )
    return path


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(RollupSettings(timezone=name).timezone)
    except ValidationError:
        raise Problem(f"{name!r} is no time zone", where="--timezone", todo="e.g. Asia/Ho_Chi_Minh") from None


def _time(text: str, zone: ZoneInfo) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(f"{text!r} is no date or time", todo="write 2025-11-16 or 2025-11-16T07:00") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return round(moment.timestamp() * 1000)


def _local(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M}Z"


def _now_and_then() -> Callable[[str], None]:
    """Says a line on standard error at most once a second."""
    last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            click.echo(line, err=True)

    return say


def main() -> None:
    cli(prog_name="keng-store")
