"""What the page says, from what is known and the time."""

from __future__ import annotations

from typing import Any

import pytest

from keng_console.live import MAX_PLAYBACK, Live, Track
from keng_console.overview import MAX_CHARTS, overview, window
from keng_console.views import Freshness, Overview, Situation
from keng_contracts.alerts import DataState, Delivery, Forecast
from keng_contracts.commands import Cause
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import Registry
from keng_contracts.status import EdgeStatus, SourceHealth, SpeakerStatus
from keng_contracts.telemetry import Clock, Flag, Pack, Reading
from keng_store.protocol import Row
from tests.support.console import alert
from tests.support.registry import LEVEL, sample

NOW = 1_763_345_000_000
MINUTE = 60_000


def live_with(*levels: float, registry: Registry | None = None, until_ms: int = NOW, flag: Flag = Flag.GOOD) -> Live:
    """The sample commune with one level a minute, the last at ``until_ms``, and the broker there."""
    live = Live()
    live.adopt(registry or sample())
    live.broker_connected = live.store_readable = True
    for place, value in enumerate(reversed(levels)):
        live.tracks[LEVEL].hear(Row(LEVEL, until_ms - place * MINUTE, value, flag))
    return live


def seen(live: Live, now_ms: int = NOW, **more: Any) -> Overview:
    return overview(live, now_ms, **{"chart_hours": 48.0, **more})


# -- the headline, in the order of its table --------------------------------------------------------------------


def test_without_a_registry_the_page_waits_and_says_why() -> None:
    view = seen(Live(), registry_fault="commune.toml: the registry is not there")
    assert view.headline.situation is Situation.NO_REGISTRY
    assert view.registry_fault == "commune.toml: the registry is not there"


def test_a_raised_alert_leads_whatever_else_is_wrong() -> None:
    live = live_with(4.6, until_ms=NOW - 60 * MINUTE)
    live.broker_connected = False
    live.alert("phu-oc-level", alert(3, NOW - 5 * MINUTE))
    head = seen(live).headline
    assert (head.situation, head.level, head.official, head.station) == (Situation.ALERT, 3, True, "Phú Ốc")
    assert head.data is Freshness.DEAD  # and it is told that its data are dead


def test_the_highest_alert_leads_and_the_others_are_counted() -> None:
    live = live_with(3.2)
    live.alert("phu-oc-level", alert(2, NOW))
    live.alert("phuoc-yen-level", alert(3, NOW, id="phuoc-yen-level", station="phuoc-yen", official=False))
    head = seen(live).headline
    assert (head.level, head.official, head.station, head.others) == (3, False, "Đồng Phước Yên", 1)


def test_a_drill_stands_among_the_alerts_marked_and_never_in_the_headline() -> None:
    live = live_with(1.0)
    drill = {"drill_of": "phu-oc-level", "exercise": True}
    live.alert("phu-oc-level-drill", alert(3, NOW, id="phu-oc-level-drill", **drill))
    view = seen(live)
    assert view.headline.situation is Situation.CALM
    assert [(a.id, a.exercise) for a in view.alerts] == [("phu-oc-level-drill", True)]


@pytest.mark.parametrize("age_min", [7, 60, 60 * 24])
def test_a_gauge_without_data_is_never_calm(age_min: int) -> None:
    head = seen(live_with(1.0, until_ms=NOW - age_min * MINUTE)).headline
    assert (head.situation, head.blind) == (Situation.BLIND, ["Phú Ốc"])


def test_without_the_broker_nothing_is_calm() -> None:
    live = live_with(1.0)
    live.broker_connected = False
    assert seen(live).headline.situation is Situation.BLIND


def test_water_above_a_threshold_without_an_alert_is_not_calm() -> None:
    head = seen(live_with(2.9, 3.01)).headline
    assert (head.situation, head.level, head.station) == (Situation.ABOVE, 2, "Phú Ốc")


def test_calm_is_when_every_gauge_reports_below_its_thresholds() -> None:
    live = live_with(1.2, 1.21)
    assert seen(live).headline.situation is Situation.CALM


def test_an_ended_alert_is_told_for_a_day_and_does_not_lead() -> None:
    live = live_with(1.2)
    live.alert("phu-oc-level", alert(0, NOW - MINUTE, peak_level=3))
    view = seen(live)
    assert view.headline.situation is Situation.CALM
    assert [(a.raised, a.peak_level) for a in view.alerts] == [(False, 3)]
    assert seen(live, NOW + 25 * 60 * MINUTE).alerts == []


