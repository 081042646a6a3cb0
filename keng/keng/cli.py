"""``keng``: one command for everything. Each part's own command is loaded only when it is called."""

from __future__ import annotations

import importlib

import click

from keng_runtime.cli import Group

#: Command → where it lives, and its line of help (shown without loading the part).
_COMMANDS = {
    "demo": ("keng.demo.cli:demo", "A flood at Quảng Thọ, seen and heard, in two minutes."),
    "doctor": ("keng.doctor:doctor", "What is missing on this machine, and how to get it."),
    "provision": ("keng_broker.cli:provision", "Make the commune's CA, certificates and signing keys."),
    "bench": ("keng.bench:bench", "Measure; the last line is one JSON object."),
    "edge": ("keng_edge.cli:cli", "The agent at the sensors."),
    "broker": ("keng_broker.cli:cli", "The MQTT broker, as Kẻng ships it."),
    "ingest": ("keng_ingest.cli:cli", "Telemetry into the store; dead letters."),
    "store": ("keng_store.cli:cli", "History: roll up, back up, restore, copy, export."),
    "alerts": ("keng_alerts.cli:cli", "Levels, alerts, siren commands."),
    "loudspeaker": ("keng_loudspeaker.cli:cli", "The node at a loudspeaker."),
    "console": ("keng_console.cli:cli", "Operators' pages and the registry."),
    "dashboards": ("keng_dashboards.cli:cli", "Grafana's dashboards, generated and pushed."),
    "firmware-sim": ("keng_firmware_sim.cli:cli", "Simulated sensors on pseudo-terminals."),
}


class Umbrella(Group):
    """Finds commands in the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in _COMMANDS.items()])


@click.command(cls=Umbrella)
@click.version_option(package_name="keng", prog_name="keng")
def cli() -> None:
    """Kẻng, the village gong: listens to the land and speaks to the people.

    \b
    Examples:
      keng demo                          a flood, seen and heard
      keng doctor                        what this machine still needs
      keng provision --help              identities for a commune
      keng edge run --settings edge.toml
    """


def main() -> None:
    cli(prog_name="keng")
