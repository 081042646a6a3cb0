"""The command line of a loudspeaker node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from pydantic import ValidationError

from keng_contracts.commands import Speech
from keng_contracts.errors import Problem
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_runtime.cli import Group, run_service, settings_option
from keng_runtime.settings import explain, load

device_option = click.option(
    "--device", default="auto", show_default=True, help="'auto', 'null', or a sink's name (pactl list short sinks)."
)


@click.group(cls=Group)
def cli() -> None:
    """The node at a loudspeaker: obeys signed commands, plays, and proves what was heard.

    \b
    Examples:
      keng loudspeaker check                        what is here, and what is missing
      keng loudspeaker say "Mực nước 3,06 m"        speak, and measure what comes out
      keng loudspeaker play thong-bao.mp3
      keng loudspeaker run --settings /etc/keng/loudspeaker.toml
      keng loudspeaker status --settings /etc/keng/loudspeaker.toml
    """


@cli.command()
@settings_option
def run(settings_file: Path | None) -> None:
    """Run the node until it is stopped."""
    from keng_loudspeaker.node import main as serve

    run_service("loudspeaker", LoudspeakerSettings, settings_file, serve)


@cli.command()
@settings_option
def check(settings_file: Path | None) -> None:
    """Say what this machine has and what it lacks; exit status 1 if something needed is missing."""
    from keng_loudspeaker.check import findings

    async def look() -> bool:
        good = True
        async for finding in findings(settings):
            mark = "✓" if finding.ok else "✗" if finding.needed else "!"
            click.echo(f"{mark} {finding.name + ':':14} {finding.found}{' → ' + finding.todo if finding.todo else ''}")
            good = good and (finding.ok or not finding.needed)
        return good

    settings = load(LoudspeakerSettings, settings_file) if settings_file else LoudspeakerSettings(commune="check")
    if not asyncio.run(look()):
        raise SystemExit(1)


@cli.command()
@click.argument("text")
@click.option("--lang", default="vi", show_default=True, help="Language of the text.")
@device_option
def say(text: str, lang: str, device: str) -> None:
    """Speak a text now, on this machine, and tell what was heard at the output."""
    from keng_loudspeaker.playing.aloud import aloud, spoken
    from keng_loudspeaker.sounding.speech import words

    try:
        speech = Speech(lang=lang, text=text)
    except ValidationError as error:
        raise Problem(explain(error), where="text", todo="shorten it, or name another language") from None
    click.echo(words(speech))
    asyncio.run(aloud(device, spoken(speech), click.echo))


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@device_option
def play(file: Path, device: str) -> None:
    """Play a sound file now, on this machine, and tell what was heard at the output."""
    from keng_loudspeaker.playing.aloud import aloud, stored

    asyncio.run(aloud(device, stored(file), click.echo))


@cli.command()
@settings_option
def status(settings_file: Path | None) -> None:
    """What the node on this machine does now, as one JSON object."""
    file = load(LoudspeakerSettings, settings_file).state / "status.json"
    try:
        click.echo(file.read_text().strip())
    except OSError as error:
        raise Problem(
            f"can't be read ({error.strerror})", where=str(file), todo="is the node running, and is 'state' the same?"
        ) from None


def main() -> None:
    cli(prog_name="keng-loudspeaker")
