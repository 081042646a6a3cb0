"""What people order, each order with what it does and with what it is refused."""

import pytest

from keng_contracts.alert_commands import (
    AlertAcknowledge,
    AlertAction,
    AlertConfirm,
    AlertCorrect,
    AlertDecline,
    AlertDrill,
    AlertSilence,
    AlertStop,
)
from keng_contracts.alerts import Delivery, Hazard, Stage
from keng_contracts.commands import Play, Priority, Siren, Speech, Stop
from keng_contracts.playback import What
from tests.support.watching import ALERT, DRILL, NOON, OneGauge, commune

AN = "Nguyễn Văn An"
HIGH = (4.55, 4.56, 4.57)
ASKED = {"mode": "confirm"}


def asked() -> OneGauge:
    """Báo động 3 and 2 both wait for a person."""
    return OneGauge(commune(level3=ASKED, level2=ASKED)).levels(*HIGH)


def test_a_person_lets_the_highest_sound_that_waits_and_is_its_authority() -> None:
    gauge = asked()
    answer = gauge.order(AlertConfirm(by=AN))
    assert (answer.ok, answer.detail) == (True, "level 3 sounds in toan-xa")
    assert gauge.plays == ["phu-oc-level-1-3"]
    assert gauge.document.authority == AN
    assert gauge.document.questions == []  # báo động 2 is mute beside báo động 3
    assert gauge.document.answer == answer


def test_a_person_may_let_the_lower_one_sound_first() -> None:
    gauge = asked()
    assert gauge.order(AlertConfirm(by=AN, level=2)).ok
    assert gauge.questions == [(3, "confirm")]
    assert gauge.order(AlertConfirm(by=AN, level=3)).ok
    assert gauge.plays == ["phu-oc-level-1-2", "phu-oc-level-1-3"]


def test_what_does_not_wait_can_not_be_confirmed() -> None:
    gauge = asked()
    assert not gauge.order(AlertConfirm(by=AN, level=1)).ok
    assert gauge.order(AlertConfirm(by=AN)).ok
    answer = gauge.order(AlertConfirm(by=AN))
    assert (answer.ok, answer.detail) == (
        False,
        "phu-oc-level: nothing waits for a confirmation; see 'keng alerts list'",
    )
    assert len(gauge.plays) == 1
    assert gauge.notes[-1][2:4] == ("refused", AN)


def test_a_declined_siren_stays_silent() -> None:
    gauge = OneGauge(commune(level3={"mode": "auto-after-timeout"}, level2={"mode": "manual"})).levels(*HIGH)
    assert gauge.order(AlertDecline(by=AN, note="thước nước bị kẹt")).ok
    assert gauge.wait(3600, every_s=10).plays == []
    assert not gauge.order(AlertDecline(by=AN)).ok
    assert "thước nước bị kẹt" in next(detail for _, _, what, _, detail in gauge.notes if what == "declined")


def test_an_acknowledgement_names_who_and_stops_the_escalation() -> None:
    gauge = OneGauge().levels(1.6, 1.6, 1.6)
    assert gauge.order(AlertAcknowledge(by=AN, note="đã cử người ra đê")).ok
    told = gauge.document.acknowledged
    assert told is not None
    assert (told.by, told.note, told.at_ms) == (AN, "đã cử người ra đê", gauge.now_ms)
    assert gauge.wait(7200, every_s=10).document.stage is Stage.ACKNOWLEDGED
    assert not gauge.order(AlertAcknowledge(by=AN)).ok
    assert gauge.levels(*HIGH).document.stage is Stage.RAISED  # nobody has seen báo động 3 yet
    assert gauge.document.acknowledged is None


def test_a_silence_holds_up_to_its_level_and_to_its_end() -> None:
    gauge = OneGauge()
    end = gauge.now_ms + 3_600_000
    assert gauge.order(AlertSilence(by=AN, level=2, until_ms=end)).ok
    gauge.levels(3.1, 3.1, 3.1)
    assert (gauge.plays, gauge.questions) == ([], [(2, "silenced")])
    assert gauge.document.silence is not None and gauge.document.silence.until_ms == end
    gauge.levels(*HIGH)
    assert gauge.plays == ["phu-oc-level-1-3"]  # a higher level is never silenced by it
    gauge.wait(3600, every_s=10)
    assert gauge.document.silence is None
    assert "silence ended" in gauge.happened


