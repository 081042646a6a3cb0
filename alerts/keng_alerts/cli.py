"""The command line of alerts."""

from __future__ import annotations

import json
from pathlib import Path

import click

from keng_alerts.notify.cli import notify
from keng_alerts.people.people import COMMANDS
from keng_alerts.settings import AlertsSettings
from keng_contracts.errors import Problem
from keng_runtime.cli import Group, run_service, settings_option


@click.group(cls=Group)
def cli() -> None:
    """Watch the gauges, raise alerts, order the sirens.

    \b
    Examples:
      keng alerts run --settings /etc/keng/alerts.toml
      keng alerts list
      keng alerts stop
    """


@cli.command()
@settings_option
def run(settings_file: Path | None) -> None:
    """Run the service until it is stopped."""
    from keng_alerts.service import main as serve

    run_service("alerts", AlertsSettings, settings_file, serve)


@cli.command()
@click.argument("series", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--station", required=True, help="Station, its official code, or the sensor: phu-oc, 71518, phu-oc/level."
)
@click.option(
    "--registry",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The commune's registry (TOML); without it some official stations are known.",
)
@click.option("--time", help="Column of the time; without it the first that is called as usual.")
@click.option("--value", help="Column of the level or of the distance to the water.")
@click.option("--where", multiple=True, metavar="COLUMN=TEXT", help="Take these rows alone; may be given again.")
@click.option("--unit", help="Unit of the values: mm, cm, dm or m; without it that of the registry.")
@click.option("--tz", help="Where times without an offset are: Asia/Ho_Chi_Minh.")
@click.option(
    "--events",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What really was: CSV with start, and if known end and level; with no row: nothing was.",
)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the replay into this file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def backtest(
    series: Path,
    station: str,
    registry: Path | None,
    time: str | None,
    value: str | None,
    where: tuple[str, ...],
    unit: str | None,
    tz: str | None,
    events: Path | None,
    svg: Path | None,
    as_json: bool,
) -> None:
    """Replay the CSV file SERIES through the engine that runs in service, before a gauge is trusted.

    \b
    Examples:
      keng alerts backtest bo.csv --station phu-oc --where station_id=71518 --svg bo.svg
      keng alerts backtest street.csv --station cho --registry commune.toml --value dist_mm --unit mm --events none.csv
    """
    from keng_alerts.backtest.drawing import draw
    from keng_alerts.backtest.rehearsal import run as rehearse
    from keng_alerts.backtest.rehearsal import words

    wanted: dict[str, str] = {}
    for text in where:
        column, equals, cell = text.partition("=")
        if not equals:
            raise Problem(f"{text!r} is no COLUMN=TEXT", where="--where", todo="e.g. --where station_id=71518")
        wanted[column] = cell
    result, figures = rehearse(
        series, station, registry=registry, time=time, value=value, where=wanted, unit=unit, tz=tz, events=events
    )
    if svg is not None:
        try:
            svg.write_text(draw(result), encoding="utf-8")
        except OSError as error:
            raise Problem(f"the drawing can't be written ({error.strerror})", where=str(svg)) from None
    for note in figures["notes"]:
        click.echo(f"keng: {note}", err=True)
    click.echo(json.dumps(figures, ensure_ascii=False) if as_json else words(result, figures))


cli.add_command(notify)
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    cli(prog_name="keng-alerts")