def test_alarms_by_rules_are_told_beside_the_floods_and_lead_nothing() -> None:
    live = live_with(1.2)
    rain = {"station": "phu-oc", "raised_ms": NOW, "kind": "rain", "headline": "Mưa lớn", "headline_en": "Heavy rain"}
    documents = [
        alert(0, NOW, id="mua", severity="moderate", hazard="raised", cleared_ms=None, **rain),
        alert(0, NOW, id="mua-10", severity="severe", hazard="raised", cleared_ms=None, **rain),
        alert(0, NOW, id="muted", severity="severe", hazard="raised", cleared_ms=None, muted_by="mua", **rain),
        alert(0, NOW, id="over", severity="severe", **rain),
    ]
    for document in documents:
        live.alert(document.id, document)
    view = seen(live)
    assert [(a.id, a.headline_en) for a in view.alarms] == [("mua-10", "Heavy rain"), ("mua", "Heavy rain")]
    assert (view.alerts, view.headline.situation) == ([], Situation.CALM)


def test_an_older_version_of_an_alert_changes_nothing() -> None:
    live = live_with(4.6)
    live.alert("phu-oc-level", alert(3, NOW, version=4))
    live.alert("phu-oc-level", alert(2, NOW, version=3))
    assert seen(live).headline.level == 3
    live.alert("phu-oc-level", alert(1, NOW + 1, version=1))  # alerts lost its memory and began anew
    assert seen(live).headline.level == 1
    live.alert("phu-oc-level", None)
    assert seen(live).alerts == []


# -- readings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "freshness"),
    [
        (0, Freshness.FRESH),
        (180, Freshness.FRESH),
        (181, Freshness.STALE),
        (360, Freshness.STALE),
        (361, Freshness.DEAD),
    ],
)
def test_data_are_stale_after_three_intervals_and_dead_after_six(age_s: int, freshness: Freshness) -> None:
    gauge = seen(live_with(1.0, until_ms=NOW - age_s * 1000)).gauges[0]
    assert gauge.sensor.freshness is freshness


def test_a_rejected_reading_never_stands_for_the_level() -> None:
    live = live_with(1.65)
    pack = Pack("6f1c2a90d3e4b7a1", 1, Clock.SYNCED, NOW, (Reading(LEVEL, NOW + 1000, 99.0, "m"),))
    assert live.telemetry("tram-phu-oc", pack, NOW + 1000) == 1
    sensor = seen(live, NOW + 1000).gauges[0].sensor
    assert sensor.reading is not None and sensor.reading.value == 1.65
    assert sensor.rejected is not None and (sensor.rejected.value, sensor.rejected.flag) == (99.0, Flag.BAD)
    assert seen(live, NOW + 1000).headline.situation is Situation.ABOVE  # 1.65 m, not 99 m
    assert seen(live, NOW + 1000).headline.level == 1


def test_the_gauge_says_how_far_it_is_to_the_next_level_and_how_fast() -> None:
    gauge = seen(live_with(3.80, 3.805, 3.81)).gauges[0]
    assert gauge.above == 2
    assert gauge.next is not None and gauge.next.level == 3
    assert gauge.rate == pytest.approx(0.30)
    assert gauge.official


def test_in_a_time_lapse_the_rate_is_that_of_the_story() -> None:
    assert seen(live_with(3.80, 3.80 + 5.0, 3.80 + 10.0), time_lapse=1000.0).gauges[0].rate == pytest.approx(0.30)


def test_no_rate_is_given_for_data_that_are_not_fresh() -> None:
    assert seen(live_with(3.8, 3.9, until_ms=NOW - 10 * MINUTE)).gauges[0].rate is None


def test_a_suspect_spike_is_not_the_highest_level() -> None:
    live = live_with(1.6, 1.6, 1.6)
    live.tracks[LEVEL].correct(Row(LEVEL, NOW - MINUTE, 6.0, Flag.SUSPECT))
    chart = seen(live).gauges[0].chart
    assert chart is not None and chart.highest is not None and chart.highest.value == 1.6
    assert 6.0 in [row.value for row in chart.rows]  # it is shown, as what it is


def test_thresholds_are_those_that_hold_on_the_day() -> None:
    text = [t.model_dump() for t in sample().thresholds]
    later = {**text[0], "value": 1.8, "valid_from": "2025-11-18"}
    view = seen(live_with(1.6, registry=sample(thresholds=[*text, later])))
    assert view.gauges[0].thresholds[0].value == 1.5  # 17 November 2025 in Huế
    after = seen(live_with(1.6, registry=sample(thresholds=[*text, later])), NOW + 24 * 60 * MINUTE)
    assert after.gauges[0].thresholds[0].value == 1.8


