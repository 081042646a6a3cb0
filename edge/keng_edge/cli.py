"""The command line of the edge agent."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_edge import checking
from keng_edge.pipeline.pipeline import Pipeline
from keng_edge.plan import Plan, PlannedLine, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.kinds import KINDS
from keng_edge.sources.source import Outcome
from keng_runtime.cli import Group, run_service, settings_option
from keng_runtime.clock import now_ms
from keng_runtime.service import EXIT_PROBLEM
from keng_runtime.settings import load


@click.group(cls=Group)
def cli() -> None:
    """The agent beside the sensors: reads them, keeps what they say, and sends it until the store has it.

    \b
    Examples:
      keng edge check /etc/keng/edge.toml
      keng edge discover /dev/ttyUSB0
      keng edge read --settings /etc/keng/edge.toml
      keng edge run --settings /etc/keng/edge.toml
      keng edge outbox --settings /etc/keng/edge.toml
    """


@cli.command()
@settings_option
def run(settings_file: Path | None) -> None:
    """Run the agent until it is stopped (SIGTERM, Ctrl-C); it stops with everything on disk.

    \b
    Example:
      keng edge run --settings /etc/keng/edge.toml
    """
    from keng_edge import agent

    def main(settings: EdgeSettings, stop: asyncio.Event) -> Coroutine[Any, Any, None]:
        return agent.run(settings, stop, lambda: load(EdgeSettings, settings_file))

    run_service("edge", EdgeSettings, settings_file, main, needs_state=False)


@cli.command()
@settings_option
@click.pass_context
def read(ctx: click.Context, settings_file: Path | None) -> None:
    """Ask every sensor once and show what it says.

    Stop the agent first: a serial port has one master. The exit status is 1 when a sensor could not be read.

    \b
    Example:
      keng edge read --settings /etc/keng/edge.toml
    """
    planned = plan(load(EdgeSettings, settings_file))
    outcomes = asyncio.run(_read_once(planned))
    rows = [("SENSOR", "SERIES", "VALUE", "UNIT", "")]
    pipeline = Pipeline(planned.channels)
    for outcome in outcomes:
        for reading in pipeline.readings(outcome.sample) if outcome.sample else ():
            note = "missing: the sensor has no value" if reading.flag is Flag.MISSING else ""
            rows.append((outcome.source, reading.series, f"{reading.value:g}", reading.unit, note))
        if outcome.failure is not None:
            what = Problem(outcome.failure.what, where=outcome.failure.where, todo=outcome.failure.todo)
            rows.append((outcome.source, "", "—", "", str(what)))
    _table(rows)
    ctx.exit(1 if any(outcome.failure for outcome in outcomes) else 0)


async def _read_once(planned: Plan) -> list[Outcome]:
    from keng_edge.agent import sources_of
    from keng_edge.sources.source import Health

    sources = sources_of(planned, Health([source for source, _ in planned.channels]))
    rounds = await asyncio.gather(*(source.read_once() for source in sources))
    return [outcome for one in rounds for outcome in one]


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def check(ctx: click.Context, file: Path) -> None:
    """Say what is wrong in settings FILE, each with its line, or what the agent would read.

    Run it as the agent's user, who alone may read its keys. It opens no port and no connection.

    \b
    Example:
      keng edge check /etc/keng/edge.toml
    """
    planned, wrong = checking.check(file)
    if wrong:
        for one in wrong:
            click.echo(f"keng: {one}", err=True)
        ctx.exit(EXIT_PROBLEM)
    for line in planned.lines:
        there = "" if "://" in line.port or Path(line.port).exists() else "  (the port is not there now)"
        click.echo(f"{line.id}: {KINDS[line.kind].title}, {line.port}{_speed(line)}{there}")
        for slave in line.slaves:
            alarm = ", alarm" if slave.id in planned.alarms else ""
            address = "" if slave.address is None else f"address {slave.address}, "
            click.echo(f"  {slave.id}: {address}{slave.profile.model}, every {slave.interval_s:g} s{alarm}")
            for (source, _), channel in planned.channels.items():
                if source == slave.id:
                    click.echo(f"    {channel.series} ({channel.unit})")
    sensors = sum(len(line.slaves) for line in planned.lines)
    click.echo(f"{file} is right: {len(planned.lines)} lines, {sensors} sensors, {len(planned.channels)} series.")


@cli.command()
@click.argument("port")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["text", "e22", "rak3172", "sdi12", "modbus"]),
    help="Look for these only; may be given more than once.  [default: all, in this order, until one is found]",
)
@click.option("--to", default=32, show_default=True, type=click.IntRange(1, 247), help="Last Modbus address to ask.")
@click.option("--baud", "bauds", multiple=True, type=int, help="Modbus: these speeds only.  [default: the usual six]")
@click.option(
    "--listen",
    "listen_s",
    default=2.5,
    show_default=True,
    type=click.FloatRange(0.5, 3600),
    help="Text and LoRa nodes speak when they like: listen so many seconds at each of four speeds.",
)
@click.option("--profiles", type=click.Path(path_type=Path, file_okay=False), help="Folder with profiles of your own.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def discover(
    ctx: click.Context,
    port: str,
    kinds: tuple[str, ...],
    to: int,
    bauds: tuple[int, ...],
    listen_s: float,
    profiles: Path | None,
    as_json: bool,
) -> None:
    """Find out what answers on PORT, and which profile fits.

    Stop the agent first. Only reads: no sensor is changed. The exit status is 1 when nothing answers. All 247 addresses
    at six speeds take some minutes.

    \b
    Examples:
      keng edge discover /dev/ttyUSB0
      keng edge discover /dev/ttyUSB0 --kind e22 --listen 60
      keng edge discover /dev/ttyUSB0 --kind modbus --baud 9600 --to 247 --json
    """
    from keng_edge.sources import discover as seek
    from keng_edge.sources.source import Failure

    known = seek.shipped(profiles)
    speeds = [(baud, parity) for baud, parity in seek.SPEEDS if not bauds or baud in bauds] or [(b, "N") for b in bauds]
    shows = sys.stderr.isatty()

    def say(what: str) -> None:
        if shows:
            click.echo(f"\r\033[K{what} …", err=True, nl=False)

    async def look() -> list[seek.Found]:
        unasked = [kind for kind in kinds or ("text", "e22") if kind in ("text", "e22")]
        asked = [kind for kind in kinds or ("rak3172", "sdi12", "modbus") if kind not in unasked]
        for kind in [*unasked[:1], *asked]:
            if not shows:
                click.echo(f"looking for {' and '.join(unasked) if kind in unasked else kind} …", err=True)
            if kind in unasked:
                found = await seek.listen(port, known, say, unasked, listen_s)
            elif kind == "rak3172":
                found = await seek.rak3172(port, say)
            elif kind == "sdi12":
                found = await seek.sdi12(port, known, say)
            else:
                found = await seek.modbus(port, range(1, to + 1), speeds, known, say)
            if found:
                return found
        return []

    try:
        found = asyncio.run(look())
    except Failure as failure:
        raise Problem(failure.what, where=port, todo=failure.todo) from None
    finally:
        if shows:
            click.echo("\r\033[K", err=True, nl=False)
    if as_json:
        click.echo(json.dumps({"port": port, "found": [asdict(one) for one in found]}, ensure_ascii=False))
    elif not found:
        click.echo(f"Nothing answers on {port}. Check power, wiring (A and B exchanged?) and the adapter.")
    else:
        rows = [("KIND", "SPEED", "ADDRESS", "SAYS", "PROFILE")]
        rows += [
            (one.kind, f"{one.baud} {one.parity}", one.address or "—", one.says, ", ".join(one.fits) or "none fits")
            for one in found
        ]
        _table(rows)
        click.echo(
            f"\nFor the settings, with an 'id' each, and 'station' for a sensor:\n\n{seek.settings(port, found)}"
        )
        if any(one.kind in ("e22", "rak3172") for one in found):
            click.echo("\nTheir readings count with their keys alone: keng provision … --radio-node EDGE NUMBER")
    ctx.exit(0 if found else 1)


@cli.command()
@settings_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def outbox(settings_file: Path | None, as_json: bool) -> None:
    """Show what waits to be sent, what was dropped, and how many readings of each series were ever committed.

    \b
    Example:
      keng edge outbox --settings /etc/keng/edge.toml --json
    """
    from keng_edge.outbox.outbox import OutboxDamaged, OutboxUnavailable, damaged, inspect

    path = load(EdgeSettings, settings_file).outbox
    if not path.exists():
        raise Problem("there is no outbox yet", where=str(path), todo="start the agent first, or check 'state'")
    try:
        depth, ledger = inspect(path)
    except OutboxDamaged as error:
        raise Problem(str(error), where=str(path), todo="start the agent: it moves it aside") from None
    except OutboxUnavailable as error:
        raise Problem(str(error), where=str(path), todo="run this as the agent's user") from None
    age_s = None if depth.oldest_ms is None else max(0, now_ms() - depth.oldest_ms) / 1000
    aside = [str(file) for file in damaged(path)]
    if as_json:
        click.echo(json.dumps({**asdict(depth), "age_s": age_s, "damaged": aside, "ledger": ledger}))
        return
    click.echo(f"{path}: {depth.bytes / 1e6:.1f} MB")
    oldest = (
        ""
        if depth.oldest_ms is None
        else f", the oldest of {datetime.fromtimestamp(depth.oldest_ms / 1000):%d.%m.%Y %H:%M:%S}"
    )
    click.echo(f"waiting    {depth.readings} readings in {depth.packs} packs{oldest}")
    click.echo(
        f"committed  {depth.committed}\ndropped    {depth.dropped}\nunusable   {depth.dead} (kept aside by ingest)"
    )
    for file in aside:
        click.echo(f"damaged    {file}")
    click.echo("")
    _table([("SERIES", "COMMITTED"), *((series, str(count)) for series, count in ledger.items())])


def _speed(line: PlannedLine) -> str:
    """How a serial line speaks; a connection has no speed."""
    if line.kind in ("lorawan", "machine") or line.port.startswith("tcp://"):
        return ""
    own = {(slave.profile.baud, slave.profile.parity) for slave in line.slaves}
    if line.kind == "modbus" and line.settings.baud is None and len(own) > 1:
        return ", " + " and ".join(f"{baud} {parity}" for baud, parity in sorted(own))
    return f", {line.baud} {line.parity}"


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    cli(prog_name="keng-edge")