def test_a_silence_holds_back_what_would_sound_by_itself_and_people_may_still_confirm_it() -> None:
    gauge = OneGauge(commune(level3={"mode": "auto-after-timeout"}, level2={"mode": "manual"})).levels(*HIGH)
    gauge.order(AlertSilence(by=AN, level=3, until_ms=gauge.now_ms + 1_200_000))
    assert gauge.wait(7200, every_s=10).plays == []
    assert gauge.questions == [(3, "silenced")]
    assert gauge.order(AlertConfirm(by=AN)).ok
    assert gauge.plays == ["phu-oc-level-1-3"]


def test_a_silence_without_an_end_worth_the_name_is_refused() -> None:
    gauge = OneGauge()
    assert not gauge.order(AlertSilence(by=AN, level=3, until_ms=gauge.now_ms + 8 * 86_400_000)).ok
    assert gauge.levels(*HIGH).plays == ["phu-oc-level-1-3"]


def test_a_silence_of_a_gauge_says_up_to_which_level() -> None:
    gauge = OneGauge()
    assert not gauge.order(AlertSilence(by=AN, until_ms=gauge.now_ms + 3_600_000)).ok
    assert gauge.levels(*HIGH).plays == ["phu-oc-level-1-3"]


def test_a_silence_can_be_ended_early() -> None:
    gauge = OneGauge()
    gauge.order(AlertSilence(by=AN, level=3, until_ms=gauge.now_ms + 3_600_000))
    assert gauge.order(AlertSilence(by=AN, level=3, until_ms=0)).ok
    assert gauge.levels(*HIGH).plays == ["phu-oc-level-1-3"]


def test_a_stop_ends_what_sounds_by_its_name_where_it_was_ordered_and_nothing_is_repeated() -> None:
    gauge = OneGauge().levels(3.1, 3.1, 3.1, *HIGH)
    assert gauge.order(AlertStop(by=AN)).ok
    stops = [(aud, action.play) for aud, action in gauge.sent if isinstance(action, Stop)]
    assert stops == [("zone/toan-xa", "phu-oc-level-1-2"), ("zone/toan-xa", "phu-oc-level-1-3")]
    sent = len(gauge.sent)
    gauge.evidence("loa-phuoc-yen", What.CUT, reason="stopped").wait(3600, every_s=5)
    assert len(gauge.sent) == sent
    assert gauge.document.silent == {}
    assert gauge.document.stopped_ms is not None
    assert gauge.document.level == 3  # the water has not heard of it


def test_a_stop_declines_what_waits_but_not_what_comes() -> None:
    gauge = OneGauge(commune(level2={"mode": "auto-after-timeout"})).levels(3.1, 3.1, 3.1)
    gauge.order(AlertStop(by=AN))
    assert gauge.wait(3600, every_s=60).plays == []
    assert gauge.levels(*HIGH).plays == ["phu-oc-level-1-3"]


def test_a_correction_is_said_twice_where_the_alarm_was_after_it_was_stopped_and_its_delivery_is_followed() -> None:
    gauge = OneGauge().levels(*HIGH)
    gauge.evidence("loa-niem-pho", What.STARTED, level_dbfs=-12.0)
    sent = len(gauge.sent)
    assert gauge.order(AlertCorrect(by=AN)).ok
    stop, correction = [action for _, action in gauge.sent[sent:]]
    assert isinstance(stop, Stop) and stop.play == "phu-oc-level-1-3"
    assert isinstance(correction, Play)
    assert (correction.play, correction.rank) == ("phu-oc-level-1-correction-1", 0)
    first, second = correction.items
    assert isinstance(first, Speech) and first == second
    assert first.text.startswith("Đính chính!") and "không đúng" in first.text
    assert gauge.document.deliveries == {"loa-phuoc-yen": Delivery.PENDING, "loa-niem-pho": Delivery.PENDING}
    assert gauge.document.corrected_ms is not None
    gauge.wait(25)
    assert [aud for aud, _ in gauge.sent[-2:]] == ["speaker/loa-phuoc-yen", "speaker/loa-niem-pho"]


def test_a_correction_may_have_words_of_its_own_and_be_given_again() -> None:
    gauge = OneGauge().levels(*HIGH)
    gauge.order(AlertCorrect(by=AN))
    gauge.order(AlertCorrect(by=AN, text="Cảm biến bị hỏng."))
    play = gauge.sent[-1][1]
    assert isinstance(play, Play) and isinstance(play.items[0], Speech)
    assert play.play.endswith("correction-2")
    assert play.items[0].text.endswith("đính chính. Cảm biến bị hỏng.")


def test_what_was_never_said_needs_no_correction() -> None:
    assert not OneGauge().order(AlertCorrect(by=AN)).ok


# -- drills -------------------------------------------------------------------------------------------------------


