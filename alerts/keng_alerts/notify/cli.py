"""``keng alerts notify``: the service, its check, and a test message."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from keng_alerts.notify.settings import NotifySettings
from keng_contracts.errors import Problem
from keng_runtime.cli import Group, run_service, settings_option
from keng_runtime.settings import load


@click.group(cls=Group)
def notify() -> None:
    """Tell people of alerts, by chains of who is told when nobody acknowledges.

    \b
    Examples:
      keng alerts notify check --settings /etc/keng/notify.toml
      keng alerts notify test --to truc-ban --settings /etc/keng/notify.toml
      keng alerts notify run --settings /etc/keng/notify.toml
    """


@notify.command()
@settings_option
def run(settings_file: Path | None) -> None:
    """Run the service until it is stopped."""
    from keng_alerts.notify.service import main as serve

    run_service("notify", NotifySettings, settings_file, serve)


@notify.command()
@settings_option
def check(settings_file: Path | None) -> None:
    """Check settings, chains and addresses, and say who is told of what. Nothing is sent."""
    from keng_alerts.notify import addresses
    from keng_alerts.notify.service import require

    settings = load(NotifySettings, settings_file)
    urls = addresses.load(settings.broker.credentials)
    asyncio.run(require(settings, urls))
    if not settings.chains:
        raise Problem("there is no chain: nobody would be told of anything", where="chains", todo="see notify.toml")
    for chain in settings.chains:
        kinds = ", ".join(chain.kinds) or "everything"
        click.echo(f"{chain.name}: {kinds}, from {chain.severity.name.lower()} on")
        for step in chain.steps:
            click.echo(f"  after {step.after_min:g} min  {', '.join(step.to)}")
        if chain.repeats:
            click.echo(f"  then {chain.repeats} times every {chain.repeat_min:g} min the last step again")
    used = {name for person in settings.people for name in person.addresses}
    for name in sorted(urls.keys() - used):
        click.echo(f"address {name} is used by nobody")


@notify.command()
@settings_option
@click.option("--to", metavar="NAME", help="This person alone; without it everybody in the settings.")
def test(settings_file: Path | None, to: str | None) -> None:
    """Let the running notifier send a test message now, and say whether each gateway took it.

    It goes the very way of a page: into the notifier's outbox, and from there by the running service with the addresses
    that it has loaded. Only chains, hours and pauses are passed by, and it is tried once. Be the notifier's user or
    root. Exit status 0 when every gateway took it, 1 when one did not, 2 when the notifier could not be asked.
    """
    from keng_alerts.notify import trial

    settings = load(NotifySettings, settings_file)
    people = [person for person in settings.people if to in (None, person.name)]
    if not people:
        names = ", ".join(person.name for person in settings.people) or "nobody"
        raise Problem(f"there is no person {to!r}", where="people", todo=f"there are: {names}")
    failed = False
    for person, address, error in trial.ask(settings, people):
        failed = failed or bool(error)
        click.echo(f"{person} by {address}: {error or 'sent'}")
    raise SystemExit(1 if failed else 0)
