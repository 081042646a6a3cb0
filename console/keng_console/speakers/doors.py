"""Addresses at which one person may speak once, from a browser or a phone.

Whoever may open the console's socket has one made (``keng console speak --link``); the secret in it is the permission,
and all that is permitted (where, for how long, the gong, the second name for the night) was fixed when it was made.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace

from keng_console.talk import Speak
from keng_contracts.errors import Problem

#: For how long an address may be used, in seconds, and how many there are at once.
OPEN_S, MAX_DOORS = 600.0, 20


@dataclass(frozen=True, slots=True)
class Door:
    """What one address permits, who had it made, and until when (monotonic seconds)."""

    request: Speak
    by: str
    until_s: float
    used: bool = False


class Doors:
    """All addresses that are open. They live in memory: a console that starts again has none."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}

    def open(self, request: Speak, by: str) -> str:
        """A new address; returns its path. Raises :class:`Problem` when there are too many."""
        now_s = time.monotonic()
        self._doors = {secret: door for secret, door in self._doors.items() if door.until_s > now_s}
        if len(self._doors) >= MAX_DOORS:
            raise Problem("too many addresses to speak at are open", where="console", todo="use one, or wait")
        secret = secrets.token_urlsafe(24)
        self._doors[secret] = Door(request, by, now_s + OPEN_S)
        return f"/voice/{secret}"

    def find(self, secret: str) -> Door | None:
        """The door while it can be used."""
        door = self._doors.get(secret)
        return door if door is not None and not door.used and door.until_s > time.monotonic() else None

    def take(self, secret: str) -> Door | None:
        """The door, which nobody can use after this."""
        door = self.find(secret)
        if door is not None:
            self._doors[secret] = replace(door, used=True)
        return door
