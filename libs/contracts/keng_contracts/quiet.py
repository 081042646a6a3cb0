"""Quiet hours: what every part means by them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from keng_contracts.commands import Play, Priority
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry

#: These sound at any hour; all else needs a second person's name in what was signed.
ANY_HOUR = frozenset({Priority.EMERGENCY, Priority.URGENT})


def in_quiet(at: time, hours: tuple[time, time]) -> bool:
    """Whether a local time of day is within some hours, from and until, also over midnight; from = until is none.

    >>> [in_quiet(time(hour), (time(21, 30), time(5))) for hour in (21, 22, 4, 5)]
    [False, True, True, False]
    """
    start, end = hours
    return start <= at < end if start <= end else at >= start or at < end


def require_hour(play: Play, by: str, registry: Registry, at_ms: int) -> None:
    """Raise :class:`Problem` for what may not sound at ``at_ms`` as ``by`` orders it, before loudspeakers refuse it."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(registry.commune.timezone))
    if play.priority in ANY_HOUR or not in_quiet(at.time(), registry.quiet_hours):
        return
    first, last = registry.quiet_hours
    if play.night is None:
        raise Problem(
            f"đang là giờ yên tĩnh {first:%H:%M}–{last:%H:%M}, chưa gửi gì "
            f"(it is {at:%H:%M}, in quiet hours: nothing was sent)",
            where=f"priority {play.priority}",
            todo="wait until the morning, or let a second person agree: --night 'NAME'",
        )
    if play.night.strip().casefold() == by.strip().casefold():
        what = "phải là người thứ hai đồng ý (it is you yourself: nothing was sent)"
        raise Problem(what, where=f"--night {play.night!r}", todo="name the second person who agrees")
