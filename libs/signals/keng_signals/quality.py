"""Streaming quality control of one series, after QARTOD. Pure: the memory of a series and the time are arguments.

The tests, in the order in which they are made; the first that finds something names the verdict:

=============  ==========================================================================  ============
test           what it finds                                                               flag
=============  ==========================================================================  ============
sentinel       the instrument's own word for "no value"                                    MISSING (9)
syntax         a value that is no finite number                                            BAD (4)
time           an impossible date: before 2020, or ahead of the judge's clock              BAD (4)
range          a value that the instrument can't physically mean (gross range)             BAD (4)
edge           what the edge itself found wrong stays wrong                                the edge's
stuck-clock    a third and further value for one and the same time                         SUSPECT (3)
duplicate      a second value for a time that already has one                              SUSPECT (3)
suspect-range  a value that is possible, but odd at this place                             SUSPECT (3)
rate           a change since the last believed value that is faster than the site's       SUSPECT (3)
               fastest; held until fresh readings agree with it
spike          a value far from the median of the last five, itself among them             SUSPECT (3)
flat           a value that has stood still for too long                                   SUSPECT (3)
gap            the first reading after a gap: a fact about the series, no fault in it      GOOD (1)
=============  ==========================================================================  ============

The flags and the tests are QARTOD's (IOOS, Manual for Real-Time Quality Control of Water Level Data). Where it judges
a value by the one *after* it, a stream can't, for the siren doesn't wait:

- *Spike*: QARTOD compares a value with the mean of its two neighbours. Here it is compared with the median of five,
  it and the four before it, so a lone outlier is found at once and never makes its neighbours look wrong, and a step
  that lasts is believed with its third reading. A river that rises is ahead of its median, so where the site's rate is
  known, the rise that it allows since the middle of the five is allowed for. Gaps are tolerated: only what is five
  gaps old is left out. Fewer than three readings, as at a start, are not judged. A reading that comes late, between
  two that are remembered, is judged in QARTOD's form (:func:`is_spike`).
- *Rate*: QARTOD measures from the value before. Here it is measured from the last value that was *believed*, so the
  way back from an outlier isn't found wrong, and what lies beyond the limit is held: it is suspect until ``confirm``
  fresh readings, each within the limit of the one before it, have followed. Nothing is rejected outright. The longer a
  value is held, the more change the limit allows, so no series stays held for ever.
- *Doubt*: an echo off a parked car jumps as no water does, and jumps back. Where ``doubt`` is given, a series that has
  jumped in the last week is held for longer when it jumps again: for the time that the site's fastest rise would have
  taken, once for each jump before, up to ``doubt`` times and six hours. A sensor that never jumped is believed as
  quickly as ever, and so is what the time since the last believed reading explains.
- A distance to the water that a ``water-level`` is made of has a rate and a doubt also where the registry gives
  none: see :mod:`keng_signals.limits`. By these its first jump in a week is noted and not held.
- *Flat line* makes nothing but suspect, and only where the registry asks for it: 29 % of consecutive readings of a
  real gauge are equal, and the crest of a flood is flat.

Raw values are never altered; the flag travels beside them. A sensor that the registry does not know is NOT_EVALUATED.
A reading that is heard again, as QoS 1 allows, gets the verdict that it had, while it is among the last five.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from keng_contracts.telemetry import EARLIEST_MS, Flag, Reading
from keng_signals.limits import Limits as Limits
from keng_signals.limits import limits_of as limits_of

#: How far ahead of the judge's clock a time of measurement may lie: clocks of a commune differ by seconds, not minutes.
FUTURE_MS = 120_000
#: Readings that a series remembers: the median of five is the shortest that a pair of outliers doesn't move.
REMEMBERED = 5
#: Jumps are remembered for so long after the last of them, and the longest doubt.
JUMPS_MS, LONGEST_DOUBT_MS = 7 * 86_400_000, 6 * 3_600_000
#: Fewest readings by which a spike is judged.
_FEWEST = 3
# Looking a member up in its enumeration costs as much as a test: these are taken once.
_MISSING, _BAD, _SUSPECT, _NOT_EVALUATED = Flag.MISSING, Flag.BAD, Flag.SUSPECT, Flag.NOT_EVALUATED

#: From best to worst; the worse of two flags wins.
_ORDER = {Flag.GOOD: 0, Flag.NOT_EVALUATED: 1, Flag.SUSPECT: 2, Flag.BAD: 3, Flag.MISSING: 4}


class Verdict(NamedTuple):
    """A flag and the test that gave it (empty when nothing was found)."""

    flag: Flag
    test: str = ""


_GOOD = Verdict(Flag.GOOD)
_SENTINEL = Verdict(Flag.MISSING, "sentinel")
_SYNTAX = Verdict(Flag.BAD, "syntax")
_TIME = Verdict(Flag.BAD, "time")
_RANGE = Verdict(Flag.BAD, "range")
_EDGE = {flag: Verdict(flag, "edge") for flag in (Flag.SUSPECT, Flag.BAD)}
_STUCK = Verdict(Flag.SUSPECT, "stuck-clock")
_DUPLICATE = Verdict(Flag.SUSPECT, "duplicate")
_ODD = Verdict(Flag.SUSPECT, "suspect-range")
_RATE = Verdict(Flag.SUSPECT, "rate")
_SPIKE = Verdict(Flag.SUSPECT, "spike")
_FLAT = Verdict(Flag.SUSPECT, "flat")
_GAP = Verdict(Flag.GOOD, "gap")

#: Every verdict that the tests give, by the name of the test and the flag.
VERDICTS = {
    (verdict.test, int(verdict.flag)): verdict
    for verdict in (
        *(_GOOD, _SENTINEL, _SYNTAX, _TIME, _RANGE, *_EDGE.values(), _STUCK, _DUPLICATE),
        *(_ODD, _RATE, _SPIKE, _FLAT, _GAP),
    )
}


class Last(NamedTuple):
    """The newest reading of a series that was judged before: what a duplicate is seen by, where no window is kept."""

    time_ms: int
    value: float


@dataclass(slots=True)
class Window:
    """All that the tests remember of one series: at most five readings and a few numbers. Changed by :func:`judge`.

    ``times``, ``values`` and ``verdicts`` are the last readings that lie in the gross range, in rising order of time.
    ``believed`` is the last one that the rate did not hold, ``held`` how many in a row it has held since.
    ``flat_since`` is when the present standstill began, ``flat_low`` to ``flat_high`` its spread. ``stuck`` counts the
    different values that came for the newest time. ``held_ms`` is when what is held began, ``jumps`` how many there
    were until ``jumped_ms``, each at most :data:`JUMPS_MS` after the one before.
    """

    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    believed_ms: int = 0
    believed: float | None = None
    held: int = 0
    flat_since: int = 0
    flat_low: float = 0.0
    flat_high: float = 0.0
    stuck: int = 0
    held_ms: int = 0
    jumps: int = 0
    jumped_ms: int = 0

    def dump(self) -> list[Any]:
        """The window as JSON can hold it. ``Window.load(window.dump()) == window``."""
        verdicts = [[v.test, int(v.flag)] for v in self.verdicts]
        rest = [self.believed_ms, self.believed, self.held, self.flat_since, self.flat_low, self.flat_high, self.stuck]
        return [self.times.copy(), self.values.copy(), verdicts, *rest, self.held_ms, self.jumps, self.jumped_ms]

    @classmethod
    def load(cls, dumped: Any) -> Window:
        """The window that :meth:`dump` gave; an empty one for anything else, as an older version may have left it."""
        try:
            times, values, verdicts, *rest = dumped
            believed_ms, believed, held, flat_since, flat_low, flat_high, stuck, *jumps = rest
            held_ms, count, jumped_ms = jumps or (0, 0, 0)
            if not len(times) == len(values) == len(verdicts) <= REMEMBERED:
                return cls()
            return cls(
                [int(t) for t in times],
                [float(v) for v in values],
                [VERDICTS[test, flag] for test, flag in verdicts],
                int(believed_ms),
                None if believed is None else float(believed),
                int(held),
                int(flat_since),
                float(flat_low),
                float(flat_high),
                int(stuck),
                int(held_ms),
                int(count),
                int(jumped_ms),
            )
        except (TypeError, ValueError, KeyError, OverflowError):
            return cls()


def judge(reading: Reading, limits: Limits | None, window: Window, now_ms: int) -> Verdict:
    """Judge one reading by all tests and remember it in ``window``, which is the one of its series.

    Readings of a series are given in the order in which they come; ``now_ms`` is the judge's clock. Without ``limits``
    nothing is judged or remembered. Costs about a microsecond.

    >>> gauge, window = Limits(-2.0, 12.0, spike=0.3), Window()
    >>> [judge(Reading("a/b/level", 1_763_258_400_000 + i * 60_000, v, "m"), gauge, window, 1_763_262_000_000).test
    ...  for i, v in enumerate([1.65, 1.65, 1.66, 4.1, 1.66])]
    ['', '', '', 'spike', '']
    """
    if limits is None:
        return Verdict(reading.flag)
    _, time_ms, value, _, flag = reading
    if not (
        limits.plain_low <= value <= limits.plain_high
        and EARLIEST_MS <= time_ms <= now_ms + FUTURE_MS
        and flag is _NOT_EVALUATED
    ):
        found = _alone(time_ms, value, flag, limits, now_ms)
        if found is not None:
            return found
    times, values = window.times, window.values
    if times:
        newest_ms = times[-1]
        if time_ms <= newest_ms:
            return _not_newer(time_ms, value, flag, limits, window)
        gap = time_ms - newest_ms > limits.gap_ms
        if gap:
            _forget(time_ms - REMEMBERED * limits.gap_ms, window)
        if len(times) == REMEMBERED:
            del times[0], values[0], window.verdicts[0]
    else:
        gap = False
    before = values[-1] if values else None
    times.append(time_ms)
    values.append(value)
    if window.stuck:
        window.stuck = 0

    verdict = _GAP if gap else _GOOD
    if limits.flat_ms is not None and _is_flat(time_ms, value, None if gap else before, limits, window):
        verdict = _FLAT
    if limits.spike is not None and len(values) >= _FEWEST:
        real = 0.0 if limits.rate_per_ms is None else limits.rate_per_ms * (time_ms - times[len(times) // 2])
        if abs(value - _median(values)) > limits.spike + real:
            verdict = _SPIKE
    if limits.rate_per_ms is not None and _is_held(time_ms, value, before, limits, window):
        verdict = _RATE
    if _is_odd(value, limits):
        verdict = _ODD
    if flag is _SUSPECT:
        verdict = _EDGE[flag]
    window.verdicts.append(verdict)
    return verdict


def assess(reading: Reading, limits: Limits | None, last: Last | None, now_ms: int) -> Verdict:
    """Judge one reading by what it says alone, where no window is kept: no spike, rate, flat line or gap.

    ``last`` is the newest reading of its series before it, None for the first.

    >>> level = Limits(-2.0, 12.0, (-9999.0,))
    >>> assess(Reading("a/b/level", 1_763_258_400_000, 1.65, "m"), level, None, 1_763_258_400_000).flag.name
    'GOOD'
    >>> assess(Reading("a/b/level", 1_763_258_400_000, -9999.0, "m"), level, None, 1_763_258_400_000)
    Verdict(flag=<Flag.MISSING: 9>, test='sentinel')
    """
    if limits is None:
        return Verdict(reading.flag)
    found = _alone(reading.time_ms, reading.value, reading.flag, limits, now_ms)
    if found is not None:
        return found
    if reading.flag is _SUSPECT:
        return _EDGE[reading.flag]
    if last is not None and reading.time_ms == last.time_ms and reading.value != last.value:
        return _DUPLICATE
    return _ODD if _is_odd(reading.value, limits) else _GOOD


def worse(one: Flag, other: Flag) -> Flag:
    """The worse of two flags."""
    return max(one, other, key=_ORDER.__getitem__)


def is_spike(before: float, value: float, after: float, limit: float) -> bool:
    """QARTOD's spike test: whether a value differs from the mean of its neighbours by more than ``limit``."""
    return abs(value - (before / 2 + after / 2)) > limit


