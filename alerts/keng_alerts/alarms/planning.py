"""From the rules of a registry to what is watched: each rule over each thing, with bounds, measure and names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from keng_alerts.alarms import health
from keng_alerts.alarms.alarmtexts import Names, names_of
from keng_alerts.alarms.measures import HOUR_MS, Ahead, Air, Doubt, Flat, Measure, Rain, Silence, Value
from keng_contracts.derived import SPECS, DerivedKind
from keng_contracts.registry import Derived, Registry, Sensor
from keng_contracts.rules import Bounds, Rule, RuleKind, Watches
from keng_contracts.status import EdgeStatus, SpeakerStatus
from keng_contracts.watching import alarm_id, watched
from keng_signals.physics import soil_water_deficit_mm, water_level_m
from keng_signals.rain import Counter

#: Counts go on over gaps up to this, or three intervals of a sensor that is read more rarely.
GAP_MS, GAP_INTERVALS = 1_800_000, 3
#: A gauge that is read more rarely than this is believed with its first forecast: with the second the level is there.
RARE_S = 900.0


@dataclass(slots=True)
class Planned:
    """One rule over one thing. The measure rests on ``series`` of readings, or on documents of the type ``status``."""

    id: str
    rule: Rule
    thing: str
    unit: str
    bounds: Bounds
    measure: Measure
    series: tuple[str, ...]
    names: Names
    gap_ms: float
    late_ms: float
    official: bool = False
    status: type[EdgeStatus] | type[SpeakerStatus] = EdgeStatus


def plan(registry: Registry) -> Iterator[Planned]:
    """What the rules of a registry ask for. The registry is valid, so every name is known."""
    sensors = {sensor.id: sensor for sensor in registry.sensors}
    derived = {made.id: made for made in registry.derived}
    official = {station.id for station in registry.stations if station.official}
    for rule in registry.rules:
        for thing, unit in watched(rule, registry.known).items():
            inputs = _inputs(thing, sensors, derived)
            interval_s = max((sensor.interval_s for sensor in inputs.values()), default=0.0)
            gap_ms = max(GAP_MS, 1000 * GAP_INTERVALS * interval_s)
            bounds = rule.bounds(unit)
            if rule.kind is RuleKind.RISE and rule.raise_samples is None and interval_s >= RARE_S:
                bounds = replace(bounds, raise_samples=1)
            if rule.kind is RuleKind.AIR:
                gap_ms = max(gap_ms, GAP_INTERVALS * HOUR_MS)
            yield Planned(
                id=alarm_id(rule.id, thing),
                rule=rule,
                thing=thing,
                unit=rule.spec.unit(unit),
                bounds=bounds,
                measure=_measure(rule, thing, inputs, derived.get(thing), registry, gap_ms),
                series=tuple(registry.series(sensor) for sensor in inputs.values()),
                names=names_of(thing, registry),
                gap_ms=gap_ms,
                late_ms=1000 * rule.late_after_s,
                official=thing.split("/")[0] in official,
                status=SpeakerStatus if rule.spec.watches is Watches.SPEAKER else EdgeStatus,
            )


def _inputs(thing: str, sensors: Mapping[str, Sensor], derived: Mapping[str, Derived]) -> dict[str, Sensor]:
    """The sensors that a thing rests on, by the input's name; none for a node or a loudspeaker."""
    if thing in sensors:
        return {"": sensors[thing]}
    return {name: sensors[id_] for name, id_ in derived[thing].inputs.items()} if thing in derived else {}


def _measure(
    rule: Rule, thing: str, inputs: Mapping[str, Sensor], made: Derived | None, registry: Registry, gap_ms: float
) -> Measure:
    match rule.kind:
        case RuleKind.RAIN:
            window_ms = round(1000 * (rule.window_s or 0.0))
            values = {} if made is None else made.parameters
            spec = SPECS[DerivedKind.RAIN].parameters
            names = ("mm_per_count", "wrap", "max_mm_per_h")
            return Rain(Counter(*(values.get(name, spec[name].default or 0.0) for name in names)), window_ms)
        case RuleKind.AIR:
            factors = SPECS[DerivedKind.VN_AQI].inputs
            return Air({registry.series(s): (name, factors[name][s.unit]) for name, s in inputs.items()})
        case RuleKind.RISE:
            return Ahead(rule.level or 1)
        case RuleKind.SILENT:
            return Silence(inputs[""].interval_s)
        case RuleKind.FLAT:
            return Flat(inputs[""].quality.flat_tolerance, gap_ms)
        case RuleKind.QUALITY:
            return Doubt()
        case RuleKind.NODE_OFFLINE | RuleKind.SPEAKER_OFF:
            return health.Offline()
        case RuleKind.NODE_BACKLOG:
            return health.Backlog()
        case RuleKind.NODE_DROPPED:
            return health.Dropped()
        case RuleKind.NODE_PROBLEM:
            return health.Problems()
        case _ if made is None:
            return Value()
        case _:
            return Value(partial(_derive, made, next(iter(inputs.values())).unit))


def _derive(made: Derived, unit: str, value: float) -> float:
    """A derived value that is made of one reading alone."""
    name = next(iter(made.inputs))
    value *= SPECS[made.kind].inputs[name][unit]
    if made.kind is DerivedKind.WATER_LEVEL:
        return water_level_m(value, made.parameters["sensor_above_datum_m"])
    return soil_water_deficit_mm(value, made.parameters["field_capacity_pct"], made.parameters["root_depth_m"])