def test_only_the_most_endangered_gauges_have_a_chart() -> None:
    many = 12
    names = [f"tram-{n}" for n in range(many)]
    stations = [{"id": name, "name": name} for name in names]
    sensors = [{"id": f"{name}/level", "name": "Mực nước", "node": "tram-phu-oc", "unit": "m"} for name in names]
    thresholds = [
        {
            "sensor": f"{name}/level",
            "level": 1,
            "value": 5.0,
            "datum": "0",
            "source": "UBND",
            "valid_from": "2020-01-01",
        }
        for name in names
    ]
    registry = sample(
        stations=stations, sensors=sensors, thresholds=thresholds, hazard_rules=[], response_rules=[], authority=[]
    )
    live = Live()
    live.adopt(registry)
    live.broker_connected = True
    for place, name in enumerate(names):
        live.tracks[f"quang-tho/{name}/level"].hear(Row(f"quang-tho/{name}/level", NOW, place * 0.5, Flag.GOOD))
    charted = {g.station for g in seen(live).gauges if g.chart}
    assert charted == {f"tram-{n}" for n in range(many - MAX_CHARTS, many)}


def test_other_sensors_stand_with_their_station() -> None:
    live = live_with(1.0)
    view = seen(live)
    assert [s.name for s in view.stations] == ["Phú Ốc", "Đồng Phước Yên", "Ủy ban nhân dân xã"]
    assert "phu-oc/level" not in [sensor.id for station in view.stations for sensor in station.sensors]
    assert {sensor.freshness for sensor in view.stations[1].sensors} == {Freshness.NONE}


# -- nodes and loudspeakers -------------------------------------------------------------------------------------


def event(seq: int, what: What, **more: Any) -> PlaybackEvent:
    fields = {"boot": "0123456789abcdef", "seq": seq, "at_ms": NOW - 10_000 + seq, "clock": Clock.SYNCED, "what": what}
    return PlaybackEvent(**{**fields, **more})


def test_a_loudspeaker_shows_what_it_plays_with_the_level_that_was_measured() -> None:
    live = live_with(4.6)
    live.speaker_status("loa-phuoc-yen", SpeakerStatus(state="online", playing="phu-oc-level-1-3"), NOW)
    cause = Cause(alert="phu-oc-level", episode=1, level=3, measured_ms=NOW, made_ms=NOW, heard_ms=NOW, decided_ms=NOW)
    live.played("loa-phuoc-yen", event(1, What.ACCEPTED, play="phu-oc-level-1-3", cause=cause))
    live.played("loa-phuoc-yen", event(2, What.STARTED, play="phu-oc-level-1-3", kind="siren", level_dbfs=-12.4))
    speaker = seen(live).speakers[0]
    assert speaker.state == "online" and speaker.playing == "phu-oc-level-1-3" and speaker.sound is not None
    assert (speaker.sound.what, speaker.sound.kind, speaker.sound.level_dbfs) == (What.STARTED, "siren", -12.4)
    assert speaker.sound.alert == "phu-oc-level"


def test_a_loudspeaker_that_vanished_is_offline_and_not_said_to_play() -> None:
    live = live_with(1.0)
    live.speaker_status("loa-niem-pho", SpeakerStatus(state="offline", playing="x", at_ms=NOW - MINUTE), NOW)
    by_id = {s.id: s for s in seen(live).speakers}
    assert (by_id["loa-niem-pho"].state, by_id["loa-niem-pho"].playing) == ("offline", "")
    assert by_id["loa-niem-pho"].heard_ms == NOW - MINUTE
    assert by_id["loa-phuoc-yen"].state == "unknown"


def test_playback_events_are_kept_once_in_order_and_bounded() -> None:
    live = live_with(1.0)
    for seq in [5, 3, 4, 3, 5, *range(6, 100)]:
        live.played("loa-phuoc-yen", event(seq, What.ACCEPTED))
    kept = [e.seq for e in live.playback["loa-phuoc-yen"]]
    assert kept == sorted(set(kept)) and len(kept) == MAX_PLAYBACK and kept[-1] == 99


def test_a_node_shows_its_outbox_its_losses_and_the_sources_that_fail() -> None:
    live = live_with(1.0)
    sources = [SourceHealth(id="soil", ok=True), SourceHealth(id="pm", ok=False, error="no answer")]
    status = EdgeStatus(state="online", outbox_readings=40, outbox_age_s=12, dropped=3, sources=sources)
    status.problems = ["the disk is full: readings are held in memory"]
    live.edge_status("tram-phu-oc", status, NOW)
    live.edge_status("tram-la", EdgeStatus(state="online"), NOW)
    nodes = {n.id: n for n in seen(live).nodes}
    node = nodes["tram-phu-oc"]
    assert (node.outbox_readings, node.dropped, [s.id for s in node.failing]) == (40, 3, ["pm"])
    assert node.problems == status.problems
    assert not nodes["tram-la"].known


