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

All rows but the last are those of every node (:func:`keng_runtime.obeying.decide`), the last is in
:mod:`keng_loudspeaker.hours`; a node whose clock is not trusted goes by the time at which the command was signed.
Dallas 2017 (156 sirens, unencrypted) and SirenJack 2018 (commands in the clear) are why every row is there.
"""

from __future__ import annotations

from collections.abc import Mapping

from keng_contracts.commands import Command, Play
from keng_contracts.judging import Audience, Refusal
from keng_contracts.telemetry import Clock
from keng_loudspeaker.hours import Hours
from keng_runtime import obeying
from keng_runtime.obeying import Refused
from keng_runtime.signing import TrustStore


def decide(
    token: bytes,
    *,
    trust: TrustStore,
    me: Audience,
    counters: Mapping[str, int],
    now_s: float,
    clock: Clock,
    hours: Hours,
) -> Command | Refused[Command]:
    """The command, or why it is refused. ``counters`` holds the highest counter obeyed so far, by issuer.

    Never raises, whatever ``token`` is.
    """
    try:
        command = obeying.decide(
            token,
            Command.model_validate_json,
            trust=trust,
            me=me,
            counters=counters,
            now_s=now_s,
            clock=clock,
        )
        if isinstance(command, Refused) or not isinstance(command.action, Play):
            return command
        at_s = command.iat if clock is Clock.UNKNOWN else now_s
        if hours.may_sound(command.action, at_s):
            return command
    except Exception as error:  # a fault in the gate must close it, not take the loudspeaker down
        return Refused(Refusal.UNREADABLE, f"fault while reading: {type(error).__name__}")
    return Refused(Refusal.QUIET_HOURS, f"play from {command.iss} to {command.aud}, number {command.ctr}", command)
