"""Derived series: which points a batch of readings touches, what must be read to make them anew, and the making.

A point of a derived series rests on inputs in a span of time around it, from ``before_ms`` before it to ``after_ms``
after it. So a reading touches the points from ``after_ms`` before it to ``before_ms`` after it, and one that comes
late makes all of them anew; nothing is ever added to a sum that was kept. Whoever has the store does after each batch::

    for task in touched(plan, ((row.series, row.time_ms) for row in rows)):
        inputs = {name: [Sample(…) for row in store.range(series, task.read_from_ms, task.read_to_ms + 1)]
                  for name, series in task.rule.inputs.items()}
        store.write([Row(task.rule.series, *sample) for sample in compute(task, inputs)])

The same batch twice, or two batches in either order, leave the same points.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

from keng_contracts.derived import SPECS, DerivedKind
from keng_contracts.registry import Derived, Registry
from keng_contracts.telemetry import Flag
from keng_signals.air import HOUR_MS, NOWCAST_HOURS, vn_aqi
from keng_signals.physics import LEAST_HUMIDITY, dew_point_c, soil_water_deficit_mm, water_level_m
from keng_signals.rain import Counter, totals
from keng_signals.samples import Sample, flag_of, usable


@dataclass(frozen=True, slots=True)
class Rule:
    """One derived series: its full name and inputs (full series by input's name), the factors into the units of the
    sum, its parameters with defaults filled in, and the span of time that a point rests on."""

    series: str
    kind: DerivedKind
    inputs: Mapping[str, str]
    factors: Mapping[str, float]
    parameters: Mapping[str, float]
    decimals: int
    before_ms: int
    after_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All derived series of a commune, and by full series name those that rest on it."""

    rules: tuple[Rule, ...] = ()
    by_input: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)


class Task(NamedTuple):
    """Points of one derived series to be made anew: those from ``start_ms`` to ``end_ms``, both included."""

    rule: Rule
    start_ms: int
    end_ms: int

    @property
    def read_from_ms(self) -> int:
        """The first time of an input that any of the points rests on."""
        return self.start_ms - self.rule.before_ms

    @property
    def read_to_ms(self) -> int:
        """The last time of an input that any of the points rests on."""
        return self.end_ms + self.rule.after_ms


def plan_of(registry: Registry) -> Plan:
    """The plan of a commune."""
    rules = tuple(_rule(registry, derived) for derived in registry.derived)
    by_input: dict[str, tuple[Rule, ...]] = {}
    for rule in rules:
        for series in sorted(set(rule.inputs.values())):
            by_input[series] = (*by_input.get(series, ()), rule)
    return Plan(rules, by_input)


def touched(plan: Plan, points: Iterable[tuple[str, int]]) -> list[Task]:
    """What a batch of ``(series, time_ms)`` makes necessary; spans that overlap are one task."""
    if not plan.by_input:
        return []
    times: dict[str, set[int]] = {}
    for series, time_ms in points:
        if series in plan.by_input:
            times.setdefault(series, set()).add(time_ms)
    tasks: list[Task] = []
    for rule in plan.rules:
        heard = sorted(set().union(*(times.get(series, ()) for series in rule.inputs.values())))
        spans: list[tuple[int, int]] = []
        for time_ms in heard:
            start, end = time_ms - rule.after_ms, time_ms + rule.before_ms
            if spans and start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
        tasks.extend(Task(rule, start, end) for start, end in spans)
    return tasks


