"""What follows from a change of level: which document, which order, in which words, and what counts as delivered."""

from typing import Any

import pytest

from keng_alerts.decide import Evidence, Gauge, Order, decide, deliver, gauges
from keng_alerts.hazard import Change, State, Transition
from keng_contracts.alerts import AlertDocument, Delivery, Hazard
from keng_contracts.commands import Priority, Siren, Speech
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import Registry
from keng_contracts.telemetry import Clock
from tests.support.registry import LEVEL, sample

NOW = 1_763_323_200_000
FRESH = Evidence(measured_ms=NOW - 200, made_ms=NOW - 100, heard_ms=NOW)


def raised(
    level: int, registry: Registry | None = None, evidence: Evidence = FRESH
) -> tuple[AlertDocument, Order | None]:
    gauge = gauges(registry or sample())[LEVEL]
    state = State(level=level, episode=1, peak_level=level, last_ms=NOW)
    return decide(gauge, state, Transition(Change.RAISED, level - 1, level, NOW, 4.57), None, evidence, NOW)


def changed(table: str, key: str, value: Any) -> Registry:
    """The sample with one column of one table set to a value."""
    document = sample().model_dump(mode="json", by_alias=True)
    for row in document[table]:
        row[key] = value
    return Registry.model_validate(document)


def test_only_sensors_with_thresholds_are_gauges() -> None:
    assert list(gauges(sample())) == [LEVEL]


def test_an_official_gauge_says_bao_dong() -> None:
    document, _ = raised(3)
    assert document.official
    assert document.headline == "Báo động 3 tại Phú Ốc (Sông Bồ): 4,57 m, ngưỡng 4,50 m"
    assert document.headline_en == "Flood alarm level 3 at Phú Ốc (Sông Bồ): 4.57 m, threshold 4.50 m"


def test_a_local_gauge_never_says_bao_dong() -> None:
    document, order = raised(3, changed("stations", "official", ""))
    assert not document.official
    assert document.headline.startswith("Cảnh báo tại chỗ mức 3")
    assert order is not None
    assert "báo động" not in " ".join(i.text for i in order.play.items if isinstance(i, Speech)).lower()


def test_auto_orders_the_siren_and_then_the_message() -> None:
    document, order = raised(3)
    assert order is not None
    siren, speech = order.play.items
    assert isinstance(siren, Siren)
    assert (siren.blasts, siren.blast_s, siren.gap_s, siren.repeats) == (5, 30, 5, 3)
    assert isinstance(speech, Speech)
    assert "Báo động 3" in speech.text
    assert order.play.priority is Priority.EMERGENCY
    assert document.deliveries == {"loa-phuoc-yen": Delivery.PENDING, "loa-niem-pho": Delivery.PENDING}
    assert document.play == order.play.play == "phu-oc-level-1-3"


def test_manual_leaves_it_to_people() -> None:
    document, order = raised(1)
    assert order is None
    assert document.hazard is Hazard.RAISED
    assert document.deliveries == {}


def test_old_data_changes_the_alert_and_starts_no_siren() -> None:
    hour = 3_600_000
    document, order = raised(3, evidence=Evidence(NOW - hour, NOW - hour, NOW))
    assert document.level == 3
    assert order is None


def test_lowering_orders_nothing() -> None:
    gauge = gauges(sample())[LEVEL]
    before, _ = raised(3)
    state = State(level=2, episode=1, peak_level=3, last_ms=NOW)
    document, order = decide(gauge, state, Transition(Change.LOWERED, 3, 2, NOW, 4.3), before, FRESH, NOW)
    assert order is None
    assert (document.level, document.peak_level, document.version) == (2, 3, before.version + 1)
    assert document.raised_ms == before.raised_ms


def test_a_drill_says_so_at_both_ends() -> None:
    document = sample().model_dump(mode="json", by_alias=True)
    document["commune"]["exercise"] = True
    alert, order = raised(3, Registry.model_validate(document))
    assert alert.exercise
    assert order is not None
    assert order.play.exercise
    speech = order.play.items[-1]
    assert isinstance(speech, Speech)
    assert speech.text.startswith("Đây là diễn tập.")
    assert speech.text.endswith("Đây là diễn tập.")


def test_thresholds_hold_from_their_day_on() -> None:
    document = sample().model_dump(mode="json", by_alias=True)
    document["thresholds"].append({**document["thresholds"][2], "value": 4.8, "valid_from": "2025-11-17"})
    gauge: Gauge = gauges(Registry.model_validate(document))[LEVEL]
    midnight_in_hue = 1_763_312_400_000  # 2025-11-17T00:00+07:00
    assert gauge.thresholds(midnight_in_hue - 1)[3] == 4.5
    assert gauge.thresholds(midnight_in_hue)[3] == 4.8


def event(what: What, **more: Any) -> PlaybackEvent:
    return PlaybackEvent(
        boot="6f1c2a90d3e4b7a1", seq=1, at_ms=NOW, clock=Clock.SYNCED, what=what, play="phu-oc-level-1-3", **more
    )


@pytest.mark.parametrize(
    ("steps", "reached"),
    [
        ([event(What.ACCEPTED)], Delivery.ORDERED),
        ([event(What.ACCEPTED), event(What.STARTED)], Delivery.PLAYING),
        ([event(What.ACCEPTED), event(What.STARTED, level_dbfs=-12.0)], Delivery.CONFIRMED),
        ([event(What.STARTED, level_dbfs=-70.0)], Delivery.PLAYING),
        ([event(What.ACCEPTED), event(What.SILENT)], Delivery.FAILED),
        ([event(What.REFUSED, reason="expired")], Delivery.FAILED),
        ([event(What.ACCEPTED), event(What.REFUSED, reason="replayed")], Delivery.ORDERED),
        ([event(What.SILENT), event(What.STARTED, level_dbfs=-12.0)], Delivery.CONFIRMED),
        ([event(What.STARTED, level_dbfs=-12.0), event(What.CUT)], Delivery.CONFIRMED),
        ([event(What.STARTED, level_dbfs=-12.0), event(What.REFUSED, reason="replayed")], Delivery.CONFIRMED),
    ],
)
def test_delivery_follows_what_was_measured(steps: list[PlaybackEvent], reached: Delivery) -> None:
    document, _ = raised(3)
    for happened in steps:
        document = deliver(document, "loa-phuoc-yen", happened) or document
    assert document.deliveries == {"loa-phuoc-yen": reached, "loa-niem-pho": Delivery.PENDING}


def test_evidence_about_another_play_or_loudspeaker_moves_nothing() -> None:
    document, _ = raised(3)
    assert deliver(document, "loa-la", event(What.STARTED, level_dbfs=-12.0)) is None
    other = event(What.STARTED, level_dbfs=-12.0).model_copy(update={"play": "phu-oc-level-1-2"})
    assert deliver(document, "loa-phuoc-yen", other) is None
