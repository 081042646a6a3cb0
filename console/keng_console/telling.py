"""``keng console tell`` and ``told``: a person at a terminal speaks to the running console."""

from __future__ import annotations

import functools
import grp
import json
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from keng_console import order_words
from keng_console.orders import Answer, Stands, Told
from keng_console.settings import ConsoleSettings
from keng_console.talk import ANSWER, NAME, TOLD, List, Tell
from keng_console.words import Words, words
from keng_contracts.edge_commands import EdgeAction, Identify, Reload, Restart, SetInterval
from keng_contracts.errors import Problem
from keng_runtime.cli import Group, settings_option
from keng_runtime.settings import explain, load

F = TypeVar("F", bound=Callable[..., None])

#: A node that is there answers within a second or two.
WAIT_S = 15.0


def _options(command: F) -> F:
    for option in (
        settings_option,
        click.option("--json", "as_json", is_flag=True, help="One JSON object at the end, and nothing else."),
        click.option("--wait", "wait_s", type=click.FloatRange(0.1, 600), default=WAIT_S, show_default=True,
                     help="Seconds to wait for the node's answer."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(cls=Group)
@click.argument("node")
@click.pass_context
def tell(ctx: click.Context, node: str) -> None:
    """Give the edge node NODE a signed command, and wait for its answer.

    The running console signs and sends it; you speak to that over a socket in its state folder, as its user, as one
    of its group, or as root. Exit status 0 when it was done, 1 when not, 2 when it could not be sent.

    \b
    Examples:
      keng console tell tram-phu-oc identify --settings /etc/keng/console.toml
      keng console tell tram-phu-oc interval muc-nuoc 30
      keng console tell tram-phu-oc interval muc-nuoc default
      keng console tell tram-phu-oc reload --json
    """
    ctx.obj = node


@tell.command()
@_options
@click.pass_obj
def identify(node: str, /, **how: Any) -> None:
    """Ask who it is; it also writes that in its log."""
    _tell(node, Identify(), **how)


@tell.command()
@_options
@click.pass_obj
def reload(node: str, /, **how: Any) -> None:
    """Read its settings file anew. New settings that lose the broker or ingest are taken back by themselves."""
    _tell(node, Reload(), **how)


@tell.command()
@_options
@click.pass_obj
def restart(node: str, /, **how: Any) -> None:
    """End with everything on disk, and be started again by systemd."""
    _tell(node, Restart(), **how)


@tell.command()
@click.argument("sensor")
@click.argument("seconds")
@_options
@click.pass_obj
def interval(node: str, /, sensor: str, seconds: str, **how: Any) -> None:
    """Read SENSOR every SECONDS (0.5 to 86400), or as the settings say with 'default'."""
    try:
        action = SetInterval(sensor=sensor, interval_s=None if seconds == "default" else float(seconds))
    except ValidationError as error:
        raise Problem(explain(error), where="interval", todo="see 'keng console tell NODE interval --help'") from None
    except ValueError:
        raise Problem("is neither a number nor 'default'", where=seconds, todo="say how many seconds") from None
    _tell(node, action, **how)


def _tell(node: str, action: EdgeAction, settings_file: Path | None, as_json: bool, wait_s: float) -> None:
    try:
        request = Tell(node=node, action=action, wait_s=wait_s)
    except ValidationError as error:
        raise Problem(explain(error), where=node, todo="see the page for the names of nodes") from None
    told: Told | None = None
    for line in ask(request.model_dump_json(), settings_file):
        told = TOLD.validate_python(line["told"])
        if not as_json:
            _say(functools.partial(_order_line, told=told), lead=f"{told.order.node}: ")
    assert told is not None
    if as_json:
        click.echo(json.dumps(_plain(told), ensure_ascii=False))
    elif told.open:
        _say(functools.partial(_unknown, told=told))
    sys.exit(0 if told.stands is Stands.DONE else 1)


def _unknown(w: Words, told: Told) -> str:
    """What is known when no further answer came."""
    _ = w.gettext
    if told.stands is Stands.SENT:
        return _(
            "No answer in time. The command may have been lost or obeyed; no broker keeps it for a node that is away, "
            "and nothing is sent again by itself. See 'keng console told', then tell it again."
        )
    if told.stands is Stands.TRIAL:
        return _("Not heard how the trial ended. Without broker and ingest the node takes the settings back itself.")
    return _("Not heard since. Without systemd nobody starts it again.")


@click.command()
@click.option("--node", default="", help="Only orders to this node.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@settings_option
def told(node: str, limit: int, as_json: bool, settings_file: Path | None) -> None:
    """List what edge nodes were told, by whom, and what they answered; the newest last.

    \b
    Examples:
      keng console told --settings /etc/keng/console.toml
      keng console told --node tram-phu-oc --limit 5 --json
    """
    rows: list[tuple[int, Told | Answer]] = []
    for line in ask(List(node=node, limit=limit).model_dump_json(), settings_file):
        if "told" in line:
            order = TOLD.validate_python(line["told"])
            rows.append((order.order.sent_ms, order))
        else:
            refusal = ANSWER.validate_python(line["refusal"])
            rows.append((refusal.heard_ms, refusal))
    for at_ms, row in sorted(rows, key=lambda one: one[0])[-limit:]:
        if as_json:
            click.echo(json.dumps(_plain(row), ensure_ascii=False))
            continue
        time = f"{datetime.fromtimestamp(at_ms / 1000):%Y-%m-%d %H:%M:%S}"
        if isinstance(row, Told):
            _say(functools.partial(_order_line, told=row), lead=f"{time}  {row.order.node}  {row.order.by}  ")
        else:
            _say(functools.partial(_refusal_line, answer=row), lead=f"{time}  {row.node}  ?  ")
    if not rows and not as_json:
        _say(lambda w: w.gettext("Nothing was told yet."))


def _order_line(w: Words, told: Told) -> str:
    return f"{order_words.action(w, told.order.action)} – {order_words.stands(w, told)}"


def _refusal_line(w: Words, answer: Answer) -> str:
    _ = w.gettext
    return _("refused a command that is not from here: %(why)s") % {"why": order_words.reason(w, answer.refusal)}


def _say(text: Callable[[Words], str], lead: str = "") -> None:
    """Vietnamese first, English below it."""
    click.echo(lead + text(words("vi")))
    click.echo(" " * len(lead) + "  " + text(words("en")))


def _plain(row: Told | Answer) -> dict[str, Any]:
    if isinstance(row, Answer):
        plain: dict[str, Any] = ANSWER.dump_python(row, mode="json")
        return plain
    plain = TOLD.dump_python(row, mode="json")
    return {**plain["order"], "stands": row.stands.value, "answers": plain["answers"]}


def ask(request: str, settings_file: Path | None) -> Iterator[dict[str, Any]]:
    """The console's lines but the last; raises the :class:`Problem` that it tells."""
    path = load(ConsoleSettings, settings_file).state / NAME
    ended = Problem("the console ended before it had answered", where=str(path), todo="see 'keng console told'")
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(str(path))
        except OSError as error:
            raise not_there(path, error) from None
        try:
            link.sendall(request.encode() + b"\n")
            for raw in link.makefile("rb"):
                line = json.loads(raw)
                if "problem" in line:
                    told = line["problem"]
                    raise Problem(told.pop("what"), **told)
                if "end" in line:
                    return
                yield line
        except (OSError, ValueError):
            raise ended from None
    raise ended


def not_there(path: Path, error: OSError) -> Problem:
    """Why the console's socket could not be connected to."""
    if isinstance(error, PermissionError):
        return Problem("is not for you", where=str(path), todo=f"use sudo, or be in group {_group(path)}")
    todo = "start it, or give the settings with which it runs: --settings FILE"
    return Problem("no console runs with this state folder", where=str(path), todo=todo)


def _group(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "of the console"
