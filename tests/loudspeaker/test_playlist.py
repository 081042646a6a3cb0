"""The playlist's rules, one by one, and its invariants under any sequence of orders."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keng_contracts.commands import Priority
from keng_loudspeaker.playing.playlist import (
    MAX_ENDED,
    MAX_WAITING,
    RULES,
    Already,
    Cut,
    Drop,
    Effect,
    Job,
    Playlist,
    Start,
    Wait,
    Why,
)


def job(play: str, priority: Priority = Priority.SCHEDULED, rank: int = 0) -> Job:
    return Job(play, priority, rank)


def test_every_priority_has_its_row_and_the_table_is_in_their_order() -> None:
    assert list(RULES) == list(Priority)
    assert [row.order for row in RULES.values()] == list(range(len(Priority)))


def test_what_comes_into_silence_starts() -> None:
    assert Playlist().offer(job("tin"), 0) == [Start("tin")]


@pytest.mark.parametrize("lower", [p for p in Priority if p is not Priority.EMERGENCY])
def test_an_emergency_cuts_everything_else_at_once(lower: Priority) -> None:
    playlist = Playlist()
    playlist.offer(job("tin", lower), 0)
    assert playlist.offer(job("coi", Priority.EMERGENCY), 1) == [Cut("tin", Why.INTERRUPTED, by="coi"), Start("coi")]


def test_bao_dong_3_cuts_bao_dong_2_and_what_was_cut_is_never_resumed() -> None:
    playlist = Playlist()
    playlist.offer(job("bd2", Priority.EMERGENCY, 2), 0)
    assert playlist.offer(job("bd3", Priority.EMERGENCY, 3), 1) == [Cut("bd2", Why.INTERRUPTED, by="bd3"), Start("bd3")]
    assert playlist.ended("bd3", 2) == []
    assert playlist.playing is None
    assert playlist.offer(job("bd2", Priority.EMERGENCY, 2), 3) == [Already("bd2")]


def test_an_equal_or_lower_rank_waits_and_the_highest_goes_first() -> None:
    playlist = Playlist()
    playlist.offer(job("bd3", Priority.EMERGENCY, 3), 0)
    assert playlist.offer(job("tin", Priority.SCHEDULED), 1) == [Wait("tin")]
    assert playlist.offer(job("bd2", Priority.EMERGENCY, 2), 2) == [Wait("bd2")]
    assert playlist.offer(job("khac-bd3", Priority.EMERGENCY, 3), 3) == [Wait("khac-bd3")]
    assert playlist.ended("bd3", 4) == [Start("khac-bd3")]
    assert playlist.ended("khac-bd3", 5) == [Start("bd2")]
    assert playlist.ended("bd2", 6) == [Start("tin")]


P = Priority
#: What plays (row) and what is ordered (column), highest first: what becomes of the new order.
MATRIX = """
            emergency  urgent  live  priority  scheduled  relay
