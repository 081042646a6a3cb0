"""The dashboard follows the registry, is the same bytes every time, and is what Grafana takes."""

from __future__ import annotations

import json
import unicodedata
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from grafana_foundation_sdk.models.dashboard import Dashboard

from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_dashboards.cli import cli
from keng_dashboards.generate import dashboards, read_registry
from keng_dashboards.influxql import DATASOURCE_UID
from tests.support.grafana import targets
from tests.support.registry import SAMPLE, sample

FOLDER = Path(__file__).parents[2] / "dashboards"
FLOOD_DAY = date(2025, 11, 16)


def flood(registry: Registry, on: date = FLOOD_DAY) -> dict[str, Any]:
    board: dict[str, Any] = json.loads(dashboards(registry, on)["flood.json"])
    return board


def level_panel(board: dict[str, Any], station: str) -> dict[str, Any]:
    (panel,) = [
        p for p in board["panels"] if p["type"] == "timeseries" and p["title"].startswith(f"Mực nước {station}")
    ]
    return dict(panel)


def sensor(id_: str, unit: str, name: str = "Tên") -> dict[str, Any]:
    return {"id": id_, "name": name, "node": "tram-phu-oc", "unit": unit}


BOARDS = {
    "the sample commune": sample(),
    "a commune without sensors": sample(sensors=[], thresholds=[], authority=[], hazard_rules=[]),
    "one gauge, no thresholds": sample(sensors=[sensor("phu-oc/level", "m")], thresholds=[], authority=[]),
    "no river": sample(
        sensors=[sensor("uy-ban/rain", "mm"), sensor("uy-ban/wind-speed", "m/s")], thresholds=[], authority=[]
    ),
}


def test_the_committed_files_are_what_the_generator_writes() -> None:
    for name, content in dashboards(read_registry(SAMPLE), FLOOD_DAY).items():
        assert (FOLDER / name).read_bytes() == content, "run 'make dashboards' and commit"


def test_the_command_writes_checks_and_tells_what_is_out_of_date(tmp_path: Path) -> None:
    arguments = ["generate", "--registry", str(SAMPLE), "--out", str(tmp_path / "new")]
    run = CliRunner()
    assert run.invoke(cli, [*arguments, "--check"]).exit_code == 1
    assert run.invoke(cli, arguments).exit_code == 0
    assert (tmp_path / "new" / "flood.json").read_bytes() == (FOLDER / "flood.json").read_bytes()
    assert run.invoke(cli, [*arguments, "--check"]).exit_code == 0
    assert "(unchanged)" in run.invoke(cli, arguments).output
    (tmp_path / "new" / "flood.json").write_text("{}")
    stale = run.invoke(cli, [*arguments, "--check"])
    assert stale.exit_code == 1 and "flood.json is out of date" in stale.output


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "no such registry"), ("version = ", "not TOML"), ("version = 0", "version"), (b"\xff", "not TOML")],
)
def test_a_registry_that_cannot_be_read_is_one_line(tmp_path: Path, content: str | bytes | None, why: str) -> None:
    file = tmp_path / "commune.toml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(Problem, match=why):
        read_registry(file)
    told = CliRunner().invoke(cli, ["generate", "--registry", str(file), "--out", str(tmp_path)])
    assert told.exit_code == 2 and told.output.count("\n") == 1


