"""The data state machine of one gauge: whether what is known of it is fresh. Pure; driven by samples and by ticks.

It never touches the hazard: a gauge that falls silent stays at its level. The age is that of the newest good sample, by
the sample's own time, in intervals of the sensor.

==================  =====================================================================  =======================
in state            when                                                                   then
==================  =====================================================================  =======================
any                 a good sample that is less than 3 intervals old                        OK
OK                  3 samples in a row that are not good                                   SUSPECT
OK, SUSPECT         the newest good sample is 3 intervals old                              STALE
OK, SUSPECT, STALE  it is 6 intervals old                                                  DEAD
any                 anything else, late data and samples that are not good among it        as before
==================  =====================================================================  =======================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from keng_contracts.alerts import DataState

STALE_AFTER, DEAD_AFTER = 3, 6
#: Samples in a row that are not good before the gauge as a whole is doubted: one lone outlier says nothing of it.
DOUBTED_AFTER = 3


class Event(Enum):
    """What can happen to a gauge's data."""

    FRESH = auto()
    DOUBTED = auto()
    OLD = auto()
    VERY_OLD = auto()


_OK, _SUSPECT, _STALE, _DEAD = DataState.OK, DataState.SUSPECT, DataState.STALE, DataState.DEAD
#: The table; what it does not name changes nothing.
TABLE: dict[tuple[DataState, Event], DataState] = {
    (_SUSPECT, Event.FRESH): _OK,
    (_STALE, Event.FRESH): _OK,
    (_DEAD, Event.FRESH): _OK,
    (_OK, Event.DOUBTED): _SUSPECT,
    (_OK, Event.OLD): _STALE,
    (_SUSPECT, Event.OLD): _STALE,
    (_OK, Event.VERY_OLD): _DEAD,
    (_SUSPECT, Event.VERY_OLD): _DEAD,
    (_STALE, Event.VERY_OLD): _DEAD,
}


@dataclass(frozen=True, slots=True)
class Data:
    """What is remembered: the state and since when, the newest good sample (ms since 1970 UTC, 0: none yet), and how
    many since then in a row were not good."""

    state: DataState = DataState.OK
    since_ms: int = 0
    good_ms: int = 0
    doubted: int = 0


def sample(data: Data, time_ms: int, good: bool, now_ms: int, interval_s: float) -> Data:
    """Take a sample that is heard now."""
    if not good:
        data = replace(data, doubted=data.doubted + 1)
        return _move(data, Event.DOUBTED, now_ms) if data.doubted >= DOUBTED_AFTER else data
    if time_ms <= data.good_ms:
        return data
    data = replace(data, good_ms=time_ms, doubted=0)
    return data if now_ms - time_ms >= STALE_AFTER * interval_s * 1000 else _move(data, Event.FRESH, now_ms)


def tick(data: Data, now_ms: int, interval_s: float, listening_ms: int = 0) -> Data:
    """Let time pass. What was measured while nobody listened may still be on its way, so that the age counts from
    ``listening_ms`` at the earliest.

    >>> data = sample(Data(), 1_763_323_200_000, True, 1_763_323_200_000, 60)
    >>> [tick(data, 1_763_323_200_000 + minutes * 60_000, 60).state.value for minutes in (2, 3, 6)]
    ['ok', 'stale', 'dead']
    """
    intervals = (now_ms - max(data.good_ms, listening_ms)) / (interval_s * 1000)
    if not data.good_ms or intervals < STALE_AFTER:
        return data
    return _move(data, Event.VERY_OLD if intervals >= DEAD_AFTER else Event.OLD, now_ms)


def _move(data: Data, event: Event, now_ms: int) -> Data:
    after = TABLE.get((data.state, event), data.state)
    return data if after is data.state else replace(data, state=after, since_ms=now_ms)
