"""Whether an order from a person is obeyed that came over the broker. Pure but for the cost of a signature.

The rules are those of :func:`keng_contracts.judging.judge`, the same as for a loudspeaker and an edge, but that the
time is always looked at: alerts judges by its own clock what is late, and an order that waited at the broker for hours
must not sound a siren.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from keng_contracts.alert_commands import AlertCommand
from keng_contracts.judging import Audience, Refusal, judge
from keng_contracts.telemetry import Clock
from keng_runtime.signing import NotTrusted, TrustStore


def decide(
    token: bytes,
    *,
    trust: TrustStore,
    commune: str,
    alert: str,
    counters: Mapping[str, int],
    now_ms: int,
) -> AlertCommand | Refusal:
    """The command, or why it is refused. ``commune`` and ``alert`` are those of the topic, ``counters`` the highest
    obeyed so far by issuer. Never raises, whatever ``token`` is."""
    try:
        payload, key = trust.verify(token)
        command = AlertCommand.model_validate_json(payload)
    except NotTrusted as error:
        return error.refusal
    except ValidationError:
        return Refusal.UNREADABLE
    refusal = judge(
        command,
        issuer=key.issuer,
        may=key.may,
        me=Audience(commune, alert, frozenset(), kind="alert"),
        last_ctr=counters.get(command.iss, 0),
        now_s=now_ms / 1000,
        clock=Clock.HOLDOVER,
    )
    return refusal or command