@pytest.mark.parametrize("board", [flood(registry) for registry in BOARDS.values()], ids=list(BOARDS))
class TestWhatGrafanaExpects:
    def test_of_the_dashboard(self, board: dict[str, Any]) -> None:
        assert board["uid"] == "keng-flood-quang-tho" and len(board["uid"]) <= 40
        assert board["schemaVersion"] >= 36
        assert board["title"].startswith("Lũ — mực nước và mưa / Flood")
        assert board["timezone"] == "Asia/Ho_Chi_Minh"
        assert "id" not in board or board["id"] is None
        assert [v["name"] for v in board["templating"]["list"]] == ["commune", "station", "rise"]

    def test_of_the_panels(self, board: dict[str, Any]) -> None:
        ids = [panel["id"] for panel in board["panels"]]
        assert sorted(set(ids)) == ids
        for panel in board["panels"]:
            assert " / " in panel["title"] and len(panel["title"]) > 5
            assert panel["targets"], f"{panel['title']} asks nothing"
            assert panel["fieldConfig"]["defaults"]["unit"], f"{panel['title']} has no unit"

    def test_of_the_queries(self, board: dict[str, Any]) -> None:
        here = {"type": "influxdb", "uid": DATASOURCE_UID}
        for panel, target in targets(board):
            assert panel["datasource"] == target["datasource"] == here
            assert target["rawQuery"] is True and target["refId"] and target["query"].startswith("SELECT ")
            assert '"commune" =~ /^$commune$/' in target["query"] and "$timeFilter" in target["query"]
        for panel in board["panels"]:
            refs = [target["refId"] for target in panel["targets"]]
            assert len(refs) == len(set(refs))
        for variable in board["templating"]["list"][:2]:
            assert variable["datasource"] == here and variable["query"].startswith("SHOW TAG VALUES FROM ")

    def test_of_the_grid(self, board: dict[str, Any]) -> None:
        places = [panel["gridPos"] for panel in board["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        for one, other in combinations(places, 2):
            apart = (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            )
            assert apart, f"{one} and {other} overlap"

    def test_of_the_text(self, board: dict[str, Any]) -> None:
        text = json.dumps(board, ensure_ascii=False)
        assert unicodedata.is_normalized("NFC", text)
        assert json.loads(json.dumps(board))["panels"] == board["panels"]

    def test_of_the_schema(self, board: dict[str, Any]) -> None:
        again = Dashboard.from_json(board)
        assert again.uid == board["uid"] and len(again.panels or []) == len(board["panels"])


def test_thresholds_are_those_of_the_registry_with_their_source() -> None:
    panel = level_panel(flood(sample()), "Phú Ốc")
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
        {"value": None, "color": "green"},
        {"value": 1.5, "color": "yellow"},
        {"value": 3.0, "color": "orange"},
        {"value": 4.5, "color": "red"},
    ]
    assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "line"
    assert panel["title"] == "Mực nước Phú Ốc (BĐ1 1,5 · BĐ2 3 · BĐ3 4,5 m) / Water level"
    assert "số 0 thước nước trạm Phú Ốc; Quyết định 05/2020/QĐ-TTg, từ 18/03/2020" in panel["description"]


def test_a_new_threshold_holds_from_its_day() -> None:
    thresholds = [t.model_dump(mode="json") for t in sample().thresholds]
    thresholds.append({**thresholds[0], "value": 1.8, "valid_from": "2026-01-01", "source": "Quyết định mới"})
    registry = sample(thresholds=thresholds)
    for day, value in ((date(2025, 12, 31), 1.5), (date(2026, 1, 1), 1.8)):
        panel = level_panel(flood(registry, day), "Phú Ốc")
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == value
    assert flood(registry, date(2020, 1, 1))["panels"][0]["description"].startswith("Trạm này chưa có ngưỡng")


def test_only_an_official_station_says_bao_dong() -> None:
    base = sample().model_dump(mode="json", by_alias=True)
    base["sensors"].append({**base["sensors"][0], "id": "phuoc-yen/level"})
    local = {**base["thresholds"][0], "sensor": "phuoc-yen/level", "value": 0.7, "source": "Ủy ban nhân dân xã"}
    base["thresholds"] += [local, {**local, "level": 4, "value": 2.25}]
    board = flood(Registry.model_validate(base))
    assert level_panel(board, "Đồng Phước Yên")["title"] == (
        "Mực nước Đồng Phước Yên (Cấp 1 0,7 · Lũ lịch sử 2,25 m) / Water level"
    )
    assert "BĐ1" in level_panel(board, "Phú Ốc")["title"]


def test_a_unit_that_grafana_does_not_know_is_shown_as_it_is() -> None:
    units = {p["title"].split(" / ")[1]: p["fieldConfig"]["defaults"]["unit"] for p in flood(sample())["panels"]}
    assert units["Soil conductivity"] == "suffix: mS/cm"
    assert units["PM2.5, PM10"] == "conμgm3"
    assert units["Rate of rise"] == "suffix: m/h"
