"""Rain totals from a counter that only grows: a tipping bucket's, or an instrument's running sum.

Counters fall in two ways, and only two: they *wrap* at the end of their register (65536 counts), or they are *reset*
to nought by a restart of the instrument. What the counter gained between two samples is then

- ``value - before`` if it did not fall;
- ``value + wrap - before`` if it wraps and so much rain could have fallen in the time (``max_mm_per_h``);
- ``value`` after a reset, if so much could have fallen: what fell before the restart was not counted by anyone;
- unknown otherwise: nothing is added, and totals over that time are suspect.

A gain between two samples is spread evenly over the time between them. If that is longer than ``reach_ms`` the gain is
unknown too. A total is suspect as well where a gain was faster than ``max_mm_per_h``, rests on a suspect sample, or
where the counter was not heard at the beginning of the window.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from keng_contracts.telemetry import Flag
from keng_signals.samples import Sample, flag_of, usable

#: Sums are made in whole millionths of a millimetre: adding and taking away then leaves no trace of where one began.
_PER_MM = 1_000_000
_HOUR_MS = 3_600_000
#: A kilometre of rain between two counts: nothing that a sum should carry.
_NONSENSE_MM = 1e6


class Counter(NamedTuple):
    """A rain counter: what one count is in mm, where it wraps (in counts; 0: never), and the heaviest credible rain."""

    mm_per_count: float = 1.0
    wrap: float = 0.0
    max_mm_per_h: float = 500.0


def gain(before: float, value: float, elapsed_ms: int, counter: Counter) -> float | None:
    """Rain in mm between two counts; None where it can't be known.

    >>> tips = Counter(mm_per_count=0.2, wrap=65536)
    >>> [gain(b, v, 600_000, tips) for b, v in ((10, 13), (65534, 3), (500, 2), (500, 499))]
    [0.6000000000000001, 1.0, 0.4, None]
    """
    most = credible(elapsed_ms, counter)
    if value >= before:
        rise = (value - before) * counter.mm_per_count
        return rise if rise < _NONSENSE_MM else None
    wrapped = (value + counter.wrap - before) * counter.mm_per_count
    if counter.wrap and 0 <= wrapped <= most:
        return wrapped
    since = value * counter.mm_per_count
    return since if 0 <= since <= most else None


def credible(elapsed_ms: int, counter: Counter) -> float:
    """The most rain in mm that may have fallen in a time; one count is always possible."""
    return counter.max_mm_per_h * elapsed_ms / _HOUR_MS + counter.mm_per_count


def totals(
    counts: Sequence[Sample], counter: Counter, window_ms: int, reach_ms: int, start_ms: int, end_ms: int
) -> list[Sample]:
    """Rain in mm over the ``window_ms`` that end at each count between ``start_ms`` and ``end_ms``, both included.

    A total rests on the counts of the ``window_ms + reach_ms`` before it: given those, it is the same whatever lies
    further back.
    """
    kept = usable(counts)
    if not kept:
        return []
    times = [sample.time_ms for sample in kept]
    # At each count: all rain so far, in whole units, and how many of the steps so far were in doubt.
    fallen, doubts = [0], [0]
    for before, sample in pairwise(kept):
        elapsed = sample.time_ms - before.time_ms
        mm = gain(before.value, sample.value, elapsed, counter) if elapsed <= reach_ms else None
        doubt = mm is None or mm > credible(elapsed, counter) or Flag.SUSPECT in (before.flag, sample.flag)
        fallen.append(fallen[-1] + round((mm or 0.0) * _PER_MM))
        doubts.append(doubts[-1] + doubt)

    made = []
    for end in range(bisect_left(times, start_ms), bisect_right(times, end_ms)):
        begin_ms = times[end] - window_ms
        first = bisect_right(times, begin_ms) - 1  # the count at the beginning of the window, or the last one before
        if first < 0:
            made.append(Sample(times[end], fallen[end] / _PER_MM, flag_of(True)))
            continue
        before_it = fallen[first]
        if first < end:
            part = (begin_ms - times[first]) / (times[first + 1] - times[first])
            before_it += round((fallen[first + 1] - fallen[first]) * part)
        made.append(Sample(times[end], (fallen[end] - before_it) / _PER_MM, flag_of(doubts[end] > doubts[first])))
    return made
