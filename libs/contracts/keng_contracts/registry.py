"""The registry: what a commune has and what its thresholds mean. Owned by the console, read by all.

It is written by people as ``commune.toml``, checked here, and travels as one signed, versioned,
retained document. Nothing about a gauge is a constant in code: thresholds carry their datum,
their legal source and the day from which they hold.
"""

from __future__ import annotations

from datetime import date, time
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keng_contracts import authority, derived, watching
from keng_contracts.authority import Authority, AuthorityMode, Delegation, Level, ResponseRule
from keng_contracts.derived import SPECS, DerivedKind
from keng_contracts.names import SensorId, Slug
from keng_contracts.rules import Rule
from keng_contracts.watching import Known

__all__ = [
    "Authority",
    "AuthorityMode",
    "Commune",
    "Delegation",
    "Derived",
    "HazardRule",
    "Level",
    "Quality",
    "Registry",
    "ResponseRule",
    "Sensor",
    "SirenPattern",
    "Speaker",
    "Station",
    "Threshold",
    "Zone",
]


Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class _Strict(BaseModel):
    # TOML has "nan", which compares false with everything: a threshold that no water reaches.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Commune(_Strict):
    id: Slug
    name: str = Field(description="as people write it, e.g. Xã Quảng Thọ")
    province: str = ""
    timezone: str = "Asia/Ho_Chi_Minh"
    codes: dict[str, str] = Field(
        {}, description="official codes of its area, by what they are called: how CAP messages name it (geocode)"
    )
    exercise: bool = Field(
        False, description="everything that this commune says is marked as a drill (diễn tập) on pages and loudspeakers"
    )
    languages: list[Literal["vi", "en"]] = Field(
        ["vi"], min_length=1, description="what is said of an alert is said in each of these, in this order"
    )


class Station(_Strict):
    id: Slug
    name: str
    river: str = ""
    lat: float | None = Field(None, ge=-90, le=90)
    lon: float | None = Field(None, ge=-180, le=180)
    official: str = Field(
        "", description="code of the official hydrological station that this gauge is; empty for a local gauge"
    )


class Quality(_Strict):
    """What streaming quality control tests a sensor by, beside ``range`` and ``sentinels``: see keng_signals.quality.

    A limit that is left out isn't tested. All of them only ever make a reading suspect: a flash flood is real, and a
    crest is flat. Values are in the sensor's unit.
    """

    suspect_range: tuple[float, float] | None = Field(
        None, description="outside of it a value is possible, but odd here"
    )
    spike: float | None = Field(None, gt=0, description="most that a value may differ from the median of the last five")
    rate_per_h: float | None = Field(None, gt=0, description="fastest real change in an hour")
    noise: float = Field(0.0, ge=0, description="what the instrument's unrest adds between two readings, for the rate")
    confirm: int = Field(
        2, ge=1, le=60, description="fresh readings that must agree with one beyond the rate before it is believed"
    )
    doubt: float | None = Field(
        None,
        ge=0,
        le=100,
        description="of a sensor that has jumped before, a jump must last this many times as long as the fastest real "
        "change would have taken, at most, to be believed; 0: no longer than of any other",
    )
    flat_after_s: float | None = Field(None, gt=0, description="a value that stands still for as long is suspect")
    flat_tolerance: float = Field(0.0, ge=0, description="largest spread that counts as standing still")
    gap_intervals: float = Field(3.0, ge=1, description="so many intervals without a reading are a gap")

    @model_validator(mode="after")
    def _low_before_high(self) -> Self:
        if self.suspect_range is not None and self.suspect_range[0] > self.suspect_range[1]:
            raise ValueError("suspect_range: the lower bound comes first")
        return self


class Sensor(_Strict):
    """One series. ``range`` is what the instrument can physically mean; ``sentinels`` are its words for 'no value'."""

    id: SensorId
    name: str
    node: Slug = Field(description="the edge agent that may report it")
    unit: str = Field(description="SenML or UCUM symbol")
    range: tuple[float, float] | None = None
    sentinels: list[float] = []
    interval_s: float = Field(60.0, gt=0, description="the time between two readings when all is well")
    decimals: int = Field(2, ge=0, le=4)
    quality: Quality = Quality()


