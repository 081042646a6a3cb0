"""The command line of ingest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from keng_ingest.dead_letters import DeadLetters, local_time
from keng_ingest.settings import IngestSettings
from keng_runtime.cli import Group, run_service, settings_option
from keng_runtime.settings import load


@click.group(cls=Group)
def cli() -> None:
    """Take telemetry from the broker and keep it.

    \b
    Examples:
      keng ingest run --settings /etc/keng/ingest.toml
      keng ingest dead-letters list --settings /etc/keng/ingest.toml
    """


@cli.command()
@settings_option
def run(settings_file: Path | None) -> None:
    """Run the service until it is stopped."""
    from keng_ingest.service import main as serve

    run_service("ingest", IngestSettings, settings_file, serve)


@cli.group("dead-letters", cls=Group)
def dead_letters() -> None:
    """What could not be stored, and why."""


@dead_letters.command("list")
@settings_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(settings_file: Path | None, as_json: bool) -> None:
    """List dead letters, the newest last."""
    letters = DeadLetters(load(IngestSettings, settings_file).state / "dead-letters.sqlite")
    kept = letters.list()
    if not kept and not as_json:
        click.echo("No dead letters.")
    for letter in kept:
        if as_json:
            click.echo(json.dumps(letter._asdict(), ensure_ascii=False))
        else:
            click.echo(
                f"{letter.id:>6}  {local_time(letter.last_ms)}  ×{letter.times}  {letter.size:>7} B  {letter.topic}\n"
                f"        {letter.reason}"
            )


@dead_letters.command()
@settings_option
@click.argument("number", type=int)
def show(settings_file: Path | None, number: int) -> None:
    """Write the bytes of dead letter NUMBER to standard output, as they came."""
    letters = DeadLetters(load(IngestSettings, settings_file).state / "dead-letters.sqlite")
    sys.stdout.buffer.write(letters.payload(number))


def main() -> None:
    cli(prog_name="keng-ingest")
