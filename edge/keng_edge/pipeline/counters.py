"""Counters that wrap and reset become totals that only grow. Pure; times are arguments.

A tipping bucket counts in a register of 16 or 32 bits. It *wraps* at the end of the register, and starts again from
nought when its gauge is powered up (*reset*). Which of the two a fall was is told by what can be: ``fastest`` is the
most that it counts in an hour. A fall that neither explains (a gauge that was exchanged) is not counted, and is
believed once the next number goes on from there. So is a rise by a quarter of the register; a smaller one is counted,
however fast: whether so much rain can fall is for quality control to say.

>>> tips = Total(wrap=65536, fastest=18_000)
>>> [tips.count(number, at_ms=minute * 60_000) for minute, number in enumerate((65_500, 65_530, 20, 25, 0, 3))]
[65500, 65530, 65556, 65561, 65561, 65564]
>>> tips.count(60_000, at_ms=360_000) is None, tips.count(4, at_ms=420_000)
(True, 65565)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from pydantic_core import from_json

from keng_edge.pipeline.pipeline import Raw, Sample

_HOUR_MS = 3_600_000
#: Numbers come when they come: for the shortest time between two of them, a minute's worth is credible.
_LEAST_MS = 60_000


@dataclass(slots=True)
class Total:
    """One counter, in its own counts. ``last`` None: not heard yet. ``other``: a number that was not believed.

    ``past`` has the newest (time, number, total), ``again`` of them, so that a number which is handed over again after
    later ones is no fall: its total is what it was.
    """

    wrap: int
    fastest: float
    last: int | None = None
    at_ms: int = 0
    total: int = 0
    other: int | None = None
    again: int = 0
    past: list[list[int]] = field(default_factory=list)

    def count(self, number: int, at_ms: int) -> int | None:
        """The total after ``number`` was heard at ``at_ms``; None for a number that can't be believed yet."""
        for time_ms, counted, total in self.past:
            if (time_ms, counted) == (at_ms, number):
                return total
        elapsed_ms = max(at_ms - self.at_ms, _LEAST_MS)
        if not 0 <= number < self.wrap:
            return None
        quarter = self.wrap // 4
        most = max(1.0, min(self.fastest * elapsed_ms / _HOUR_MS, quarter))
        if self.last is None:
            self.total = number
        elif 0 <= number - self.last <= quarter:
            self.total += number - self.last
        elif 0 <= (number - self.last) % self.wrap <= most:  # wrapped
            self.total += (number - self.last) % self.wrap
        elif number < self.last and number <= most:  # reset: what it counted since
            self.total += number
        elif self.other is not None and 0 <= number - self.other <= quarter:  # it goes on from there
            self.total += number - self.other
        else:
            self.other = number
            return None
        self.last, self.at_ms, self.other = number, at_ms, None
        if self.again:
            self.past = [*self.past, [at_ms, number, self.total]][-self.again :]
        return self.total


class Rule(NamedTuple):
    """Of one quantity that is a counter: where it wraps and what it can count in an hour, both in its own counts; and
    how many of its numbers may be handed over again."""

    wrap: int
    fastest: float
    sentinels: frozenset[int | float] = frozenset()
    again: int = 0


class Counters:
    """All counters by (sensor, quantity). ``dump`` and ``restore`` carry them over restarts."""

    def __init__(self, rules: Mapping[tuple[str, str], Rule]) -> None:
        self._rules = rules
        self._totals = {key: Total(rule.wrap, rule.fastest, again=rule.again) for key, rule in rules.items()}

    def apply(self, sample: Sample) -> tuple[Sample, bool]:
        """The sample with totals in place of counts, and whether any has changed. What can't be believed is left out;
        a word that means "no value" stays what it is."""
        values: dict[str, Raw] = {}
        changed = False
        for quantity, raw in sample.values.items():
            rule = self._rules.get((sample.source, quantity))
            if rule is None or raw.number in rule.sentinels:
                values[quantity] = raw
                continue
            total = self._totals[sample.source, quantity]
            before = total.last
            counted = total.count(round(raw.number), sample.time_ms)
            changed = changed or total.last != before
            if counted is not None:
                values[quantity] = Raw(counted, raw.decimals)
        return sample._replace(values=values), changed

    def dump(self) -> bytes:
        return json.dumps({"/".join(key): asdict(total) for key, total in self._totals.items()}).encode()

    def restore(self, data: bytes) -> None:
        """Take up where :meth:`dump` left off; raises ValueError for what it did not write. A counter whose register is
        another now begins anew."""
        document = from_json(data)
        if not isinstance(document, dict):
            raise ValueError("no counters")
        found = {key: _total(document[name]) for key in self._rules if (name := "/".join(key)) in document}
        for key, total in found.items():
            if total.wrap == self._rules[key].wrap:
                total.fastest, total.again = self._rules[key].fastest, self._rules[key].again
                self._totals[key] = total


def _total(fields: Any) -> Total:
    try:
        total = Total(**fields)
    except TypeError:
        raise ValueError("no counter") from None
    if not isinstance(total.past, list) or any(not isinstance(one, list) or len(one) != 3 for one in total.past):
        raise ValueError("no counter")
    numbers = (total.wrap, total.at_ms, total.total, total.again, *(n for one in total.past for n in one))
    optional = (total.last, total.other)
    if any(type(n) is not int for n in numbers) or any(n is not None and type(n) is not int for n in optional):
        raise ValueError("no counter")
    return total