def compute(task: Task, inputs: Mapping[str, Sequence[Sample]]) -> list[Sample]:
    """The points of a task, in rising order, from its inputs as they are stored: by the input's name, in the sensor's
    unit, in rising order, from ``read_from_ms`` to ``read_to_ms``. Raises nothing for finite values."""
    rule, start_ms, end_ms = task
    values = rule.parameters
    read = {name: _scaled(inputs.get(name, ()), rule.factors[name]) for name in rule.inputs}
    match rule.kind:
        case DerivedKind.WATER_LEVEL:
            made = [
                Sample(s.time_ms, water_level_m(s.value, values["sensor_above_datum_m"]), s.flag)
                for s in _within(read["distance"], start_ms, end_ms)
            ]
        case DerivedKind.RAIN:
            counter = Counter(values["mm_per_count"], values["wrap"], values["max_mm_per_h"])
            window_ms = _window_ms(values)
            made = totals(read["counter"], counter, window_ms, rule.before_ms - window_ms, start_ms, end_ms)
        case DerivedKind.VN_AQI:
            made = vn_aqi(read, start_ms, end_ms)
        case DerivedKind.DEW_POINT:
            made = _dew_points(read["temperature"], read["humidity"], rule.before_ms, start_ms, end_ms)
        case DerivedKind.SOIL_WATER_DEFICIT:
            capacity, depth = values["field_capacity_pct"], values["root_depth_m"]
            made = [
                Sample(s.time_ms, soil_water_deficit_mm(s.value, capacity, depth), s.flag)
                for s in _within(read["moisture"], start_ms, end_ms)
            ]
    return [Sample(s.time_ms, round(s.value, rule.decimals), s.flag) for s in made if isfinite(s.value)]


def _rule(registry: Registry, derived: Derived) -> Rule:
    spec = SPECS[derived.kind]
    sensors = {sensor.id: sensor for sensor in registry.sensors}
    of = {name: sensors[id_] for name, id_ in derived.inputs.items()}
    values = {name: derived.parameters.get(name, known.default) for name, known in spec.parameters.items()}
    parameters = {name: value for name, value in values.items() if value is not None}
    before_ms, after_ms = _span(derived.kind, parameters)
    return Rule(
        series=registry.series(derived),
        kind=derived.kind,
        inputs={name: registry.series(sensor) for name, sensor in of.items()},
        factors={name: spec.inputs[name][sensor.unit] for name, sensor in of.items()},
        parameters=parameters,
        decimals=derived.decimals,
        before_ms=before_ms,
        after_ms=after_ms,
    )


def _span(kind: DerivedKind, parameters: Mapping[str, float]) -> tuple[int, int]:
    """How far before and after a point its inputs lie, in ms."""
    match kind:
        case DerivedKind.RAIN:
            # The count at the window's beginning may be older than it, by as much as a gain may be spread over.
            window_ms = _window_ms(parameters)
            return window_ms + max(window_ms, HOUR_MS), 0
        case DerivedKind.VN_AQI:
            return (NOWCAST_HOURS - 1) * HOUR_MS, HOUR_MS - 1
        case DerivedKind.DEW_POINT:
            pair_ms = round(parameters["pair_s"] * 1000)
            return pair_ms, pair_ms
        case DerivedKind.WATER_LEVEL | DerivedKind.SOIL_WATER_DEFICIT:
            return 0, 0


def _window_ms(parameters: Mapping[str, float]) -> int:
    return round(parameters["window_s"] * 1000)


def _scaled(samples: Sequence[Sample], factor: float) -> list[Sample]:
    kept = usable(samples)
    return kept if factor == 1.0 else [Sample(s.time_ms, s.value * factor, s.flag) for s in kept]


def _within(samples: Sequence[Sample], start_ms: int, end_ms: int) -> list[Sample]:
    return [s for s in samples if start_ms <= s.time_ms <= end_ms]


def _dew_points(
    temperatures: Sequence[Sample], humidities: Sequence[Sample], pair_ms: int, start_ms: int, end_ms: int
) -> list[Sample]:
    """At each temperature, with the nearest humidity at most ``pair_ms`` away; of two as near, the earlier.

    A humidity that there is no dew point for is passed over: else a late one could undo a point that was made.
    """
    humidities = [h for h in humidities if h.value >= LEAST_HUMIDITY]
    times = [h.time_ms for h in humidities]
    made = []
    for temperature in _within(temperatures, start_ms, end_ms):
        place = bisect_left(times, temperature.time_ms)
        near = sorted(
            (abs(h.time_ms - temperature.time_ms), h.time_ms, h) for h in humidities[max(0, place - 1) : place + 1]
        )
        if near and near[0][0] <= pair_ms:
            humidity = near[0][2]
            value = dew_point_c(temperature.value, humidity.value)
            if value is not None:
                suspect = Flag.SUSPECT in (temperature.flag, humidity.flag)
                made.append(Sample(temperature.time_ms, value, flag_of(suspect)))
    return made
