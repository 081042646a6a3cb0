"""The command line for people at the machine: what waits, what happened, and every order, with or without a console."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from keng_alerts.settings import AlertsSettings
from keng_contracts.alerts import FLOOD
from keng_contracts.errors import Problem
from keng_runtime.cli import settings_option
from keng_runtime.settings import load

_by = click.option("--by", default="", help="Who orders it, by name; the Unix user is recorded in any case.")
_level = click.option("--level", type=click.IntRange(1, 4), help="Level 1 to 4.")
_json = click.option("--json", "as_json", is_flag=True, help="JSON.")


def _folder(settings_file: Path | None) -> Path:
    return load(AlertsSettings, settings_file).state


def _order(settings_file: Path | None, alert: str, do: str, by: str, **more: Any) -> None:
    from keng_alerts.people.control import ask

    order = {"do": f"alert-{do}", "by": by or getpass.getuser(), **{k: v for k, v in more.items() if v is not None}}
    reply = ask(_folder(settings_file), {"alert": alert, "order": order})
    if not reply.get("ok"):
        raise Problem(str(reply.get("detail")))
    click.echo(reply.get("detail"))


@click.command("list")
@settings_option
@_json
def list_(settings_file: Path | None, as_json: bool) -> None:
    """What stands, and what waits for a person.

    \b
    Examples:
      keng alerts list --settings /etc/keng/alerts.toml
    """
    from keng_alerts.people.control import ask

    alerts = ask(_folder(settings_file), {"do": "list"}).get("alerts", [])
    if as_json:
        click.echo(json.dumps(alerts, ensure_ascii=False))
        return
    for line in _lines(alerts) or ["no alert"]:
        click.echo(line)


def _lines(alerts: Iterable[dict[str, Any]]) -> list[str]:
    lines = []
    for alert in sorted(alerts, key=lambda a: (a["kind"] != FLOOD, -a["level"], a["id"])):
        if alert["kind"] != FLOOD:  # an alarm that is over, or that another alert says already, is no news
            if alert["hazard"] == "raised" and not alert["muted_by"]:
                stage = alert.get("stage") or ""
                lines.append(f"{alert['id']}  {alert['severity']}  {stage}  {alert['headline']}")
                if silence := alert.get("silence"):
                    lines.append(f"  nobody is told until {_when(silence['until_ms'])}, by {silence['by']}")
            continue
        lines.append(f"{alert['id']}  level {alert['level']}  {alert.get('stage') or ''}  {alert['headline']}")
        if alert.get("unwatched"):
            lines.append("  NO GOOD DATA: somebody has to look")
        for question in alert.get("questions", []):
            by_itself = f", sounds by itself at {_when(question['sounds_ms'])}" if question.get("sounds_ms") else ""
            where = ", ".join(question["zones"])
            lines.append(f"  level {question['level']} waits for a person in {where} ({question['why']}){by_itself}")
        if alert.get("play"):
            states = ", ".join(f"{speaker} {state}" for speaker, state in sorted(alert["deliveries"].items()))
            lines.append(f"  {alert['play']} by {alert['authority']}: {states}")
        if alert.get("silent"):
            lines.append(f"  NOT CONFIRMED, go there: {', '.join(alert['silent'].values())}")
    return lines


@click.command()
@click.argument("alert")
@_level
@_by
@settings_option
def confirm(alert: str, level: int | None, by: str, settings_file: Path | None) -> None:
    """Let the siren of ALERT sound that waits for a person; without --level the highest that waits."""
    _order(settings_file, alert, "confirm", by, level=level)


@click.command()
@click.argument("alert")
@_level
@click.option("--note", default="", help="Why.")
@_by
@settings_option
def decline(alert: str, level: int | None, note: str, by: str, settings_file: Path | None) -> None:
    """Don't let it sound; without --level nothing that waits for ALERT."""
    _order(settings_file, alert, "decline", by, level=level, note=note)


