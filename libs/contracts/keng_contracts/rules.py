"""Rules for alarms other than flood levels: which kinds there are, what each watches, and its bounds by default.

An alarm tells people something and never sounds a siren. A rule watches one thing or several, each by itself; ``"*"``
stands for all of its kind. What is compared with the bounds, and the bounds where a rule leaves them out:

=============  =======================  ===============================================  ========================
kind           watches                  value                                            raised at, cleared at
=============  =======================  ===============================================  ========================
rain           rain counter in mm, or   rain within ``window_s``, mm                     given, half of it
               a derived rain
upstream       water level              the level; the flood is at station ``to`` after  given, 0.10 m below
               (with ``to``)            ``travel_s``
rise           gauge with thresholds    hours until ``level`` or a higher one            ≤ 3 h, ≥ 6 h or none
salinity       conductivity, salt       the reading                                      1.9 dS/m, 4 g/L; 90 %
air            derived vn-aqi           the index of the last whole hour                 150, 135
dry-soil       moisture, or a derived   the reading; moisture is raised below, the       given, 10 % better
               soil-water-deficit       deficit above
battery        voltage, charge          the reading                                      20 % or given; 10 % more
disk           free space               the reading                                      1 GB, 1.5 GB
under-voltage  flag                     the reading                                      1, 0
high, low      any sensor               the reading                                      given, given
silent         sensors                  intervals since the last reading                 6, 3
flat           sensors                  hours without a change (flat_tolerance)          24, 12
quality        sensors                  % of the last 60 readings that are not good      50, 25
node-offline   edge nodes               1 while offline                                  1, 0
node-dropped   edge nodes               readings dropped since the last status           1, 0
node-backlog   edge nodes               age of the oldest unsent reading, s              900, 300
node-problem   edge nodes               problems told, failing sources among them        1, 0
speaker-off    loudspeakers             1 while offline                                  1, 0
=============  =======================  ===============================================  ========================

Sources: 1.9 dS/m is where the yield of rice begins to fall (FAO Irrigation and Drainage Paper 29, table 4, water);
4 g/L is the line that Viet Nam's salinity bulletins follow; an index above 150 is "xấu" (QĐ 1459/QĐ-TCMT).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.names import Slug


class Severity(StrEnum):
    """How grave it is, in the words of CAP 1.2, section 3.2.2."""

    MINOR = "minor"
    MODERATE = "moderate"
    SEVERE = "severe"
    EXTREME = "extreme"


class Watches(StrEnum):
    """What a kind of rule watches."""

    SENSOR = "sensor"
    GAUGE = "gauge"
    NODE = "node"
    SPEAKER = "speaker"


class RuleKind(StrEnum):
    """What a rule is about."""

    RAIN = "rain"
    UPSTREAM = "upstream"
    RISE = "rise"
    SALINITY = "salinity"
    AIR = "air"
    DRY_SOIL = "dry-soil"
    BATTERY = "battery"
    DISK = "disk"
    UNDER_VOLTAGE = "under-voltage"
    HIGH = "high"
    LOW = "low"
    SILENT = "silent"
    FLAT = "flat"
    QUALITY = "quality"
    NODE_OFFLINE = "node-offline"
    NODE_DROPPED = "node-dropped"
    NODE_BACKLOG = "node-backlog"
    NODE_PROBLEM = "node-problem"
    SPEAKER_OFF = "speaker-off"


@dataclass(frozen=True, slots=True)
class Scale:
    """The bounds in one unit. ``above``: raised by values at or above the bound, else at or below. Where a rule does
    not say, it is raised at ``raise_at`` and cleared at ``share`` of its bound, or ``band`` away from it."""

    above: bool = True
    raise_at: float | None = None
    share: float | None = None
    band: float | None = None

    def clear_at(self, raise_at: float) -> float | None:
        if self.band is not None:
            return raise_at - self.band if self.above else raise_at + self.band
        return None if self.share is None else raise_at * self.share


@dataclass(frozen=True, slots=True)
class Spec:
    """A kind. ``scales`` are by the unit of what is watched, ``""`` for any. ``needs`` are fields that must be given,
    ``may`` those that can be. ``derived`` is the kind of derived series that it also watches."""

    watches: Watches
    scales: Mapping[str, Scale]
    severity: Severity
    raise_after_s: float = 0.0
    raise_samples: int = 1
    clear_after_s: float = 1800.0
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    bounds_in: str | None = field(default=None)

    def unit(self, watched: str) -> str:
        """The unit of the bounds, from that of what is watched."""
        return watched if self.bounds_in is None else self.bounds_in


_GIVEN, _FLAG = Scale(share=0.9), Scale(raise_at=1.0, share=0.0)
_LOWER = Scale(above=False, share=1.1)


def _health(watches: Watches, scale: Scale, severity: Severity, after_s: float, clear_s: float, unit: str) -> Spec:
    return Spec(watches, {"": scale}, severity, after_s, 1, clear_s, bounds_in=unit)


SPECS: Mapping[RuleKind, Spec] = MappingProxyType(
    {
        RuleKind.RAIN: Spec(
            Watches.SENSOR, {"mm": Scale(share=0.5)}, Severity.MODERATE, needs=("window_s",), derived=("rain",)
        ),
        RuleKind.UPSTREAM: Spec(
            Watches.SENSOR,
            {"m": Scale(band=0.1), "cm": Scale(band=10.0), "mm": Scale(band=100.0)},
            Severity.SEVERE,
            raise_samples=2,
            needs=("to", "travel_s"),
            derived=("water-level",),
        ),
        RuleKind.RISE: Spec(
            Watches.GAUGE,
            {"": Scale(above=False, raise_at=3.0, share=2.0)},
            Severity.SEVERE,
            raise_samples=2,
            may=("level",),
            bounds_in="h",
        ),
        RuleKind.SALINITY: Spec(
            Watches.SENSOR,
            {
                "dS/m": Scale(raise_at=1.9, share=0.9),
                "mS/cm": Scale(raise_at=1.9, share=0.9),
                "uS/cm": Scale(raise_at=1900.0, share=0.9),
                "g/L": Scale(raise_at=4.0, share=0.9),
            },
            Severity.MODERATE,
            raise_after_s=600.0,
            raise_samples=3,
        ),
        RuleKind.AIR: Spec(
            Watches.SENSOR, {"1": Scale(raise_at=150.0, share=0.9)}, Severity.MODERATE, derived=("vn-aqi",)
        ),
        RuleKind.DRY_SOIL: Spec(
            Watches.SENSOR,
            {"%": _LOWER, "m3/m3": _LOWER, "mm": _GIVEN},
            Severity.MINOR,
            raise_after_s=3600.0,
            raise_samples=3,
            derived=("soil-water-deficit",),
        ),
        RuleKind.BATTERY: Spec(
            Watches.SENSOR,
            {"V": _LOWER, "mV": _LOWER, "%": Scale(above=False, raise_at=20.0, share=1.1)},
            Severity.MODERATE,
            raise_after_s=600.0,
            raise_samples=3,
        ),
        RuleKind.DISK: Spec(
            Watches.SENSOR,
            {
                "GB": Scale(above=False, raise_at=1.0, share=1.5),
                "MB": Scale(above=False, raise_at=1e3, share=1.5),
                "B": Scale(above=False, raise_at=1e9, share=1.5),
            },
            Severity.MODERATE,
            raise_samples=2,
        ),
        RuleKind.UNDER_VOLTAGE: Spec(Watches.SENSOR, {"1": _FLAG}, Severity.MODERATE, clear_after_s=3600.0),
        RuleKind.HIGH: Spec(Watches.SENSOR, {"": Scale()}, Severity.MODERATE, raise_samples=3),
        RuleKind.LOW: Spec(Watches.SENSOR, {"": Scale(above=False)}, Severity.MODERATE, raise_samples=3),
        RuleKind.SILENT: _health(
            Watches.SENSOR, Scale(raise_at=6.0, share=0.5), Severity.MODERATE, 0.0, 300.0, "intervals"
        ),
        RuleKind.FLAT: _health(Watches.SENSOR, Scale(raise_at=24.0, share=0.5), Severity.MINOR, 0.0, 0.0, "h"),
        RuleKind.QUALITY: _health(Watches.SENSOR, Scale(raise_at=50.0, share=0.5), Severity.MODERATE, 0.0, 600.0, "%"),
        RuleKind.NODE_OFFLINE: _health(Watches.NODE, _FLAG, Severity.SEVERE, 120.0, 120.0, "1"),
        RuleKind.NODE_DROPPED: _health(Watches.NODE, _FLAG, Severity.SEVERE, 0.0, 3600.0, "1"),
        RuleKind.NODE_BACKLOG: _health(
            Watches.NODE, Scale(raise_at=900.0, share=1 / 3), Severity.MODERATE, 0.0, 300.0, "s"
        ),
        RuleKind.NODE_PROBLEM: _health(Watches.NODE, _FLAG, Severity.MODERATE, 300.0, 300.0, "1"),
        RuleKind.SPEAKER_OFF: _health(Watches.SPEAKER, _FLAG, Severity.SEVERE, 300.0, 120.0, "1"),
    }
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a rule for one unit, defaults filled in; durations in ms."""

    above: bool
    raise_at: float
    clear_at: float
    raise_after_ms: int
    raise_samples: int
    clear_after_ms: int


