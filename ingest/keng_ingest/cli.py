"""The command line of ingest."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_ingest.dead_letters import DeadLetters, Kept, local_time
from keng_ingest.settings import IngestSettings
from keng_ingest.sort import Rules
from keng_runtime.cli import Group, run_service, settings_option
from keng_runtime.clock import now_ms
from keng_runtime.credentials import Credentials
from keng_runtime.registry import RegistryCopy
from keng_runtime.settings import load
from keng_signals.derived import Plan, plan_of
from keng_store.protocol import StoreUnavailable
from keng_store.settings import open_store


@click.group(cls=Group)
def cli() -> None:
    """Take telemetry from the broker and keep it.

    \b
    Examples:
      keng ingest run --settings /etc/keng/ingest.toml
      keng ingest dead-letters list --settings /etc/keng/ingest.toml
    """


@cli.command()
@settings_option
def run(settings_file: Path | None) -> None:
    """Run the service until it is stopped."""
    from keng_ingest.service import main as serve

    run_service("ingest", IngestSettings, settings_file, serve)


@cli.command()
@settings_option
@click.argument("series")
@click.option("--from", "start", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First day, by the commune's.")
@click.option("--to", "end", type=click.DateTime(["%Y-%m-%d"]), help="Last day; default: today.")
def derive(settings_file: Path | None, series: str, start: datetime, end: datetime | None) -> None:
    """Make the derived SERIES anew from what is stored, by today's registry, in place of what is there.

    For a parameter that was wrong: one that changed with the gauge is right for the days since then only. May be
    stopped and done again, also while ingest runs. Days whose readings were removed stay as they are.

    \b
    Example:
      keng ingest derive quang-tho/phu-oc/rain-1h --from 2026-10-01 --settings /etc/keng/ingest.toml
    """
    from keng_ingest.past import remake

    settings = load(IngestSettings, settings_file)
    rules = {rule.series: rule for rule in _plan(_registry(settings)).rules}
    if series not in rules:
        known = ", ".join(rules) or "none"
        raise Problem("is no derived series of the registry that ingest has", where=series, todo=f"there are: {known}")
    zone, now = ZoneInfo(settings.rollup.timezone), now_ms()
    end_ms = now if end is None else _ms(end + timedelta(days=1), zone) - 1
    with closing(open_store(settings.store)) as store:
        try:
            points = remake(store, rules[series], _ms(start, zone), min(end_ms, now))
        except StoreUnavailable as error:
            raise _away(error) from None
    click.echo(f"{series}: {points} points made anew.")


def _ms(midnight: datetime, zone: ZoneInfo) -> int:
    return round(midnight.replace(tzinfo=zone).timestamp() * 1000)


def _registry(settings: IngestSettings) -> Registry | None:
    trust = Credentials.open(settings.broker.credentials).trust()
    return RegistryCopy(trust, settings.state / "registry.jws").current


def _plan(registry: Registry | None) -> Plan:
    return Plan() if registry is None else plan_of(registry)


def _away(error: StoreUnavailable) -> Problem:
    return Problem(f"the store can't take readings now ({error})", todo="try again later: nothing is lost")


@cli.group("dead-letters", cls=Group)
def dead_letters() -> None:
    """What could not be stored, and why.

    \b
    Examples:
      keng ingest dead-letters list --settings /etc/keng/ingest.toml
      keng ingest dead-letters replay --all --dry-run --settings /etc/keng/ingest.toml
      keng ingest dead-letters drop 3 4 --settings /etc/keng/ingest.toml
    """


def _table(settings: IngestSettings, *, writes: bool = False) -> DeadLetters:
    file = settings.state / "dead-letters.sqlite"
    if writes and file.exists() and not os.access(file, os.W_OK):
        raise Problem("can't be changed by this user", where=str(file), todo="do it as ingest's user: sudo -u keng …")
    if not file.exists():  # making it here could leave ingest a file that it may not write
        todo = "give the settings with which ingest runs: --settings FILE"
        raise Problem("there is no dead-letter table; ingest makes it at its first start", where=str(file), todo=todo)
    return DeadLetters(file)


def _chosen(table: DeadLetters, numbers: tuple[int, ...], everything: bool) -> list[Kept]:
    """The letters that the arguments name; raises Problem for one that is not there."""
    if bool(numbers) == everything:
        raise click.UsageError("Give the numbers of dead letters, or --all.")
    kept = {letter.id: letter for letter in table.list()}
    missing = [number for number in numbers if number not in kept]
    if missing:
        raise Problem(
            f"there is no dead letter {', '.join(map(str, missing))}", todo="see 'keng ingest dead-letters list'"
        )
    return [kept[number] for number in numbers] if numbers else list(kept.values())


def _seen(letter: Kept) -> str:
    return f"{local_time(letter.first_ms)} … {local_time(letter.last_ms)}  ×{letter.times}"


_numbers = click.argument("numbers", nargs=-1, type=int)
_all = click.option("--all", "everything", is_flag=True, help="All dead letters.")
_dry = click.option("--dry-run", is_flag=True, help="Only say what would happen.")


@dead_letters.command("list")
@settings_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(settings_file: Path | None, as_json: bool) -> None:
    """List dead letters, the newest last."""
    kept = _table(load(IngestSettings, settings_file)).list()
    if not kept and not as_json:
        click.echo("No dead letters.")
    for letter in kept:
        if as_json:
            click.echo(json.dumps(letter._asdict(), ensure_ascii=False))
        else:
            click.echo(f"{letter.id:>6}  {_seen(letter)}  {letter.size:>7} B  {letter.topic}\n        {letter.reason}")


@dead_letters.command()
@settings_option
@click.argument("number", type=int)
def show(settings_file: Path | None, number: int) -> None:
    """Write the bytes of dead letter NUMBER to standard output, as they came; what is known of it to standard error."""
    table = _table(load(IngestSettings, settings_file))
    [letter] = _chosen(table, (number,), False)
    click.echo(f"{letter.topic}\n{letter.reason}\n{_seen(letter)}  {letter.size} B", err=True)
    sys.stdout.buffer.write(table.payload(number))


@dead_letters.command("replay")
@settings_option
@_numbers
@_all
@_dry
def replay_(settings_file: Path | None, numbers: tuple[int, ...], everything: bool, dry_run: bool) -> None:
    """Sort dead letters NUMBERS by today's registry, and store what is right now.

    What is stored leaves the table, what is still wrong stays. Ingest may run meanwhile.
    """
    from keng_ingest.replay import replay

    settings = load(IngestSettings, settings_file)
    table = _table(settings, writes=not dry_run)
    letters = _chosen(table, numbers, everything)
    registry = _registry(settings)
    plan = _plan(registry)
    store = None if dry_run else open_store(settings.store)
    stored = gone = 0
    try:
        for done in replay(letters, table, store, Rules.of(registry), plan, now_ms()):
            stored += done.stored
            gone += not done.reason
            stays = f"; stays: {done.reason}" if done.reason else ""
            click.echo(f"{done.id:>6}  {done.stored} readings{stays}")
    except StoreUnavailable as error:
        raise _away(error) from None
    finally:
        if store is not None:
            store.close()
    would = "would be " if dry_run else ""
    click.echo(f"{stored} readings {would}stored, {gone} of {len(letters)} dead letters {would}done with.")


@dead_letters.command()
@settings_option
@_numbers
@_all
@_dry
def drop(settings_file: Path | None, numbers: tuple[int, ...], everything: bool, dry_run: bool) -> None:
    """Remove dead letters NUMBERS for ever."""
    table = _table(load(IngestSettings, settings_file), writes=not dry_run)
    letters = _chosen(table, numbers, everything)
    if dry_run:
        click.echo(f"{len(letters)} dead letters would be dropped.")
    else:
        click.echo(f"{table.drop([letter.id for letter in letters])} dead letters dropped.")


def main() -> None:
    cli(prog_name="keng-ingest")