emergency   wait       wait    drop  wait      wait       wait
urgent      cut        wait    drop  wait      wait       wait
live        cut        cut     drop  wait      wait       wait
priority    cut        cut     cut   wait      wait       wait
scheduled   cut        cut     cut   cut       wait       wait
relay       cut        cut     cut   cut       cut        wait
"""
CELLS = [
    (P(row.split()[0]), P(column), word)
    for row in MATRIX.strip().splitlines()[1:]
    for column, word in zip(MATRIX.split()[:6], row.split()[1:], strict=True)
]


@pytest.mark.parametrize(("plays", "ordered", "becomes"), CELLS)
@pytest.mark.parametrize("resume", [False, True])
def test_what_gives_way_to_what(plays: Priority, ordered: Priority, becomes: str, resume: bool) -> None:
    playlist = Playlist()
    assert playlist.offer(Job("cu", plays, resume=resume), 0) == [Start("cu")]
    resumes = resume and plays is not P.LIVE
    expected: dict[str, list[Effect]] = {
        "wait": [Wait("moi")],
        "drop": [Drop("moi", Why.WAITED_TOO_LONG)],
        "cut": [Cut("cu", Why.INTERRUPTED, by="moi", resumes=resumes), Start("moi")],
    }
    assert playlist.offer(Job("moi", ordered), 1) == expected[becomes]
    if becomes == "cut":
        assert playlist.ended("moi", 2) == ([Start("cu")] if resumes else [])


@pytest.mark.parametrize("priority", Priority)
def test_how_long_each_waits_for_its_turn_and_to_go_on(priority: Priority) -> None:
    rule = RULES[priority]
    for waited_s, starts in ((rule.patience_s, True), (rule.patience_s + 1, False)):
        playlist = Playlist()
        playlist.offer(Job("coi", Priority.EMERGENCY, 9), 0)
        if playlist.offer(Job("tin", priority), 0) == [Wait("tin")]:
            after = playlist.ended("coi", waited_s)
            assert after == ([Start("tin")] if starts else [Drop("tin", Why.WAITED_TOO_LONG)])
    for away_s, resumes in ((rule.resume_s, True), (rule.resume_s + 1, False)):
        playlist = Playlist()
        playlist.offer(Job("tin", priority, resume=True), 0)
        cut, _ = playlist.offer(Job("coi", Priority.EMERGENCY, 9), 0)
        if isinstance(cut, Cut) and cut.resumes:
            after = playlist.ended("coi", away_s)
            assert after == ([Start("tin")] if resumes else [Drop("tin", Why.WAITED_TOO_LONG)])


def test_what_resumes_goes_on_before_its_equals_and_after_what_stands_higher() -> None:
    playlist = Playlist()
    playlist.offer(Job("sang", Priority.SCHEDULED, resume=True), 0)
    playlist.offer(job("toi"), 1)
    playlist.offer(job("coi", Priority.EMERGENCY), 2)
    playlist.offer(job("uu-tien", Priority.PRIORITY), 3)
    assert playlist.ended("coi", 4) == [Start("uu-tien")]
    assert playlist.ended("uu-tien", 5) == [Start("sang")]
    assert playlist.ended("sang", 6) == [Start("toi")]


def test_a_stop_ends_also_what_would_have_gone_on() -> None:
    for stopped in ("sang", ""):
        playlist = Playlist()
        playlist.offer(Job("sang", Priority.SCHEDULED, resume=True), 0)
        playlist.offer(job("coi", Priority.EMERGENCY), 1)
        assert Drop("sang", Why.STOPPED) in playlist.stop(stopped, 2)
        assert playlist.ended("coi", 3) == []


def test_what_came_to_its_end_in_the_moment_of_its_interruption_does_not_go_on() -> None:
    playlist = Playlist()
    playlist.offer(Job("sang", Priority.SCHEDULED, resume=True), 0)
    playlist.offer(job("coi", Priority.EMERGENCY), 1)
    assert playlist.ended("sang", 1) == []
    assert playlist.ended("coi", 2) == [] and playlist.has_ended("sang")


def test_the_same_order_again_is_answered_and_played_once() -> None:
    playlist = Playlist()
    playlist.offer(job("coi", Priority.EMERGENCY), 0)
    assert playlist.offer(job("coi", Priority.EMERGENCY), 1) == [Already("coi")]
    playlist.ended("coi", 2)
    assert playlist.offer(job("coi", Priority.EMERGENCY), 3) == [Already("coi")]


def test_what_failed_may_be_ordered_again() -> None:
    playlist = Playlist()
    playlist.offer(job("coi", Priority.EMERGENCY), 0)
    playlist.ended("coi", 1, again=True)
    assert playlist.offer(job("coi", Priority.EMERGENCY), 2) == [Start("coi")]


def test_what_ended_before_a_restart_is_still_known() -> None:
    assert Playlist.remembering(["coi"]).offer(job("coi", Priority.EMERGENCY), 0) == [Already("coi")]


def test_a_stop_of_one_lets_the_next_begin_and_holds_even_before_its_order_comes() -> None:
    playlist = Playlist()
    playlist.offer(job("a"), 0)
    playlist.offer(job("b"), 0)
    assert playlist.stop("a", 1) == [Cut("a", Why.STOPPED), Start("b")]
    assert playlist.stop("chua-den", 2) == []
    assert playlist.offer(job("chua-den"), 3) == [Already("chua-den")]


def test_a_stop_of_all_leaves_nothing() -> None:
    playlist = Playlist()
    for name in "abc":
        playlist.offer(job(name), 0)
    assert playlist.stop("", 1) == [Drop("b", Why.STOPPED), Drop("c", Why.STOPPED), Cut("a", Why.STOPPED)]
    assert playlist.playing is None and playlist.waiting == []


def test_what_waited_too_long_is_dropped_and_a_live_voice_does_not_wait() -> None:
    playlist = Playlist()
    playlist.offer(job("coi", Priority.EMERGENCY), 0)
    playlist.offer(job("tin", Priority.SCHEDULED), 0)
    playlist.offer(job("uu-tien", Priority.PRIORITY), 0)
    assert playlist.offer(job("noi", Priority.LIVE), 0) == [Drop("noi", Why.WAITED_TOO_LONG)]
    assert playlist.ended("coi", 700) == [Start("uu-tien")]
    assert playlist.ended("uu-tien", 701) == [Drop("tin", Why.WAITED_TOO_LONG)]


def test_the_queue_is_bounded_and_the_lowest_goes() -> None:
    playlist = Playlist()
    playlist.offer(job("coi", Priority.EMERGENCY), 0)
    for n in range(MAX_WAITING):
        playlist.offer(job(f"tin-{n}"), n)
    effects = playlist.offer(job("uu-tien", Priority.PRIORITY), 99)
    assert effects == [Wait("uu-tien"), Drop(f"tin-{MAX_WAITING - 1}", Why.QUEUE_FULL)]


def test_the_memory_of_ended_jobs_is_bounded() -> None:
    playlist = Playlist.remembering(str(n) for n in range(MAX_ENDED + 5))
    assert not playlist.has_ended("4") and playlist.has_ended("5")


class AnyOrders(RuleBasedStateMachine):
    """Whatever is ordered, in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.playlist = Playlist()
        self.now = 0.0
        self.sounding: str | None = None
        self.started: list[str] = []
        self.over: set[str] = set()
        self.known: dict[str, Job] = {}

    def do(self, effects: list[Effect]) -> None:
        """Execute effects as the node does, and hold them to the rules."""
        for effect in effects:
            match effect:
                case Start(play):
                    assert self.sounding is None, "two at once"
                    assert play not in self.over, "what is over was started"
                    self.sounding = play
                    self.started.append(play)
                case Cut(play, why, _, resumes):
                    assert self.sounding == play
                    self.sounding = None
                    if resumes:
                        assert self.known[play].resume and why is Why.INTERRUPTED, "it resumes unasked"
                    else:
                        self.over.add(play)
                case Drop(play, _):
                    assert play != self.sounding
                    self.over.add(play)

    @rule(
        play=st.sampled_from("abcdefgh"),
        priority=st.sampled_from(Priority),
        rank=st.integers(0, 4),
        resume=st.booleans(),
        later=st.floats(0, 400),
    )
    def offer(self, play: str, priority: Priority, rank: int, resume: bool, later: float) -> None:
        self.now += later
        offered = Job(play, priority, rank, resume)
        before = self.playlist.playing
        fresh = play not in self.over and play != self.sounding and play not in [w.play for w in self.playlist.waiting]
        effects = self.playlist.offer(offered, self.now)
        assert effects, "every order gets an answer"
        assert fresh or effects == [Already(play)]
        if fresh and priority is Priority.EMERGENCY and (before is None or before.priority is not Priority.EMERGENCY):
            assert effects[-1] == Start(play), "an emergency waited for something lower"
        if fresh:
            self.known[play] = offered
        self.do(effects)

    @rule(play=st.sampled_from(["", *"abcdefgh"]))
    def stop(self, play: str) -> None:
        self.do(self.playlist.stop(play, self.now))
        if play:
            self.over.add(play)
            assert self.sounding != play
        else:
            assert self.sounding is None and self.playlist.waiting == []

    @precondition(lambda self: self.sounding is not None)
    @rule(later=st.floats(0, 2000), again=st.booleans())
    def ends(self, later: float, again: bool) -> None:
        self.now += later
        ended, self.sounding = self.sounding, None
        assert ended is not None
        if not again:
            self.over.add(ended)
        self.do(self.playlist.ended(ended, self.now, again=again))

    @rule(play=st.sampled_from("abcdefgh"))
    def a_late_word_about_another(self, play: str) -> None:
        if play != self.sounding:
            assert self.playlist.ended(play, self.now) == []
            if play in self.started and play not in [w.play for w in self.playlist.waiting]:
                self.over.discard(play)
                if self.playlist.has_ended(play):
                    self.over.add(play)

    @invariant()
    def the_state_is_what_the_effects_have_made(self) -> None:
        assert (self.playlist.playing.play if self.playlist.playing else None) == self.sounding

    @invariant()
    def nothing_waits_that_stands_higher_or_while_there_is_silence(self) -> None:
        waiting = self.playlist.waiting
        assert [w.standing for w in waiting] == sorted(w.standing for w in waiting)
        if waiting:
            assert self.playlist.playing is not None
            assert self.playlist.playing.standing <= waiting[0].standing
        assert not {w.play for w in waiting} & self.over


TestAnyOrders = AnyOrders.TestCase
