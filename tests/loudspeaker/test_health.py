"""How the machine is, the curve of what sounded, and that both are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.playback import What
from keng_loudspeaker.proving import health
from keng_loudspeaker.proving.curve import FIRST, FLOOR_DBFS, MOST, Curve
from keng_loudspeaker.proving.health import Health, problems
from tests.loudspeaker.conftest import SHORT, RunningNode, Village, play
from tests.support.processes import until

WELL = Health(temperature_c=45.0, undervoltage=False, disk_free_mb=9000, clock_error_ms=0.4)


@pytest.mark.parametrize(
    ("state", "more", "said"),
    [
        (WELL, {}, []),
        (Health(), {}, []),  # a machine that tells nothing of itself has nothing to be told
        (Health(temperature_c=80.0), {}, ["hot"]),
        (Health(undervoltage=True), {}, ["undervoltage"]),
        (Health(disk_free_mb=199), {}, ["less than 200 MB"]),
        (Health(clock_error_ms=-1000.0), {}, ["the clock may be off"]),
        (WELL, {"device": ""}, ["no sound device"]),
        (WELL, {"programme_waits": True}, ["the programme waits"]),
        (WELL, {"unheard": True}, ["the microphone did not hear"]),
        (WELL, {"waiting": 5000}, ["5000 or more events wait"]),
    ],
)
def test_what_a_person_should_look_at_is_said_in_words(state: Health, more: dict[str, object], said: list[str]) -> None:
    about = {"device": "null", "waiting": 0, "programme_waits": False, "unheard": False, **more}
    found = problems(state, **about)  # type: ignore[arg-type]
    assert len(found) == len(said) and all(one.startswith(start) for one, start in zip(found, said, strict=True))


def test_the_hottest_sensor_and_the_firmware_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for zone, text in (("thermal_zone0", "48500\n"), ("thermal_zone1", "61234\n"), ("thermal_zone2", "no number")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "temp").write_text(text)
    (tmp_path / "throttled").write_text("50005\n")
    monkeypatch.setattr(health, "_THERMAL", tmp_path)
    monkeypatch.setattr(health, "_THROTTLED", tmp_path / "throttled")
    found = health.look(tmp_path, 0.2)
    assert (found.temperature_c, found.undervoltage, found.clock_error_ms) == (61.2, True, 0.2)
    assert found.disk_free_mb is not None
    monkeypatch.setattr(health, "_THERMAL", tmp_path / "none")
    monkeypatch.setattr(health, "_THROTTLED", tmp_path / "none")
    assert health.look(tmp_path / "none", None) == Health()


@given(st.lists(st.tuples(st.floats(0, 32767), st.integers(1, 4000)), max_size=400))
def test_a_curve_has_few_points_and_loses_no_time(blocks: list[tuple[float, int]]) -> None:
    curve, samples = Curve(), 0
    for amplitude, count in blocks:
        curve.add(amplitude**2 * count, count)
        samples += count
    assert len(curve.levels) <= MOST
    assert all(FLOOR_DBFS <= level <= 0 for level in curve.levels)
    assert curve.samples % FIRST == 0
    assert len(curve.levels) * curve.samples >= samples - len(curve.levels) * 4000


def test_a_curve_shows_where_it_was_loud_and_where_silent() -> None:
    curve = Curve()
    for loud in (True, False, True):
        for _ in range(100):
            curve.add(3276.8**2 * 960 if loud else 0.0, 960)
    assert [curve.levels[0], curve.levels[len(curve.levels) // 2], curve.levels[-1]] == [-20, FLOOR_DBFS, -20]


async def test_a_finished_item_has_its_curve_and_the_status_tells_of_the_machine(
    node: RunningNode, village: Village
) -> None:
    await until(lambda: village.status.disk_free_mb is not None, within=45, what="the status tells of the machine")
    job = play(SHORT)
    await village.order(village.alerts.command(job))
    finished = await village.event(job.play, What.FINISHED)
    assert finished.curve_step_s == 0.25 and 3 <= len(finished.curve_dbfs) <= 5
    assert max(finished.curve_dbfs) > -12
    assert (await village.event(job.play, What.STARTED)).curve_dbfs == []
