"""What the doctor says: what is there, what is missing, and how to get it."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keng.bench.figures import percentiles
from keng.demo.plan import Plan
from keng.demo.report import Tally
from keng.doctor import services
from keng_broker.provision import provision
from keng_contracts.registry import AuthorityMode


def doctor(tmp_path: Path, *, path: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "keng", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
    )
    return done.returncode, json.loads(done.stdout)


def test_where_everything_is_there_the_demo_can_run(tmp_path: Path) -> None:
    status, answer = doctor(tmp_path, path=os.environ["PATH"])
    assert (status, answer["ok"]) == (0, True)


def test_what_is_missing_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    status, answer = doctor(tmp_path, path=str(tmp_path))
    missing = {finding["name"]: finding["remedy"] for finding in answer["findings"] if not finding["ok"]}
    assert (status, answer["ok"]) == (1, False)
    assert missing["mpv"] == "apt-get install mpv"
    assert missing["parec"] == "apt-get install pulseaudio-utils"


def test_of_an_installed_service_it_says_what_keeps_it_from_starting_and_how_long_its_identity_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keng_runtime.settings.FOLDER", tmp_path)
    made = datetime(2026, 1, 1, tzinfo=UTC)
    provision(tmp_path, commune="quang-tho", nodes=["tram-phu-oc"], now=made)
    for part, folder in (("edge", "tram-phu-oc"), ("ingest", "ingest"), ("alerts", "none")):
        (tmp_path / f"{part}.toml").write_text(f'[broker]\ncredentials = "{tmp_path / folder}"\n')
    (tmp_path / "console.toml").write_text("port = 0.5\n")

    found = {one.name: one for one in services(made + timedelta(days=600))}
    assert (found["keng-edge"].ok, found["keng-edge"].detail) == (True, "tram-phu-oc, until 2028-01-01")
    assert not found["keng-alerts"].ok and "keng provision" in found["keng-alerts"].remedy
    assert not found["keng-console"].ok and "line 1, port" in found["keng-console"].detail
    assert found.keys() == {"keng-edge", "keng-ingest", "keng-alerts", "keng-console"}

    assert not {one.name: one for one in services(made + timedelta(days=700))}["keng-ingest"].ok


@pytest.mark.parametrize("command", [["--help"], ["demo", "--help"], ["edge", "--help"], ["bench", "--help"]])
def test_help_has_examples(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keng", *command], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert "Examples:" in done.stdout


def test_the_demos_commune_is_marked_as_a_drill_and_keeps_its_authority(tmp_path: Path) -> None:
    registry = Plan(tmp_path, lapse=2400).registry
    assert registry.commune.exercise
    assert {row.level: row.mode for row in registry.authority}[3] is AuthorityMode.AUTO
    assert registry.hazard_rule_of("phu-oc/level").clear_after_s == pytest.approx(45 * 60 / 2400, abs=0.001)


def test_the_demos_message_follows_its_siren_within_seconds(tmp_path: Path) -> None:
    for siren in Plan(tmp_path, lapse=2400).registry.sirens:
        assert siren.repeats * siren.blasts * (siren.blast_s + siren.gap_s) <= 15


def test_lost_and_doubled_are_counted_by_series_so_that_they_can_not_cancel_out() -> None:
    tally = Tally(sent={"a": 10, "b": 10}, stored={"a": 8, "b": 12}, dead_lettered=0).as_json()
    assert (tally["lost"], tally["doubled"]) == (2, 2)
    assert Tally({"a": 10}, {"a": 7}, dead_lettered=3).as_json()["lost"] == 0


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles([3, 1, 2], 50, 99) == {"p50": 2, "p99": 3}
    assert percentiles([], 50) == {}
