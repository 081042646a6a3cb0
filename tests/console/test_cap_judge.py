"""CAP from others: the class of a bulletin, what follows from it, and whom it touches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keng_console.cap.judge import Bulletin, Known, Verdict, bulletin_of, judge, play_id
from keng_console.cap.message import Area, Certainty, Circle, MsgType, Scope, Severity, Status, Urgency, to_text
from keng_console.cap.zones import touched
from keng_contracts.commands import Play, Priority, Speech, Stop
from tests.support.cap import BOTH, ONE, ZONE, bulletin
from tests.support.registry import sample

NOON = 1_763_269_200_000
HOUR = 3_600_000


# -- the class of a bulletin ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("urgency", Urgency)
@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("certainty", Certainty)
def test_only_what_is_there_or_all_but_certain_and_grave_is_khan_cap(
    urgency: Urgency, severity: Severity, certainty: Certainty
) -> None:
    found = bulletin_of(bulletin("x", NOON, urgency=urgency, severity=severity, certainty=certainty).infos[0])
    grave, sure = severity in ("Extreme", "Severe"), certainty in ("Observed", "Likely")
    assert (found is Bulletin.URGENT) == (urgency == "Immediate" and grave and sure)
    if found is Bulletin.PRIORITY:
        assert urgency in ("Immediate", "Expected") and severity not in ("Minor", "Unknown")


# -- what follows ---------------------------------------------------------------------------------------------------


def ruled(message: Any, known: Any = None, now: int = NOON, signer: str = "tinh") -> Any:
    return judge(message, signer, known or {}, sample(), now)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.PLAYED),
        ({"msg_type": MsgType.UPDATE}, Verdict.PLAYED),
        ({"urgency": Urgency.EXPECTED}, Verdict.RECORDED),
        ({"certainty": Certainty.POSSIBLE}, Verdict.RECORDED),
        ({"status": Status.EXERCISE}, Verdict.NOT_ACTUAL),
        ({"status": Status.TEST}, Verdict.NOT_ACTUAL),
        ({"scope": Scope.PRIVATE}, Verdict.NOT_ACTUAL),
        ({"msg_type": MsgType.ACK}, Verdict.NOT_ACTUAL),
        ({"msg_type": MsgType.CANCEL}, Verdict.RECORDED),
        ({"expires_ms": NOON}, Verdict.EXPIRED),
        ({"expires_ms": None, "sent": to_text(NOON - 6 * HOUR, ZONE)}, Verdict.EXPIRED),
        ({"expires_ms": None, "sent": to_text(NOON - 5 * HOUR, ZONE)}, Verdict.PLAYED),
        ({"sent": to_text(NOON + HOUR, ZONE)}, Verdict.NOT_YET),
        ({"effective_ms": NOON + HOUR}, Verdict.NOT_YET),
        ({"areas": (Area("Hạ lưu sông Bồ"),)}, Verdict.ELSEWHERE),
        ({"areas": (Area("xa", circles=(Circle((21.0, 105.8), 5.0),)),)}, Verdict.ELSEWHERE),
        ({"areas": ()}, Verdict.ELSEWHERE),
    ],
)
def test_each_row_of_the_table(changes: dict[str, Any], verdict: Verdict) -> None:
    ruling = ruled(bulletin("t-1", NOON, **changes))
    assert ruling.verdict is verdict
    assert bool(ruling.orders) == (verdict is Verdict.PLAYED) == bool(ruling.play)


def test_what_is_played_is_said_twice_in_vietnamese_to_every_zone_it_touches() -> None:
    ruling = ruled(bulletin("t-1", NOON))
    assert [order.aud for order in ruling.orders] == ["zone/toan-xa", "zone/ven-song"]
    for order in ruling.orders:
        play = order.action
        assert isinstance(play, Play) and play.priority is Priority.URGENT and play.play == ruling.play
        said = [item.text for item in play.items if isinstance(item, Speech)]
        assert said[0] == said[1]
        assert said[0].startswith("Chú ý, chú ý! Bản tin khẩn cấp của Ban Chỉ huy phòng thủ dân sự tỉnh. Lũ quét")


def test_a_bulletin_that_came_before_is_nothing_new_but_only_if_the_same_key_had_proven_it() -> None:
    message = bulletin("t-1", NOON)
    assert ruled(message, {message.reference: Known("tinh")}).verdict is Verdict.DUPLICATE
    assert ruled(message, {message.reference: Known("khac")}).verdict is Verdict.PLAYED


def test_a_cancel_stops_what_was_played_and_says_so_where_it_was_heard() -> None:
    first = bulletin("t-1", NOON)
    known = {first.reference: Known("tinh", play_id(first), ("toan-xa",))}
    cancel = bulletin("t-2", NOON, msg_type=MsgType.CANCEL, references=(first.reference,), areas=())
    ruling = ruled(cancel, known)
    assert ruling.verdict is Verdict.CANCELLED
    stop, said = ruling.orders
    assert (stop.aud, stop.action) == ("zone/toan-xa", Stop(play=play_id(first)))
    assert isinstance(said.action, Play) and "đã được hủy bỏ" in said.action.items[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize("by", ["another-key", "another-sender"])
def test_nobody_cancels_what_another_has_sent(by: str) -> None:
    first = bulletin("t-1", NOON)
    known = {first.reference: Known("tinh", play_id(first), ("toan-xa",))}
    cancel = bulletin("t-2", NOON, msg_type=MsgType.CANCEL, references=(first.reference,))
    if by == "another-sender":
        cancel = replace(cancel, sender="khac@example.vn")
    ruling = ruled(cancel, known, signer="tinh" if by == "another-sender" else "khac")
    assert (ruling.verdict, ruling.orders) == (Verdict.RECORDED, ())


def test_an_update_stops_what_it_supersedes_also_when_it_is_not_played_itself() -> None:
    first = bulletin("t-1", NOON)
    known = {first.reference: Known("tinh", play_id(first), ("toan-xa",))}
    update = bulletin("t-2", NOON, msg_type=MsgType.UPDATE, references=(first.reference,), urgency=Urgency.FUTURE)
    ruling = ruled(update, known)
    assert ruling.verdict is Verdict.RECORDED
    assert [order.action for order in ruling.orders] == [Stop(play=play_id(first))]


TIMES = st.one_of(st.none(), st.integers(NOON - 10 * HOUR, NOON + 10 * HOUR).map(lambda ms: ms - ms % 1000))


@settings(max_examples=200)
@given(
    changes=st.fixed_dictionaries(
        {
            "urgency": st.sampled_from(Urgency),
            "severity": st.sampled_from(Severity),
            "certainty": st.sampled_from(Certainty),
            "status": st.sampled_from(Status),
            "scope": st.sampled_from(Scope),
            "msg_type": st.sampled_from(MsgType),
            "expires_ms": TIMES,
            "effective_ms": TIMES,
            "language": st.sampled_from(["vi-VN", "en-US", "x" * 50]),
            "event": st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=50),
            "headline": st.text(max_size=3000),
            "areas": st.sampled_from([(), (Area("a"),), (Area("a", circles=(BOTH,)),)]),
        }
    ),
    sent=TIMES.filter(bool),
    before=st.sampled_from(["nothing", "played", "by-another"]),
)
def test_whatever_a_proven_message_says_it_plays_only_what_is_khan_cap_now_here_and_real(
    changes: dict[str, Any], sent: int, before: str
) -> None:
    first = bulletin("t-0", NOON)
    message = bulletin("t-1", NOON, **changes, sent=to_text(sent, ZONE), references=(first.reference,))
    signer = "khac" if before == "by-another" else "tinh"
    known = {} if before == "nothing" else {first.reference: Known(signer, play_id(first), ("toan-xa",))}
    ruling = ruled(message, known)
    if ruling.verdict is Verdict.PLAYED:
        assert bulletin_of(message.infos[0]) is Bulletin.URGENT and ruling.zones
        assert (message.status, message.scope) == (Status.ACTUAL, Scope.PUBLIC)
        assert (message.expires_ms or sent + 6 * HOUR) > NOON and (message.infos[0].effective_ms or 0) <= NOON
    plays = [order for order in ruling.orders if isinstance(order.action, Play)]
    assert bool(plays) == (ruling.verdict in (Verdict.PLAYED, Verdict.CANCELLED))
    stops = [order for order in ruling.orders if isinstance(order.action, Stop)]
    assert not stops or before == "played"


# -- whom it touches ------------------------------------------------------------------------------------------------

SQUARE = ((16.54, 107.50), (16.54, 107.53), (16.57, 107.53), (16.57, 107.50), (16.54, 107.50))


@pytest.mark.parametrize(
    ("area", "zones"),
    [
        (Area("a", circles=(BOTH,)), ["toan-xa", "ven-song"]),
        (Area("a", circles=(ONE,)), ["toan-xa", "ven-song"]),
        (Area("a", circles=(Circle((16.5466, 107.5302), 0.1),)), ["toan-xa"]),
        (Area("a", polygons=(SQUARE,)), ["toan-xa", "ven-song"]),
        (Area("a", codes=(("xa", "19747"),)), ["toan-xa", "ven-song"]),
        (Area("a", codes=(("thon", "7"),)), ["ven-song"]),
        (Area("a", codes=(("xa", "7"),)), []),
        (Area("a", circles=(Circle((16.5000, 107.4000), 0.5),)), ["ven-song"]),
        (
            Area("a", polygons=(((16.4, 107.39), (16.6, 107.39), (16.6, 107.41), (16.4, 107.41), (16.4, 107.39)),)),
            ["ven-song"],
        ),
        (
            Area("a", polygons=(((16.501, 107.401), (16.502, 107.401), (16.502, 107.402), (16.501, 107.401)),)),
            ["ven-song"],
        ),
        (Area("a", circles=(Circle((10.0, 106.0), 100.0),)), []),
    ],
)
def test_zones_by_codes_borders_and_loudspeakers(area: Area, zones: list[str]) -> None:
    border = [(16.49, 107.38), (16.49, 107.42), (16.51, 107.42), (16.51, 107.38)]
    rows = [z.model_dump() for z in sample().zones]
    rows[1] |= {"polygon": border, "codes": {"thon": "7"}}
    commune = sample().commune.model_dump() | {"codes": {"xa": "19747"}}
    assert touched([area], sample(zones=rows, commune=commune)) == zones
