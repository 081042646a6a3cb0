"""What the command lines of all parts share: one-line Problems, ``--settings``, and how ``run`` starts a service."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from keng_contracts.errors import Problem
from keng_runtime import logs, metrics, service
from keng_runtime.settings import ServiceSettings, load

log = logging.getLogger(__name__)

S = TypeVar("S", bound=ServiceSettings)


class Group(click.Group):
    """A command group that ends on a :class:`Problem`, or on a file that this user may not have, with one line and
    status 2, not with a stack trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Problem as problem:
            told = problem
        except PermissionError as error:
            if error.filename is None:
                raise
            todo = "use sudo, or be in the group that owns it"
            told = Problem("is not for you", where=str(error.filename), todo=todo)
        click.echo(f"keng: {told}", err=True)
        ctx.exit(service.EXIT_PROBLEM)


settings_option = click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file (TOML); see sample.toml beside the service.  [default: /etc/keng/<part>.toml, if it is there]",
)


def run_service(
    name: str,
    kind: type[S],
    file: Path | None,
    main: Callable[[S, asyncio.Event], Awaitable[None]],
    *,
    needs_state: bool = True,
) -> None:
    """Load settings, set up log and metrics, and run ``main(settings, stop)`` until it is told to stop.

    Without ``needs_state`` it runs without its state folder where that can't be made.
    """
    settings = load(kind, file)
    logs.set_up(name, settings.log_level)
    metrics.serve(settings.metrics_port)
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if needs_state:
            raise Problem(
                f"the state folder can't be made ({error.strerror})",
                where=str(settings.state),
                todo="check its owner, or set 'state'",
            ) from None
    try:
        status = service.run(lambda stop: main(settings, stop))
    except PermissionError:  # no operator's mistake: systemd starts it again
        log.exception("this must not happen")
        status = 1
    sys.exit(status)
