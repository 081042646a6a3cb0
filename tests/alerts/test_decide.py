"""What follows from a change of level: which document, which orders, in which words, and what becomes of them."""

from typing import Any

import pytest

from keng_alerts.gauge.gauges import Gauge, gauges
from keng_contracts.alerts import Delivery, Hazard, Stage
from keng_contracts.commands import Play, Priority, Siren, Speech
from keng_contracts.playback import What
from keng_contracts.registry import Registry
from tests.support.registry import LEVEL, sample
from tests.support.watching import NOON, OneGauge, commune

HIGH = (4.55, 4.56, 4.57)


def changed(table: str, key: str, value: Any) -> Registry:
    """The sample with one column of one table set to a value."""
    document = sample().model_dump(mode="json", by_alias=True)
    for row in document[table]:
        row[key] = value
    return Registry.model_validate(document)


def changed_commune(**columns: Any) -> Registry:
    return sample(commune={**sample().commune.model_dump(), **columns})


def play_of(gauge: OneGauge) -> Play:
    (play,) = [action for _, action in gauge.sent if isinstance(action, Play)]
    return play


def test_only_sensors_with_thresholds_are_gauges() -> None:
    assert list(gauges(sample())) == [LEVEL]


def test_an_official_gauge_says_bao_dong() -> None:
    document = OneGauge().levels(*HIGH).document
    assert document.official
    assert document.headline == "Báo động 3 tại Phú Ốc (Sông Bồ): 4,57 m, ngưỡng 4,50 m"
    assert document.headline_en == "Flood alarm level 3 at Phú Ốc (Sông Bồ): 4.57 m, threshold 4.50 m"


def test_a_local_gauge_never_says_bao_dong() -> None:
    gauge = OneGauge(changed("stations", "official", "")).levels(*HIGH)
    assert not gauge.document.official
    assert gauge.document.headline.startswith("Cảnh báo tại chỗ mức 3")
    assert "báo động" not in " ".join(i.text for i in play_of(gauge).items if isinstance(i, Speech)).lower()


def test_auto_orders_the_siren_and_then_the_message() -> None:
    gauge = OneGauge().levels(*HIGH)
    play = play_of(gauge)
    siren, speech = play.items
    assert isinstance(siren, Siren)
    assert (siren.blasts, siren.blast_s, siren.gap_s, siren.repeats) == (5, 30, 5, 3)
    assert isinstance(speech, Speech)
    assert "Báo động 3" in speech.text
    assert play.priority is Priority.EMERGENCY
    assert gauge.document.deliveries == {"loa-phuoc-yen": Delivery.PENDING, "loa-niem-pho": Delivery.PENDING}
    assert gauge.document.play == play.play == "phu-oc-level-1-3"
    assert "Trưởng ban" in gauge.document.authority


def test_the_message_is_said_in_each_of_the_communes_languages() -> None:
    gauge = OneGauge(changed_commune(languages=["vi", "en"])).levels(*HIGH)
    _, *spoken = play_of(gauge).items
    assert [(item.lang, item.text[:20]) for item in spoken if isinstance(item, Speech)] == [
        ("vi", "Chú ý, chú ý! Xã Quả"),
        ("en", "Attention, attention"),
    ]


def test_manual_leaves_it_to_people() -> None:
    gauge = OneGauge().levels(1.6, 1.6, 1.6)
    assert (gauge.sent, gauge.questions) == ([], [])
    assert (gauge.document.hazard, gauge.document.stage) == (Hazard.RAISED, Stage.RAISED)
    assert gauge.document.deliveries == {}


def test_lowering_orders_nothing() -> None:
    gauge = OneGauge().levels(*HIGH)
    before = gauge.document
    sent = len(gauge.sent)
    gauge.levels(*[4.3] * 46)
    assert len(gauge.sent) == sent
    assert (gauge.document.level, gauge.document.peak_level) == (2, 3)
    assert gauge.document.version == before.version + 1
    assert gauge.document.raised_ms == before.raised_ms


