"""Readings in hand: taken, and not on disk yet. Pure; times are seconds of a clock that only goes forward.

While the disk takes nothing they are all that there is of them, so their number is bounded: the newest are kept, and
telemetry gives way to alarms. Alarms go out all the same; what went out uncommitted is remembered until the disk has
taken it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from keng_contracts.telemetry import Reading
from keng_edge.outbox.outbox import Batch, Taken, batches

#: Readings held in memory while the disk takes nothing: some megabytes.
MAX_HELD = 20_000
#: A source that waits for our word hands over no more than so many without it (a mosquitto at most 20, unless it is
#: told otherwise): half of that is not made to wait for others.
MAX_WAITING = 10

#: Whom to tell that readings are kept.
Kept = Callable[[], None]


class Chosen(NamedTuple):
    """How many of the first are to be committed, of how many that were lost, and how many hear of it."""

    alarms: int
    plain: int
    lost: int
    alarms_kept: int
    plain_kept: int


class InHand:
    """``enough`` telemetry is committed at once, else that of ``every_s`` together. ``lost`` counts what gave way."""

    def __init__(self, enough: int, every_s: float) -> None:
        self._enough = enough
        self._every_s = every_s
        self._alarms: list[Taken] = []
        self._plain: list[Taken] = []
        self._since: float | None = None  # when the first of the telemetry came
        self._alarms_kept: list[Kept] = []
        self._plain_kept: list[Kept] = []
        self._published = 0  # that many of the first alarms went out uncommitted
        self.lost = 0

    def __len__(self) -> int:
        return len(self._alarms) + len(self._plain)

    def add(self, taken: Sequence[Taken], *, alarm: bool, kept: Kept | None, now: float) -> bool:
        """Take them over; whether something is due now, or by a time that was not known before."""
        if kept is not None:
            (self._alarms_kept if alarm else self._plain_kept).append(kept)
        if alarm:
            self._alarms += taken
            return True
        first = self._since is None
        if self._since is None:
            self._since = now
        self._plain += taken
        return first or self._full

    @property
    def _full(self) -> bool:
        return len(self._plain) >= self._enough or len(self._plain_kept) >= MAX_WAITING

    @property
    def urgent(self) -> bool:
        """Whether there is an alarm that nobody heard."""
        return len(self._alarms) > self._published

    def due_at(self, now: float) -> float | None:
        """When telemetry is to be committed; None: there is none."""
        if self._since is None:
            return None
        return now if self._full else self._since + self._every_s

    def choose(self, *, plain: bool) -> Chosen:
        """What a commit takes now: all alarms, and with ``plain`` all telemetry."""
        gathered = len(self._plain) if plain else 0
        return Chosen(
            len(self._alarms), gathered, self.lost, len(self._alarms_kept), len(self._plain_kept) if gathered else 0
        )

    def batches(self, chosen: Chosen) -> list[Batch]:
        return [*batches(self._alarms[: chosen.alarms], True), *batches(self._plain[: chosen.plain], False)]

    def committed(self, chosen: Chosen, now: float) -> None:
        """They are on disk: let go of them, and tell those that wait for that."""
        del self._alarms[: chosen.alarms], self._plain[: chosen.plain]
        self.lost -= chosen.lost
        self._published = 0
        if chosen.plain:
            self._since = now if self._plain else None
        self._tell(chosen.alarms_kept, chosen.plain_kept)

    def release(self) -> None:
        """Tell all that wait: there is no knowing when the disk has their readings."""
        self._tell(len(self._alarms_kept), len(self._plain_kept))

    def _tell(self, alarms: int, plain: int) -> None:
        kept = [*self._alarms_kept[:alarms], *self._plain_kept[:plain]]
        del self._alarms_kept[:alarms], self._plain_kept[:plain]
        for one in kept:
            one()

    def unheard(self) -> list[Reading]:
        """Alarms that go out uncommitted now; each once."""
        fresh, self._published = self._alarms[self._published :], len(self._alarms)
        return [reading for _, reading in fresh]

    def give_way(self) -> None:
        """Keep the newest; telemetry gives way to alarms."""
        over = len(self) - MAX_HELD
        if over > 0:
            plain = min(over, len(self._plain))
            alarms = over - plain
            del self._plain[:plain], self._alarms[:alarms]
            self._published -= alarms
            self.lost += over
