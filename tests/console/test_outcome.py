"""How an announcement stands on a loudspeaker follows from its evidence."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_console.speakers.outcome import Outcome, Stands, outcome
from keng_console.speakers.outcome_words import stands
from keng_contracts.commands import Play, Priority, Speech
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.telemetry import Clock

TWO = Play(play="tb", priority=Priority.SCHEDULED, items=[Speech(text="Một."), Speech(text="Hai.")])
TWICE = TWO.model_copy(update={"repeats": 2, "resume": True})


def said(*rows: tuple[What, dict[str, Any]], play: Play = TWO, online: bool = True) -> Outcome:
    numbers = count()
    events = [
        PlaybackEvent(
            boot="0123456789abcdef", seq=(n := next(numbers)), at_ms=1000 + n, clock=Clock.SYNCED, what=w, **m
        )
        for w, m in rows
    ]
    return outcome("loa", reversed(events), play, online=online)


ACCEPTED: tuple[What, dict[str, Any]] = (What.ACCEPTED, {})
STARTED: tuple[What, dict[str, Any]] = (What.STARTED, {"item": 0, "level_dbfs": -20.0, "first_sample_ms": 990})
FINISHED: tuple[What, dict[str, Any]] = (What.FINISHED, {"item": 0, "level_dbfs": -18.0, "sounded_s": 2.0})
FAILED: tuple[What, dict[str, Any]] = (What.FAILED, {"item": 1, "reason": "fetch-failed"})
CUT: tuple[What, dict[str, Any]] = (What.CUT, {"item": 0, "reason": "interrupted: phu-oc-level-1-3", "sounded_s": 1.0})


@pytest.mark.parametrize(
    ("rows", "how"),
    [
        ([], Stands.ASKED),
        ([ACCEPTED], Stands.WAITING),
        ([(What.REFUSED, {"reason": "quiet-hours"})], Stands.REFUSED),
        ([ACCEPTED, (What.REFUSED, {"reason": "replayed"})], Stands.WAITING),
        ([ACCEPTED, (What.ACCEPTED, {"reason": "already"})], Stands.WAITING),
        ([ACCEPTED, STARTED], Stands.SOUNDING),
        ([ACCEPTED, STARTED, FINISHED], Stands.SOUNDING),
        ([ACCEPTED, STARTED, FINISHED, STARTED, FINISHED], Stands.FINISHED),
        ([ACCEPTED, (What.FAILED, {"item": 0, "reason": "player-hangs (tried again)"}), STARTED], Stands.SOUNDING),
        ([ACCEPTED, STARTED, FINISHED, FAILED], Stands.FAILED),
        ([ACCEPTED, FAILED], Stands.WAITING),
        ([ACCEPTED, (What.FAILED, {"reason": "fault: KeyError"})], Stands.FAILED),
        ([ACCEPTED, *[(What.SILENT, {"item": i, "reason": "nothing-heard"}) for i in (0, 1)]], Stands.FAILED),
        ([ACCEPTED, STARTED, (What.SILENT, {"item": 0, "reason": "fell-silent"})], Stands.SOUNDING),
        ([ACCEPTED, STARTED, CUT], Stands.CUT),
        ([ACCEPTED, (What.CUT, {"reason": "waited-too-long"})], Stands.CUT),
    ],
)
def test_each_row_of_the_table(rows: list[tuple[What, dict[str, Any]]], how: Stands) -> None:
    assert said(*rows).stands is how


def test_what_resumes_is_not_over_when_it_is_cut_by_what_stands_higher() -> None:
    cut = said(ACCEPTED, STARTED, CUT, play=TWICE)
    assert cut.stands is Stands.INTERRUPTED and cut.open
    assert said(ACCEPTED, STARTED, (What.CUT, {"item": 0, "reason": "stopped"}), play=TWICE).stands is Stands.CUT
    on = said(ACCEPTED, STARTED, CUT, *[STARTED, FINISHED] * 4, play=TWICE)
    assert (on.stands, on.sounded_s, on.started_ms, on.level_dbfs) == (Stands.FINISHED, 9.0, 990, -18.0)


def test_who_was_away_and_said_nothing_is_not_waited_for_and_who_came_in_time_counts() -> None:
    assert not said(online=False).open
    assert said(ACCEPTED, STARTED, online=False).started


def test_one_item_that_no_microphone_heard_is_told() -> None:
    heard, unheard = (What.HEARD, {"item": 0}), (What.UNHEARD, {"item": 1})
    assert said(ACCEPTED, heard).heard is True
    assert said(ACCEPTED, heard, unheard).heard is said(ACCEPTED, unheard, heard).heard is False


@given(st.lists(st.sampled_from([ACCEPTED, STARTED, FINISHED, FAILED, CUT, (What.REFUSED, {"reason": "expired"})])))
def test_whatever_comes_it_has_started_only_with_a_first_sample(rows: list[tuple[What, dict[str, Any]]]) -> None:
    found = said(*rows)
    assert found.started == any(what is What.STARTED for what, _ in rows)
    assert found.stands is not Stands.FINISHED or found.started


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((What.REFUSED, {"reason": "expired"}), "TỪ CHỐI, lệnh đã hết hạn, hãy so đồng hồ hai máy (expired) (refused,"),
        (CUT, "bị ngắt, nhường cho phu-oc-level-1-3, 1,0 giây (cut, gave way to phu-oc-level-1-3, 1.0 s)"),
        ((What.ACCEPTED, {"reason": "waiting"}), "đã nhận, chờ tới lượt (accepted, waits for its turn)"),
        (
            (What.STARTED, {"reason": "on-arrival: clock-unknown, repeat 1 of 2", "level_dbfs": -21.25}),
            "đang phát, không cùng lúc: đồng hồ chưa đúng giờ, lần 1/2, −21,2 dBFS (sounding, not together: its clock",
        ),
    ],
)
def test_it_is_told_in_vietnamese_first(row: tuple[What, dict[str, Any]], words: str) -> None:
    assert stands(said(row)).startswith(words)
