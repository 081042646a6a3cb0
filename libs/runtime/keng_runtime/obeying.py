"""Whether a node obeys what came as a signed command: one function from bytes to a command or a refusal, the same for
every byte string there is.

The signature is looked at by :meth:`keng_runtime.signing.TrustStore.verify`, then the form of the command, then it is
judged by :func:`keng_contracts.judging.judge`. Pure but for the cost of a signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from keng_contracts.judging import Audience, Order, Refusal, judge
from keng_contracts.telemetry import Clock
from keng_runtime.settings import explain
from keng_runtime.signing import NotTrusted, TrustStore

C = TypeVar("C", bound=Order)


@dataclass(frozen=True, slots=True)
class Refused(Generic[C]):
    """A command that is not obeyed. ``command`` is there only if a pinned key has signed it."""

    reason: Refusal
    detail: str = ""
    command: C | None = None


def decide(
    token: bytes,
    parse: Callable[[bytes], C],
    *,
    trust: TrustStore,
    me: Audience,
    counters: Mapping[str, int],
    now_s: float,
    clock: Clock,
) -> C | Refused[C]:
    """The command, or why it is refused. ``parse`` reads it or raises ValidationError; ``counters`` holds the highest
    counter obeyed so far, by issuer.

    Never raises, whatever ``token`` is.
    """
    try:
        payload, key = trust.verify(token)
    except NotTrusted as error:
        return Refused(error.refusal, str(error).partition(": ")[2])
    try:
        command = parse(payload)
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
    if refusal is not None:
        detail = f"{command.action.do} from {key.issuer} to {command.aud}, number {command.ctr}"
        return Refused(refusal, detail, command)
    return command