class Derived(_Strict):
    """A series that is made of others: see keng_contracts.derived for the kinds, their inputs and parameters."""

    id: SensorId
    name: str
    kind: DerivedKind
    inputs: dict[str, SensorId] = Field(description="the sensor of each input, by the input's name")
    parameters: dict[str, float] = {}
    decimals: int = Field(1, ge=0, le=4)

    @property
    def unit(self) -> str:
        return SPECS[self.kind].unit


class Threshold(_Strict):
    """One warning level of a gauge, in the unit and above the datum of the gauge itself."""

    sensor: SensorId
    level: Level
    value: float
    datum: str = Field(description="what zero means at this gauge")
    source: str = Field(description="the legal text, or who decided a local level")
    valid_from: date


class HazardRule(_Strict):
    """When a gauge's level counts as crossed, and when as over. Durations in seconds of sample time."""

    sensor: SensorId
    raise_samples: int = Field(3, ge=1, description="good samples at or above the threshold that raise it")
    raise_pair_span_s: float = Field(300.0, ge=0, description="or two such samples at least this far apart")
    raise_window_s: float = Field(1800.0, gt=0, description="a gap longer than this starts the count again")
    dead_band: float = Field(0.10, ge=0, description="how far below the threshold the level must fall to clear")
    clear_after_s: float = Field(2700.0, ge=0, description="for how long it must stay there")
    late_after_s: float = Field(900.0, gt=0, description="a sample older than this when heard is history: no siren")


class Zone(_Strict):
    """An area that is spoken to as one. ``polygon`` is its border as (latitude, longitude) in degrees, WGS 84."""

    id: Slug
    name: str
    codes: dict[str, str] = Field({}, description="official codes of its area, as those of the commune")
    polygon: list[tuple[Latitude, Longitude]] = Field(
        [], max_length=200, description="its border, three points or more; the last one need not repeat the first"
    )

    @model_validator(mode="after")
    def _an_area(self) -> Self:
        if self.polygon and len(set(self.polygon)) < 3:
            raise ValueError("polygon: an area has three corners or more")
        return self


class Speaker(_Strict):
    id: Slug
    name: str
    zones: list[Slug] = []
    lat: float | None = Field(None, ge=-90, le=90)
    lon: float | None = Field(None, ge=-180, le=180)


class SirenPattern(_Strict):
    """Blasts of ``blast_s`` seconds with ``gap_s`` between them, the whole played ``repeats`` times."""

    id: Slug
    blasts: int = Field(ge=1, le=20)
    blast_s: float = Field(gt=0, le=120)
    gap_s: float = Field(ge=0, le=120)
    repeats: int = Field(1, ge=1, le=5)
    source: str = ""


