"""The life of an alert: how far people have come with it. Pure; time is an argument.

==============================  ===================================================================  ==============
in stage                        when                                                                 then
==============================  ===================================================================  ==============
none, cleared, closed           a level is raised                                                    RAISED
acknowledged                    a higher level is raised: who has seen the lower one has not         RAISED
                                seen this
raised, escalated               a person acknowledges it                                             ACKNOWLEDGED
raised                          nobody has for ``escalate_after_s``                                  ESCALATED
escalated                       nobody has for as long again, ``escalations`` times in all           ESCALATED
raised, acknowledged,           the hazard is over                                                   CLEARED
escalated
cleared                         a person acknowledges it, or ``close_after_s`` have passed           CLOSED
==============================  ===================================================================  ==============

What is not named changes nothing: a higher level leaves an escalated alert escalated. Nothing here moves the hazard.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from keng_contracts.alerts import Acknowledgement, Stage
from keng_contracts.registry import ResponseRule


class Event(Enum):
    """What can happen to an alert."""

    RAISED = auto()
    ACKNOWLEDGED = auto()
    OVERDUE = auto()
    CLEARED = auto()
    SETTLED = auto()


_RAISED, _ACKNOWLEDGED, _ESCALATED = Stage.RAISED, Stage.ACKNOWLEDGED, Stage.ESCALATED
_CLEARED, _CLOSED = Stage.CLEARED, Stage.CLOSED
#: The table; what it does not name changes nothing.
TABLE: dict[tuple[Stage | None, Event], Stage] = {
    (None, Event.RAISED): _RAISED,
    (_CLEARED, Event.RAISED): _RAISED,
    (_CLOSED, Event.RAISED): _RAISED,
    (_ACKNOWLEDGED, Event.RAISED): _RAISED,
    (_RAISED, Event.ACKNOWLEDGED): _ACKNOWLEDGED,
    (_ESCALATED, Event.ACKNOWLEDGED): _ACKNOWLEDGED,
    (_CLEARED, Event.ACKNOWLEDGED): _CLOSED,
    (_RAISED, Event.OVERDUE): _ESCALATED,
    (_ESCALATED, Event.OVERDUE): _ESCALATED,
    (_RAISED, Event.CLEARED): _CLEARED,
    (_ACKNOWLEDGED, Event.CLEARED): _CLEARED,
    (_ESCALATED, Event.CLEARED): _CLEARED,
    (_CLEARED, Event.SETTLED): _CLOSED,
}


@dataclass(frozen=True, slots=True)
class Life:
    """The stage and since when; ``told_ms`` is when people were last told of it, by the raise or by an escalation."""

    stage: Stage | None = None
    since_ms: int = 0
    told_ms: int = 0
    escalations: int = 0
    acknowledged: Acknowledgement | None = None


def raised(life: Life, now_ms: int) -> Life:
    """A level was raised; for a new flood give a fresh :class:`Life`."""
    after = _move(life, Event.RAISED, now_ms)
    return life if after is life else replace(after, told_ms=now_ms, escalations=0, acknowledged=None)


def acknowledge(life: Life, by: str, note: str, now_ms: int) -> Life | None:
    """A person has seen it; None where there is nothing to acknowledge."""
    after = _move(life, Event.ACKNOWLEDGED, now_ms)
    return None if after is life else replace(after, acknowledged=Acknowledgement(by=by, at_ms=now_ms, note=note))


def cleared(life: Life, now_ms: int) -> Life:
    """The hazard is over."""
    return _move(life, Event.CLEARED, now_ms)


def tick(life: Life, now_ms: int, rule: ResponseRule) -> Life:
    """Let time pass; the same object if nothing was due.

    >>> rule = ResponseRule(sensor="phu-oc/level", escalate_after_s=600, escalations=2)
    >>> life, seen = raised(Life(), 0), []
    >>> for minute in range(60):
    ...     after = tick(life, minute * 60_000, rule)
    ...     if after is not life: life = after; seen.append((minute, life.stage.value, life.escalations))
    >>> seen
    [(10, 'escalated', 1), (20, 'escalated', 2)]
    """
    if life.stage is _CLEARED and now_ms - life.since_ms >= rule.close_after_s * 1000:
        return _move(life, Event.SETTLED, now_ms)
    waits = life.stage in (_RAISED, _ESCALATED) and life.escalations < rule.escalations
    if waits and now_ms - life.told_ms >= rule.escalate_after_s * 1000:
        return replace(_move(life, Event.OVERDUE, now_ms), told_ms=now_ms, escalations=life.escalations + 1)
    return life


def _move(life: Life, event: Event, now_ms: int) -> Life:
    after = TABLE.get((life.stage, event), life.stage)
    return life if after is life.stage else replace(life, stage=after, since_ms=now_ms)
