"""``keng console programme``: a person at a terminal gives the loudspeakers what they play by themselves."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import click
from pydantic import ValidationError

from keng_console.speakers.programme import Plan
from keng_console.talk import Publish
from keng_console.telling import ask
from keng_contracts.errors import Problem
from keng_contracts.programme import Programme
from keng_runtime.cli import Group, settings_option
from keng_runtime.settings import explain

#: What comes within this time is shown, so that nobody is surprised at night.
PREVIEW = timedelta(hours=24)


@click.group(cls=Group)
def programme() -> None:
    """What the loudspeakers play by themselves, also without a link."""


@programme.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@settings_option
def publish(file: Path, settings_file: Path | None) -> None:
    """Put the plan in FILE (TOML) in force in place of the one before.

    The running console signs it for each loudspeaker, and goes on doing so day by day. What comes in the next 24
    hours is shown. Times are local, rules are RFC 5545's; a slot in quiet hours needs the name of a second person
    in 'night'.

    \b
    Example of FILE:
      [[entries]]
      id = "ban-tin-sang"
      first = 2025-11-17T05:30:00
      rule = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"
      zones = ["toan-xa"]
      gong = true
      late_within_s = 300
      items = [{ kind = "speech", text = "Bản tin sáng của xã Quảng Thọ." }]
      [[emergency]]
      kind = "siren"
      pattern = "lu-tren-bd3"
      blasts = 5
      blast_s = 30
      gap_s = 5
    """
    for line in ask(Publish(plan=_read(file)).model_dump_json(), settings_file):
        made = Programme.model_validate(line["programme"])
        click.echo(f"{made.speaker}: {len(made.occurrences)} lần trong 7 ngày (times in 7 days)")
        for occurrence in made.occurrences:
            if occurrence.at_ms - made.from_ms <= PREVIEW / timedelta(milliseconds=1):
                entry = made.entry(occurrence)
                night = f", đêm (night): {entry.night}" if entry.night else ""
                click.echo(f"  {occurrence.local:%d.%m. %H:%M}  {entry.name or entry.id}{night}")


def _read(file: Path) -> Plan:
    try:
        return Plan.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise Problem(f"can't be read ({error.strerror})", where=str(file), todo="check the name") from None
    except UnicodeDecodeError:
        raise Problem("is not UTF-8", where=str(file), todo="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"is not TOML: {error}", where=str(file), todo="mend that line") from None
    except ValidationError as error:
        raise Problem(explain(error), where=str(file), todo="mend that") from None
