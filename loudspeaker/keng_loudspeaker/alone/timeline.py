"""What time it is for the programme, whatever somebody does to the machine's clock. Pure.

The time that has passed since the machine started (CLOCK_BOOTTIME) is set by nobody. Beside the wall clock it gives,
at every look:

===============================  =============================================================================
the kernel says of its clock     the programme's time
===============================  =============================================================================
NTP keeps it                     the wall clock, and from it when the machine started
somebody else keeps it (trusted) the same; but a step of more than :data:`STEP_MS` is believed only once it has
                                 stood for :data:`BELIEVED_MS`, and the time runs on without it until then
nobody keeps it                  when the machine started + how long ago that was; none if that is not known
===============================  =============================================================================

A clock that jumps, by minutes or years, therefore moves no slot; what NTP says does.
"""

from __future__ import annotations

from dataclasses import dataclass

from keng_contracts.telemetry import Clock

STEP_MS = 2000
BELIEVED_MS = 600_000


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at the clocks: ms since 1970 UTC by the wall clock, ms since the machine started, which start that was
    (:func:`keng_runtime.clock.machine_boot`), and how far the wall clock is kept."""

    wall_ms: int
    up_ms: int
    boot: str
    clock: Clock


@dataclass(slots=True)
class Timeline:
    """``started_ms`` is when the machine started, in its run ``boot``; both go over a restart of the node."""

    boot: str = ""
    started_ms: int | None = None
    _step: tuple[int, int] | None = (
        None  # when the machine started by a clock that was set, and up_ms at its first sight
    )

    def now_ms(self, sight: Sight) -> int | None:
        """The programme's time; None if there is none."""
        if sight.boot != self.boot:
            self.boot, self.started_ms, self._step = sight.boot, None, None
        seen_ms = sight.wall_ms - sight.up_ms
        if sight.clock is Clock.SYNCED or (sight.clock is Clock.HOLDOVER and self._believed(seen_ms, sight.up_ms)):
            self.started_ms, self._step = seen_ms, None
        return None if self.started_ms is None else self.started_ms + sight.up_ms

    def _believed(self, seen_ms: int, up_ms: int) -> bool:
        if self.started_ms is None or abs(seen_ms - self.started_ms) <= STEP_MS:
            return True
        if self._step is None or abs(seen_ms - self._step[0]) > STEP_MS:
            self._step = (seen_ms, up_ms)
        return up_ms - self._step[1] >= BELIEVED_MS
