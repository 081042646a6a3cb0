"""The command line of the console."""

from __future__ import annotations

from pathlib import Path

import click

from keng_console import registry_file
from keng_console.cap.cli import cap
from keng_console.reporting import report
from keng_console.settings import ConsoleSettings
from keng_console.speakers.announcing import announce, announced, bulletins, stop
from keng_console.speakers.programming import programme
from keng_console.speakers.speaking import speak
from keng_console.telling import tell, told
from keng_contracts.authority import BY_ITSELF
from keng_contracts.registry import AuthorityMode
from keng_runtime.cli import Group, run_service, settings_option


@click.group(cls=Group)
def cli() -> None:
    """Show the commune's situation, own its registry, keep evidence.

    \b
    Examples:
      keng console run --settings /etc/keng/console.toml
      keng console check commune.toml
      keng console tell tram-phu-oc identify
      keng console told
      keng console announce "Mời bà con họp thôn lúc 19 giờ." --to toan-xa
      keng console programme publish tuan.toml
      keng console speak --to toan-xa
      keng console report --month 2025-11
    """


@cli.command()
@settings_option
def run(settings_file: Path | None) -> None:
    """Run the service until it is stopped."""
    from keng_console.service import main as serve

    run_service("console", ConsoleSettings, settings_file, serve)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Check the registry in FILE (a commune.toml) and say what it holds.

    Exit status 0 when it is right, 2 with every mistake in one line when it is not.
    """
    registry = registry_file.read(file)
    auto = [rule for rule in registry.authority if rule.mode in BY_ITSELF]
    click.echo(
        f"{file}: {registry.commune.name}, version {registry.version}, is right: {len(registry.stations)} stations, "
        f"{len(registry.sensors)} sensors, {len(registry.thresholds)} thresholds, {len(registry.speakers)} loudspeakers"
    )
    for rule in auto:
        zones, by = ", ".join(rule.zones), registry.delegation_of(rule)
        after = f" after {rule.confirm_within_s:g} s" if rule.mode is AuthorityMode.TIMEOUT else ""
        click.echo(f"  sirens start by themselves{after}: {rule.sensor} level {rule.level} in {zones} ({by})")


cli.add_command(announce)
cli.add_command(announced)
cli.add_command(bulletins)
cli.add_command(cap)
cli.add_command(programme)
cli.add_command(report)
cli.add_command(speak)
cli.add_command(stop)
cli.add_command(tell)
cli.add_command(told)


def main() -> None:
    cli(prog_name="keng-console")