def test_a_commune_in_exercise_says_so_in_text_speech_and_command() -> None:
    gauge = OneGauge(changed_commune(exercise=True)).levels(*HIGH)
    assert gauge.document.exercise
    assert gauge.document.headline.startswith("DIỄN TẬP: ")
    assert gauge.document.headline_en.startswith("EXERCISE: ")
    play = play_of(gauge)
    assert play.exercise
    speech = play.items[-1]
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


# -- one play for a gauge, a level and an episode -----------------------------------------------------------------


def test_a_level_that_is_left_and_reached_again_in_one_flood_sounds_once() -> None:
    gauge = OneGauge().levels(*HIGH, *[4.3] * 46, *HIGH)
    assert gauge.document.level == 3
    assert gauge.plays == ["phu-oc-level-1-3"]


def test_the_next_flood_sounds_again() -> None:
    gauge = OneGauge().levels(*HIGH, *[1.0] * 140, *HIGH)
    assert gauge.plays == ["phu-oc-level-1-3", "phu-oc-level-2-3"]


def test_each_level_on_the_way_up_has_its_own_play_and_the_higher_one_outranks_the_lower() -> None:
    gauge = OneGauge().levels(3.1, 3.1, 3.1, *HIGH)
    assert gauge.plays == ["phu-oc-level-1-2", "phu-oc-level-1-3"]
    ranks = [action.rank for _, action in gauge.sent if isinstance(action, Play)]
    assert ranks == [2, 3]


def test_a_fast_rise_sounds_the_highest_level_that_may_sound_by_itself() -> None:
    """With báo động 3 left to a person, the crossing of báo động 2 is none the less true, and delegated."""
    gauge = OneGauge(commune(level3={"mode": "confirm"})).levels(*HIGH)
    assert gauge.plays == ["phu-oc-level-1-2"]
    assert gauge.questions == [(3, "confirm")]


def test_zones_are_ruled_each_by_its_own_row() -> None:
    both = {**commune().authority[2].model_dump(), "zones": ["ven-song"], "mode": "auto"}
    rows = [*commune(level3={"mode": "confirm"}).model_dump()["authority"][:1], both]
    rows.append({**both, "zones": ["toan-xa"], "mode": "confirm"})
    gauge = OneGauge(sample(authority=rows)).levels(*HIGH)
    assert [aud for aud, _ in gauge.sent] == ["zone/ven-song"]
    assert gauge.document.deliveries == {"loa-phuoc-yen": Delivery.PENDING}
    assert [(q.level, q.zones) for q in gauge.document.questions] == [(3, ["toan-xa"])]


# -- data that came late --------------------------------------------------------------------------------------------


def test_old_data_changes_the_alert_asks_a_person_and_starts_no_siren() -> None:
    gauge = OneGauge().levels(*HIGH, late_s=3600)
    assert gauge.document.level == 3
    assert gauge.sent == []
    assert gauge.questions == [(3, "late"), (2, "late")]
    assert gauge.wait(3600, every_s=10).sent == []


def test_a_fresh_sample_that_still_stands_above_lets_it_sound() -> None:
    gauge = OneGauge().levels(*HIGH, late_s=3600).levels(4.6)
    assert gauge.plays == ["phu-oc-level-1-3"]
    assert gauge.questions == []


def test_a_fresh_sample_below_the_threshold_does_not() -> None:
    assert OneGauge().levels(*HIGH, late_s=3600).levels(4.45).plays == ["phu-oc-level-1-2"]
    assert OneGauge().levels(*HIGH, late_s=3600).levels(2.9).plays == []


# -- delivery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "level", "reached"),
    [(What.ACCEPTED, None, Delivery.ORDERED), (What.STARTED, -12.0, Delivery.CONFIRMED)],
)
def test_evidence_moves_the_delivery_of_its_loudspeaker(what: What, level: float | None, reached: Delivery) -> None:
    gauge = OneGauge().levels(*HIGH).evidence("loa-phuoc-yen", what, level_dbfs=level)
    assert gauge.document.deliveries == {"loa-phuoc-yen": reached, "loa-niem-pho": Delivery.PENDING}


