"""Derived series in the store: after a batch is written, the points that it touches are made anew from what is stored.

It happens before the batch is acknowledged. A crash in between brings the batch again, and with it the same points.
Replicas that share a subscription each write a part of a series, so one may make a point without a reading that the
other is just writing. So every batch makes the points of the last two minutes before it anew as well.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Sequence

from keng_contracts.telemetry import Flag
from keng_signals.derived import Plan, Task, compute, touched
from keng_signals.samples import Sample
from keng_store.protocol import Row, Store
from keng_store.writing import write_all

log = logging.getLogger(__name__)

#: How far back from its readings a batch makes points anew, in ms: what another replica had in hand is written by then.
MEND_MS = 120_000


def derive(store: Store, plan: Plan, rows: Iterable[Row]) -> int:
    """Make anew what ``rows``, which the store has, touch; returns how many points were written.

    Raises StoreUnavailable: the whole batch may then be tried again.
    """
    points: list[Row] = []
    for task in touched(plan, ((row.series, row.time_ms) for row in rows)):
        points += _changed(store, task._replace(start_ms=task.start_ms - MEND_MS))
    return _write(store, points)


def fill(store: Store, task: Task) -> int:
    """Make the points of a task that aren't there, whoever else is writing; returns how many. Those that are stay."""
    there = {row.time_ms for row in store.range(task.rule.series, task.start_ms, task.end_ms + 1)}
    return _settle(store, task, there)


def remake(store: Store, task: Task) -> int:
    """Make the points of a task anew, whoever else is writing; returns how many were other before or not there."""
    return _settle(store, task, frozenset())


def _settle(store: Store, task: Task, but: Container[int]) -> int:
    """A reading that comes late between our reading and our writing makes its points anew, and ours are of before: so
    again until nothing changes."""
    written = 0
    while points := [row for row in _changed(store, task) if row.time_ms not in but]:
        taken = _write(store, points)
        written += taken
        if taken < len(points):
            break
    return written


def _write(store: Store, points: Sequence[Row]) -> int:
    refused = write_all(store, points)
    if refused:
        row, why = refused[0]
        log.error(
            "%s at %d: the store refuses the derived value %r%s: %s",
            row.series,
            row.time_ms,
            row.value,
            f" (and {len(refused) - 1} more)" if len(refused) > 1 else "",
            why,
        )
    return len(points) - len(refused)


def _changed(store: Store, task: Task) -> list[Row]:
    """The points of a task that aren't stored so already, and as missing those that its inputs no longer bear out."""
    inputs = {
        name: [Sample(*row[1:]) for row in store.range(series, task.read_from_ms, task.read_to_ms + 1)]
        for name, series in task.rule.inputs.items()
    }
    made = [Row(task.rule.series, *sample) for sample in compute(task, inputs)]
    times = {row.time_ms for row in made}
    stored = set(store.range(task.rule.series, task.start_ms, task.end_ms + 1))
    gone = [row._replace(flag=Flag.MISSING) for row in stored if row.time_ms not in times]
    return [row for row in made + gone if row not in stored]
