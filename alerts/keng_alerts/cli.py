"""The command line of alerts."""

from __future__ import annotations

from pathlib import Path

import click

from keng_alerts.settings import AlertsSettings
from keng_runtime.cli import Group, run_service, settings_option


@click.group(cls=Group)
def cli() -> None:
    """Watch the gauges, raise alerts, order the sirens.

    \b
    Examples:
      keng alerts run --settings /etc/keng/alerts.toml
    """


@cli.command()
@settings_option
def run(settings_file: Path | None) -> None:
    """Run the service until it is stopped."""
    from keng_alerts.service import main as serve

    run_service("alerts", AlertsSettings, settings_file, serve)


def main() -> None:
    cli(prog_name="keng-alerts")
