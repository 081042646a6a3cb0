"""What people may say at once, how it is cut into pieces, and what is refused before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keng_console.speakers.announcement import MOST_SPOKEN, Announce, Manner, name, pieces, play_of
from keng_contracts.commands import Play, Priority, Speech
from keng_contracts.errors import Problem
from keng_contracts.quiet import require_hour
from tests.support.registry import sample

HANOI = timezone(timedelta(hours=7))


def at(clock: str) -> int:
    return round(datetime.fromisoformat(f"2025-11-17T{clock}").replace(tzinfo=HANOI).timestamp() * 1000)


def play(priority: Priority = Priority.SCHEDULED, night: str | None = None) -> Play:
    return play_of("tb", [Speech(text="Họp.")], priority, Manner(night=night))


@pytest.mark.parametrize("clock", ["21:30", "23:59", "00:00", "04:59"])
def test_at_night_it_is_refused_with_what_to_do_and_sounds_with_a_second_person(clock: str) -> None:
    with pytest.raises(Problem, match=r"nothing was sent.*--night 'NAME'"):
        require_hour(play(), "lan", sample(), at(clock))
    with pytest.raises(Problem, match="it is you yourself"):
        require_hour(play(night="Lan"), "lan", sample(), at(clock))
    require_hour(play(night="Trần Thị Hoa"), "lan", sample(), at(clock))
    require_hour(play(Priority.URGENT), "lan", sample(), at(clock))


@pytest.mark.parametrize("clock", ["05:00", "12:00", "21:29"])
def test_by_day_nobody_has_to_agree(clock: str) -> None:
    require_hour(play(), "lan", sample(), at(clock))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "nothing to say"),
        ({"text": " \n\t"}, "nothing to say"),
        ({"text": "Họp."}, "say where"),
        ({"text": "Họp.", "bulletin": 3}, "its own words"),
        ({"text": "Họp.", "to": ["toan-xa"], "priority": "emergency"}, "priority"),
        ({"text": "Họp.", "to": ["toan-xa"], "items": [{"kind": "siren"}]}, "items"),
    ],
)
def test_what_can_not_be_meant_is_said(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Announce.model_validate(changes)


def test_words_are_composed_and_without_what_no_voice_can_say() -> None:
    decomposed = "Ho\u0323p tho\u0302n\x00\nlu\u200b\u0301c 19 gio\u031b\u0300"
    request = Announce(to=["toan-xa"], text=decomposed)
    assert request.text == "Họp thôn lúc 19 giờ"
    assert request.items == [Speech(text="Họp thôn lúc 19 giờ")]


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Z")), min_size=1).map(str.strip), st.integers(1, 30)
)
def test_a_long_text_is_cut_and_nothing_of_it_is_lost(text: str, most: int) -> None:
    words = " ".join(text[i : i + 7] for i in range(0, len(text), 7))
    found = pieces(words, most)
    assert all(0 < len(piece) <= most for piece in found)
    assert "".join("".join(found).split()) == "".join(words.split())


def test_a_notice_of_two_pages_is_said_whole_and_cut_between_sentences() -> None:
    text = "Ủy ban nhân dân xã thông báo lịch cắt điện. " * 60
    found = Announce(to=["toan-xa"], text=text).items
    assert len(found) == 2 and all(isinstance(i, Speech) and i.text.endswith("điện.") for i in found)
    assert max(len(i.text) for i in found if isinstance(i, Speech)) <= MOST_SPOKEN


def test_a_job_is_called_by_the_time_of_the_commune() -> None:
    early = round(datetime(2025, 11, 16, 22, 5, 7, 42_000, tzinfo=UTC).timestamp() * 1000)
    assert name(early, "Asia/Ho_Chi_Minh") == "thong-bao-20251117-050507-042"
