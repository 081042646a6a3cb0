"""Replay a series through the engine that runs in service, and compare what it did with what was there. Pure.

Each sample is heard at its own time, as if the gauge were live; one that comes after a newer one is heard at the newer
one's. See :mod:`keng_alerts.backtest.truth` for what counts as an event.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from math import isfinite, nan
from typing import Any, NamedTuple

from keng_alerts.backtest.truth import Event, Hindsight, Sample, Step, compare, is_confirmed
from keng_alerts.gauge.engine import Step as Done
from keng_alerts.gauge.engine import Watch
from keng_alerts.gauge.forecast import HORIZON_H, HOUR_MS
from keng_alerts.gauge.gauges import Gauge, gauges
from keng_contracts.commands import Play
from keng_contracts.errors import Problem
from keng_contracts.registry import Authority, AuthorityMode, Registry
from keng_contracts.telemetry import EARLIEST_MS, Flag, Reading
from keng_signals.quality import Limits

#: The lead that the forecast's own figures are for, and those that they are given for as well, in hours.
LEAD_H, LEADS_H = 3.0, (1.0, 2.0, 3.0, HORIZON_H)
#: The calendar repeats after 28 years. A record from before the first date that quality control holds for possible is
#: replayed as much later; what is reported has its own times.
_CALENDAR_MS = 28 * 1461 // 4 * 86_400_000


class Siren(NamedTuple):
    """``raised_ms`` is the time of the sample that it rests on: people may have had time to decline."""

    time_ms: int
    raised_ms: int
    level: int
    play: str


class Expected(NamedTuple):
    """A forecast as it was made; ``issue`` counts the times when one was tried."""

    issue: int
    made_ms: int
    level: int
    expected_ms: int
    earliest_ms: int
    latest_ms: int | None


@dataclass(slots=True)
class Replay:
    """What came of a series. ``times`` (ms) and ``levels`` are all samples with a level, in the order heard."""

    gauge: Gauge
    times: array[float] = field(default_factory=lambda: array("d"))
    levels: array[float] = field(default_factory=lambda: array("d"))
    flags: Counter[str] = field(default_factory=Counter)
    steps: list[Step] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    sirens: list[Siren] = field(default_factory=list)
    expected: list[Expected] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    thresholds: dict[int, float] = field(default_factory=dict)


def choose(registry: Registry, station: str) -> tuple[str, Gauge]:
    """The gauge of a station, by the station's id or official code, or by the sensor's own id; with its series."""
    found = [
        (series, gauge)
        for series, gauge in gauges(registry).items()
        if station in {gauge.station.id, gauge.station.official, gauge.sensor.id} - {""}
    ]
    if len(found) == 1:
        return found[0]
    there = ", ".join(sorted(gauge.sensor.id for _, gauge in gauges(registry).items())) or "none"
    if found:
        raise Problem(f"the station {station!r} has several gauges", where="--station", todo=f"name one of: {there}")
    raise Problem(
        f"there is no gauge with thresholds at {station!r}", where="--station", todo=f"the registry has: {there}"
    )


def rehearse(gauge: Gauge, interval_s: float, first: date) -> tuple[Gauge, list[str]]:
    """The gauge as a rehearsal needs it, and what had to be assumed: the series' own interval where that is longer,
    thresholds that hold from its beginning, and sirens by themselves where nobody has said who decides."""
    registry, sensor, notes = gauge.registry, gauge.sensor, []
    if interval_s > 1.5 * sensor.interval_s:
        notes.append(
            f"samples are {interval_s:g} s apart, the registry says {sensor.interval_s:g} s: taken as they are"
        )
        sensor = sensor.model_copy(update={"interval_s": interval_s})
    if not registry.thresholds_of(sensor.id, first):
        since = min(t.valid_from for t in registry.thresholds if t.sensor == sensor.id)
        notes.append(f"the thresholds hold from {since}, the series begins on {first}: taken as if they held then")
        thresholds = [
            t.model_copy(update={"valid_from": first}) if t.sensor == sensor.id and t.valid_from == since else t
            for t in registry.thresholds
        ]
        registry = registry.model_copy(update={"thresholds": thresholds})
    if not any(a.sensor == sensor.id for a in registry.authority):
        notes.append("the registry says of no level who decides: sirens are shown as if every level were auto")
        rows = [
            Authority(sensor=sensor.id, level=t, mode=AuthorityMode.AUTO, zones=["backtest"], delegated_by="backtest")
            for t in sorted({t.level for t in registry.thresholds if t.sensor == sensor.id})
        ]
        registry = registry.model_copy(update={"authority": [*registry.authority, *rows]})
    if any(a.sensor == sensor.id and (a.second or a.delegation) for a in registry.authority):
        notes.append("delegations are taken to be in force, and second sources to agree")
        rows = [
            a.model_copy(update={"second": None, "delegation": None, "delegated_by": a.delegated_by or "backtest"})
            for a in registry.authority
        ]
        registry = registry.model_copy(update={"authority": rows})
    return replace(gauge, sensor=sensor, registry=registry), notes


def replay(
    gauge: Gauge,
    limits: Limits,
    samples: Iterable[tuple[int, float]],
    labels: Sequence[tuple[int, int, int | None]] | None = None,
) -> Replay:
    """Drive the engine with ``(time_ms, value)``, values in the unit that the gauge's instrument reports.

    ``labels`` are events as (level, start_ms, end_ms or None); without them they are derived from the series.
    """
    watch, result = Watch(gauge, limits), Replay(gauge)
    hindsight = Hindsight(watch.rule, limits.spike)
    marked = None if labels is None else [Event(level, start, end) for level, start, end in labels]
    waiting = list(marked or ())
    heard_ms = newest_ms = tried = shift_ms = 0
    unit, believable = gauge.sensor.unit, (Flag.GOOD, Flag.SUSPECT)
    for index, (time_ms, value) in enumerate(samples):
        if not index:
            shift_ms = -(min(0, time_ms - EARLIEST_MS) // _CALENDAR_MS) * _CALENDAR_MS
        engine_ms = time_ms + shift_ms
        heard_ms = max(heard_ms, engine_ms)
        taken = watch.take(Reading("", engine_ms, value, unit), engine_ms, heard_ms)
        result.flags[taken.verdict.test or "good"] += 1
        possible = taken.verdict.flag in believable
        result.times.append(time_ms)
        level = taken.level if taken.level is not None else gauge.level(value) if possible else nan
        result.levels.append(level)
        if possible and time_ms > newest_ms:
            newest_ms = time_ms
            if marked is None:
                hindsight.add(Sample(index, time_ms, level), watch.thresholds(engine_ms))
            for event in [e for e in waiting if time_ms >= e.start_ms] if waiting else ():
                event.count += 1
                if is_confirmed(event, time_ms, watch.rule):
                    event.confirmed, event.confirmed_ms = index, time_ms
                    waiting.remove(event)
        if watch.tried > tried:
            tried, found = watch.tried, watch.forecast
            if found is not None:
                times = (found.expected_ms, found.earliest_ms, found.latest_ms)
                expected, earliest, latest = (None if t is None else t - shift_ms for t in times)
                assert expected is not None and earliest is not None
                result.expected.append(Expected(tried, time_ms, found.level, expected, earliest, latest))
        if taken.change is not None:
            result.steps.append(Step(index, time_ms, taken.change.before, taken.change.after))
            result.values.append(taken.change.value)
        done = taken.steps
        if watch.desk.response.questions:
            done = (*done, *watch.mind(heard_ms, able=False))
        if done:
            sounded = _sounded(done)
            result.sirens += [Siren(time_ms, cause_ms - shift_ms, rank, name) for name, rank, cause_ms in sounded]
    result.thresholds = watch.thresholds(heard_ms)
    result.events = hindsight.end(result.thresholds) if marked is None else marked
    return result


def _sounded(done: Iterable[Done]) -> set[tuple[str, int, int]]:
    """The plays that were ordered, whatever the zones: their names, levels, and the samples that they rest on."""
    plays = [send.action for step in done for send in step.sends if isinstance(send.action, Play)]
    return {(p.play, p.rank, p.cause.measured_ms) for p in plays if p.cause is not None}


def report(result: Replay) -> dict[str, Any]:
    """The figures, as JSON can hold them. A rate whose divisor is nought is None."""
    unexplained = compare(result.events, result.steps)
    hits = [event for event in result.events if event.reached >= 0]
    missed = len(result.events) - len(hits)
    sounded = {siren.raised_ms for siren in result.sirens}
    delays = [event.delay for event in hits if event.delay is not None]
    return {
        "gauge": result.gauge.sensor.id,
        "samples": len(result.times),
        "flags": dict(result.flags.most_common()),
        "thresholds": {str(level): value for level, value in sorted(result.thresholds.items())},
        "transitions": [
            {"time_ms": s.time_ms, "before": s.before, "after": s.after, "value": round(v, 3)}
            for s, v in zip(result.steps, result.values, strict=True)
        ],
        "sirens": [siren._asdict() for siren in result.sirens],
        "events": [
            {
                "level": e.level,
                "start_ms": e.start_ms,
                "end_ms": e.end_ms,
                "raised_ms": e.reached_ms if e.reached >= 0 else None,
                "delay_samples": e.delay,
                "delay_s": None if e.reached < 0 else round((e.reached_ms - e.start_ms) / 1000),
            }
            for e in result.events
        ],
        **_scores(len(hits), missed, len(unexplained)),
        "false_sirens": len({step.time_ms for step, _ in unexplained} & sounded),
        "delay_samples": max(delays, default=None),
        "forecast": _forecast(result),
    }


def _scores(hits: int, missed: int, false: int) -> dict[str, Any]:
    def share(part: int, whole: int) -> float | None:
        return round(part / whole, 3) if whole else None

    return {
        "hits": hits,
        "missed": missed,
        "false": false,
        "pod": share(hits, hits + missed),
        "far": share(false, hits + false),
        "csi": share(hits, hits + missed + false),
    }


def _forecast(result: Replay) -> dict[str, Any]:
    """Scores of the forecast: for :data:`LEAD_H`, and for each lead under ``leads``.

    A crossing is a hit if a forecast made before it, at most the lead earlier, expected it within the lead. Forecasts
    in a row that expected a level within the lead are one warning; it is false if the level was not reached within
    the lead of any of them. ``lead_s`` is by how much the first of them came before the crossing, the median of the
    hits; ``band`` the share of hits whose crossing lay between the earliest and the latest time of that first one.
    """
    if not isfinite(result.times[-1] if result.times else nan):
        return {}
    leads = {f"{lead:g}": _lead(result, lead) for lead in LEADS_H}
    return {"lead_h": LEAD_H, **leads[f"{LEAD_H:g}"], "leads": leads}


def _lead(result: Replay, lead_h: float) -> dict[str, Any]:
    lead_ms = lead_h * HOUR_MS
    said = [e for e in result.expected if e.expected_ms - e.made_ms <= lead_ms]
    ahead: list[float] = []
    held = false = 0
    for event in result.events:
        first = next(
            (e for e in said if e.level == event.level and event.start_ms - lead_ms <= e.made_ms < event.start_ms), None
        )
        if first is not None:
            ahead.append((event.start_ms - first.made_ms) / 1000)
            held += first.earliest_ms <= event.start_ms and (
                first.latest_ms is None or event.start_ms <= first.latest_ms
            )
    for level in {e.level for e in said}:
        starts = [event.start_ms for event in result.events if event.level == level]
        run: list[Expected] = []
        for e in [*(e for e in said if e.level == level), None]:
            if run and (e is None or e.issue != run[-1].issue + 1):
                false += not any(run[0].made_ms < start <= run[-1].made_ms + lead_ms for start in starts)
                run = []
            if e is not None:
                run.append(e)
    return {
        **_scores(len(ahead), len(result.events) - len(ahead), false),
        "lead_s": round(sorted(ahead)[len(ahead) // 2]) if ahead else None,
        "band": round(held / len(ahead), 2) if ahead else None,
    }
