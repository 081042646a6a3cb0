"""``keng console speak``: a person speaks, and the loudspeakers say it now."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from keng_console.settings import ConsoleSettings
from keng_console.speakers import outcome_words as say
from keng_console.speakers.announcing import results
from keng_console.speakers.microphone import level_dbfs, microphone, standard_input
from keng_console.speakers.outcome import OUTCOME, Outcome
from keng_console.speakers.voice import LOUDSPEAKER_S
from keng_console.talk import NAME, Speak
from keng_console.telling import not_there
from keng_contracts.commands import GONG_S
from keng_contracts.errors import Problem
from keng_runtime.cli import settings_option
from keng_runtime.settings import load

#: The bar that shows that the microphone hears: so wide, from so quiet to so loud, so often.
BAR, QUIET_DBFS, LOUD_DBFS, BAR_S = 30, -60.0, -6.0, 0.1


@click.command()
@click.option("--to", "to", multiple=True, required=True, help="A zone or a loudspeaker; may be given several times.")
@click.option(
    "--source", default="", help="The microphone, a source of the sound server; the default one if not given."
)
@click.option("--raw", is_flag=True, help="Sound from standard input instead: 16 bit, mono, 16,000 samples a second.")
@click.option("--gong/--no-gong", default=True, show_default=True, help="A gong before, so that people listen.")
@click.option("--night", default=None, help="Who confirmed a second time that it may sound in quiet hours.")
@click.option("--minutes", type=click.FloatRange(0.1, 30), default=10, show_default=True, help="It ends then at last.")
@click.option("--link", is_flag=True, help="Print an address at which one person may speak from a browser or a phone.")
@settings_option
def speak(
    to: tuple[str, ...],
    source: str,
    raw: bool,
    gong: bool,
    night: str | None,
    minutes: float,
    link: bool,
    settings_file: Path | None,
) -> None:
    """Speak now, live, through the loudspeakers of some zones.

    Ends with Enter or Ctrl-C; then it says which loudspeakers sounded. A siren or a bulletin that is khẩn cấp cuts a
    live voice. Exit status 0 when all that are online sounded, 1 when not, 2 when nobody could be told.

    \b
    Examples:
      keng console speak --to toan-xa --settings /etc/keng/console.toml
      keng console speak --to ven-song --night "Trần Thị Lan"
      keng console speak --to loa-phuoc-yen --link
      arecord -q -t raw -f S16_LE -r 16000 -c 1 | keng console speak --to toan-xa --raw
    """
    request = Speak(to=list(to), gong=gong, night=night, seconds=60 * minutes, link=link)
    settings = load(ConsoleSettings, settings_file)
    path = settings.state / NAME
    sys.exit(asyncio.run(_link(request, path, settings) if link else _speak(request, path, source, raw)))


async def _link(request: Speak, path: Path, settings: ConsoleSettings) -> int:
    base = settings.cap.public_url or f"http://{settings.host}:{settings.port}"
    async with _console(request, path) as (reader, _):
        while (line := await _line(reader)) is not None:
            click.echo(f"Mở địa chỉ này trong {line['minutes']:g} phút, để một người nói một lần:")
            click.echo(f"(Open this address within {line['minutes']:g} minutes; one person may speak once:)")
            click.echo(f"  {base.rstrip('/')}{line['link']}")
    return 0


async def _speak(request: Speak, path: Path, source: str, raw: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with (
        standard_input() if raw else microphone(source) as sound,
        _console(request, path) as (reader, writer),
    ):
        line = await _line(reader)
        assert line is not None
        sent = line["sent"]
        click.echo(f"Đã gửi (sent): {', '.join(sent['to'])} · {sent['play']}")
        if not raw and sys.stdin.isatty():
            loop.add_reader(sys.stdin, stop.set)
        told = asyncio.create_task(_told(reader))
        forwarding = asyncio.create_task(_forward(sound, writer, GONG_S + LOUDSPEAKER_S if request.gong else 0.0, raw))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([told, forwarding, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            forwarding.cancel()
            stopping.cancel()
            await asyncio.gather(forwarding, stopping, return_exceptions=True)
        with contextlib.suppress(OSError):
            writer.write_eof()
        click.echo("")
        return results(sent, await told)


async def _forward(sound: asyncio.StreamReader, writer: asyncio.StreamWriter, gong_s: float, raw: bool) -> None:
    """Hand over what is spoken as it comes, and show that it is heard. What is piped in waits for the gong to end."""
    began_s = time.monotonic() + gong_s
    if gong_s:
        click.echo("Tiếng kẻng … (The gong …)")
    if raw:
        await asyncio.sleep(gong_s)
    invited, shown_s = False, 0.0
    while data := await sound.read(1 << 14):
        writer.write(data)
        await writer.drain()
        now_s = time.monotonic()
        if now_s < began_s:
            continue
        if not invited:
            invited = True
            click.echo("Nói đi; Enter để dừng (Speak; Enter ends it)")
        if now_s - shown_s > BAR_S and sys.stdout.isatty():
            shown_s = now_s
            share = (level_dbfs(data) - QUIET_DBFS) / (LOUD_DBFS - QUIET_DBFS)
            full = round(BAR * min(1.0, max(0.0, share)))
            passed = int(now_s - began_s)
            click.echo(f"\r  {passed // 60:02}:{passed % 60:02}  {'█' * full}{'·' * (BAR - full)} ", nl=False)


async def _told(reader: asyncio.StreamReader) -> dict[str, Outcome]:
    """How it stands on each loudspeaker, until the console has no more to tell; who speaks sees it at once."""
    outcomes: dict[str, Outcome] = {}
    while (line := await _line(reader)) is not None:
        news = OUTCOME.validate_python(line["outcome"])
        outcomes[news.speaker] = news
        click.echo(f"\r  {news.speaker}: {say.stands(news)}{' ' * 10}")
    return outcomes


@contextlib.asynccontextmanager
async def _console(request: Speak, path: Path) -> Any:
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
    except OSError as error:
        raise not_there(path, error) from None
    try:
        writer.write(request.model_dump_json().encode() + b"\n")
        yield reader, writer
    except ConnectionError:
        raise Problem(
            "the console ended", where=str(path), todo="see its log; the loudspeakers end by themselves"
        ) from None
    finally:
        writer.close()


async def _line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The console's next line, None at the end; raises the :class:`Problem` that it tells."""
    raw = await reader.readline()
    if not raw:
        raise ConnectionError
    line: dict[str, Any] = json.loads(raw)
    if "problem" in line:
        told = line["problem"]
        raise Problem(told.pop("what"), **told)
    return None if "end" in line else line
