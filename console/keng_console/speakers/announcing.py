"""``keng console announce``, ``stop``, ``announced`` and ``bulletins``: a person at a terminal orders loudspeakers."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from keng_console.cap.judge import Bulletin
from keng_console.speakers import outcome_words as say
from keng_console.speakers.announcement import Announce, Announced, ListBulletins, Manner, Silence
from keng_console.speakers.history import Ordered
from keng_console.speakers.outcome import OUTCOME, Outcome
from keng_console.telling import ask
from keng_contracts.commands import Media, Play, Priority
from keng_contracts.errors import Problem
from keng_runtime.cli import settings_option
from keng_runtime.settings import explain

_ORDERED = TypeAdapter(Ordered)
_json = click.option("--json", "as_json", is_flag=True, help="JSON, and nothing else.")
_wait = click.option(
    "--wait", "wait_s", type=click.FloatRange(0.1, 600), default=30.0, show_default=True,
    help="Seconds without any news after which no more is waited for, while nothing sounds.",
)  # fmt: skip
_CLASSES = {
    Bulletin.URGENT: "khẩn cấp (urgent)",
    Bulletin.PRIORITY: "ưu tiên (priority)",
    Bulletin.NORMAL: "thông thường (normal)",
}


@click.command()
@click.argument("text", default="")
@click.option("--to", multiple=True, metavar="ZONE|LOUDSPEAKER", help="Where; may be given several times.")
@click.option("--bulletin", type=int, help="Instead of TEXT: the recorded bulletin of this number.")
@click.option("--media", "url", help="Instead of TEXT or after it: the HTTPS address of a sound file, and either …")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="… the same file here, or …")
@click.option("--sha256", help="… its SHA-256 in hex and …")
@click.option("--size", type=int, help="… its size in bytes.")
@click.option("--priority", type=click.Choice(["urgent", "priority", "scheduled"]), default="scheduled",
              show_default=True, help="khẩn cấp, ưu tiên, thông thường; a bulletin has its own.")  # fmt: skip
@click.option("--rank", type=click.IntRange(0, 9), default=0, show_default=True, help="Of two that are ưu tiên the higher one goes first.")  # noqa: E501  # fmt: skip
@click.option("--gong/--no-gong", default=True, show_default=True, help="A gong before, so that people listen.")
@click.option("--repeat", type=click.IntRange(1, 20), default=1, show_default=True, help="How often it is said.")
@click.option("--gap", type=click.FloatRange(0, 600), default=1.0, show_default=True, help="Seconds between repeats.")
@click.option("--resume", is_flag=True, help="If something cuts it, it goes on after that.")
@click.option("--night", metavar="NAME", help="The second person who agrees that it sounds in quiet hours.")
@click.option("--start-together", "together", is_flag=True, help="All loudspeakers begin at one moment.")
@_wait
@_json
@settings_option
def announce(
    text: str, to: tuple[str, ...], bulletin: int | None, url: str | None, file: Path | None, sha256: str | None,
    size: int | None, priority: str, rank: int, gong: bool, repeat: int, gap: float, resume: bool, night: str | None,
    together: bool, wait_s: float, as_json: bool, settings_file: Path | None,
) -> None:  # fmt: skip
    """Say TEXT at the loudspeakers of some zones, now, and tell what they answer.

    TEXT of - is read from standard input. Each loudspeaker tells the level that it measured at its output. Ctrl-C
    ends the watching, not the announcement: 'keng console stop' does. Sirens are ordered by alerts: 'keng alerts
    drill' and 'confirm'. Exit status 0 when every loudspeaker that is online started it, 1 when not, 2 when it could
    not be sent.

    \b
    Examples:
      keng console announce "Mời bà con họp thôn lúc 19 giờ 30." --to toan-xa --repeat 2
      keng console announce "Nước lên 3,06 m." --to ven-song --priority priority --rank 5 --resume
      keng console announce --media https://xa.example/ban-tin.mp3 --file ban-tin.mp3 --to toan-xa
      keng console announce --bulletin 12 --night "Trần Thị Lan"
    """
    try:
        request = Announce(
            to=list(to),
            text=sys.stdin.read() if text == "-" else text,
            media=_media(url, file, sha256, size),
            bulletin=bulletin,
            priority=Priority(priority),
            manner=Manner(rank=rank, gong=gong, repeats=repeat, gap_s=gap, resume=resume, night=night),
            together=together,
            wait_s=wait_s,
        )
    except ValidationError as error:
        raise Problem(explain(error), where="announce", todo="see 'keng console announce --help'") from None
    sys.exit(_watch(request, settings_file, as_json))


def _media(url: str | None, file: Path | None, sha256: str | None, size: int | None) -> Media | None:
    if url is None:
        if file is not None or sha256 is not None or size is not None:
            what = "loudspeakers fetch a file themselves, from an HTTPS address"
            raise Problem(what, where="--media", todo="put the file there, and give its address")
        return None
    if file is not None:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise Problem(f"can't be read ({error.strerror})", where=str(file), todo="check the name") from None
        sha256, size = hashlib.sha256(data).hexdigest(), len(data)
    if sha256 is None or size is None:
        what = "what is played must be what was signed"
        raise Problem(what, where=url, todo="give --file with a copy of it, or --sha256 and --size")
    try:
        return Media(url=url, sha256=sha256, size=size)
    except ValidationError as error:
        raise Problem(explain(error), where=url, todo="mend that") from None


def _watch(request: Announce, settings_file: Path | None, as_json: bool) -> int:
    """Tell what comes; the exit status."""
    sent: dict[str, Any] = {}
    outcomes: dict[str, Outcome] = {}
    try:
        for line in ask(request.model_dump_json(), settings_file):
            if "preparing" in line and not as_json:
                click.echo("Các loa đang lấy âm thanh (the loudspeakers get the sound) …")
            elif "sent" in line:
                sent = line["sent"]
                if not as_json:
                    click.echo(f"Đã gửi (sent): {', '.join(sent['to'])} · {sent['play']}")
            elif "outcome" in line:
                news = OUTCOME.validate_python(line["outcome"])
                outcomes[news.speaker] = news
                if not as_json:
                    click.echo(f"  {news.speaker}: {say.stands(news)}")
            elif "note" in line and not as_json:
                click.echo(f"  {line['note']['speaker']}: {line['note']['reason']}")
    except KeyboardInterrupt:
        if not sent:
            raise
        click.echo("Thôi theo dõi, loa vẫn phát (not watched any more; it goes on)", err=True)
    return results(sent, outcomes, as_json)


def results(sent: dict[str, Any], outcomes: dict[str, Outcome], as_json: bool = False) -> int:
    """Say how it ended on each loudspeaker; returns 1 if one that was online did not sound, else 0."""
    rows = [(one, outcomes.get(one["id"])) for one in sent["speakers"]]
    if as_json:
        told = [{**one, **(OUTCOME.dump_python(found, mode="json") if found else {})} for one, found in rows]
        click.echo(json.dumps({**sent, "speakers": told}, ensure_ascii=False))
    else:
        click.echo("Kết quả (result):")
        for one, found in rows:
            click.echo(f"  {one['name']:24} {say.nothing(one['online']) if found is None else say.stands(found)}")
    return int(any(one["online"] and (found is None or not found.started) for one, found in rows))


@click.command()
@click.argument("play", default="")
@click.option("--to", multiple=True, metavar="ZONE|LOUDSPEAKER", help="Where; without it where PLAY was ordered.")
@_wait
@_json
@settings_option
def stop(play: str, to: tuple[str, ...], wait_s: float, as_json: bool, settings_file: Path | None) -> None:
    """Stop PLAY, or without it whatever sounds there, at once; also a siren, which 'keng alerts stop' ends for good.

    Exit status 0 when every loudspeaker that is online has stopped, 1 when not, 2 when it could not be sent.

    \b
    Examples:
      keng console stop --to toan-xa
      keng console stop thong-bao-20251117-053000-042
    """
    try:
        request = Silence(play=play, to=list(to), wait_s=wait_s)
    except ValidationError as error:
        raise Problem(explain(error), where="stop", todo="see 'keng console announced'") from None
    sent: dict[str, Any] = {}
    answers: dict[str, dict[str, Any]] = {}
    for line in ask(request.model_dump_json(), settings_file):
        sent = line.get("sent", sent)
        if "stopped" in line:
            answers[line["stopped"]["speaker"]] = line["stopped"]
    rows = [{**one, **answers.get(one["id"], {})} for one in sent["speakers"]]
    if as_json:
        click.echo(json.dumps({**sent, "speakers": rows}, ensure_ascii=False))
    else:
        click.echo(f"Đã gửi lệnh dừng (stop sent): {', '.join(sent['to'])}")
        for row in rows:
            told = say.stopped(row["done"], row["reason"]) if "done" in row else say.nothing(row["online"])
            click.echo(f"  {row['name']:24} {told}")
    sys.exit(1 if any(row["online"] and not row.get("done") for row in rows) else 0)


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@_json
@settings_option
def announced(limit: int, as_json: bool, settings_file: Path | None) -> None:
    """List what loudspeakers were ordered, by whom, and what became of it; the newest last.

    \b
    Examples:
      keng console announced --limit 5
    """
    rows = [
        _ORDERED.validate_python(line["ordered"])
        for line in ask(Announced(limit=limit).model_dump_json(), settings_file)
    ]
    for row in reversed(rows):
        if as_json:
            click.echo(json.dumps(_ORDERED.dump_python(row, mode="json"), ensure_ascii=False))
            continue
        at = f"{datetime.fromtimestamp(row.at_ms / 1000):%Y-%m-%d %H:%M:%S}"
        click.echo(f"{at}  {row.by}  {', '.join(row.to)}  {say.what(row.action)}")
        if isinstance(row.action, Play) and row.action.night:
            click.echo(f"    giờ yên tĩnh, người đồng ý (quiet hours, agreed by): {row.action.night}")
        for outcome in row.outcomes:
            click.echo(f"    {outcome.speaker:24} {say.stands(outcome)}")
    if not rows and not as_json:
        click.echo("Chưa có lệnh nào (nothing was ordered yet).")


@click.command()
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="Of the newest so many.")
@_json
@settings_option
def bulletins(limit: int, as_json: bool, settings_file: Path | None) -> None:
    """List the recorded bulletins about which the commune decides, ưu tiên first. 'announce --bulletin N' plays one.

    \b
    Examples:
      keng console bulletins
    """
    rows = [line["bulletin"] for line in ask(ListBulletins(limit=limit).model_dump_json(), settings_file)]
    for row in rows:
        if as_json:
            click.echo(json.dumps(row, ensure_ascii=False))
            continue
        at = f"{datetime.fromtimestamp(row['received_ms'] / 1000):%Y-%m-%d %H:%M}"
        click.echo(
            f"{row['number']:>5}  {_CLASSES[Bulletin(row['bulletin'])]}  {at}  {row['signer']}  {row['headline']}"
        )
        notes = [", ".join(row["zones"]), row["play"] and f"đã phát (played): {row['play']}", row["why_not"]]
        click.echo(f"       {' · '.join(filter(None, notes))}")
    if not rows and not as_json:
        click.echo("Không có bản tin nào chờ quyết định (no bulletin waits for a decision).")
