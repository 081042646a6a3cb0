"""The past of derived series: what the registry has newly described is made of the readings that are stored already.

A day at a time, from now back to the oldest reading of its inputs, beside the taking of telemetry. Only points that are
not there are made: of those that are, nobody can tell whether a parameter was wrong then or has changed since, as the
datum of a gauge that was moved (``keng ingest derive`` is for who knows). How far it got lies in a file, by series;
without it everything is looked through again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from keng_contracts.derived import SPECS
from keng_ingest import derive
from keng_runtime.files import write_atomically
from keng_signals.derived import Plan, Rule, Task
from keng_store.protocol import Span, Store

log = logging.getLogger(__name__)

DAY_MS = 86_400_000


class Past:
    """Makes the past of the series that a plan describes in ``store``; ``path`` is the file of how far it got."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._plan: Plan | None = None
        self._left: list[Task] = []  # the next is the last
        #: By series: which rule, and from when on its points are made (0: all).
        self._made: dict[str, tuple[str, int]] = {}
        try:
            held = json.loads(path.read_bytes())
            self._made = {str(series): (str(rule), int(since)) for series, (rule, since) in held.items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s can't be read (%s): the past of derived series is looked through again", path, error)

    def step(self, plan: Plan, now_ms: int) -> int | None:
        """Make a day of one series. How many points were missing; None if there is nothing more to do. Raises
        StoreUnavailable: the day is then done again."""
        if plan != self._plan:
            self._left = self._open(plan, now_ms)
            self._plan = plan
        if not self._left:
            return None
        rule, start_ms, end_ms = self._left[-1]
        first_ms = max(start_ms, end_ms - DAY_MS + 1)
        points = derive.fill(self._store, Task(rule, first_ms, end_ms))
        if first_ms > start_ms:
            self._left[-1] = Task(rule, start_ms, first_ms - 1)
        else:
            self._left.pop()
            log.info("%s: its past is made as far back as its inputs are stored", rule.series)
        self._made[rule.series] = _name(rule), first_ms if first_ms > start_ms else 0
        self._save()
        return points

    def _open(self, plan: Plan, now_ms: int) -> list[Task]:
        """What is not made yet. Series that the plan no longer has are forgotten: who comes back has a gap."""
        self._made = {rule.series: self._made[rule.series] for rule in plan.rules if rule.series in self._made}
        spans = self._store.spans() if any(self._since(rule, now_ms) for rule in plan.rules) else {}
        tasks = []
        for rule in plan.rules:
            start_ms, end_ms = _reach(self._store, rule, spans)
            end_ms = min(end_ms, self._since(rule, now_ms) - 1)
            if start_ms <= end_ms:
                tasks.append(Task(rule, start_ms, end_ms))
            else:
                self._made[rule.series] = _name(rule), 0
        self._save()
        return tasks

    def _since(self, rule: Rule, now_ms: int) -> int:
        name, since = self._made.get(rule.series, ("", 0))
        return since if name == _name(rule) else now_ms + 1

    def _save(self) -> None:
        try:
            write_atomically(self._path, json.dumps(self._made, separators=(",", ":")).encode())
        except OSError as error:
            log.warning("how far the past of derived series is made can't be written (%s)", error)


def remake(store: Store, rule: Rule, start_ms: int, end_ms: int) -> int:
    """Make all points of that time anew, in place of those that are there; returns how many were other or missing."""
    reach_ms, last_ms = _reach(store, rule, store.spans())
    start_ms, end_ms = max(start_ms, reach_ms), min(end_ms, last_ms)
    days = range(start_ms, end_ms + 1, DAY_MS)
    return sum(derive.remake(store, Task(rule, day, min(day + DAY_MS - 1, end_ms))) for day in days)


def _reach(store: Store, rule: Rule, spans: Mapping[str, Span]) -> tuple[int, int]:
    """First and last time of points that can be made of what is stored; the first is the later if there are none."""
    inputs = [spans[series] for series in rule.inputs.values() if series in spans]
    any_of = SPECS[rule.kind].any_of
    if not inputs or (len(inputs) < len(rule.inputs) and not any_of):
        return 1, 0
    first_ms = (min if any_of else max)(span.first_ms for span in inputs) - rule.after_ms
    # A point rests on what was before it: where that was removed it would come out otherwise than it did.
    removed = [store.raw_from(series) for series in rule.inputs.values()]
    first_ms = max(first_ms, store.raw_from(rule.series), *(line + rule.before_ms for line in removed if line))
    return first_ms, max(span.last_ms for span in inputs)


def _name(rule: Rule) -> str:
    """The same for the same description."""
    return hashlib.sha256(repr(rule).encode()).hexdigest()[:16]
