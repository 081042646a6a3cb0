"""The state machine of one alarm: one rule over one thing. Pure: what is seen of the thing carries its own time.

An alarm tells people something; no order can follow from it, for nothing here knows of orders. What is seen is
compared with the rule's two bounds: HIGH is at or beyond the one that raises, LOW at or beyond the one that clears,
BETWEEN neither (the dead band). It is DUE when it has lasted for as long, and by as many in a row, as the rule asks.

==============  ===========================  ==================================================================
in state        when                         then
==============  ===========================  ==================================================================
any             it is not newer              nothing (history)
NORMAL          HIGH                         PENDING; RAISED if DUE at once
PENDING         HIGH and DUE                 RAISED
PENDING         BETWEEN, LOW or a gap        NORMAL
RAISED          LOW                          CLEARING; NORMAL if DUE at once
CLEARING        LOW and DUE                  NORMAL
CLEARING        HIGH, BETWEEN or a gap       RAISED
==============  ===========================  ==================================================================

Data that comes late counts for what it was, but is never DUE: it neither raises nor clears. Data that does not come
moves nothing; the first after a gap only ends what was counting. A value that is a lower bound, as the rain over an
hour of which half was heard, can be HIGH and never LOW.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import NamedTuple

from keng_contracts.rules import Bounds


class Phase(StrEnum):
    """Where an alarm is."""

    NORMAL = "normal"
    PENDING = "pending"
    RAISED = "raised"
    CLEARING = "clearing"


class Event(Enum):
    """What can be seen of a thing."""

    HIGH = auto()
    HIGH_DUE = auto()
    BETWEEN = auto()
    LOW = auto()
    LOW_DUE = auto()
    GAP = auto()


class Change(StrEnum):
    """What became of an alarm."""

    RAISED = "raised"
    CLEARED = "cleared"


_NORMAL, _PENDING, _RAISED, _CLEARING = Phase.NORMAL, Phase.PENDING, Phase.RAISED, Phase.CLEARING
#: The table; what it does not name changes nothing.
TABLE: dict[tuple[Phase, Event], Phase] = {
    (_NORMAL, Event.HIGH): _PENDING,
    (_NORMAL, Event.HIGH_DUE): _RAISED,
    (_PENDING, Event.HIGH_DUE): _RAISED,
    (_PENDING, Event.BETWEEN): _NORMAL,
    (_PENDING, Event.LOW): _NORMAL,
    (_PENDING, Event.LOW_DUE): _NORMAL,
    (_PENDING, Event.GAP): _NORMAL,
    (_RAISED, Event.LOW): _CLEARING,
    (_RAISED, Event.LOW_DUE): _NORMAL,
    (_CLEARING, Event.LOW_DUE): _NORMAL,
    (_CLEARING, Event.HIGH): _RAISED,
    (_CLEARING, Event.HIGH_DUE): _RAISED,
    (_CLEARING, Event.BETWEEN): _RAISED,
    (_CLEARING, Event.GAP): _RAISED,
}
#: In these people have been told.
UP = frozenset({_RAISED, _CLEARING})


class Seen(NamedTuple):
    """What is seen of a thing: a value at a time (ms since 1970 UTC). ``fresh`` is False for what came late, ``whole``
    for a value that is only a lower bound."""

    time_ms: int
    value: float
    fresh: bool = True
    whole: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """All that an alarm remembers; it is kept on disk as it is. ``since_ms`` and ``count`` are of what is PENDING or
    CLEARING, ``raised_ms`` of the present or the last episode."""

    phase: Phase = Phase.NORMAL
    since_ms: int = 0
    count: int = 0
    last_ms: int = 0
    episode: int = 0
    raised_ms: int = 0


def step(state: State, seen: Seen, bounds: Bounds, gap_ms: float) -> tuple[State, Change | None]:
    """Take what is seen; the new state, and what became of the alarm. After ``gap_ms`` without a sight counts end.

    >>> rain = Bounds(above=True, raise_at=40, clear_at=20, raise_after_ms=0, raise_samples=2, clear_after_ms=600_000)
    >>> state = State()
    >>> for minute, mm in enumerate([38, 41, 42, 30, 19] + 10 * [18]):
    ...     state, change = step(state, Seen(1_763_323_200_000 + minute * 60_000, mm), rain, 1_800_000)
    ...     if change: print(minute, change)
    2 raised
    14 cleared
    """
    if seen.time_ms <= state.last_ms:
        return state, None
    phase, since_ms, count = state.phase, state.since_ms, state.count
    if state.last_ms and seen.time_ms - state.last_ms > gap_ms:
        phase = TABLE.get((phase, Event.GAP), phase)
    counting = {Event.HIGH: _PENDING, Event.LOW: _CLEARING}
    event = _compare(seen, bounds)
    if phase is not counting.get(event):
        since_ms, count = seen.time_ms, 0
    count += 1
    if event is not Event.BETWEEN and seen.fresh and _is_due(event, seen.time_ms - since_ms, count, bounds):
        event = Event.HIGH_DUE if event is Event.HIGH else Event.LOW_DUE
    after = TABLE.get((phase, event), phase)
    if after is _NORMAL or after is _RAISED:
        since_ms = count = 0
    change = None
    if (after in UP) is not (state.phase in UP):
        change = Change.RAISED if after in UP else Change.CLEARED
    begins = change is Change.RAISED
    raised_ms = seen.time_ms if begins else state.raised_ms
    return State(after, since_ms, count, seen.time_ms, state.episode + begins, raised_ms), change


def _compare(seen: Seen, bounds: Bounds) -> Event:
    sign = 1.0 if bounds.above else -1.0
    if sign * seen.value >= sign * bounds.raise_at:
        return Event.HIGH
    if seen.whole and sign * seen.value <= sign * bounds.clear_at:
        return Event.LOW
    return Event.BETWEEN


def _is_due(event: Event, lasted_ms: int, count: int, bounds: Bounds) -> bool:
    if event is Event.HIGH:
        return count >= bounds.raise_samples and lasted_ms >= bounds.raise_after_ms
    return lasted_ms >= bounds.clear_after_ms