def _alone(time_ms: int, value: float, flag: Flag, limits: Limits, now_ms: int) -> Verdict | None:
    """What makes a reading bad or missing by itself; None if nothing does."""
    if flag is _MISSING:
        return _SENTINEL
    for sentinel in limits.sentinels:
        if -1e-6 < value - sentinel < 1e-6:
            return _SENTINEL
    if value - value != 0.0:
        return _SYNTAX
    if time_ms > now_ms + FUTURE_MS or time_ms < EARLIEST_MS:
        return _TIME
    if (limits.low is not None and value < limits.low) or (limits.high is not None and value > limits.high):
        return _RANGE
    return _EDGE[flag] if flag is _BAD else None


def _not_newer(time_ms: int, value: float, flag: Flag, limits: Limits, window: Window) -> Verdict:
    """A reading for a time that is not after the newest: heard again, from a clock that stands, or late."""
    times, values = window.times, window.values
    place = bisect_left(times, time_ms)
    if times[place] == time_ms:
        if values[place] == value:
            return window.verdicts[place]
        if place == len(times) - 1:
            window.stuck += 1
            return _STUCK if window.stuck > 1 else _DUPLICATE
        return _DUPLICATE
    if flag is _SUSPECT:
        return _EDGE[flag]
    if _is_odd(value, limits):
        return _ODD
    if limits.spike is not None and place and is_spike(values[place - 1], value, values[place], limits.spike):
        return _SPIKE
    return _GOOD


