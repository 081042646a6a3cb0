"""What the hour of the day changes: quiet hours, and the volume. Pure.

In quiet hours nothing sounds that is not an emergency or *khẩn cấp*, unless a second person has confirmed it and the
confirmation is part of what was signed (Trung Lộc, 2025: loudspeakers at a quarter past three in the night, after a
relay time that was set wrong). It is asked when an order comes, and again when it begins to sound: what waited or was
interrupted does not go on into the night. Those two priorities are also always played at full volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from keng_contracts.commands import Play, Priority
from keng_contracts.quiet import ANY_HOUR, in_quiet

_HANOI = "Asia/Ho_Chi_Minh"


@dataclass(frozen=True, slots=True)
class Hours:
    """``quiet``: from and until, local time; from = until is none. ``volumes``: (from, percent) in order of time."""

    quiet: tuple[time, time] = (time(21, 30), time(5, 0))
    zone: str = _HANOI
    volumes: Sequence[tuple[time, int]] = ()

    def local(self, at_s: float) -> time:
        """Local time of day at ``at_s``, seconds since 1970 UTC."""
        return datetime.fromtimestamp(at_s, UTC).astimezone(_zone(self.zone)).time()

    def is_quiet(self, at_s: float) -> bool:
        return in_quiet(self.local(at_s), self.quiet)

    def may_sound(self, play: Play, at_s: float) -> bool:
        """Whether a job may begin at this time."""
        return play.priority in ANY_HOUR or play.night is not None or not self.is_quiet(at_s)

    def volume(self, priority: Priority, at_s: float) -> int | None:
        """Volume in percent of the node's own; None for all of it. Before the first row of a day the last one holds."""
        if priority in ANY_HOUR or not self.volumes:
            return None
        now = self.local(at_s)
        before = [percent for since, percent in self.volumes if since <= now]
        return before[-1] if before else self.volumes[-1][1]


def volumes(rows: Sequence[str]) -> tuple[tuple[time, int], ...]:
    """Read rows such as ``"21:30 60"``; raises ValueError.

    >>> volumes(["21:30 60", "05:00 100"])
    ((datetime.time(5, 0), 100), (datetime.time(21, 30), 60))
    """
    read = []
    for row in rows:
        at, _, percent = row.partition(" ")
        try:
            since, share = time.fromisoformat(at), int(percent)
        except ValueError:
            raise ValueError(f'{row!r} is not a time and a volume such as "21:30 60"') from None
        if not 0 <= share <= 100:
            raise ValueError(f"{row!r}: a volume is between 0 and 100 percent")
        read.append((since, share))
    return tuple(sorted(read))


@lru_cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo(_HANOI)