def test_a_drill_is_marked_from_end_to_end_and_gives_way_to_the_real_thing() -> None:
    gauge = OneGauge()
    assert gauge.order(AlertDrill(by=AN, level=3)).ok
    (play,) = [action for _, action in gauge.sent if isinstance(action, Play)]
    assert (play.exercise, play.priority) == (True, Priority.PRIORITY)
    opening, blast, words = play.items
    assert isinstance(opening, Speech) and "diễn tập, không phải báo động thật" in opening.text
    assert isinstance(blast, Siren) and (blast.blasts, blast.repeats) == (1, 1)
    assert blast.pattern not in {s.id for s in gauge.registry.sirens}
    assert isinstance(words, Speech)
    assert words.text.startswith("Đây là diễn tập.") and words.text.endswith("Đây là diễn tập.")
    assert (gauge.drill.id, gauge.drill.drill_of, gauge.drill.exercise) == (DRILL, ALERT, True)
    assert gauge.drill.headline.startswith("DIỄN TẬP: Báo động 3")
    assert gauge.drill.headline_en.startswith("EXERCISE: ")
    assert (gauge.drill.level, gauge.drill.hazard) == (3, Hazard.RAISED)
    assert gauge.drill.authority == AN


def test_a_drill_never_mixes_with_what_is() -> None:
    gauge = OneGauge()
    before = gauge.watch.state
    gauge.order(AlertDrill(by=AN, level=3))
    assert gauge.watch.desk.document is None
    assert gauge.watch.state == before
    gauge.evidence("loa-niem-pho", What.STARTED, alert=DRILL, level_dbfs=-12.0)
    assert gauge.drill.deliveries["loa-niem-pho"] is Delivery.CONFIRMED
    assert gauge.order(AlertAcknowledge(by=AN), DRILL).ok
    assert gauge.levels(*HIGH).document.stage is Stage.RAISED
    assert gauge.plays[-1] == "phu-oc-level-1-3"


def test_the_real_thing_ends_a_drill() -> None:
    gauge = OneGauge()
    gauge.order(AlertDrill(by=AN, level=2))
    gauge.levels(*HIGH)
    actions = [action for _, action in gauge.sent[1:]]
    assert isinstance(actions[0], Stop) and actions[0].play == f"{DRILL}-1-2"
    assert isinstance(actions[1], Play) and not actions[1].exercise
    assert (gauge.drill.level, gauge.drill.stage, gauge.drill.exercise) == (0, Stage.CLEARED, True)
    assert gauge.drill.headline.startswith("DIỄN TẬP")
    assert not gauge.order(AlertDrill(by=AN, level=2)).ok


def test_a_drill_ends_by_a_stop_or_by_itself_and_the_next_one_is_another() -> None:
    gauge = OneGauge()
    gauge.order(AlertDrill(by=AN, level=3, zones=["ven-song"]))
    assert gauge.sent[0][0] == "zone/ven-song"
    assert gauge.order(AlertStop(by=AN), DRILL).ok
    assert isinstance(gauge.sent[-1][1], Stop)
    assert gauge.drill.level == 0
    gauge.order(AlertDrill(by=AN, level=3))
    assert gauge.plays == [f"{DRILL}-1-3", f"{DRILL}-2-3"]
    gauge.wait(1801, every_s=5)
    assert gauge.drill.level == 0
    assert gauge.watch.desk.document is None


def test_a_drill_of_nothing_is_refused() -> None:
    gauge = OneGauge()
    for action in (AlertDrill(by=AN, level=4), AlertDrill(by=AN, level=3, zones=["dong"]), AlertDrill(by=AN, level=1)):
        assert not gauge.order(action).ok
    assert gauge.sent == []


def test_a_drill_in_the_night_needs_a_second_person() -> None:
    gauge = OneGauge(now_ms=NOON + 11 * 3_600_000)  # eleven in the evening
    for nobody in (None, AN, f" {AN.upper()} "):
        assert not gauge.order(AlertDrill(by=AN, level=3, night=nobody)).ok
    assert gauge.sent == []
    assert gauge.order(AlertDrill(by=AN, level=3, night="Trần Thị Lan")).ok
    (play,) = [action for _, action in gauge.sent if isinstance(action, Play)]
    assert play.night == "Trần Thị Lan"


@pytest.mark.parametrize(
    "action",
    [
        AlertConfirm(by=AN),
        AlertDecline(by=AN),
        AlertAcknowledge(by=AN),
        AlertCorrect(by=AN),
        AlertStop(by=AN),
        AlertSilence(by=AN, level=3, until_ms=0),
    ],
)
def test_an_order_to_a_calm_gauge_sounds_nothing(action: AlertAction) -> None:
    gauge = OneGauge()
    gauge.order(action)
    assert gauge.sent == []
    assert gauge.wait(100).watch.desk.document is None
