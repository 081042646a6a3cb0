"""Which crossings really were in a series, seen with hindsight; and how what was raised compares with them. Pure.

The judge in service can't see what comes after a sample; this one waits for two more. A sample is believed if it lies
within ``spike`` of the median of the five around it. A level is crossed where believed samples meet the gauge's own
confirmation rule; the event begins with the first of them, and is over when the level stayed below the threshold less
the dead band for as long as clearing takes. Labelled events take the place of these where somebody has made them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import NamedTuple

from keng_contracts.registry import HazardRule


@dataclass(slots=True)
class Event:
    """A level was reached. ``confirmed`` is the sample (counted from 0) at which the rule allows to raise it; -1 if no
    such sample came. ``end_ms`` is None while it lasts. ``reached`` is when the engine was first at the level."""

    level: int
    start_ms: int
    end_ms: int | None = None
    confirmed: int = -1
    confirmed_ms: int = 0
    reached: int = -1
    reached_ms: int = 0
    count: int = 0

    @property
    def delay(self) -> int | None:
        """Samples between the one that allowed the raise and the raise; None if it was missed."""
        return None if self.reached < 0 else max(0, self.reached - self.confirmed)


class Sample(NamedTuple):
    at: int
    time_ms: int
    level: float


@dataclass(slots=True)
class _Level:
    event: Event | None = None
    below_ms: int | None = None


@dataclass(slots=True)
class Hindsight:
    """Finds the events of a series, sample by sample."""

    rule: HazardRule
    spike: float | None = None
    events: list[Event] = field(default_factory=list)
    _near: deque[Sample] = field(default_factory=lambda: deque(maxlen=5))
    _levels: dict[int, _Level] = field(default_factory=dict)
    _last_ms: int = 0

    def add(self, sample: Sample, thresholds: Mapping[int, float]) -> None:
        """Take the next sample that the instrument can mean; the one two before it is judged."""
        self._near.append(sample)
        if len(self._near) >= 3:
            self._judge(self._near[-3], thresholds)

    def end(self, thresholds: Mapping[int, float]) -> list[Event]:
        """Judge the last two as well; all events, by their beginning."""
        for sample in list(self._near)[-2:]:
            self._judge(sample, thresholds)
        return sorted((e for e in self.events if e.confirmed >= 0), key=lambda e: (e.start_ms, e.level))

    def _judge(self, sample: Sample, thresholds: Mapping[int, float]) -> None:
        value = sample.level
        if self.spike is not None and abs(value - median_low(s.level for s in self._near)) > self.spike:
            return
        broken = sample.time_ms - self._last_ms > self.rule.raise_window_s * 1000
        self._last_ms = sample.time_ms
        for level, threshold in thresholds.items():
            kept = self._levels.get(level)
            event = kept.event if kept else None
            if event is None:
                if value >= threshold:
                    self._levels[level] = _Level(self._begin(level, sample))
                continue
            assert kept is not None
            if event.confirmed < 0:
                if value < threshold:
                    self._levels[level] = _Level()
                elif broken:
                    self._levels[level] = _Level(self._begin(level, sample))
                else:
                    self._count(event, sample)
                continue
            if value >= threshold - self.rule.dead_band:
                kept.below_ms = None
            elif kept.below_ms is None or broken:
                kept.below_ms = sample.time_ms
            if kept.below_ms is not None and sample.time_ms - kept.below_ms >= self.rule.clear_after_s * 1000:
                event.end_ms = sample.time_ms
                self._levels[level] = _Level()

    def _begin(self, level: int, sample: Sample) -> Event:
        event = Event(level, sample.time_ms)
        self._count(event, sample)
        return event

    def _count(self, event: Event, sample: Sample) -> None:
        event.count += 1
        if is_confirmed(event, sample.time_ms, self.rule):
            event.confirmed, event.confirmed_ms = sample.at, sample.time_ms
            self.events.append(event)


def is_confirmed(event: Event, time_ms: int, rule: HazardRule) -> bool:
    """Whether the samples counted from an event's beginning meet the confirmation rule."""
    return event.count >= rule.raise_samples or (
        event.count >= 2 and time_ms - event.start_ms >= rule.raise_pair_span_s * 1000
    )


class Step(NamedTuple):
    """A change of level by the engine."""

    at: int
    time_ms: int
    before: int
    after: int


def compare(events: Sequence[Event], steps: Sequence[Step]) -> list[tuple[Step, int]]:
    """Note in each event when the engine reached its level, and return the raises, level by level, that no event
    explains. An engine that was still at the level when the event began has reached it at once."""
    for event in events:
        last = event.end_ms
        level, index, time_ms = 0, 0, 0
        for step in steps:
            if last is not None and step.time_ms > last:
                break
            if level >= event.level and step.time_ms > event.start_ms:
                break
            level, index, time_ms = step.after, step.at, step.time_ms
            if level >= event.level and time_ms >= event.start_ms:
                break
        if level >= event.level:
            early = time_ms < event.start_ms
            event.reached = event.confirmed if early else index
            event.reached_ms = event.start_ms if early else time_ms
    return [
        (step, level)
        for step in steps
        for level in range(step.before + 1, step.after + 1)
        if not any(
            e.level == level and e.start_ms <= step.time_ms and (e.end_ms is None or step.time_ms <= e.end_ms)
            for e in events
        )
    ]
