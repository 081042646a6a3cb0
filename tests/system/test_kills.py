"""kill -9 in the middle of a flood: nothing that was committed is lost, and nothing is doubled, in either store."""

from contextlib import closing
from pathlib import Path

import pytest

from keng_store.settings import StoreSettings, open_store
from tests.support.influx import RunningInflux
from tests.support.village import GAUGE, Village

pytestmark = pytest.mark.system


@pytest.fixture(params=["sqlite", "influxdb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'readings.sqlite'}"
    influx: RunningInflux = request.getfixturevalue("influx")
    return influx.new_database()


@pytest.mark.parametrize("victim", ["ingest", "edge", "broker"])
def test_killed_in_the_middle_of_a_flood_none_lost_and_none_doubled(
    victim: str, store_url: str, tmp_path: Path
) -> None:
    with Village(tmp_path, store_url) as village:
        village.await_readings(10)
        for _ in range(3):
            village.kill(victim)
            village.await_readings(8)
        village.drained()

        assert village.stored() == village.sent()
        assert len(village.sent()) == 11
        assert _gauge_levels(village) == _heard_on_the_line(village)


def _gauge_levels(village: Village) -> list[float]:
    with closing(open_store(StoreSettings(url=village.store_url), read_only=True)) as store:
        return [round(row.value, 3) for row in store.range(GAUGE, 0, 2**42)]


def _heard_on_the_line(village: Village) -> list[float]:
    """The levels of the frames that the edge had committed: all that were answered, but for one that was on the wire,
    or not yet committed, when the edge was killed."""
    committed = _gauge_levels(village)
    answered = [round(frame["values"]["level"], 3) for frame in village.frames_answered()]
    heard = []
    for level in answered:
        if len(heard) < len(committed) and committed[len(heard)] == level:
            heard.append(level)
    assert len(answered) - len(heard) <= 3, "more frames are missing than the edge was killed"
    return heard
