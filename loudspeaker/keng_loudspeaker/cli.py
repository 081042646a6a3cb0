"""The command line of a loudspeaker node."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from keng_contracts.commands import Speech
from keng_contracts.errors import Problem
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_loudspeaker.telling import Both, Trouble, lines
from keng_runtime.cli import Group, run_service, settings_option
from keng_runtime.settings import explain, installed, load

if TYPE_CHECKING:
    from keng_loudspeaker.playing.aloud import Maker, Step

device_option = click.option(
    "--device", default="auto", show_default=True, help="'auto', 'null', or a sink's name (pactl list short sinks)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object, and nothing else.")


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
@json_option
@settings_option
def check(settings_file: Path | None, as_json: bool) -> None:
    """Say what this machine has and what it lacks; exit status 1 if something needed is missing."""
    from keng_loudspeaker.check import Finding, findings

    async def look() -> list[Finding]:
        found = []
        async for one in findings(settings):
            found.append(one)
            if as_json:
                continue
            mark = "✓ " if one.ok else "✗ " if one.needed else "! "
            click.echo(lines(Both(f"{one.name.vi}: {one.found.vi}", f"{one.name.en}: {one.found.en}"), mark))
            if one.todo is not None:
                click.echo(lines(one.todo, "  → "))
        return found

    there = settings_file is not None or installed(LoudspeakerSettings).exists()
    settings = _settings(settings_file) if there else LoudspeakerSettings(commune="check")
    found = asyncio.run(look())
    missing = sum(one.needed and not one.ok for one in found)
    if as_json:
        click.echo(json.dumps({"ok": not missing, "findings": [one.plain for one in found]}, ensure_ascii=False))
    elif missing:
        click.echo(lines(Both(f"Còn thiếu {missing} thứ: xem dấu ✗.", f"Missing: {missing}; see ✗.")))
    else:
        click.echo(lines(Both("Đủ những gì cần có.", "All that is needed is here.")))
    raise SystemExit(1 if missing else 0)


@cli.command()
@click.argument("text")
@click.option("--lang", default="vi", show_default=True, help="Language of the text.")
@device_option
@json_option
def say(text: str, lang: str, device: str, as_json: bool) -> None:
    """Speak a text now, on this machine, and tell what was heard at the output."""
    from keng_loudspeaker.playing.aloud import spoken
    from keng_loudspeaker.sounding.speech import words

    try:
        speech = Speech(lang=lang, text=text)
    except ValidationError as error:
        todo = Both("rút ngắn lại, hoặc chọn ngôn ngữ khác", "shorten it, or name another language")
        raise Trouble(Both(f"không đọc được ({explain(error)})", explain(error)), where="text", todo=todo) from None
    _aloud(device, spoken(speech), words(speech), as_json)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@device_option
@json_option
def play(file: Path, device: str, as_json: bool) -> None:
    """Play a sound file now, on this machine, and tell what was heard at the output."""
    from keng_loudspeaker.playing.aloud import stored

    if not file.is_file():
        todo = Both("xem lại tên tệp", "see whether its name is right")
        raise Trouble(Both("không có tệp này", "there is no such file"), where=str(file), todo=todo)
    _aloud(device, stored(file), file.name, as_json)


def _aloud(device: str, make: Maker, what: str, as_json: bool) -> None:
    from keng_loudspeaker.playing.aloud import aloud

    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if not as_json:
            click.echo(lines(step.told))

    if not as_json:
        click.echo(lines(Both(what, what)))
    asyncio.run(aloud(device, make, tell))
    if as_json:
        click.echo(json.dumps({"played": what, **steps[-1].plain}, ensure_ascii=False))


@cli.command()
@json_option
@settings_option
def status(settings_file: Path | None, as_json: bool) -> None:
    """Tell what the node on this machine does now; exit status 1 if it does not run."""
    from keng_loudspeaker.proving.health import look
    from keng_loudspeaker.status import runs, told
    from keng_runtime.clock import clock_error_ms

    settings = _settings(settings_file)
    file = settings.state / "status.json"
    try:
        said = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        what = Both(f"không đọc được ({why})", f"can't be read ({why})")
        todo = Both(
            "loa có đang chạy không, và 'state' có đúng không?", "is the node running, and is 'state' the same?"
        )
        raise Trouble(what, where=str(file), todo=todo) from None
    running = runs(said)
    if as_json:
        click.echo(json.dumps({**said, "running": running}, ensure_ascii=False))
    else:
        health = look(settings.state, clock_error_ms(), settings.amplifier_current)
        for mark, line in told(said, health, running=running):
            click.echo(lines(line, mark))
    raise SystemExit(0 if running else 1)


def _settings(file: Path | None) -> LoudspeakerSettings:
    try:
        return load(LoudspeakerSettings, file)
    except Problem as problem:
        raise Trouble.of(problem, "tệp cài đặt này chưa dùng được") from None


def main() -> None:
    cli(prog_name="keng-loudspeaker")
