"""``keng console report``: the month of the loudspeakers, from the evidence that the console keeps."""

from __future__ import annotations

import json
from pathlib import Path

import click

from keng_console.database import Database, DatabaseUnavailable
from keng_console.report import NAMES, Line, last_month, lines, month
from keng_console.settings import ConsoleSettings
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_runtime.cli import settings_option
from keng_runtime.clock import now_ms
from keng_runtime.settings import load


@click.command()
@click.option("--month", "which", default="", help="The month, as 2025-11; without it the last one that is over.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@settings_option
def report(which: str, as_json: bool, settings_file: Path | None) -> None:
    """What each loudspeaker played in a month, for how long, what it missed and what it refused.

    \b
    Examples:
      keng console report --month 2025-11
      keng console report --json
    """
    settings = load(ConsoleSettings, settings_file)
    if not settings.database_url and not (settings.state / "console.sqlite").exists():
        todo = "give the --settings of the console that runs here"
        raise Problem("no console has kept anything there", where=str(settings.state), todo=todo)
    database = Database(settings.database)
    try:
        kept = database.registry_in_force()
        registry = Registry.model_validate_json(kept.document) if kept else None
        zone = registry.commune.timezone if registry else "Asia/Ho_Chi_Minh"
        which = which or last_month(now_ms(), zone)
        try:
            first_ms, end_ms = month(which, zone)
        except ValueError:
            raise Problem("is no month", where=which, todo="write it as 2025-11") from None
        names = {speaker.id: speaker.name for speaker in registry.speakers} if registry else {}
        made = lines(database.playback_between(first_ms, end_ms), names)
    except DatabaseUnavailable as error:
        raise Problem(f"does not answer ({error})", where="operational database", todo="run the console once") from None
    finally:
        database.close()
    if as_json:
        click.echo(json.dumps({"month": which, "speakers": [line.as_dict() for line in made]}, ensure_ascii=False))
        return
    click.echo(f"Loa truyền thanh, tháng {which} (loudspeakers)")
    for line in made:
        click.echo(f"{names.get(line.speaker, line.speaker)}:")
        for text in _told(line):
            click.echo(f"  {text}")


def _told(line: Line) -> list[str]:
    told = [
        f"{name}: {line.plays[kind]} lần (times), {line.minutes.get(kind, 0.0):.1f} phút (min)"
        for kind, name in NAMES.items()
        if kind in line.plays
    ]
    counts = (
        ("bị cắt (cut short)", line.cut),
        ("phát muộn (late)", line.late),
        ("không phát được (missed)", line.missed),
        ("im lặng bất thường (silence alarms)", line.silent),
        ("lệnh bị từ chối (refused)", line.refused),
    )
    told.append(", ".join(f"{name}: {count}" for name, count in counts))
    return told