def test_evidence_about_another_play_or_loudspeaker_moves_nothing() -> None:
    gauge = OneGauge().levels(*HIGH)
    told = len(gauge.told)
    gauge.evidence("loa-la", What.STARTED, level_dbfs=-12.0)
    gauge.evidence("loa-phuoc-yen", What.STARTED, "phu-oc-level-1-2", level_dbfs=-12.0)
    assert len(gauge.told) == told


def test_whoever_does_not_confirm_gets_the_same_order_again_alone_and_is_named_at_last() -> None:
    gauge = OneGauge().levels(*HIGH).evidence("loa-phuoc-yen", What.STARTED, level_dbfs=-12.0)
    first = play_of(gauge)
    gauge.wait(700)
    repeats = [(aud, action) for aud, action in gauge.sent if aud.startswith("speaker/")]
    assert repeats == [("speaker/loa-niem-pho", first)] * 5
    assert gauge.document.silent == {"loa-niem-pho": "Loa thôn Niêm Phò"}
    assert gauge.document.deliveries["loa-niem-pho"] in (Delivery.FAILED, Delivery.PENDING)
    gauge.evidence("loa-niem-pho", What.FINISHED, level_dbfs=-12.0)
    assert gauge.document.silent == {}


def test_nothing_is_repeated_into_a_broker_that_is_away_and_all_of_it_when_it_is_back() -> None:
    gauge = OneGauge().levels(*HIGH).wait(600, able=False)
    assert len(gauge.sent) == 1
    assert set(gauge.document.silent) == {"loa-phuoc-yen", "loa-niem-pho"}
    gauge.wait(2)
    assert {aud for aud, _ in gauge.sent[1:]} == {"speaker/loa-phuoc-yen", "speaker/loa-niem-pho"}


def test_an_order_is_not_repeated_once_what_it_rests_on_is_history() -> None:
    gauge = OneGauge().levels(*HIGH).wait(1000, able=False).wait(3600, every_s=5)
    assert len(gauge.sent) == 1
    gauge.levels(4.6).wait(2)
    assert len(gauge.sent) == 3


def test_a_stop_that_went_past_alerts_is_no_failure() -> None:
    gauge = OneGauge().levels(*HIGH).evidence("loa-niem-pho", What.ACCEPTED)
    gauge.evidence("loa-niem-pho", What.CUT, reason="stopped").wait(700)
    assert {aud for aud, _ in gauge.sent if aud.startswith("speaker/")} == {"speaker/loa-phuoc-yen"}
    assert set(gauge.document.silent) == {"loa-phuoc-yen"}


def test_an_order_for_a_level_that_is_left_is_not_repeated() -> None:
    gauge = OneGauge().levels(*HIGH, *[4.3] * 46)
    sent = len(gauge.sent)
    assert len(gauge.wait(700).sent) == sent


def test_once_the_higher_level_is_ordered_the_lower_one_is_repeated_to_nobody() -> None:
    gauge = OneGauge().levels(3.1, 3.1, 3.1, *HIGH).wait(700)
    repeated = {action.play for aud, action in gauge.sent if aud.startswith("speaker/")}
    assert repeated == {"phu-oc-level-1-3"}


# -- life -----------------------------------------------------------------------------------------------------------


def test_an_alert_that_nobody_acknowledges_is_escalated_and_one_that_is_over_is_closed() -> None:
    gauge = OneGauge(now_ms=NOON).levels(1.6, 1.6, 1.6).wait(901, every_s=10)
    assert (gauge.document.stage, gauge.document.escalations) == (Stage.ESCALATED, 1)
    gauge.levels(*[1.0] * 50)
    assert gauge.document.stage is Stage.CLEARED
    gauge.wait(86_400, every_s=600)
    assert gauge.document.stage is Stage.CLOSED


def test_the_timeline_says_on_which_samples_and_under_whose_authority() -> None:
    gauge = OneGauge().levels(1.0, *HIGH)
    raised, ordered = [detail for _, _, what, _, detail in gauge.notes if what in ("raised", "ordered")]
    assert "[[" in raised and "4.57" in raised and '"late": false' in raised
    assert "Trưởng ban" in ordered and "phu-oc-level-1-3" in ordered
