"""Whether to obey. Pure: one function from bytes to a verdict, the same for every byte string there is.

What is asked, in this order, and the refusal when the answer is no:

======================================================  ==================
is it a JWS at all, and what is inside it a command?    ``unreadable``
is its key pinned here?                                 ``unknown-key``
does the signature hold?                                ``bad-signature``
does the key belong to the issuer it names, and may     ``not-allowed``
that key order this action?
is it for this loudspeaker?                             ``not-for-me``
is its counter above all that were obeyed?              ``replayed``
is it within its time (if this clock is trusted)?       ``not-yet-valid``, ``expired``
may it sound at this hour?                              ``quiet-hours``
======================================================  ==================

The first rows are the signature's (:meth:`keng_runtime.signing.TrustStore.verify`), the next four the law of
:func:`keng_contracts.judging.judge`, the last is in :mod:`keng_loudspeaker.hours`; a node whose clock is not trusted
goes by the time at which the command was signed. Dallas 2017 (156 sirens, unencrypted) and SirenJack 2018 (commands
in the clear) are why every row is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from keng_contracts.commands import Command, Play
from keng_contracts.judging import Audience, Refusal, judge
from keng_contracts.telemetry import Clock
from keng_loudspeaker.hours import Hours
from keng_runtime.settings import explain
from keng_runtime.signing import NotTrusted, TrustStore


@dataclass(frozen=True, slots=True)
class Accepted:
    """A command that this loudspeaker obeys."""

    command: Command


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that it does not. ``command`` is there only if a pinned key has signed it."""

    reason: Refusal
    detail: str = ""
    command: Command | None = None


def decide(
    token: bytes,
    *,
    trust: TrustStore,
    me: Audience,
    counters: Mapping[str, int],
    now_s: float,
    clock: Clock,
    hours: Hours,
) -> Accepted | Refused:
    """Judge what came from the broker. ``counters`` holds the highest counter obeyed so far, by issuer.

    Never raises, whatever ``token`` is.
    """
    try:
        return _decide(token, trust, me, counters, now_s, clock, hours)
    except Exception as error:  # a fault in the gate must close it, not take the loudspeaker down
        return Refused(Refusal.UNREADABLE, f"fault while reading: {type(error).__name__}")


def _decide(
    token: bytes,
    trust: TrustStore,
    me: Audience,
    counters: Mapping[str, int],
    now_s: float,
    clock: Clock,
    hours: Hours,
) -> Accepted | Refused:
    try:
        payload, key = trust.verify(token)
    except NotTrusted as error:
        return Refused(error.refusal, str(error).partition(": ")[2])
    try:
        command = Command.model_validate_json(payload)
    except ValidationError as error:
        return Refused(Refusal.UNREADABLE, f"signed by {key.kid}, but no command: {explain(error)[:200]}")
    refusal = judge(
        command,
        issuer=key.issuer,
        may=key.may,
        me=me,
        last_ctr=counters.get(command.iss, 0),
        now_s=now_s,
        clock=clock,
    )
    at_s = command.iat if clock is Clock.UNKNOWN else now_s
    if refusal is None and isinstance(command.action, Play) and not hours.may_sound(command.action, at_s):
        refusal = Refusal.QUIET_HOURS
    if refusal is not None:
        detail = f"{command.action.do} from {key.issuer} to {command.aud}, number {command.ctr}"
        return Refused(refusal, detail, command)
    return Accepted(command)
