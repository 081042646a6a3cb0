"""What is on its way to ingest and not receipted yet. Pure; times are seconds of a clock that only goes forward.

The window bounds the backlog: no more than ``limit`` packs of it are under way. What is fresh is sent whether there is
room or not, since alerts needs it and not ingest's receipt, and takes no room from the backlog.

A pack without receipt after ``timeout_s`` is no longer under way, so it is backlog and is sent again. As long as no
receipt at all comes, that time doubles: when ingest is away, the same packs need not cross the link all night.

>>> window = Window(limit=2, timeout_s=20)
>>> window.sent(7, now=0.0, fresh=True)
>>> window.sent(1, now=0.0); window.sent(2, now=5.0)
>>> window.room()
0
>>> window.settled([1]); window.room()
1
>>> window.expire(now=25.0); window.room()
2
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

#: The time-out grows to at most this many times itself.
MAX_PATIENCE = 16


class Window:
    def __init__(self, limit: int, timeout_s: float) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._patience = 1
        self._sent_at: dict[int, float] = {}  # in the order of sending, so that the late ones are the first
        self._backlog: set[int] = set()

    def __contains__(self, id_: int) -> bool:
        return id_ in self._sent_at

    @property
    def ids(self) -> Collection[int]:
        return self._sent_at.keys()

    def room(self) -> int:
        """How many packs of the backlog may still be sent."""
        return self._limit - len(self._backlog)

    def sent(self, id_: int, now: float, *, fresh: bool = False) -> None:
        self._forget(id_)
        self._sent_at[id_] = now
        if not fresh:
            self._backlog.add(id_)

    def settled(self, ids: Iterable[int]) -> None:
        """These were receipted."""
        for id_ in ids:
            self._forget(id_)
            self._patience = 1

    def expire(self, now: float) -> None:
        """Give up waiting for what was sent too long ago."""
        any_late = False
        while (expiry := self.next_expiry()) is not None and expiry <= now:
            self._forget(next(iter(self._sent_at)))
            any_late = True
        if any_late:
            self._patience = min(2 * self._patience, MAX_PATIENCE)

    def next_expiry(self) -> float | None:
        """When :meth:`expire` has something to do."""
        oldest = next(iter(self._sent_at.values()), None)
        return None if oldest is None else oldest + self._timeout_s * self._patience

    def reset(self, keep: Collection[int]) -> None:
        """The link is new: all but ``keep`` is to be sent again."""
        for id_ in self._sent_at.keys() - keep:
            self._forget(id_)
        self._patience = 1

    def _forget(self, id_: int) -> None:
        self._sent_at.pop(id_, None)
        self._backlog.discard(id_)
