"""What the registry says around a gauge. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from keng_contracts.derived import SPECS, DerivedKind
from keng_contracts.registry import Registry, Sensor, Speaker, Station
from keng_signals.physics import water_level_m


@dataclass(frozen=True, slots=True)
class Gauge:
    """A sensor with thresholds, and what the registry says around it.

    A gauge that hears the distance to the water has ``above_datum_m``, how high its sensor hangs above the datum, and
    ``to_m``, the factor from its readings' unit into metres; ``sensor`` is then the water level made of it.
    """

    sensor: Sensor
    station: Station
    registry: Registry
    above_datum_m: float | None = None
    to_m: float = 1.0

    @property
    def alert_id(self) -> str:
        return self.sensor.id.replace("/", "-")

    @property
    def late_after_ms(self) -> float:
        """What is older than this starts nothing by itself."""
        return self.registry.hazard_rule_of(self.sensor.id).late_after_s * 1000

    def level(self, value: float) -> float:
        """The level that a reading means, in the thresholds' unit."""
        return value if self.above_datum_m is None else water_level_m(value * self.to_m, self.above_datum_m)

    def thresholds(self, at_ms: int) -> dict[int, float]:
        """Thresholds by level that hold at a time, by the commune's calendar."""
        day = local_day(at_ms, self.registry)
        return {level: row.value for level, row in self.registry.thresholds_of(self.sensor.id, day).items()}

    def loudspeakers(self, zones: Iterable[str]) -> list[Speaker]:
        wanted = set(zones)
        return [s for s in self.registry.speakers if wanted & set(s.zones)]


def gauges(registry: Registry) -> dict[str, Gauge]:
    """Every sensor with a threshold, its own or that of the water level made of it, by the full series it reports."""
    stations = {station.id: station for station in registry.stations}
    sensors = {sensor.id: sensor for sensor in registry.sensors}
    found: dict[str, Gauge] = {}
    for id_ in sorted({threshold.sensor for threshold in registry.thresholds}):
        sensor, station = sensors.get(id_), stations[id_.split("/")[0]]
        if sensor is not None:
            found[registry.series(sensor)] = Gauge(sensor, station, registry)
    for derived in registry.derived:
        if derived.kind is DerivedKind.WATER_LEVEL and any(t.sensor == derived.id for t in registry.thresholds):
            heard = sensors[derived.inputs["distance"]]
            made = heard.model_copy(
                update={"id": derived.id, "name": derived.name, "unit": derived.unit, "decimals": derived.decimals}
            )
            found[registry.series(heard)] = Gauge(
                made,
                stations[derived.id.split("/")[0]],
                registry,
                derived.parameters["sensor_above_datum_m"],
                SPECS[derived.kind].inputs["distance"][heard.unit],
            )
    return found


def local_day(at_ms: int, registry: Registry) -> date:
    return _local(at_ms, registry).date()


def local_time(at_ms: int, registry: Registry) -> time:
    """The time of day by the commune's clocks: 3:15 at night in Huế is 20:15 UTC of the day before."""
    return _local(at_ms, registry).time()


def _local(at_ms: int, registry: Registry) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(registry.commune.timezone))
