"""What was ordered of an edge node, and how it answered. Pure.

How an order stands follows from its action and its answers alone, :func:`stands`:

===========  ==========================================================================  ==========
stands       when                                                                        still open
===========  ==========================================================================  ==========
SENT         nothing was answered                                                        yes
REFUSED      the node's rules forbid it (``refused: replayed``); nothing was done        no
FAILED       it may be ordered, and the node could not do it                             no
TRIAL        new settings run, until broker and ingest were reached with them            yes
TAKEN_BACK   they were not reached: what ran before runs again                           no
RESTARTING   it ends, and was not heard since                                            yes
DONE         anything else                                                               no
===========  ==========================================================================  ==========

A refusal names the command as that named itself, which proves nothing: a stranger's may bear any name, and an old order
that is sent again bears ours. So it is the answer of the newest order only as long as that has none, else nobody's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from keng_contracts.edge_commands import EdgeAction, Reload, Restart
from keng_contracts.status import EdgeStatus

REFUSED = "refused: "
_TRIAL = re.compile(r"on trial for ([0-9.]{1,8}) s")


class Stands(StrEnum):
    SENT = "sent"
    REFUSED = "refused"
    FAILED = "failed"
    TRIAL = "trial"
    TAKEN_BACK = "taken-back"
    RESTARTING = "restarting"
    DONE = "done"


OPEN = frozenset({Stands.SENT, Stands.TRIAL, Stands.RESTARTING})


@dataclass(frozen=True, slots=True)
class Order:
    """A signed command: ``ctr`` and ``jti`` name it, ``by`` is the Unix user who gave it, ``boot`` the run of the agent
    to which it was sent."""

    ctr: int
    jti: str
    node: str
    action: EdgeAction
    by: str
    sent_ms: int
    boot: str


@dataclass(frozen=True, slots=True)
class Answer:
    """``at_ms`` is by the node's clock, ``heard_ms`` by ours; ``jti`` is empty for a refusal of nobody's order."""

    node: str
    jti: str
    at_ms: int
    heard_ms: int
    ok: bool
    detail: str

    @property
    def refusal(self) -> str:
        """The reason of a refusal, else empty."""
        return self.detail.removeprefix(REFUSED) if not self.ok and self.detail.startswith(REFUSED) else ""


@dataclass(frozen=True, slots=True)
class Told:
    """An order with its answers, the oldest first."""

    order: Order
    answers: tuple[Answer, ...] = ()

    def answered(self, answer: Answer) -> Told:
        if any(known.at_ms == answer.at_ms for known in self.answers):
            return self
        return replace(self, answers=(*self.answers, answer))

    @property
    def stands(self) -> Stands:
        return stands(self)

    @property
    def open(self) -> bool:
        """Whether more is to come of it."""
        return self.stands in OPEN


def stands(told: Told) -> Stands:
    """How an order stands; the table at the head of this module."""
    if not told.answers:
        return Stands.SENT
    last, action = told.answers[-1], told.order.action
    if not last.ok:
        if last.refusal:
            return Stands.REFUSED
        return Stands.TAKEN_BACK if any(_TRIAL.search(a.detail) for a in told.answers[:-1]) else Stands.FAILED
    if isinstance(action, Reload) and _TRIAL.search(last.detail):
        return Stands.TRIAL
    if isinstance(action, Restart) and len(told.answers) == 1:
        return Stands.RESTARTING
    return Stands.DONE


def trial_s(told: Told) -> float:
    """How long the node tries the new settings, in seconds; 0 when it said nothing of it."""
    found = _TRIAL.search(told.answers[-1].detail) if told.answers else None
    try:
        return min(3600.0, float(found[1])) if found else 0.0
    except ValueError:
        return 0.0


def answer_in(node: str, status: EdgeStatus, heard_ms: int, *, last: Told | None, seen_ms: int | None) -> Answer | None:
    """What a node's status says about orders that was not known yet; None for nothing.

    ``last`` is the newest order to the node, and ``seen_ms`` the ``at_ms`` of the reply that was seen last: a status
    repeats the last reply again and again.
    """
    reply = status.reply
    if reply is not None and reply.at_ms != seen_ms:
        answer = Answer(node, reply.jti, reply.at_ms, heard_ms, reply.ok, reply.detail)
        if answer.refusal:
            ours = last is not None and last.order.jti == answer.jti and last.stands is Stands.SENT
            return answer if ours else replace(answer, jti="")
        if answer.jti:
            return answer
    back = status.state == "online" and status.boot != ""
    if back and last is not None and last.stands is Stands.RESTARTING and status.boot != last.order.boot:
        return Answer(node, last.order.jti, status.at_ms, heard_ms, True, f"is back as run {status.boot}")
    return None
