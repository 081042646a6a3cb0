"""One gauge, from a reading to what follows from it. Pure: the service and the backtest drive this very code.

A reading passes :mod:`keng_signals.quality`, becomes a level, moves :mod:`keng_alerts.hazard`, and a change of level is
turned by :mod:`keng_alerts.decide` into an alert document and, perhaps, an order. Only a good reading gets that far.
"""

from __future__ import annotations

from typing import NamedTuple

from keng_alerts.data import Data, sample, tick
from keng_alerts.decide import Evidence, Gauge, Order, decide
from keng_alerts.forecast import Track, forecast
from keng_alerts.hazard import State, Transition, step
from keng_contracts.alerts import AlertDocument, DataState, Forecast
from keng_contracts.registry import HazardRule
from keng_contracts.telemetry import Flag, Reading
from keng_signals.quality import Limits, Verdict, Window, judge

#: Every time zone's days begin at a quarter of an hour.
_QUARTER_MS = 900_000
#: A forecast is told anew when it has moved by this much.
_NEWS_MS = 900_000
#: Missing readings that are no gap yet: so many intervals may lie between two samples of one count.
_GAP_INTERVALS = 3


class Taken(NamedTuple):
    """What became of a reading. ``level`` is None unless it was good, the rest unless it changed the level."""

    verdict: Verdict
    level: float | None = None
    change: Transition | None = None
    document: AlertDocument | None = None
    order: Order | None = None


class Watch:
    """The watch over one gauge: the state of its hazard, that of its data, and the window of its quality control."""

    def __init__(
        self,
        gauge: Gauge,
        limits: Limits | None,
        state: State | None = None,
        window: Window | None = None,
        data: Data | None = None,
    ) -> None:
        self.gauge = gauge
        self.limits = limits
        self.state = state or State()
        self.window = window or Window()
        self.data = data or Data()
        self.rule = _rule(gauge)
        self.forecast: Forecast | None = None
        #: How many times a forecast was tried: two in a row rest on samples in a row.
        self.tried = 0
        self._track = Track()  # not kept on disk: two hours make it anew, and no siren rests on it
        self._thresholds: dict[int, float] = {}
        self._thresholds_of: tuple[int, int] = (0, 0)

    def thresholds(self, at_ms: int) -> dict[int, float]:
        """Thresholds by level at a time; they change with the calendar day alone."""
        start, end = self._thresholds_of
        if not start <= at_ms < end:
            start = at_ms - at_ms % _QUARTER_MS
            self._thresholds, self._thresholds_of = self.gauge.thresholds(start), (start, start + _QUARTER_MS)
        return self._thresholds

    def take(self, reading: Reading, before: AlertDocument | None, made_ms: int, heard_ms: int) -> Taken:
        """Take one reading. ``before`` is the gauge's alert so far; ``made_ms`` and ``heard_ms`` are when the reading
        was committed at the edge and when it came here, which decides whether it is too old for a siren."""
        verdict = judge(reading, self.limits, self.window, heard_ms)
        if verdict.flag is not Flag.GOOD:
            return Taken(verdict)
        level = self.gauge.level(reading.value)
        self.state, change = step(self.state, reading.time_ms, level, self.thresholds(reading.time_ms), self.rule)
        if self._track.add(reading.time_ms, level):
            self.tried += 1
            found = forecast(self._track, self.thresholds(reading.time_ms))
            self.forecast = found if found is not None and found.level > self.state.level else None
        if change is None:
            return Taken(verdict, level)
        evidence = Evidence(reading.time_ms, made_ms, heard_ms)
        document, order = decide(self.gauge, self.state, change, before, evidence, heard_ms)
        return Taken(verdict, level, change, self.marked(document) or document, order)

    def hear(self, time_ms: int, good: bool, heard_ms: int) -> None:
        """Let the data state know of a sample that was just taken."""
        self.data = sample(self.data, time_ms, good, heard_ms, self.gauge.sensor.interval_s)

    def tick(self, now_ms: int, listening_ms: int) -> bool:
        """Let time pass; whether the data state changed."""
        before, self.data = self.data, tick(self.data, now_ms, self.gauge.sensor.interval_s, listening_ms)
        return before is not self.data

    def marked(self, document: AlertDocument) -> AlertDocument | None:
        """The alert with the state of the gauge's data and its forecast; None where it says so already."""
        silent = self.data.state in (DataState.STALE, DataState.DEAD)
        unwatched = silent and document.level >= 1
        ahead = None if silent else self.forecast
        if (document.data, document.unwatched) == (self.data.state, unwatched) and _alike(document.forecast, ahead):
            return None
        return document.model_copy(
            update={
                "data": self.data.state,
                "data_since_ms": self.data.since_ms or None,
                "unwatched": unwatched,
                "forecast": ahead,
            }
        )


def _alike(one: Forecast | None, other: Forecast | None) -> bool:
    """Whether two forecasts say the same to a person: a document that moves by minutes is no news."""
    if one is None or other is None:
        return one is other
    return one.level == other.level and abs(one.expected_ms - other.expected_ms) < _NEWS_MS


def _rule(gauge: Gauge) -> HazardRule:
    """The gauge's rule. Where readings are rare, as at an hourly station, the time between them is no gap."""
    rule = gauge.registry.hazard_rule_of(gauge.sensor.id)
    window_s = max(rule.raise_window_s, _GAP_INTERVALS * gauge.sensor.interval_s)
    return rule.model_copy(update={"raise_window_s": window_s})