def _forget(before_ms: float, window: Window) -> None:
    """Let go of what was measured before a time: it says nothing of what is normal now."""
    stale = bisect_left(window.times, before_ms)
    del window.times[:stale], window.values[:stale], window.verdicts[:stale]


def _is_odd(value: float, limits: Limits) -> bool:
    return (limits.odd_low is not None and value < limits.odd_low) or (
        limits.odd_high is not None and value > limits.odd_high
    )


def _median(values: Sequence[float]) -> float:
    """The lower median: of an even number the lower of the two in the middle, so that it is always a measured value."""
    return sorted(values)[(len(values) - 1) // 2]


def _is_held(time_ms: int, value: float, before: float | None, limits: Limits, window: Window) -> bool:
    """The rate test and its hold; ``before`` is the reading before this one, None if none is remembered."""
    rate, noise = limits.rate_per_ms, limits.noise
    assert rate is not None
    if window.believed is not None:
        away = abs(value - window.believed)
        agrees = (
            window.held > 0
            and before is not None
            and abs(value - before) <= noise + rate * (time_ms - window.times[-2])
        )
        # The first reading of a jump says how fast it was: more time makes it no slower.
        since_ms = window.held_ms if agrees and limits.doubt else time_ms
        if away > noise + rate * (since_ms - window.believed_ms):
            window.held = window.held + 1 if agrees else 1
            window.held_ms = since_ms
            known = min(window.jumps, limits.doubt) if time_ms - window.jumped_ms < JUMPS_MS else 0.0
            doubt_ms = min(known * (away - noise) / rate, LONGEST_DOUBT_MS)
            if window.held <= limits.confirm or time_ms - since_ms < doubt_ms:
                return known > 0 or not limits.trusting
    if window.held:
        window.jumps = 1 + (window.jumps if time_ms - window.jumped_ms < JUMPS_MS else 0)
        window.jumped_ms = time_ms
    window.held = window.held_ms = 0
    window.believed_ms, window.believed = time_ms, value
    return False


def _is_flat(time_ms: int, value: float, before: float | None, limits: Limits, window: Window) -> bool:
    """The flat line test: whether all readings since ``flat_ms`` ago lie within the tolerance of each other; ``before``
    is the reading before this one, None after a gap."""
    low, high = min(window.flat_low, value), max(window.flat_high, value)
    if before is None or high - low > limits.flat_tolerance + 1e-9:  # 1.62 - 1.60 is a little more than 0.02
        window.flat_since, window.flat_low, window.flat_high = time_ms, value, value
        return False
    window.flat_low, window.flat_high = low, high
    assert limits.flat_ms is not None
    return time_ms - window.flat_since >= limits.flat_ms
