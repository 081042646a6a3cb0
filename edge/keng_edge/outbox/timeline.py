"""The two clocks of the machine beside each other: the wall's, which is set, and the one that only counts. Pure.

A Raspberry Pi has no clock of its own: it starts in 1970, or at the time when it was last switched off, and jumps when
the network tells it the time. The difference of its two clocks (wall − up, in ms) stays as it is until the wall clock
is set, so it names a stretch of time without a step:

>>> line = Timeline()
>>> line.at(wall_ms=5_000, up_ms=4_000, clock=Clock.UNKNOWN)
Stamp(offset_ms=1000, clock=<Clock.UNKNOWN: 'unknown'>)
>>> line.at(wall_ms=6_003, up_ms=5_000, clock=Clock.UNKNOWN)       # a few ms of slewing or of being interrupted
Stamp(offset_ms=1000, clock=<Clock.UNKNOWN: 'unknown'>)
>>> line.at(wall_ms=1_763_258_400_000, up_ms=9_000, clock=Clock.SYNCED)
Stamp(offset_ms=1763258391000, clock=<Clock.SYNCED: 'synced'>)

A reading that an unknown clock stamped is moved by the difference of the offsets once the clock is known. All readings
of a stretch move by the same, so their order and distances stay.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from keng_contracts.telemetry import EARLIEST_MS, LATEST_MS, Clock, Flag, Pack

#: A difference of more than that is a step: NTP steps the clock from 128 ms on, chrony as it is told, and slews below.
STEP_MS = 500
#: A time that lies farther from the clock's than that was not read from it; the pipeline lets times run a minute ahead.
FAR_MS = 120_000


class Stamp(NamedTuple):
    """One stretch of time: wall − up in ms, and how far the wall clock was trusted in it."""

    offset_ms: int
    clock: Clock


class Timeline:
    """Tells the steps of the wall clock from the unrest of reading two clocks one after the other."""

    def __init__(self) -> None:
        self._stamp: Stamp | None = None
        self._before: Stamp | None = None
        self._since_ms = 0

    def at(self, wall_ms: int, up_ms: int, clock: Clock) -> Stamp:
        """The stretch to which a moment belongs; the same one until the clock steps or is trusted otherwise."""
        offset = wall_ms - up_ms
        last = self._stamp
        if last is None or last.clock is not clock or abs(offset - last.offset_ms) > STEP_MS:
            self._stamp, self._before, self._since_ms = Stamp(offset, clock), last, up_ms
            return self._stamp
        return last

    def of(self, time_ms: int, up_ms: int) -> Stamp | None:
        """The stretch in which a reading of this moment was stamped: this one, the one before (the clock was set while
        the reading was under way), or None for a time that is not this machine's."""
        near = (one for one in (self._stamp, self._before) if one is not None)
        return next((one for one in near if abs(time_ms - up_ms - one.offset_ms) <= FAR_MS), None)

    def steady_ms(self, up_ms: int) -> int:
        """For how long the clock has not stepped, as far as this run has seen."""
        return up_ms - self._since_ms


def impossible(pack: Pack) -> bool:
    """Whether ingest would refuse times of this pack: it waits until they can be mended."""
    return any(not EARLIEST_MS <= reading.time_ms < LATEST_MS for reading in pack.readings)


def moved(payload: bytes, by_ms: int, clock: Clock, flag: Flag | None = None) -> bytes:
    """A pack as it is written, with all its readings later by ``by_ms``, and ``flag`` for those without one.

    Its first record has the time of all others, so that alone is changed; the rest is not even read as readings.
    """
    records: list[dict[str, Any]] = json.loads(payload)
    head = records[0]
    head["bt"] = (round(head["bt"] * 1000) + by_ms) / 1000
    head["made"] = (round(head["made"] * 1000) + by_ms) / 1000
    head["moved"] = (round(head.get("moved", 0) * 1000) + by_ms) / 1000
    head["clock"] = clock.value
    if flag is not None:
        for record in records:
            record.setdefault("q", int(flag))
    return json.dumps(records, separators=(",", ":"), ensure_ascii=False).encode()
