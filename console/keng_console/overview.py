"""From what is known and the time to what is shown. Pure; the result is the plain data of ``keng_console.views``.

The headline is one table, first match wins:

=============  =======================================================================================
NO_REGISTRY    there is no valid registry yet
ALERT          an alert is raised that is no drill: the highest level, by official before local, leads
BLIND          no alert, but a gauge gives no usable data, or the broker is away: nobody may feel safe
ABOVE          no alert, but a gauge stands at or above one of its thresholds (alerts has not decided)
CALM           every gauge reports, and all stand below their lowest threshold
=============  =======================================================================================

Missing data never clears anything: an alert stays, and says how old its gauge's data are (``data``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from keng_console import nodes
from keng_console.cap.judge import OPEN, Bulletin, Verdict
from keng_console.live import CHART_ROWS, Live, Track, gauges, usable
from keng_console.views import (
    AlarmView,
    AlertView,
    BulletinView,
    Chart,
    DeliveryView,
    Freshness,
    GaugeView,
    Headline,
    Measured,
    NotifierView,
    Overview,
    SensorView,
    Situation,
    StationView,
    ThresholdView,
)
from keng_contracts.alerts import FLOOD, AlertDocument, DataState, Forecast, Hazard
from keng_contracts.registry import Registry, Sensor, Station
from keng_contracts.rules import Severity
from keng_contracts.telemetry import Flag
from keng_store.protocol import Row

STALE_AFTER, DEAD_AFTER = 3, 6  # intervals without a usable reading
#: A level chart costs some 8 KB; of more gauges than this, the most endangered have one.
MAX_CHARTS = 4
#: For how long an alert that is over is still told.
CLEARED_SHOWN_MS = 24 * 3_600_000
HOUR_MS = 3_600_000
SHORTEST_CHART_MS = 10_000
#: What alerts says of a gauge's data, as the page counts it.
_AS_TOLD: dict[DataState | None, Freshness] = {DataState.STALE: Freshness.STALE, DataState.DEAD: Freshness.DEAD}


def overview(
    live: Live,
    now_ms: int,
    *,
    chart_hours: float,
    time_lapse: float = 1.0,
    registry_fault: str = "",
    registry_taken_ms: int | None = None,
) -> Overview:
    """All that the page shows at ``now_ms``."""
    registry = live.registry
    if registry is None:
        return Overview(
            now_ms=now_ms,
            commune="",
            province="",
            timezone="Asia/Ho_Chi_Minh",
            exercise=False,
            time_lapse=time_lapse,
            chart_hours=chart_hours,
            registry_version=None,
            registry_taken_ms=None,
            registry_fault=registry_fault,
            broker_connected=live.broker_connected,
            store_readable=live.store_readable,
            headline=Headline(Situation.NO_REGISTRY),
            alerts=[],
            alarms=[],
            gauges=[],
            stations=[],
            speakers=[],
            nodes=[],
            bulletins=[],
        )
    stations = {station.id: station for station in registry.stations}
    alerts = _alerts(live, registry, stations, now_ms)
    gauge_views = _gauges(live, registry, stations, now_ms, chart_hours, time_lapse, alerts)
    return Overview(
        now_ms=now_ms,
        commune=registry.commune.name,
        province=registry.commune.province,
        timezone=registry.commune.timezone,
        exercise=registry.commune.exercise,
        time_lapse=time_lapse,
        chart_hours=chart_hours,
        registry_version=registry.version,
        registry_taken_ms=registry_taken_ms,
        registry_fault=registry_fault,
        broker_connected=live.broker_connected,
        store_readable=live.store_readable,
        headline=_headline(live, [alert for alert in alerts if not live.alerts[alert.id].drill_of], gauge_views),
        alerts=alerts,
        alarms=_alarms(live),
        gauges=gauge_views,
        stations=_stations(live, registry, now_ms),
        speakers=nodes.speakers(live, registry),
        nodes=nodes.edges(live, registry),
        bulletins=_bulletins(live, registry),
        unproven=len(live.unproven),
        notifier=_notifier(live),
    )


def _notifier(live: Live) -> NotifierView | None:
    """None where there is no notifier, or none was ever heard."""
    if live.notifier is None:
        return None
    said = live.notifier.said
    return NotifierView(said.state == "online", said.waiting, said.problems)


def _bulletins(live: Live, registry: Registry) -> list[BulletinView]:
    """What came in from those whom the console knows: words that nobody has proven are on no page."""
    names = {zone.id: zone.name for zone in registry.zones}
    return [
        BulletinView(
            row.received_ms,
            row.signer,
            row.headline,
            Bulletin(row.bulletin),
            Verdict(row.verdict),
            [names.get(zone, zone) for zone in row.zones.split(",") if zone],
            row.detail,
            Verdict(row.verdict) in OPEN and row.play != "",
        )
        for row in live.bulletins
    ]


# -- the situation ----------------------------------------------------------------------------------------------


def _headline(live: Live, alerts: Sequence[AlertView], gauge_views: Sequence[GaugeView]) -> Headline:
    blind = [g.station for g in gauge_views if g.sensor.freshness in (Freshness.DEAD, Freshness.NONE)]
    raised = [alert for alert in alerts if alert.raised]
    if raised:
        top = raised[0]
        return Headline(
            Situation.ALERT,
            level=top.level,
            official=top.official,
            station=top.station,
            others=len({alert.station for alert in raised} - {top.station}),
            since_ms=top.updated_ms,
            gauge=top.id,
            data=top.data,
            unwatched=top.unwatched,
            blind=[station for station in blind if station != top.station],
        )
    if blind or not live.broker_connected:
        return Headline(Situation.BLIND, blind=blind)
    high = max((g for g in gauge_views if g.above), key=lambda g: (g.above, g.official), default=None)
    if high is not None:
        return Headline(
            Situation.ABOVE, level=high.above, official=high.official, station=high.station, gauge=high.slug
        )
    return Headline(Situation.CALM)


def _alerts(live: Live, registry: Registry, stations: dict[str, Station], now_ms: int) -> list[AlertView]:
    sensors = {sensor.id: sensor for sensor in registry.sensors}
    speakers = {speaker.id: speaker.name for speaker in registry.speakers}
    views = []
    for document in live.alerts.values():
        if document.kind != FLOOD:
            continue
        raised = document.hazard is Hazard.RAISED and document.level > 0
        ended_ms = document.cleared_ms or document.updated_ms
        if not raised and (document.episode == 0 or now_ms - ended_ms > CLEARED_SHOWN_MS):
            continue
        sensor = sensors.get(document.sensor.removeprefix(registry.commune.id + "/"))
        station = stations.get(document.station) or (stations.get(sensor.id.split("/")[0]) if sensor else None)
        track = live.tracks.get(registry.series(sensor)) if sensor else None
        own = _freshness(track, sensor, now_ms) if sensor else Freshness.NONE
        data = max(own, _AS_TOLD.get(document.data, Freshness.FRESH), key=list(Freshness).index)
        newest = track.newest_usable if track else None
        views.append(
            AlertView(
                id=document.id,
                raised=raised,
                level=document.level,
                peak_level=max(document.peak_level, document.level),
                official=document.official,
                exercise=document.exercise or registry.commune.exercise,
                station=station.name if station else document.station,
                mode=document.mode,
                value=document.value,
                unit=document.unit,
                decimals=sensor.decimals if sensor else 2,
                threshold=document.threshold,
                raised_ms=document.raised_ms,
                updated_ms=document.updated_ms,
                cleared_ms=document.cleared_ms,
                play=document.play,
                deliveries=[
                    DeliveryView(id_, speakers.get(id_, id_), state)
                    for id_, state in sorted(document.deliveries.items())
                ],
                data=data,
                suspect=document.data is DataState.SUSPECT,
                unwatched=raised and (document.unwatched or data in (Freshness.DEAD, Freshness.NONE)),
                reading=_measured(newest) if newest else None,
            )
        )
    return sorted(views, key=lambda a: (not a.raised, -a.level, not a.official, -a.updated_ms))


def _alarms(live: Live) -> list[AlarmView]:
    """The gravest first; what another alert says already is left out."""
    views = [
        AlarmView(d.id, d.severity or Severity.MODERATE, d.exercise, d.raised_ms, d.headline, d.headline_en)
        for d in live.alerts.values()
        if d.kind != FLOOD and d.hazard is Hazard.RAISED and not d.muted_by
    ]
    order = list(Severity)
    return sorted(views, key=lambda a: (-order.index(a.severity), -a.raised_ms, a.id))


# -- readings ---------------------------------------------------------------------------------------------------


def _freshness(track: Track | None, sensor: Sensor, now_ms: int) -> Freshness:
    newest = track.newest_usable if track else None
    if newest is None:
        return Freshness.NONE
    intervals = (now_ms - newest.time_ms) / 1000 / sensor.interval_s
    if intervals > DEAD_AFTER:
        return Freshness.DEAD
    return Freshness.STALE if intervals > STALE_AFTER else Freshness.FRESH


def _sensor(track: Track | None, sensor: Sensor, now_ms: int) -> SensorView:
    good = track.newest_usable if track else None
    newest = track.newest if track else None
    return SensorView(
        id=sensor.id,
        name=sensor.name,
        unit=sensor.unit,
        decimals=sensor.decimals,
        interval_s=sensor.interval_s,
        freshness=_freshness(track, sensor, now_ms),
        reading=_measured(good) if good else None,
        rejected=_measured(newest) if newest and newest is not good else None,
    )


def _measured(row: Row) -> Measured:
    return Measured(row.value, row.time_ms, row.flag)


def _gauges(
    live: Live,
    registry: Registry,
    stations: dict[str, Station],
    now_ms: int,
    chart_hours: float,
    time_lapse: float,
    alerts: Sequence[AlertView],
) -> list[GaugeView]:
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(registry.commune.timezone)).date()
    start_ms, end_ms = window(now_ms, chart_hours)
    danger = {alert.id: alert.level for alert in alerts if alert.raised}
    found: list[tuple[GaugeView, list[Row]]] = []
    for sensor in gauges(registry):
        track = live.tracks.get(registry.series(sensor))
        view = _sensor(track, sensor, now_ms)
        station = stations[sensor.id.split("/")[0]]
        thresholds = [
            ThresholdView(level, row.value, row.datum, row.source)
            for level, row in sorted(live.thresholds(sensor.id, today).items())
        ]
        level = view.reading.value if view.reading else None
        rows = track.since(start_ms) if track else []
        gauge = GaugeView(
            slug=sensor.id.replace("/", "-"),
            sensor=view,
            station=station.name,
            river=station.river,
            official=bool(station.official),
            thresholds=thresholds,
            above=max((t.level for t in thresholds if level is not None and level >= t.value), default=0),
            next=next((t for t in thresholds if level is not None and level < t.value), None),
            rate=_rate(rows, sensor, chart_hours, time_lapse) if view.freshness is Freshness.FRESH else None,
            forecast=None,
            chart=None,
        )
        gauge = replace(gauge, forecast=_forecast(live.alerts.get(gauge.slug), gauge, now_ms, time_lapse))
        found.append((gauge, rows))
    ranked = sorted(found, key=lambda pair: (-max(danger.get(pair[0].slug, 0), pair[0].above), _room(pair[0])))
    charted = {gauge.slug for gauge, _ in ranked[:MAX_CHARTS]}
    return [
        replace(gauge, chart=_chart(rows, start_ms, end_ms, gauge.sensor.interval_s))
        if gauge.slug in charted
        else gauge
        for gauge, rows in found
    ]


def _forecast(document: AlertDocument | None, gauge: GaugeView, now_ms: int, time_lapse: float) -> Forecast | None:
    """The alert's forecast while it can still be meant: by fresh data, of a level above the present one, and not past.

    A rise that slows may come after the expected time; an hour after it, nobody is told to expect it."""
    ahead = document.forecast if document else None
    if ahead is None or gauge.sensor.freshness is not Freshness.FRESH or ahead.level <= gauge.above:
        return None
    if now_ms > (ahead.latest_ms or ahead.expected_ms + HOUR_MS):
        return None
    return ahead.model_copy(update={"rate_per_h": ahead.rate_per_h / time_lapse})


def _room(gauge: GaugeView) -> float:
    """How far the level is below the next threshold; what has no data comes first, for nobody knows."""
    if gauge.sensor.reading is None:
        return -1.0
    return gauge.next.value - gauge.sensor.reading.value if gauge.next else 0.0


def window(now_ms: int, hours: float) -> tuple[int, int]:
    """Start and end of a chart, in ms. It moves on in steps of 1/500 of its span, so that a chart without new data
    changes no sooner than by a pixel or two."""
    span = max(SHORTEST_CHART_MS, round(hours * HOUR_MS))
    step = max(1, span // 500)
    end_ms = -(-now_ms // step) * step
    return end_ms - span, end_ms


def _chart(rows: Sequence[Row], start_ms: int, end_ms: int, interval_s: float) -> Chart:
    shown = [_measured(row) for row in rows if usable(row) and row.time_ms <= end_ms]
    sure = [row for row in shown if row.time_ms >= start_ms and row.flag is not Flag.SUSPECT]
    bucket_ms = (end_ms - start_ms) // (CHART_ROWS // 2)
    return Chart(
        start_ms,
        end_ms,
        gap_ms=max(round(STALE_AFTER * interval_s * 1000), 2 * bucket_ms),
        rows=shown,
        highest=max(sure, key=lambda row: row.value, default=None),
    )


def _rate(rows: Sequence[Row], sensor: Sensor, chart_hours: float, time_lapse: float) -> float | None:
    """The slope of a straight line by least squares through the newest good rows, in units an hour.

    Over an eighth of the chart, at most an hour, at least three intervals; None with less than two rows in it.
    """
    good = [row for row in rows if usable(row)]
    if not good:
        return None
    span_ms = max(min(HOUR_MS, chart_hours * HOUR_MS / 8), 3 * sensor.interval_s * 1000)
    recent = [row for row in good if row.time_ms >= good[-1].time_ms - span_ms]
    if len(recent) < 2:
        return None
    times = [(row.time_ms - recent[-1].time_ms) / HOUR_MS for row in recent]
    mean_t = sum(times) / len(times)
    mean_v = sum(row.value for row in recent) / len(recent)
    spread = sum((t - mean_t) ** 2 for t in times)
    if spread == 0:
        return None
    slope = sum((t - mean_t) * (row.value - mean_v) for t, row in zip(times, recent, strict=True)) / spread
    return slope / time_lapse


def _stations(live: Live, registry: Registry, now_ms: int) -> list[StationView]:
    charted = {sensor.id for sensor in gauges(registry)}
    sensors: dict[str, list[SensorView]] = {station.id: [] for station in registry.stations}
    for sensor in registry.sensors:
        if sensor.id not in charted:
            track = live.tracks.get(registry.series(sensor))
            sensors[sensor.id.split("/")[0]].append(_sensor(track, sensor, now_ms))
    return [StationView(s.id, s.name, s.river, sensors[s.id]) for s in registry.stations if sensors[s.id]]
