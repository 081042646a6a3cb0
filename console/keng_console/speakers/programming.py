"""``keng console programme``: a person at a terminal gives the loudspeakers what they play by themselves."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click
from pydantic import BaseModel, ValidationError

from keng_console.speakers import preview
from keng_console.speakers.preview import Showing, Shown
from keng_console.speakers.programme import Plan
from keng_console.talk import Approve, Publish, Show
from keng_console.telling import ask
from keng_contracts.errors import Problem
from keng_runtime.cli import Group, settings_option
from keng_runtime.settings import explain

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.group(cls=Group)
def programme() -> None:
    """What the loudspeakers play by themselves, also without a link.

    \b
    Examples:
      keng console programme publish tuan.toml
      keng console programme show
      keng console programme approve 3f9a1c20
    """


@programme.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--override", "why", default="", metavar="REASON", help="Why it may be more than the quota allows.")
@_json
@settings_option
def publish(file: Path, why: str, as_json: bool, settings_file: Path | None) -> None:
    """Give the plan in FILE (TOML) for approval, in place of the draft before.

    Another Unix user approves it with 'keng console programme approve'; until then the plan before goes on. (With
    programme.approval = "none" in the settings it is in force at once.) What the buttons at the loudspeakers play, the
    emergency set, is not delayed. The running console signs what is in force for each loudspeaker, day by day. Times
    are local, rules are RFC 5545's; a slot in quiet hours needs the name of a second person in 'night'. 'lasts_min'
    says how long an entry lasts, where it is not all text.

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
    _tell(Publish(plan=_read(file), why=why), settings_file, as_json)


@programme.command()
@click.argument("name")
@_json
@settings_option
def approve(name: str, as_json: bool, settings_file: Path | None) -> None:
    """Put the draft NAME in force, as 'show' names it; not by who published it.

    Who you are is asked of the kernel: use your own account, not sudo.
    """
    try:
        request = Approve(name=name)
    except ValidationError:
        raise Problem("is no draft's name", where=name, todo="see 'keng console programme show'") from None
    _tell(request, settings_file, as_json)


@programme.command()
@_json
@settings_option
def show(as_json: bool, settings_file: Path | None) -> None:
    """Show what is in force, who approved it, what waits for approval, and what sounds in the next 24 hours."""
    _tell(Show(), settings_file, as_json)


def _tell(request: BaseModel, settings_file: Path | None, as_json: bool) -> None:
    [line] = ask(request.model_dump_json(), settings_file)
    if as_json:
        click.echo(json.dumps(line["programme"], ensure_ascii=False))
        return
    _show(preview.read(line["programme"]), click.echo)


def _show(found: Showing, echo: Callable[[str], object]) -> None:
    if found.in_force is None:
        echo("ĐANG PHÁT (in force): chưa có chương trình nào (no programme yet)")
    else:
        one = found.in_force
        approved = f"{one.approved_by} duyệt (approved)" if one.approved_by else "không cần duyệt (without approval)"
        echo(f"ĐANG PHÁT (in force): {one.name}, {_by(one)}; {approved} {_when(one.approved_ms or 0)}")
        _version(one, echo)
    if found.draft is not None:
        echo(f"CHỜ DUYỆT (waits for approval): {found.draft.name}, {_by(found.draft)}")
        _version(found.draft, echo)
        echo(f"  người khác duyệt (another person approves): keng console programme approve {found.draft.name}")
    if found.emergency:
        echo(f"Nút khẩn cấp ở loa, không chờ duyệt (button, not delayed): {', '.join(found.emergency)}")


def _version(one: Shown, echo: Callable[[str], object]) -> None:
    if one.why:
        echo(f"  vượt quy định vì (more than the quota, because): {one.why}")
    if one.fault:
        echo(f"  KHÔNG LẬP ĐƯỢC NỮA (can't be made any more): {one.fault}")
        return
    echo(f"  {one.entries} mục (entries), {one.week} lần trong 7 ngày (times in 7 days); 24 giờ tới (next 24 h):")
    for slot in one.slots:
        night = f", đêm, đồng ý (night, agreed): {slot.night}" if slot.night else ""
        echo(f"    {slot.local:%d.%m. %H:%M}  {slot.name}  {', '.join(slot.places)}  {slot.length}{night}")
    if not one.slots:
        echo("    không phát gì (nothing)")
    elif not all(slot.length.whole for slot in one.slots):
        echo("    ≥, ?: không rõ tệp, luồng dài bao lâu (how long files and streams last is not known: 'lasts_min')")


def _by(one: Shown) -> str:
    return f"{one.by} lập (published) {_when(one.at_ms)}"


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000):%d.%m. %H:%M}"


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
