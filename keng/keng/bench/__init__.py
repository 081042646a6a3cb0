"""``keng bench``: measurements on real processes. Each ends with one JSON object on its last line."""

from __future__ import annotations

import importlib

import click

from keng_runtime.cli import Group

_BENCHES = {
    "edge": ("keng.bench.edge:command", "The agent's memory, CPU, disk and latency; how fast a backlog drains."),
    "edge-kills": ("keng.bench.edge_kills:command", "kill -9 of the agent at random moments: lost and doubled."),
    "store": ("keng.bench.store:command", "SQLite at the size of a year: room, answers, readers and the writer."),
    "alert-latency": ("keng.bench.alert_latency:command", "Serial frame → command → first audio sample."),
    "speaker": ("keng.bench.speaker:command", "One loudspeaker: command → first sample, memory, time until ready."),
    "speaker-sync": ("keng.bench.speaker_sync:command", "How far apart loudspeakers start, in recorded sound."),
    "speaker-voice": ("keng.bench.speaker_voice:command", "A live voice from mouth to ear, in recorded sound."),
    "speaker-fleet": ("keng.bench.speaker_fleet:command", "Hundreds of loudspeakers on one broker: one zone command."),
    "ingest-kills": ("keng.bench.ingest_kills:command", "kill -9 at random moments under load: lost and doubled."),
    "ingest": ("keng.bench.ingest:command", "Messages/s and readings/s into each store, lost and doubled."),
}


class Benches(Group):
    """Finds a benchmark in the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_BENCHES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _BENCHES:
            return None
        module, _, name = _BENCHES[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Benches)
def bench() -> None:
    """Measure, on this machine, with real processes.

    \b
    Examples:
      keng bench alert-latency --json
      keng bench alert-latency --crossings 200 --json
    """
