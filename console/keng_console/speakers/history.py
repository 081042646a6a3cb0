"""What was ordered of loudspeakers, by whom, and what became of it: read from the commands and from the evidence that
the console keeps of each. Blocking calls."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from keng_console.database import UNREADABLE, told
from keng_console.models import Playback, SpeakerOrder
from keng_console.speakers.orders import reached
from keng_console.speakers.outcome import Outcome, outcome
from keng_contracts.commands import Command, Play, Stop
from keng_contracts.playback import PlaybackEvent
from keng_contracts.registry import Registry


@dataclass(frozen=True, slots=True)
class Ordered:
    """One order, to however many audiences: ``outcomes`` are those of a job, none of a stop."""

    at_ms: int
    by: str
    to: list[str]
    action: Play | Stop
    outcomes: list[Outcome]


def ordered(engine: Engine, registry: Registry | None, limit: int) -> list[Ordered]:
    """The newest orders, the newest first."""
    found: list[tuple[str, Command, list[str]]] = []
    query = select(SpeakerOrder.token, SpeakerOrder.ordered_by).where(SpeakerOrder.jti != "")
    with told(), Session(engine) as session:
        for token, by in session.execute(query.order_by(SpeakerOrder.ctr.desc()).execution_options(yield_per=200)):
            command = _command(token)
            if command is None or not isinstance(command.action, Play | Stop):
                continue
            if found and (found[-1][1].iat, found[-1][1].action) == (command.iat, command.action):
                found[-1][2].insert(0, command.aud)
                continue
            if len(found) == limit:
                break
            found.append((by, command, [command.aud]))
    events = evidence(engine, [c.action.play for _, c, _ in found if isinstance(c.action, Play)])
    return [
        Ordered(round(c.iat * 1000), by, to, c.action, _outcomes(c.action, to, events, registry))  # type: ignore[arg-type]
        for by, c, to in found
    ]


def places_of(engine: Engine, play: str) -> list[str]:
    """Where a job was ordered, as audiences; none if it never was."""
    query = select(SpeakerOrder.token).where(SpeakerOrder.play == play).order_by(SpeakerOrder.ctr)
    with told(), Session(engine) as session:
        commands = [_command(token) for token in session.scalars(query)]
    return list(dict.fromkeys(c.aud for c in commands if c is not None and isinstance(c.action, Play)))


def evidence(engine: Engine, plays: Iterable[str]) -> dict[str, dict[str, list[PlaybackEvent]]]:
    """The evidence of some jobs, by job and loudspeaker."""
    found: dict[str, dict[str, list[PlaybackEvent]]] = defaultdict(lambda: defaultdict(list))
    query = select(Playback.node, Playback.payload).where(Playback.play.in_(set(plays)), Playback.what != UNREADABLE)
    with told(), engine.connect() as connection:
        for node, payload in connection.execute(query):
            event = PlaybackEvent.model_validate_json(payload)
            found[event.play][node].append(event)
    return found


def _outcomes(
    action: Play | Stop, to: list[str], events: dict[str, dict[str, list[PlaybackEvent]]], registry: Registry | None
) -> list[Outcome]:
    if not isinstance(action, Play):
        return []
    by_node = events.get(action.play, {})
    meant = [speaker.id for speaker in reached(to, registry)] if registry else []
    return [outcome(node, by_node.get(node, ()), action) for node in dict.fromkeys([*meant, *by_node])]


def _command(token: str) -> Command | None:
    """What was signed (RFC 7515, 7.1: header.payload.signature, base64url without padding); None if it can't be read
    any more."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        return Command.model_validate_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, ValidationError):
        return None
