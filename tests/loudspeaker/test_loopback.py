"""A microphone near the loudspeaker: whether it heard what was played, by the course of the level."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from keng_contracts.commands import Priority
from keng_contracts.playback import PlaybackEvent, What
from keng_loudspeaker.proving import self_test
from keng_loudspeaker.proving.loopback import STEP_S, compare
from tests.loudspeaker.conftest import NODE, SHORT, RunningNode, connected, play
from tests.support.broker import RunningBroker
from tests.support.processes import until

FIRST_S, LAST_S = 100.0, 103.0
Curve = list[tuple[float, float]]


def blasts(delay_s: float = 0.0, loud: float = -10.0, quiet: float = -120.0, noise_db: float = 0.0) -> Curve:
    """Blasts of 0.8 s with gaps of 0.3 s, seen for two seconds before and after."""
    chance = random.Random(1)
    curve = []
    for i in range(round((LAST_S - FIRST_S + 4.0) / STEP_S)):
        at_s = FIRST_S - 2.0 + i * STEP_S
        since_s = at_s - FIRST_S - delay_s
        sounds = 0 <= since_s < LAST_S - FIRST_S and since_s % 1.1 < 0.8
        curve.append((at_s, (loud if sounds else quiet) + chance.gauss(0, noise_db)))
    return curve


def noise() -> Curve:
    chance = random.Random(2)
    return [(at_s, chance.gauss(-40, 8)) for at_s, _ in blasts()]


@pytest.mark.parametrize(
    ("microphone", "heard"),
    [
        (blasts(delay_s=0.2, loud=-45, quiet=-60, noise_db=3), True),  # soft, late, and birds between
        (blasts(delay_s=0.5, loud=-10, quiet=-70), True),
        (blasts(delay_s=0.1, loud=-54, quiet=-60, noise_db=5), True),  # hardly above the street
        (noise(), False),
        ([(at_s, -120.0) for at_s, _ in blasts()], False),  # dead
        ([(at_s, -40.0) for at_s, _ in blasts()], False),  # hum
    ],
)
def test_a_microphone_has_heard_it_if_its_level_takes_the_same_course(microphone: Curve, heard: bool) -> None:
    match = compare(blasts(), microphone, FIRST_S, LAST_S)
    assert match is not None and match.heard is heard, match


def test_the_delay_and_the_level_at_the_microphone_are_found() -> None:
    match = compare(blasts(), blasts(delay_s=0.24, loud=-30, quiet=-70), FIRST_S, LAST_S)
    assert match is not None
    assert match.lag_s == pytest.approx(0.24, abs=0.03) and match.level_dbfs == pytest.approx(-30, abs=1)


def test_of_what_the_microphone_missed_nothing_is_said() -> None:
    assert compare(blasts(), blasts()[:40], FIRST_S, LAST_S) is None
    assert compare([], [], FIRST_S, LAST_S) is None


@pytest.fixture
def outside() -> Iterator[RunningBroker]:
    with RunningBroker() as broker:
        yield broker


@pytest.mark.parametrize(("source", "what"), [(f"keng_{NODE}.monitor", What.HEARD), ("tot.monitor", What.UNHEARD)])
async def test_each_item_is_told_as_heard_or_not_and_what_is_not_is_a_problem(
    outside: RunningBroker, source: str, what: What
) -> None:
    """The sink's own monitor stands for a microphone that hears it, a source without sound for one that does not."""
    node = RunningNode(outside, more=f'microphone = "{source}"\n')
    try:
        async with connected(outside) as village:
            await until(lambda: village.status.device == "null", within=30, what="the node is ready")
            if source == "tot.monitor":
                node.pactl(
                    "load-module", "module-null-sink", "sink_name=tot", "rate=48000", "channels=1", "norewinds=1"
                )
            text = f"listening to the microphone {source}"
            await until(lambda: text in node.process.text(), within=30, what="the microphone listens")
            job = play(SHORT)
            await village.order(village.alerts.command(job))
            said = await village.event(job.play, what, item=0)
            assert said.match is not None and said.kind == "siren"
            wrong = what is What.UNHEARD
            await until(
                lambda: any("the microphone did not hear" in p for p in village.status.problems) is wrong,
                within=30,
                what="the status says so",
            )
    finally:
        node.stop()


async def test_a_loudspeaker_that_had_nothing_to_say_tests_itself_softly_at_its_hour(outside: RunningBroker) -> None:
    hour = f"{datetime.now(ZoneInfo('Asia/Ho_Chi_Minh')):%H:%M}"
    node = RunningNode(outside, more=f'microphone = "keng_{NODE}.monitor"\ntest_at = "{hour}"\n')
    try:
        async with connected(outside) as village:

            def heard() -> PlaybackEvent | None:
                tests = [e for e in village.events if e.play.startswith(self_test.NAME)]
                return next((e for e in tests if e.what is What.HEARD), None)

            said = await until(heard, within=60, what="the test is heard")
            assert said is not None and said.command == "self-test" and said.match is not None and said.match > 0.5
            [finished] = [e for e in village.events if e.play == said.play and e.what is What.FINISHED]
            assert finished.level_dbfs is not None and -50 < finished.level_dbfs < -30
            assert finished.priority is Priority.RELAY
    finally:
        node.stop()


@pytest.mark.parametrize(
    ("at", "checked_s", "name"),
    [
        ("01:59", None, ""),
        ("02:30", None, "thu-loa-20251117"),
        ("02:59", 21 * 3600.0, "thu-loa-20251117"),
        ("02:30", 3600.0, ""),  # it was heard an hour ago
        ("03:00", None, ""),  # too late for this night
    ],
)
def test_a_self_test_is_due_for_half_an_hour_if_nothing_was_checked_of_late(
    at: str, checked_s: float | None, name: str
) -> None:
    hour, minute = map(int, at.split(":"))
    assert self_test.due("02:30", datetime(2025, 11, 17, hour, minute), checked_s) == name