class Registry(_Strict):
    """The whole document. ``version`` grows with every change; a consumer never goes back."""

    schema_: Literal["keng.registry/1"] = Field("keng.registry/1", alias="schema")
    version: int = Field(ge=1)
    commune: Commune
    stations: list[Station] = []
    sensors: list[Sensor] = []
    derived: list[Derived] = []
    thresholds: list[Threshold] = []
    hazard_rules: list[HazardRule] = []
    zones: list[Zone] = []
    speakers: list[Speaker] = []
    sirens: list[SirenPattern] = []
    authority: list[Authority] = []
    delegations: list[Delegation] = []
    response_rules: list[ResponseRule] = []
    rules: list[Rule] = []
    quiet_hours: tuple[time, time] = (time(21, 30), time(5, 0))

    @model_validator(mode="after")
    def _names_exist_once(self) -> Self:
        faults: list[str] = []

        def unique(what: str, ids: list[str]) -> set[str]:
            faults.extend(f"{what} {id_!r} is there twice" for id_ in sorted({i for i in ids if ids.count(i) > 1}))
            return set(ids)

        def known(what: str, id_: str, names: set[str], where: str) -> None:
            if id_ not in names:
                there = ", ".join(sorted(names)) or "none"
                faults.append(f"{where}: there is no {what} {id_!r} (there are: {there})")

        stations = unique("station", [s.id for s in self.stations])
        sensors = unique("sensor", [s.id for s in self.sensors])
        unique("series", [*sensors, *(d.id for d in self.derived)])
        zones = unique("zone", [z.id for z in self.zones])
        unique("speaker", [s.id for s in self.speakers])
        sirens = unique("siren", [s.id for s in self.sirens])
        unique("hazard rule", [r.sensor for r in self.hazard_rules])
        unique("response rule", [r.sensor for r in self.response_rules])
        unique("delegation", [d.id for d in self.delegations])
        for sensor in self.sensors:
            known("station", sensor.id.split("/")[0], stations, f"sensor {sensor.id}")
        units = {s.id: s.unit for s in self.sensors}
        for made in self.derived:
            where = f"derived {made.id}"
            known("station", made.id.split("/")[0], stations, where)
            for sensor_id in made.inputs.values():
                known("sensor", sensor_id, sensors, where)
            of = {name: units.get(sensor_id) for name, sensor_id in made.inputs.items()}
            faults.extend(f"{where}: {fault}" for fault in derived.faults(made.kind, of, made.parameters))
        # A gauge is a sensor, or the water level that is made of a distance sensor's readings.
        watched = sensors | {d.id for d in self.derived if d.kind is DerivedKind.WATER_LEVEL}
        for name, rows in (
            ("threshold", self.thresholds),
            ("hazard rule", self.hazard_rules),
            ("authority", self.authority),
            ("response rule", self.response_rules),
        ):
            for row in rows:
                known("sensor", row.sensor, watched, name)
        for speaker in self.speakers:
            for zone in speaker.zones:
                known("zone", zone, zones, f"speaker {speaker.id}")
        for rule in self.authority:
            for zone in rule.zones:
                known("zone", zone, zones, f"authority for {rule.sensor}")
            if rule.siren is not None:
                known("siren", rule.siren, sirens, f"authority for {rule.sensor}")
        for delegation in self.delegations:
            for id_ in delegation.sensors:
                known("sensor", id_, watched, f"delegation {delegation.id}")
        levels: dict[str, set[int]] = {}
        for threshold in self.thresholds:
            levels.setdefault(threshold.sensor, set()).add(threshold.level)
        given = {delegation.id: delegation for delegation in self.delegations}
        rows = [row for row in self.authority if row.sensor in watched]
        faults.extend(authority.faults(rows, given, {sensor: frozenset(of) for sensor, of in levels.items()}))
        faults.extend(watching.faults(self.rules, self.known))
        if faults:
            raise ValueError("; ".join(dict.fromkeys(faults)))
        return self

    @property
    def known(self) -> Known:
        """What the rules of this registry can watch."""
        return Known(
            sensors={s.id: s.unit for s in self.sensors},
            derived={d.id: (d.kind.value, d.unit) for d in self.derived},
            gauges=frozenset(t.sensor for t in self.thresholds),
            nodes=frozenset(s.node for s in self.sensors),
            speakers=frozenset(s.id for s in self.speakers),
            stations=frozenset(s.id for s in self.stations),
            distances=frozenset(
                id_ for d in self.derived if d.kind is DerivedKind.WATER_LEVEL for id_ in d.inputs.values()
            ),
        )

    def series(self, sensor: Sensor | Derived) -> str:
        """The full series name of a sensor or of what is derived, ``<commune>/<station>/<quantity>``."""
        return f"{self.commune.id}/{sensor.id}"

    def thresholds_of(self, sensor: str, on: date) -> dict[int, Threshold]:
        """The thresholds of a sensor that hold on a day, by level; of several rows the newest wins."""
        rows = sorted(
            (t for t in self.thresholds if t.sensor == sensor and t.valid_from <= on), key=lambda t: t.valid_from
        )
        return {row.level: row for row in rows}

    def hazard_rule_of(self, sensor: str) -> HazardRule:
        """The rule of a sensor, or the defaults where the registry has none."""
        return next((r for r in self.hazard_rules if r.sensor == sensor), HazardRule(sensor=sensor))

    def delegation_of(self, row: Authority) -> str:
        """Who let a row's siren sound by itself, in words; whether it is in force on a day is another question."""
        given = next((d for d in self.delegations if d.id == row.delegation), None)
        return f"{given.words()}, until {given.valid_until}" if given else row.delegated_by

    def response_rule_of(self, sensor: str) -> ResponseRule:
        """The rule of a sensor, or the defaults where the registry has none."""
        return next((r for r in self.response_rules if r.sensor == sensor), ResponseRule(sensor=sensor))