def test_of_a_node_that_vanished_its_own_last_word_is_shown() -> None:
    live = live_with(1.0)
    last = EdgeStatus(state="online", boot="6f1c2a90d3e4b7a1", outbox_readings=40, dropped=3, clock=Clock.HOLDOVER)
    live.edge_status("tram-phu-oc", last, NOW)
    will = EdgeStatus(state="offline", boot="6f1c2a90d3e4b7a1", at_ms=NOW)
    live.edge_status("tram-phu-oc", will, NOW + MINUTE)
    node = seen(live).nodes[0]
    assert (node.state, node.outbox_readings, node.dropped, node.clock) == ("offline", 40, 3, "holdover")


def test_an_alert_is_as_blind_as_the_blinder_of_the_console_and_alerts() -> None:
    live = live_with(4.2)
    live.alert("phu-oc-level", alert(2, NOW, data=DataState.OK))

    def told(now_ms: int) -> tuple[Freshness, bool]:
        one = seen(live, now_ms).alerts[0]
        return one.data, one.unwatched

    assert told(NOW) == (Freshness.FRESH, False)
    assert told(NOW + 60 * MINUTE) == (Freshness.DEAD, True), "alerts may be away and its document old"
    live.alert("phu-oc-level", alert(2, NOW, version=2, data=DataState.STALE, unwatched=True))
    assert told(NOW) == (Freshness.STALE, True), "alerts takes only good samples for data"
    assert seen(live).headline.unwatched


def test_a_forecast_is_shown_while_it_can_still_be_meant() -> None:
    live = live_with(4.2)
    ahead = Forecast(level=3, made_ms=NOW, expected_ms=NOW + 60 * MINUTE, earliest_ms=NOW + 40 * MINUTE, rate_per_h=0.3)
    live.alert("phu-oc-level", alert(2, NOW, forecast=ahead))
    assert seen(live).gauges[0].forecast == ahead
    assert seen(live, time_lapse=10).gauges[0].forecast == ahead.model_copy(update={"rate_per_h": 0.03})
    assert seen(live, NOW + 30 * MINUTE).gauges[0].forecast is None, "the gauge has fallen silent"
    live.tracks[LEVEL].hear(Row(LEVEL, NOW + 121 * MINUTE, 4.3, Flag.GOOD))
    assert seen(live, NOW + 121 * MINUTE).gauges[0].forecast is None, "it has not come"


def test_a_forecast_of_a_level_that_is_reached_is_none() -> None:
    live = live_with(4.6)
    ahead = Forecast(level=3, made_ms=NOW, expected_ms=NOW + MINUTE, earliest_ms=NOW, rate_per_h=0.3)
    live.alert("phu-oc-level", alert(2, NOW, forecast=ahead))
    assert seen(live).gauges[0].forecast is None


def test_deliveries_carry_the_loudspeakers_names() -> None:
    live = live_with(4.6)
    live.alert("phu-oc-level", alert(3, NOW))
    deliveries = {d.name: d.state for d in seen(live).alerts[0].deliveries}
    assert deliveries == {"Loa thôn Phước Yên": Delivery.CONFIRMED, "Loa thôn Niêm Phò": Delivery.ORDERED}


# -- what is heard ----------------------------------------------------------------------------------------------


def test_a_node_speaks_only_for_its_own_sensors_and_not_of_the_future() -> None:
    live = live_with()

    def told(node: str, *readings: Reading) -> int:
        return live.telemetry(node, Pack("6f1c2a90d3e4b7a1", 1, Clock.SYNCED, NOW, readings), NOW)

    assert told("tram-khac", Reading(LEVEL, NOW, 9.9, "m")) == 0
    assert told("tram-phu-oc", Reading("quang-tho/phu-oc/snow", NOW, 9.9, "m")) == 0
    assert told("tram-phu-oc", Reading(LEVEL, NOW + 3_600_000, 9.9, "m")) == 0
    assert told("tram-phu-oc", Reading(LEVEL, NOW, 1.2, "m")) == 1
    assert live.tracks[LEVEL].newest == Row(LEVEL, NOW, 1.2, Flag.GOOD)


def test_a_chart_moves_in_small_steps_so_that_time_alone_changes_little() -> None:
    start, end = window(NOW, 48)
    assert end - start == 48 * 3_600_000 and 0 <= end - NOW <= 48 * 3_600_000 / 500
    assert window(NOW + 1000, 48) == (start, end)


def test_a_short_track_forgets_the_oldest() -> None:
    track = Track(12)
    for n in range(50):
        track.hear(Row("a/b/c", n, float(n), Flag.GOOD))
    assert [row.time_ms for row in track.since(0)] == list(range(38, 50))
