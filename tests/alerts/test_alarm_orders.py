"""What people can order of an alarm: to acknowledge it, and to silence it until an end. No process, no clock."""

from typing import Any

import pytest

from keng_alerts.alarms.orders import lapsed, operate
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
from keng_contracts.alerts import AlertDocument, Hazard, Stage
from keng_contracts.errors import Problem
from tests.support.console import alert

AN = "Nguyễn Văn An"
NOON, HOUR = 1_763_269_200_000, 3_600_000


def alarm(**changes: Any) -> AlertDocument:
    fields = {"kind": "rain", "hazard": Hazard.RAISED, "stage": Stage.RAISED, "stage_ms": NOON}
    return alert(0, NOON, **{**fields, **changes})


def silenced(document: AlertDocument, hours: float = 1.0) -> AlertDocument:
    return operate(document, AlertSilence(by=AN, until_ms=NOON + round(hours * HOUR)), NOON).document


def test_a_silence_keeps_people_from_being_told_and_moves_nothing_else() -> None:
    done = operate(alarm(), AlertSilence(by=AN, until_ms=NOON + HOUR), NOON)
    assert (done.what, done.detail) == ("silenced", {"until_ms": NOON + HOUR})
    assert done.document.untold and not alarm().untold
    silence = done.document.silence
    assert silence is not None and (silence.by, silence.until_ms) == (AN, NOON + HOUR)
    assert done.document.model_copy(update={"silence": None}) == alarm()


def test_a_silence_ends_at_its_end_and_what_stands_is_raised_anew() -> None:
    seen = operate(silenced(alarm()), AlertAcknowledge(by=AN), NOON + 1).document
    assert lapsed([seen, alarm()], NOON + HOUR - 1) == []
    [done] = lapsed([seen, alarm()], NOON + HOUR)
    assert done.what == "silence ended"
    assert done.document == alarm(stage_ms=NOON + HOUR)


def test_what_was_cleared_under_a_silence_stays_cleared_at_its_end() -> None:
    over = alarm(hazard=Hazard.CLEARED, stage=Stage.CLEARED)
    [done] = lapsed([silenced(over)], NOON + HOUR)
    assert done.document == over


def test_a_silence_can_be_ended_early_and_one_that_is_not_there_can_not() -> None:
    early = AlertSilence(by=AN, until_ms=0)
    assert operate(silenced(alarm()), early, NOON + 60_000).document == alarm(stage_ms=NOON + 60_000)
    with pytest.raises(Problem, match="not silenced"):
        operate(alarm(), early, NOON)


def test_a_silence_has_to_end_within_a_week() -> None:
    assert silenced(alarm(), 168).untold
    with pytest.raises(Problem, match="within 7 days"):
        silenced(alarm(), 168.1)


def test_only_what_is_raised_can_be_acknowledged() -> None:
    done = operate(alarm(), AlertAcknowledge(by=AN, note="gọi thợ"), NOON + 1)
    assert (done.what, done.detail, done.document.stage) == ("acknowledged", {"note": "gọi thợ"}, Stage.ACKNOWLEDGED)
    with pytest.raises(Problem, match="nothing to acknowledge"):
        operate(alarm(hazard=Hazard.CLEARED), AlertAcknowledge(by=AN), NOON)


@pytest.mark.parametrize(
    "action",
    [AlertConfirm(by=AN), AlertDecline(by=AN), AlertStop(by=AN), AlertCorrect(by=AN), AlertDrill(by=AN, level=1)],
)
def test_what_is_for_sirens_is_refused(action: AlertAction) -> None:
    with pytest.raises(Problem, match="acknowledged or silenced, and nothing else: nothing plays for it"):
        operate(alarm(), action, NOON)


def test_a_siren_that_is_silenced_is_left_to_its_gauge() -> None:
    assert lapsed([alert(3, NOON, silence=silenced(alarm()).silence)], NOON + HOUR) == []
