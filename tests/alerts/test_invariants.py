"""What holds whatever comes: samples, gaps, late data, restarts, clock steps, evidence, an absent broker, orders."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keng_contracts.alert_commands import (
    AlertAcknowledge,
    AlertConfirm,
    AlertCorrect,
    AlertDecline,
    AlertDrill,
    AlertSilence,
    AlertStop,
)
from keng_contracts.alerts import Delivery
from keng_contracts.authority import AuthorityMode
from keng_contracts.commands import Play
from keng_contracts.playback import What
from tests.support.watching import ALERT, DRILL, NIGHT, OneGauge, commune

AN = "Nguyễn Văn An"
MODES = list(AuthorityMode)
BY_ITSELF = (AuthorityMode.AUTO, AuthorityMode.TIMEOUT)

Step = tuple[Any, ...]
#: Three samples confirm a level; fifty minutes below it clear one, and 140 a whole flood.
FLOOD = st.tuples(
    st.just("samples"),
    st.sampled_from([(3.1, 3), (4.6, 3), (4.6, 3), (4.8, 1), (4.3, 50), (1.0, 140), (20.0, 1), (4.45, 1)]),
    st.sampled_from([0.0, 0.0, 0.0, 5000.0]),
)
STEPS = st.one_of(
    FLOOD,
    FLOOD,
    st.tuples(st.just("wait"), st.tuples(st.sampled_from([1.0, 30.0, 400.0, 4000.0]), st.booleans())),
    st.tuples(st.just("clock"), st.sampled_from([-3_600_000, -60_000, 3_600_000, 86_400_000])),
    st.tuples(st.just("second"), st.booleans()),
    st.tuples(
        st.just("evidence"),
        st.tuples(st.sampled_from(["loa-phuoc-yen", "loa-niem-pho", "loa-la"]), st.sampled_from(list(What))),
    ),
    st.tuples(
        st.just("order"),
        st.sampled_from(
            [
                AlertConfirm(by=AN),
                AlertConfirm(by=AN, level=2),
                AlertDecline(by=AN),
                AlertAcknowledge(by=AN),
                AlertStop(by=AN),
                AlertCorrect(by=AN),
                AlertDrill(by=AN, level=3),
            ]
        ),
    ),
    st.tuples(st.just("silence"), st.sampled_from([2, 3])),
)
#: Most begin with a crossing: what comes after one is what matters.
OPENINGS = st.sampled_from(
    [
        [],
        [("samples", (3.1, 3), 0.0)],
        [("samples", (4.6, 3), 0.0)],
        [("samples", (3.1, 3), 0.0), ("samples", (4.6, 3), 0.0)],
        [("samples", (4.6, 3), 5000.0)],
    ]
)
STORY = st.builds(lambda opening, rest: [*opening, *rest], OPENINGS, st.lists(STEPS, max_size=25))
ROWS = st.tuples(st.sampled_from(MODES), st.sampled_from(MODES), st.sampled_from([0, 7200]), st.booleans())


def registry(rows: tuple[AuthorityMode, AuthorityMode, int, bool]) -> Any:
    lower, higher, cooldown_s, second = rows
    more = {"cooldown_s": cooldown_s, "confirm_within_s": 300}
    other = {**commune().thresholds[0].model_dump(), "sensor": "uy-ban/pm10", "level": 1}
    agree = {"second": {"sensor": "uy-ban/pm10", "level": 1}} if second else {}
    return commune(
        level2={"mode": lower, "zones": ["toan-xa"], **more},
        level3={"mode": higher, "zones": ["toan-xa"], **more, **agree},
        thresholds=[*(t.model_dump() for t in commune().thresholds), other],
    )


def live(gauge: OneGauge, steps: list[Step], restarts: frozenset[int] = frozenset()) -> OneGauge:
    for number, (what, how, *more) in enumerate(steps):
        if number in restarts:
            gauge.restart()
        if what == "samples":
            gauge.levels(*[how[0]] * how[1], late_s=more[0])
        elif what == "wait":
            gauge.wait(how[0], able=how[1], every_s=max(1.0, how[0] / 40))
        elif what == "clock":
            gauge.now_ms += how
        elif what == "second":
            gauge.second_agrees = how
        elif what == "evidence" and gauge.plays:
            gauge.evidence(*how, level_dbfs=-12.0)
        elif what == "order":
            gauge.order(how)
        elif what == "silence":
            gauge.order(AlertSilence(by=AN, level=how, until_ms=gauge.now_ms + 3_600_000))
    return gauge


def sirens(gauge: OneGauge) -> list[Play]:
    """Plays of sirens that were ordered to zones, as often as they were."""
    return [
        action
        for aud, action in gauge.sent
        if isinstance(action, Play) and aud.startswith("zone/") and action.rank and not action.exercise
    ]


@settings(max_examples=70)
@given(ROWS, STORY, st.frozensets(st.integers(0, 29)))
def test_replay_equals_live_and_a_restart_changes_no_byte(rows: Any, steps: list[Step], restarts: Any) -> None:
    once = live(OneGauge(registry(rows), NIGHT), steps)
    assert live(OneGauge(registry(rows), NIGHT), steps).log() == once.log()
    assert live(OneGauge(registry(rows), NIGHT), steps, restarts).log() == once.log()


@settings(max_examples=70)
@given(ROWS, STORY)
def test_no_siren_without_authority_and_none_twice_in_an_episode(rows: Any, steps: list[Step]) -> None:
    gauge = live(OneGauge(registry(rows), NIGHT), steps)
    modes = {2: rows[0], 3: rows[1]}
    names = [play.play for play in sirens(gauge)]
    assert len(names) == len(set(names))
    by_episode: dict[int, list[int]] = {}
    for play in sirens(gauge):
        assert play.cause is not None
        by_episode.setdefault(play.cause.episode, []).append(play.rank)
    for ranks in by_episode.values():
        assert ranks == sorted(ranks)  # once báo động 3 has sounded, báo động 2 is mute
    confirmed = any(isinstance(step[1], AlertConfirm) for step in steps)
    for play in sirens(gauge):
        assert modes[play.rank] in BY_ITSELF or (confirmed and modes[play.rank] is AuthorityMode.CONFIRM)
    for ordered in gauge.watch.desk.response.plays.values():
        assert ordered.authority
    repeated = {action.play for aud, action in gauge.sent if isinstance(action, Play) and aud.startswith("speaker/")}
    assert repeated <= set(gauge.plays)


@settings(max_examples=70)
@given(ROWS, STORY.map(lambda story: [step for step in story if step[0] != "order"]))
def test_no_siren_by_itself_from_late_data_or_under_a_silence(rows: Any, steps: list[Step]) -> None:
    gauge = OneGauge(registry(rows), NIGHT)
    late_ms = gauge.watch.gauge.late_after_ms
    for step in steps:
        before = len(sirens(gauge))
        silence = gauge.watch.desk.response.silence
        live(gauge, [step])
        for play in sirens(gauge)[before:]:
            assert play.cause is not None
            assert play.cause.heard_ms - play.cause.measured_ms <= late_ms
            held = silence is not None and step[0] != "silence" and play.cause.decided_ms < silence.until_ms
            assert not (held and silence is not None and play.rank <= silence.level)


@settings(max_examples=60)
@given(ROWS, STORY)
def test_nothing_is_cleared_but_by_fresh_good_data_and_no_question_outlives_its_level(
    rows: Any, steps: list[Step]
) -> None:
    gauge = OneGauge(registry(rows), NIGHT)
    for step in steps:
        state = gauge.watch.state
        live(gauge, [step])
        after = gauge.watch.state
        if after.level < state.level:
            assert step[0] == "samples"
            assert after.last_ms > state.last_ms
            low = step[1][0]
            assert low < gauge.watch.gauge.thresholds(gauge.now_ms)[state.level] - gauge.watch.rule.dead_band
        response = gauge.watch.desk.response
        assert all(q.level <= after.level for q in response.questions)
        if gauge.watch.desk.document is not None:
            assert gauge.document.level == after.level
            assert list(gauge.document.questions) == list(response.questions)


@settings(max_examples=60)
@given(ROWS, STORY)
def test_a_drill_is_a_drill_in_all_that_is_said_of_it(rows: Any, steps: list[Step]) -> None:
    gauge = live(OneGauge(registry(rows), NIGHT), steps)
    for document in gauge.told:
        if document.id == DRILL:
            assert document.exercise and document.drill_of == ALERT and document.headline.startswith("DIỄN TẬP")
        else:
            assert not document.exercise and not document.drill_of
    for _, action in gauge.sent:
        if isinstance(action, Play):
            assert action.exercise == action.play.startswith(DRILL)
            assert (action.cause is not None) and action.cause.alert == (DRILL if action.exercise else ALERT)


@settings(max_examples=60)
@given(STORY)
def test_what_is_confirmed_was_measured_and_versions_only_grow(steps: list[Step]) -> None:
    gauge = live(OneGauge(registry((AuthorityMode.AUTO, AuthorityMode.AUTO, 0, False)), NIGHT), steps)
    heard = {step[1][0] for step in steps if step[0] == "evidence" and step[1][1] in (What.STARTED, What.FINISHED)}
    for id_ in (ALERT, DRILL):
        documents = [document for document in gauge.told if document.id == id_]
        assert [document.version for document in documents] == list(range(1, len(documents) + 1))
        for document in documents:
            assert {s for s, state in document.deliveries.items() if state is Delivery.CONFIRMED} <= heard