class Rule(BaseModel):
    """One rule. Durations are of elapsed time, in seconds; counts only ever add to them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: Slug
    kind: RuleKind
    watch: list[str] = Field(min_length=1, description='sensors, nodes or loudspeakers by id, or "*" for all')
    raise_at: float | None = None
    clear_at: float | None = None
    raise_after_s: float | None = Field(None, ge=0, description="for how long the bound must be passed")
    raise_samples: int | None = Field(None, ge=1, description="by how many readings in a row, at least")
    clear_after_s: float | None = Field(None, ge=0, description="for how long it must be past the clear bound")
    late_after_s: float = Field(
        900.0, gt=0, description="a reading older than this when heard raises and clears nothing"
    )
    severity: Severity | None = None
    window_s: float | None = Field(None, ge=60, le=7 * 86_400, description="rain: the time over which it is summed")
    to: Slug | None = Field(None, description="upstream: the station that the flood will reach")
    travel_s: float | None = Field(None, gt=0, le=30 * 86_400, description="upstream: how long it takes to get there")
    level: Annotated[int, Field(ge=1, le=4)] | None = Field(None, description="rise: the least level worth a word")
    text: str = Field("", max_length=120, description="what it is, in Vietnamese, where the built-in words don't fit")
    text_en: str = Field("", max_length=120)

    @property
    def spec(self) -> Spec:
        return SPECS[self.kind]

    @property
    def grave(self) -> Severity:
        """The severity, by default that of the kind."""
        return self.severity or self.spec.severity

    def scale(self, unit: str) -> Scale | None:
        return self.spec.scales.get(unit) or self.spec.scales.get("")

    def bounds(self, unit: str) -> Bounds:
        """The bounds for a thing in this unit. Raises ValueError in the words of :func:`.watching.faults`."""
        scale = self.scale(unit)
        if scale is None:
            raise ValueError(f"is in {unit!r}; {self.kind} can take {', '.join(self.spec.scales)}")
        raise_at = scale.raise_at if self.raise_at is None else self.raise_at
        if raise_at is None:
            raise ValueError(f"{self.kind} needs raise_at, in {self.spec.unit(unit)}")
        clear_at = scale.clear_at(raise_at) if self.clear_at is None else self.clear_at
        if clear_at is None:
            raise ValueError(f"{self.kind} needs clear_at, in {self.spec.unit(unit)}")
        if (clear_at >= raise_at) if scale.above else (clear_at <= raise_at):
            side = "below" if scale.above else "above"
            raise ValueError(f"clear_at {clear_at:g} must lie {side} raise_at {raise_at:g}")
        spec = self.spec
        return Bounds(
            scale.above,
            raise_at,
            clear_at,
            round(1000 * (spec.raise_after_s if self.raise_after_s is None else self.raise_after_s)),
            spec.raise_samples if self.raise_samples is None else self.raise_samples,
            round(1000 * (spec.clear_after_s if self.clear_after_s is None else self.clear_after_s)),
        )
