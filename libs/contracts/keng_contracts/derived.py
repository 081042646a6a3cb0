"""Derived series: which kinds there are, what each needs and what comes out. The sums are in keng_signals.

==================  ========================================  ============================================  ====
kind                inputs                                    parameters                                    unit
==================  ========================================  ============================================  ====
water-level         distance                                  sensor_above_datum_m                          m
rain                counter                                   window_s, mm_per_count, wrap, max_mm_per_h    mm
vn-aqi              any of pm2-5, pm10, o3, so2, no2, co      none                                          1
dew-point           temperature, humidity                     pair_s                                        Cel
soil-water-deficit  moisture                                  field_capacity_pct, root_depth_m              mm
==================  ========================================  ============================================  ====
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class DerivedKind(StrEnum):
    """What is made of the inputs."""

    WATER_LEVEL = "water-level"
    RAIN = "rain"
    VN_AQI = "vn-aqi"
    DEW_POINT = "dew-point"
    SOIL_WATER_DEFICIT = "soil-water-deficit"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number of the description: its bounds, and its default (None: it must be given). 0 may stand for "none"."""

    low: float
    high: float
    default: float | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """What a kind needs. ``inputs`` gives for each the units that it may come in, with the factor into the unit that
    the sum is made in. With ``any_of`` one input is enough, else all are needed. ``unit`` is that of the result."""

    unit: str
    inputs: Mapping[str, Mapping[str, float]]
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: MappingProxyType({}))
    any_of: bool = False


_MASS = {"ug/m3": 1.0, "mg/m3": 1000.0}
SPECS: Mapping[DerivedKind, Spec] = MappingProxyType(
    {
        DerivedKind.WATER_LEVEL: Spec(
            "m",
            {"distance": {"m": 1.0, "cm": 0.01, "mm": 0.001}},
            {"sensor_above_datum_m": Parameter(-500.0, 5000.0)},
        ),
        DerivedKind.RAIN: Spec(
            "mm",
            {"counter": {"mm": 1.0, "1": 1.0, "count": 1.0}},
            {
                "window_s": Parameter(60.0, 7 * 86_400.0),
                "mm_per_count": Parameter(1e-6, 1000.0, 1.0),
                "wrap": Parameter(0.0, 1e12, 0.0),
                # Heavier than the heaviest hour on record (305 mm in 42 minutes; Holt, Missouri, 1947).
                "max_mm_per_h": Parameter(1.0, 10_000.0, 500.0),
            },
        ),
        DerivedKind.VN_AQI: Spec(
            "1", {name: _MASS for name in ("pm2-5", "pm10", "o3", "so2", "no2", "co")}, any_of=True
        ),
        DerivedKind.DEW_POINT: Spec(
            "Cel",
            {"temperature": {"Cel": 1.0}, "humidity": {"%RH": 1.0, "%": 1.0}},
            {"pair_s": Parameter(0.0, 3600.0, 300.0)},
        ),
        DerivedKind.SOIL_WATER_DEFICIT: Spec(
            "mm",
            {"moisture": {"%": 1.0, "m3/m3": 100.0}},
            {"field_capacity_pct": Parameter(1.0, 100.0), "root_depth_m": Parameter(0.01, 10.0)},
        ),
    }
)


def faults(kind: DerivedKind, units: Mapping[str, str | None], parameters: Mapping[str, float]) -> list[str]:
    """What is wrong with a description; empty if nothing is. ``units`` are those of the inputs, None if unknown."""
    spec = SPECS[kind]
    found = [f"{kind} has no input {name!r} (it has: {', '.join(spec.inputs)})" for name in units.keys() - spec.inputs]
    missing = spec.inputs.keys() - units.keys()
    if (missing and not spec.any_of) or not units:
        found.append(f"{kind} needs {'any' if spec.any_of else 'all'} of the inputs {', '.join(spec.inputs)}")
    for name, unit in units.items():
        if name in spec.inputs and unit is not None and unit not in spec.inputs[name]:
            found.append(f"{name} is in {unit!r}; {kind} can take {', '.join(spec.inputs[name])}")
    found += [f"{kind} has no parameter {name!r}" for name in parameters.keys() - spec.parameters]
    for name, known in spec.parameters.items():
        value = parameters.get(name, known.default)
        if value is None:
            found.append(f"{kind} needs the parameter {name}")
        elif not known.low <= value <= known.high:
            found.append(f"{name} must lie between {known.low:g} and {known.high:g}")
    return sorted(found)
