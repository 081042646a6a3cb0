"""Every query of the shipped dashboard, asked of a real InfluxDB that holds an hour of a flood."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.registry import Registry
from keng_contracts.telemetry import Flag
from keng_store.protocol import Row
from keng_store.settings import StoreSettings, open_store
from tests.support.grafana import interpolate, targets
from tests.support.influx import RunningInflux
from tests.support.registry import sample

SHIPPED = json.loads((Path(__file__).parents[2] / "dashboards" / "flood.json").read_text(encoding="utf-8"))
STEP_MS = 10_000
COUNT = 360
START = int(time.time() * 1000) // 3_600_000 * 3_600_000 - 3_600_000
END = START + COUNT * STEP_MS

#: What each quantity of the sample commune does in the hour: the river passes all three levels and the rain gauge,
#: a counter, is emptied in the middle.
STORY: dict[str, Any] = {
    "level": lambda i: 1.2 + 3.6 * i / COUNT,
    "rain": lambda i: 6500.0 + 0.2 * i if i < 200 else 0.2 * (i - 200),
    "soil-moisture": lambda i: 38 + math.sin(i / 40),
    "soil-temperature": lambda i: 23.4,
    "soil-ec": lambda i: 0.8,
    "soil-ph": lambda i: 6.1,
    "soil-n": lambda i: 41.0,
    "soil-p": lambda i: 17.0,
    "soil-k": lambda i: 88.0,
    "pm2-5": lambda i: 12 + i % 5,
    "pm10": lambda i: 30 + i % 7,
}
#: Readings of the level gauge that are not good, by index.
FLAGS = {5: Flag.SUSPECT, 90: Flag.BAD, 91: Flag.BAD, 150: Flag.MISSING, 7: Flag.NOT_EVALUATED}
VALUES = {"commune": "quang-tho", "station": ["phu-oc", "phuoc-yen", "uy-ban"], "rise": "10m"}


def hour(registry: Registry) -> list[Row]:
    rows = []
    for sensor in registry.sensors:
        quantity = sensor.id.split("/")[1]
        for i in range(COUNT):
            flag = FLAGS.get(i, Flag.GOOD) if quantity == "level" else Flag.GOOD
            value = 99.9 if flag in (Flag.BAD, Flag.MISSING) else float(STORY[quantity](i))
            rows.append(Row(registry.series(sensor), START + i * STEP_MS, value, flag))
    return rows


class Asked:
    """The InfluxDB as Grafana sees it through the dashboard."""

    def __init__(self, influx: RunningInflux, database: str) -> None:
        self._influx = influx
        self._database = database

    def __call__(
        self, target: Mapping[str, Any], values: Mapping[str, Any] = VALUES, interval: str = "1m"
    ) -> list[dict[str, Any]]:
        return self._influx.query(interpolate(target["query"], values, START, END, interval), self._database)

    def rows(self, target: Mapping[str, Any], **how: Any) -> dict[str, list[list[Any]]]:
        """The values by station."""
        return {found.get("tags", {}).get("station", ""): found["values"] for found in self(target, **how)}


@pytest.fixture(scope="module")
def ask(influx: RunningInflux) -> Asked:
    url = influx.new_database()
    with closing(open_store(StoreSettings(url=url))) as store:
        store.write(hour(sample()))
        neighbour = [Row(f"phu-loc/{i}/level", START + i, 12.0, Flag.GOOD) for i in range(50)]
        store.write(neighbour)
    return Asked(influx, url.rpartition("/")[2])


def target(title: str) -> dict[str, Any]:
    """The one query of the panel whose title contains the words."""
    found = [target for panel, target in targets(SHIPPED) if title in panel["title"]]
    assert len(found) == 1, f"{len(found)} queries in panels named {title}"
    return found[0]


@pytest.mark.parametrize(
    ("title", "ref", "query"),
    [(panel["title"], target["refId"], target) for panel, target in targets(SHIPPED)],
)
@pytest.mark.parametrize("interval", ["10s", "1m", "5m"])
def test_every_query_of_every_panel_returns_rows(
    ask: Asked, title: str, ref: str, query: dict[str, Any], interval: str
) -> None:
    found = ask(query, interval=interval)
    assert found, f"{title} ({ref}) is empty"
    for series in found:
        assert any(value is not None for row in series["values"] for value in row[1:]), f"{title}: {series}"


@pytest.mark.parametrize(
    "variable", [v for v in SHIPPED["templating"]["list"] if v["type"] == "query"], ids=lambda v: v["name"]
)
def test_every_variable_finds_its_values(ask: Asked, variable: dict[str, Any]) -> None:
    found = {row[1] for series in ask(variable) for row in series["values"]}
    expected = {"commune": {"quang-tho", "phu-loc"}, "station": set(VALUES["station"])}
    assert found == expected[variable["name"]]


def test_the_newest_level_and_the_crest_are_the_true_ones(ask: Asked) -> None:
    last = STORY["level"](COUNT - 1)
    assert ask(target("Phú Ốc: mực nước"))[0]["values"][0][1] == pytest.approx(last)
    crest = ask(target("Mực nước Phú Ốc"), interval="30m")[0]["values"]
    assert max(value for _, value in crest) == pytest.approx(last), "the highest value survives coarse intervals"
    assert min(value for _, value in ask(target("Mực nước Phú Ốc"), interval="10s")[0]["values"]) < 1.5 < 3 < 4.5 < last


def test_bad_and_missing_values_are_not_drawn(ask: Asked) -> None:
    drawn = ask(target("Mực nước Phú Ốc"), interval="10s")[0]["values"]
    assert len(drawn) == COUNT - 3
    assert all(value < 10 for _, value in drawn)


def test_the_rise_is_metres_an_hour(ask: Asked) -> None:
    rise = ask.rows(target("Cường suất"))["phu-oc"]
    assert [value for _, value in rise] == pytest.approx([3.6] * len(rise), abs=0.05)


def test_the_rain_is_what_fell_although_the_gauge_was_emptied(ask: Asked) -> None:
    fell = 0.2 * 199 + 0.2 * 159
    assert ask.rows(target("Tổng lượng mưa"))["phu-oc"][0][1] == pytest.approx(fell)
    assert sum(value for _, value in ask.rows(target("Mưa mỗi giờ"))["phu-oc"]) == pytest.approx(fell)
    intensity = [value for _, value in ask.rows(target("Cường độ mưa"))["phu-oc"]]
    assert all(value == pytest.approx(72, rel=0.02) for value in intensity), "0.2 mm in 10 s are 72 mm an hour"


def test_the_table_has_every_sensor_of_the_commune_once(ask: Asked) -> None:
    found = ask(target("từng cảm biến"))
    assert {f"{s['tags']['station']}/{s['tags']['quantity']}" for s in found} == {x.id for x in sample().sensors}
    assert all(series["columns"] == ["time", "value", "flag"] for series in found)
    assert all(series["values"] == [[END - STEP_MS, series["values"][0][1], 1]] for series in found)


def test_the_age_is_that_of_the_newest_reading(ask: Asked) -> None:
    assert ask(target("Số liệu mới nhất"))[0]["values"][0][0] == END - STEP_MS


def test_the_quality_flags_add_up(ask: Asked) -> None:
    counts = {
        target["alias"].split(" / ")[1]: sum(row[1] for series in ask(target) for row in series["values"])
        for panel, target in targets(SHIPPED)
        if "chất lượng" in panel["title"]
    }
    assert counts == {"Good": 11 * COUNT - 5, "Not evaluated": 1, "Suspect": 1, "Bad": 2, "Missing": 1}


def test_one_station_can_be_chosen_and_another_commune_shows_nothing_of_this_one(ask: Asked) -> None:
    soil = ask(target("Độ ẩm đất"), values={**VALUES, "station": ["phuoc-yen"]})
    assert [series["tags"]["station"] for series in soil] == ["phuoc-yen"]
    assert ask(target("Độ ẩm đất"), values={**VALUES, "station": ["phu-oc"]}) == []
    assert ask(target("Mực nước Phú Ốc"), values={**VALUES, "commune": "phu-loc"}) == []
