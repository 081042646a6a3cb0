"""How an order to an edge node stands, from what the node says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_console import order_words
from keng_console.orders import Answer, Order, Stands, Told, answer_in, trial_s
from keng_console.words import words
from keng_contracts.edge_commands import EdgeAction, Identify, Reload, Restart, SetInterval
from keng_contracts.judging import Refusal
from keng_contracts.status import EdgeReply, EdgeStatus

NODE, JTI, BOOT = "tram-phu-oc", "0a0a0a0a", "6f1c2a90d3e4b7a1"


def told(action: EdgeAction, *answers: tuple[bool, str]) -> Told:
    order = Order(1, JTI, NODE, action, "lan", 1000, BOOT)
    return Told(order, tuple(Answer(NODE, JTI, at, at, ok, detail) for at, (ok, detail) in enumerate(answers)))


TRIAL = (True, "the new settings are on trial for 60 s")


@pytest.mark.parametrize(
    ("one", "stands"),
    [
        (told(Identify()), Stands.SENT),
        (told(Identify(), (True, "tram-phu-oc of quang-tho: muc-nuoc")), Stands.DONE),
        (told(Identify(), (False, "refused: expired")), Stands.REFUSED),
        (told(SetInterval(sensor="mua", interval_s=5), (False, "there is no sensor 'mua'")), Stands.FAILED),
        (told(Reload(), (True, "the settings are the same: nothing is changed")), Stands.DONE),
        (told(Reload(), TRIAL), Stands.TRIAL),
        (told(Reload(), TRIAL, (True, "the new settings are good")), Stands.DONE),
        (told(Reload(), TRIAL, (False, "the new settings were taken back: no receipt")), Stands.TAKEN_BACK),
        (told(Reload(), (False, "line 1, nonsense: is no setting")), Stands.FAILED),
        (told(Restart(), (True, "restarting")), Stands.RESTARTING),
        (told(Restart(), (True, "restarting"), (True, "is back as run 1")), Stands.DONE),
        (told(Identify(), (False, "refused: replayed"), (True, "it was another's command")), Stands.DONE),
    ],
)
def test_how_an_order_stands(one: Told, stands: Stands) -> None:
    assert one.stands is stands
    assert one.open is (stands in {Stands.SENT, Stands.TRIAL, Stands.RESTARTING})
    for language in ("vi", "en"):
        assert order_words.action(words(language), one.order.action)
        assert order_words.stands(words(language), one)


def heard(last: Told | None, *, seen_ms: int | None = None, **status: object) -> Answer | None:
    said = EdgeStatus.model_validate({"state": "online", "boot": BOOT, "at_ms": 9000, **status})
    return answer_in(NODE, said, 9001, last=last, seen_ms=seen_ms)


def test_a_status_repeats_its_last_reply_and_that_is_no_news() -> None:
    reply = EdgeReply(jti=JTI, ok=True, detail="done", at_ms=5)
    news = heard(told(Identify()), reply=reply)
    assert news == Answer(NODE, JTI, 5, 9001, True, "done")
    assert heard(told(Identify()), reply=reply, seen_ms=5) is None


def test_a_refusal_is_the_answer_of_the_order_that_it_names_if_that_has_none() -> None:
    def named(last: Told | None, jti: str) -> str | None:
        answer = heard(last, reply=EdgeReply(jti=jti, ok=False, detail="refused: expired", at_ms=5))
        return answer.jti if answer else None

    assert named(told(Identify()), JTI) == JTI
    assert named(told(Identify()), "") == named(told(Identify()), "0b0b0b0b") == named(None, JTI) == ""
    assert named(told(Identify(), (True, "it is me")), JTI) == "", "ours, sent again by somebody"
    assert named(told(Reload(), TRIAL), JTI) == ""


def test_a_restarted_node_is_back_when_another_run_of_it_is_online() -> None:
    ended = told(Restart(), (True, "restarting"))
    assert heard(ended) is None
    assert heard(ended, boot="1111111111111111", state="offline") is None
    back = heard(ended, boot="1111111111111111")
    assert back is not None and ended.answered(back).stands is Stands.DONE


@given(detail=st.text(max_size=80))
def test_whatever_a_node_answers_is_some_answer(detail: str) -> None:
    for action in (Identify(), Reload(), Restart()):
        one = told(action, (True, detail), (False, detail))
        assert one.stands in Stands and 0 <= trial_s(one) <= 3600
        assert detail in order_words.stands(words("vi"), one) or one.answers[-1].refusal


def test_every_refusal_has_its_words() -> None:
    for refusal in Refusal:
        assert order_words.reason(words("vi"), refusal.value) != order_words.reason(words("en"), refusal.value)
