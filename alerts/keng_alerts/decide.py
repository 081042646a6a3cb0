"""From a change of level to what follows: the alert document and, where the authority mode says so, an order.

Pure. One play for a gauge, a level and an episode: its name says all three, and a loudspeaker plays no name twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from keng_alerts import texts
from keng_alerts.hazard import Change, State, Transition
from keng_contracts.alerts import AlertDocument, Delivery, Hazard
from keng_contracts.commands import Cause, Item, Play, Priority, Refusal, Siren, Speech
from keng_contracts.derived import SPECS, DerivedKind
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import Authority, AuthorityMode, Registry, Sensor, Station
from keng_signals.physics import water_level_m

#: A first sample softer than this, in dBFS, is no proof that anybody heard it.
AUDIBLE_DBFS = -50.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """The reading that brought a change about, and when it passed each place (ms since 1970 UTC)."""

    measured_ms: int
    made_ms: int
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Order:
    """A play for the loudspeakers of some zones, and by whose authority."""

    zones: tuple[str, ...]
    play: Play
    delegated_by: str


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

    def level(self, value: float) -> float:
        """The level that a reading means, in the thresholds' unit."""
        return value if self.above_datum_m is None else water_level_m(value * self.to_m, self.above_datum_m)

    def thresholds(self, at_ms: int) -> dict[int, float]:
        """Thresholds by level that hold at a time, by the commune's calendar."""
        day = local_day(at_ms, self.registry)
        return {level: row.value for level, row in self.registry.thresholds_of(self.sensor.id, day).items()}

    def authority(self, level: int) -> Authority | None:
        rows = (a for a in self.registry.authority if a.sensor == self.sensor.id and a.level == level)
        return next(rows, None)

    def loudspeakers(self, zones: tuple[str, ...]) -> list[str]:
        return [s.id for s in self.registry.speakers if set(s.zones) & set(zones)]


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
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(registry.commune.timezone)).date()


def decide(
    gauge: Gauge, state: State, change: Transition, before: AlertDocument | None, evidence: Evidence, now_ms: int
) -> tuple[AlertDocument, Order | None]:
    """The alert after a change of level, and the order that follows from it, if any.

    No order follows from lowering, from a sample that was old when it was heard, or from a level that the registry
    leaves to people.
    """
    threshold = gauge.thresholds(change.time_ms).get(change.after)
    authority = gauge.authority(change.after)
    order = None
    if change.change is Change.RAISED and authority is not None and authority.mode is AuthorityMode.AUTO:
        age_ms = evidence.heard_ms - evidence.measured_ms
        late = age_ms > gauge.registry.hazard_rule_of(gauge.sensor.id).late_after_s * 1000
        if not late and authority.zones:
            play = _play(gauge, state, change, authority, evidence, now_ms)
            order = Order(tuple(authority.zones), play, authority.delegated_by)
    new_episode = before is None or before.episode != state.episode
    document = AlertDocument(
        id=gauge.alert_id,
        version=before.version + 1 if before else 1,
        commune=gauge.registry.commune.id,
        sensor=gauge.sensor.id,
        station=gauge.station.id,
        episode=state.episode,
        level=state.level,
        peak_level=state.peak_level,
        official=bool(gauge.station.official),
        exercise=gauge.registry.commune.exercise,
        hazard=Hazard.RAISED if state.level else Hazard.CLEARED,
        mode=authority.mode if authority else AuthorityMode.MANUAL,
        value=change.value,
        unit=gauge.sensor.unit,
        threshold=threshold,
        raised_ms=change.time_ms if new_episode or before is None else before.raised_ms,
        updated_ms=change.time_ms,
        cleared_ms=None if state.level else change.time_ms,
        headline=texts.headline(state.level, gauge.station, gauge.sensor, change.value, threshold),
        headline_en=texts.headline_en(state.level, gauge.station, gauge.sensor, change.value, threshold),
        play=order.play.play if order else "",
        deliveries=dict.fromkeys(gauge.loudspeakers(order.zones), Delivery.PENDING) if order else {},
    )
    return document, order


def _play(
    gauge: Gauge, state: State, change: Transition, authority: Authority, evidence: Evidence, now_ms: int
) -> Play:
    items: list[Item] = []
    pattern = next((s for s in gauge.registry.sirens if s.id == authority.siren), None)
    if pattern is not None:
        items.append(
            Siren(
                pattern=pattern.id,
                blasts=pattern.blasts,
                blast_s=pattern.blast_s,
                gap_s=pattern.gap_s,
                repeats=pattern.repeats,
            )
        )
    text = texts.spoken(change.after, gauge.registry, gauge.station, gauge.sensor, change.value)
    items.append(Speech(lang="vi", text=text))
    return Play(
        play=f"{gauge.alert_id}-{state.episode}-{change.after}",
        priority=Priority.EMERGENCY,
        rank=change.after,
        items=items,
        exercise=gauge.registry.commune.exercise,
        cause=Cause(
            alert=gauge.alert_id,
            episode=state.episode,
            level=change.after,
            measured_ms=evidence.measured_ms,
            made_ms=evidence.made_ms,
            heard_ms=evidence.heard_ms,
            decided_ms=now_ms,
        ),
    )


#: How far a delivery has come once an event is known. A row that is missing moves nothing.
_DELIVERY: dict[What, Delivery] = {
    What.ACCEPTED: Delivery.ORDERED,
    What.STARTED: Delivery.PLAYING,
    What.FINISHED: Delivery.CONFIRMED,
    What.SILENT: Delivery.FAILED,
    What.FAILED: Delivery.FAILED,
    What.REFUSED: Delivery.FAILED,
}
_RANK = [Delivery.PENDING, Delivery.ORDERED, Delivery.FAILED, Delivery.PLAYING, Delivery.CONFIRMED]


def deliver(document: AlertDocument, speaker: str, event: PlaybackEvent) -> AlertDocument | None:
    """The alert after an event of a loudspeaker, or None if the event says nothing new about it.

    Confirmed means measured: the sound's own level at the loudspeaker's output, not the player's word. What was once
    confirmed stays so.
    """
    if not event.play or event.play != document.play or speaker not in document.deliveries:
        return None
    if event.what is What.REFUSED and event.reason == Refusal.REPLAYED:
        return None  # a copy of an order that the loudspeaker has already: it says nothing about the first
    reached = _DELIVERY.get(event.what)
    if event.what is What.STARTED and event.level_dbfs is not None and event.level_dbfs > AUDIBLE_DBFS:
        reached = Delivery.CONFIRMED
    before = document.deliveries[speaker]
    if reached is None or _RANK.index(reached) <= _RANK.index(before):
        return None
    deliveries = {**document.deliveries, speaker: reached}
    return document.model_copy(update={"deliveries": deliveries, "version": document.version + 1})
