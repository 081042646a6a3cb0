"""Quiet hours, as the loudspeakers know them too: said before anything is sent. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from keng_contracts.commands import Play, Priority
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry

#: These sound at any hour.
ANY_HOUR = frozenset({Priority.EMERGENCY, Priority.URGENT})


def quiet(at: time, registry: Registry) -> bool:
    """Whether a local time of day is in quiet hours; from = until is none."""
    first, last = registry.quiet_hours
    return first <= at < last if first <= last else at >= first or at < last


def require_hour(play: Play, by: str, registry: Registry, at_ms: int) -> None:
    """Raise :class:`Problem` for what may not sound at ``at_ms`` as ``by`` orders it."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(registry.commune.timezone))
    if play.priority in ANY_HOUR or not quiet(at.time(), registry):
        return
    first, last = registry.quiet_hours
    hours = f"{first:%H:%M}–{last:%H:%M}"
    if play.night is None:
        raise Problem(
            f"đang là giờ yên tĩnh {hours}, chưa gửi gì (it is {at:%H:%M}, in quiet hours: nothing was sent)",
            where=f"--priority {play.priority}",
            todo="wait until the morning, or let a second person agree: --night 'NAME'",
        )
    if play.night.strip().casefold() == by.casefold():
        what = "phải là người thứ hai đồng ý (it is you yourself: nothing was sent)"
        raise Problem(what, where=f"--night {play.night!r}", todo="name the second person who agrees")