@click.command()
@click.argument("alert")
@click.option("--note", default="", help="What is done about it.")
@_by
@settings_option
def ack(alert: str, note: str, by: str, settings_file: Path | None) -> None:
    """Acknowledge ALERT: somebody has seen it and cares for it."""
    _order(settings_file, alert, "acknowledge", by, note=note)


@click.command()
@click.argument("alert")
@click.option("--level", type=click.IntRange(1, 4), help="Of a gauge: up to this level, never a higher one.")
@click.option("--for", "minutes", type=click.IntRange(0, 7 * 24 * 60), required=True, help="Minutes; 0 ends it.")
@_by
@settings_option
def silence(alert: str, level: int | None, minutes: int, by: str, settings_file: Path | None) -> None:
    """Let nothing of ALERT sound by itself for some time; people may still confirm it. Of an alarm nobody is told.

    \b
    Examples:
      keng alerts silence phu-oc-level --level 2 --for 60
      keng alerts silence tram-tram-phu-oc --for 480
    """
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    _order(settings_file, alert, "silence", by, level=level, until_ms=int(until.timestamp() * 1000))


@click.command()
@click.argument("alert", required=False)
@_by
@settings_option
def stop(alert: str | None, by: str, settings_file: Path | None) -> None:
    """Be quiet, at once: what sounds for ALERT, or without it whatever sounds in the commune."""
    _order(settings_file, alert or "all", "stop", by, everything=alert is None)


@click.command()
@click.argument("alert")
@click.option("--text", default="", help="What is said; without it ready words.")
@_by
@settings_option
def correct(alert: str, text: str, by: str, settings_file: Path | None) -> None:
    """Stop what sounds for ALERT and say where it sounded that it was wrong."""
    _order(settings_file, alert, "correct", by, text=text)


@click.command()
@click.argument("alert")
@click.option("--level", type=click.IntRange(1, 4), required=True, help="Level to exercise.")
@click.option("--zone", "zones", multiple=True, help="Where; without it the zones of that level.")
@click.option("--night", default=None, help="Who agreed, beside you, that it may sound in quiet hours.")
@_by
@settings_option
def drill(
    alert: str, level: int, zones: tuple[str, ...], night: str | None, by: str, settings_file: Path | None
) -> None:
    """Exercise a level of ALERT's gauge, marked as a drill from end to end. In quiet hours a second person must agree.

    \b
    Examples:
      keng alerts drill phu-oc-level --level 3 --zone ven-song --settings /etc/keng/alerts.toml
      keng alerts stop phu-oc-level-drill --settings /etc/keng/alerts.toml
    """
    _order(settings_file, alert, "drill", by, level=level, zones=list(zones), night=night)


@click.command()
@click.argument("alert")
@click.option("--episode", type=int, help="One flood of the gauge; without it all that are kept.")
@_json
@settings_option
def timeline(alert: str, episode: int | None, as_json: bool, settings_file: Path | None) -> None:
    """What was decided for ALERT, on which evidence and under whose authority; also while the service is down."""
    from keng_alerts.memory import read_timeline

    entries = read_timeline(_folder(settings_file) / "alerts.sqlite", alert)
    entries = [entry for entry in entries if episode is None or entry.episode == episode]
    if as_json:
        click.echo(json.dumps([entry._asdict() for entry in entries], ensure_ascii=False))
        return
    for entry in entries:
        by = f" by {entry.by}" if entry.by else ""
        detail = ", ".join(f"{name} {_shown(name, value)}" for name, value in entry.detail.items() if value != "")
        click.echo(f"{_when(entry.at_ms)}  #{entry.episode}  {entry.what}{by}{': ' if detail else ''}{detail}")
    if not entries:
        click.echo("nothing is written down of it")


def _shown(name: str, value: Any) -> str:
    if name == "samples":
        return " ".join(f"{level:g}@{_when(at)}" for at, level in value)
    if name.endswith("_ms"):
        return _when(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().isoformat(sep=" ", timespec="milliseconds")


COMMANDS: tuple[click.Command, ...] = (list_, confirm, decline, ack, silence, stop, correct, drill, timeline)
