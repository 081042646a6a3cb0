"""The hazard state machine of one gauge. Pure: it is driven by samples, and the samples' own time is its only clock.

The state is the level in force, 0 (normal) to 4. The whole law:

=====================  =========================================================  ==========================
in state               when                                                       then
=====================  =========================================================  ==========================
any                    a sample is not newer than the last one                    nothing (history)
any                    the last sample is longer ago than ``raise_window_s``      all counts start again
level L                level M > L is confirmed: ``raise_samples`` samples in a    RAISED to the highest such M
                       row at or above its threshold, or two or more of them
                       that span ``raise_pair_span_s``
level L > 0            every sample for ``clear_after_s`` was below the           LOWERED to L − 1
                       threshold of L less ``dead_band``
=====================  =========================================================  ==========================

Only good samples may be given: a suspect, bad or missing one neither counts nor breaks a count. A gap freezes the
level: nothing is ever lowered on the strength of data that did not come. Lowering goes one level at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from keng_contracts.registry import HazardRule


class Change(StrEnum):
    """What a sample did to the level."""

    RAISED = "raised"
    LOWERED = "lowered"


@dataclass(frozen=True, slots=True)
class Run:
    """Samples in a row at or above one threshold."""

    count: int
    first_ms: int


@dataclass(frozen=True, slots=True)
class State:
    """All that the machine remembers of a gauge; it is kept on disk as it is, so that a restart loses no count."""

    level: int = 0
    episode: int = 0
    peak_level: int = 0
    last_ms: int = 0
    rising: Mapping[int, Run] = field(default_factory=dict)
    falling_since_ms: int | None = None


class Transition(NamedTuple):
    """A change of level, by the sample that brought it about."""

    change: Change
    before: int
    after: int
    time_ms: int
    value: float


def step(
    state: State, time_ms: int, value: float, thresholds: Mapping[int, float], rule: HazardRule
) -> tuple[State, Transition | None]:
    """Take one good sample; return the new state and the change. ``thresholds`` are by level, in ``value``'s unit.

    >>> rule = HazardRule(sensor="phu-oc/level", raise_samples=3)
    >>> state = State()
    >>> for minute, level in enumerate([4.41, 4.52, 4.55, 4.57]):
    ...     state, change = step(state, 1_763_323_200_000 + minute * 60_000, level, {1: 1.5, 2: 3.0, 3: 4.5}, rule)
    ...     if change: print(minute, change.change, change.after)
    2 raised 2
    3 raised 3
    """
    if time_ms <= state.last_ms:
        return state, None
    if state.last_ms and time_ms - state.last_ms > rule.raise_window_s * 1000:
        state = replace(state, rising={}, falling_since_ms=None)

    rising: dict[int, Run] = {}
    for level, threshold in thresholds.items():
        if level > state.level and value >= threshold:
            run = state.rising.get(level, Run(count=0, first_ms=time_ms))
            rising[level] = Run(count=run.count + 1, first_ms=run.first_ms)
    confirmed = [level for level, run in rising.items() if _confirmed(run, time_ms, rule)]
    if confirmed:
        level = max(confirmed)
        begins = state.level == 0
        after = State(
            level=level,
            episode=state.episode + begins,
            peak_level=level if begins else max(level, state.peak_level),
            last_ms=time_ms,
            rising={above: run for above, run in rising.items() if above > level},
        )
        return after, Transition(Change.RAISED, state.level, level, time_ms, value)

    falling = _falling(state, time_ms, value, thresholds, rule)
    if falling is not None and time_ms - falling >= rule.clear_after_s * 1000:
        lower = max((level for level in thresholds if level < state.level), default=0)
        after = replace(
            state,
            level=lower,
            last_ms=time_ms,
            rising={},
            falling_since_ms=time_ms if lower and value < thresholds[lower] - rule.dead_band else None,
        )
        return after, Transition(Change.LOWERED, state.level, lower, time_ms, value)
    return State(state.level, state.episode, state.peak_level, time_ms, rising, falling), None


def _confirmed(run: Run, time_ms: int, rule: HazardRule) -> bool:
    if run.count >= rule.raise_samples:
        return True
    return run.count >= 2 and time_ms - run.first_ms >= rule.raise_pair_span_s * 1000


def _falling(state: State, time_ms: int, value: float, thresholds: Mapping[int, float], rule: HazardRule) -> int | None:
    """Since when the level in force has been undercut without a break; None if it is not."""
    if state.level == 0 or state.level not in thresholds:
        return None
    if value >= thresholds[state.level] - rule.dead_band:
        return None
    return time_ms if state.falling_since_ms is None else state.falling_since_ms
