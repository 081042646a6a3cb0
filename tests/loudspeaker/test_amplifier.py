"""Whether the amplifier works, by what it draws; a file stands for the kernel's current sensor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keng_contracts.commands import Siren
from keng_contracts.playback import What
from keng_loudspeaker.proving.amplifier import EVERY_S, Draw, draw
from keng_loudspeaker.proving.health import milliamperes
from keng_loudspeaker.proving.meter import Hearing
from tests.loudspeaker.conftest import RunningNode, connected, play
from tests.support.broker import RunningBroker
from tests.support.processes import until

TONE = Siren(pattern="thu", blasts=1, blast_s=2.5, gap_s=0)
RESTING = [78, 80, 83, 80, 79, 81, 80, 80]


def heard(seconds: float, level_dbfs: float) -> Hearing:
    """Something that sounded for so long from the moment 100 on."""
    samples = round(seconds * 48_000)
    energy = 10 ** (level_dbfs / 10) * 32768**2 * samples
    return Hearing(99.9, first_s=100.0, last_s=100.0 + seconds, sounded=samples, energy=energy)


def readings(ma: int, seconds: float = 3.0) -> list[tuple[float, int]]:
    return [(100.0 + i * EVERY_S, ma + i % 3) for i in range(1, round(seconds / EVERY_S))]


@pytest.mark.parametrize(
    ("drawn", "works"),
    [
        (readings(900), True),
        (readings(93), True),  # soft speech through 24 V
        (readings(80), False),  # its output stage is dead
        (readings(0), False),  # it has no power
    ],
)
def test_an_amplifier_works_if_it_draws_more_for_sound_than_at_rest(
    drawn: list[tuple[float, int]], works: bool
) -> None:
    found = draw(RESTING, drawn, heard(3.0, -18.0))
    assert found is not None and found.works is works


def test_of_much_at_rest_a_share_must_be_added() -> None:
    assert not Draw(1000, 1040).works and Draw(1000, 1060).works


@pytest.mark.parametrize(
    ("rest", "hearing"),
    [
        (RESTING, heard(3.0, -30.0)),  # too soft to be seen in the current
        (RESTING, heard(0.8, -10.0)),  # too short
        (RESTING[:3], heard(3.0, -10.0)),  # it has just been switched on
        (RESTING, Hearing(99.9)),  # nothing was heard at the output: that is another fault
    ],
)
def test_what_can_not_be_told_is_not_told(rest: list[int], hearing: Hearing) -> None:
    assert draw(rest, readings(80), hearing) is None


def test_the_sensors_number_may_change_and_its_sign(tmp_path: Path) -> None:
    sensor = tmp_path / "hwmon3" / "curr1_input"
    assert milliamperes(f"{tmp_path}/hwmon*/curr1_input") is None and milliamperes("") is None
    sensor.parent.mkdir()
    sensor.write_text("-412\n")
    assert milliamperes(f"{tmp_path}/hwmon*/curr1_input") == milliamperes(str(sensor)) == 412
    sensor.write_text("")
    assert milliamperes(str(sensor)) is None


@pytest.fixture
def pole() -> Iterator[RunningBroker]:
    with RunningBroker() as broker:
        yield broker


async def test_an_amplifier_that_stays_at_rest_is_evidence_and_a_problem_until_it_works(
    pole: RunningBroker, tmp_path: Path
) -> None:
    sensor = tmp_path / "curr1_input"
    sensor.write_text("80\n")
    node = RunningNode(pole, more=f'amplifier_current = "{sensor}"\n')
    try:
        async with connected(pole) as village:
            await until(lambda: village.status.amplifier_ma == 80, within=30, what="the status tells the current")
            job = play(TONE)
            await village.order(village.alerts.command(job))
            said = await village.event(job.play, What.UNHEARD, item=0)
            assert said.reason == "amplifier: 80 mA while it sounded, 80 mA at rest" and said.match is None
            assert What.FINISHED in village.steps(job.play)

            def complained() -> bool:
                return any(problem.startswith("the amplifier drew no more") for problem in village.status.problems)

            await until(complained, within=30, what="the status says so")
            job = play(TONE)
            await village.order(village.alerts.command(job))
            await village.event(job.play, What.STARTED)
            sensor.write_text("950\n")  # somebody has put the plug in again
            await village.event(job.play, What.FINISHED)
            sensor.write_text("80\n")
            await until(lambda: not complained(), within=30, what="the problem is over")
            assert What.UNHEARD not in village.steps(job.play)
    finally:
        node.stop()
