"""A test message that goes the very way of a page: through the outbox of the running notifier, and its sender.

Who asks for it writes it into the outbox and reads there how it ended. What sends it is the service, with the addresses
that it has loaded, the network that its unit lets it have, and the process that sends every page.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from keng_alerts.notify import texts
from keng_alerts.notify.outbox import DROPPED, SENT, WAITING, Outbox, Tried
from keng_alerts.notify.service import MARGIN_S
from keng_alerts.notify.settings import NotifySettings, Person
from keng_contracts.errors import Problem
from keng_runtime.clock import now_ms

LOOK_S = 0.1


class Outcome(NamedTuple):
    """``error`` is empty when the gateway took the message."""

    person: str
    address: str
    error: str


def ask(settings: NotifySettings, people: Sequence[Person]) -> Iterator[Outcome]:
    """Ask the running notifier for a test; the outcomes as they come, one for each address of each person.

    What it does not take within the time of one sending is withdrawn. Raises :class:`Problem` when it can't be asked.
    """
    path = settings.state / "notify.sqlite"
    try:
        if not path.exists():
            todo = "start it, or give the settings with which it runs: --settings FILE"
            raise Problem("no notifier has run with this state folder", where=str(path), todo=todo)
        outbox = Outbox(path)
    except PermissionError:
        raise Problem("is not for you", where=str(path), todo="use sudo, or be the notifier's user") from None
    asked: dict[int, str] = {}
    try:
        for person in people:
            title, body = texts.compose_test(person.languages)
            asked[outbox.test(person.name, title, body, person.addresses, now_ms())] = person.name
        yield from _outcomes(outbox, asked, settings.send_timeout_s + MARGIN_S)
    except sqlite3.Error as error:
        raise Problem(
            f"takes no test ({error})", where=str(path), todo="be the notifier's user; free the disk"
        ) from None
    finally:
        for number in asked:
            outbox.withdraw(number, now_ms())
        outbox.close()


def _outcomes(outbox: Outbox, asked: dict[int, str], patience_s: float) -> Iterator[Outcome]:
    start = time.monotonic()
    told: set[tuple[int, str]] = set()
    while True:
        waited = time.monotonic() - start
        if waited > patience_s:
            for number in asked:
                outbox.withdraw(number, now_ms())
        tried = [(number, one) for number in asked for one in outbox.tried(number)]
        for number, one in tried:
            error = _error(one, late=waited > 2 * patience_s)
            if error is not None and (number, one.address) not in told:
                told.add((number, one.address))
                yield Outcome(asked[number], one.address, error)
        if len(told) == len(tried):
            return
        time.sleep(LOOK_S)


def _error(tried: Tried, late: bool) -> str | None:
    """How it ended; None while nobody knows."""
    if tried.state == SENT:
        return ""
    if tried.state in (WAITING, DROPPED) and tried.attempts:
        return tried.error
    if tried.state == DROPPED:
        return "no running notifier took it, and it was withdrawn"
    return "the notifier that took it has not said how it ended" if late else None
