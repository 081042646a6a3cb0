"""The backtest: the figures a technician tunes a gauge by, from the engine that runs in service."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from keng_alerts.backtest.backtest import choose, replay
from keng_alerts.cli import cli
from keng_alerts.gauge.engine import Watch
from keng_alerts.gauge.forecast import HOUR_MS, Track, forecast
from keng_contracts.telemetry import Reading
from keng_signals.quality import Limits
from tests.support.registry import LEVEL, SAMPLE, sample

START = 1_763_323_200_000
MINUTE = 60_000


def flood(minutes: int = 600, step: int = 5) -> list[tuple[int, float]]:
    """A flood that passes all three levels and goes."""
    return [(START + m * MINUTE, round(1.0 + 4 * math.sin(math.pi * m / minutes), 2)) for m in range(0, minutes, step)]


def write(file: Path, samples: list[tuple[int, float]], header: str = "time,level") -> Path:
    lines = [f"{datetime.fromtimestamp(t / 1000, UTC).isoformat()},{v}" for t, v in samples]
    file.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return file


def backtest(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["backtest", *map(str, arguments)])


def test_a_flood_is_raised_as_soon_as_its_rule_allows(tmp_path: Path) -> None:
    file, drawing = write(tmp_path / "bo.csv", flood()), tmp_path / "bo.svg"
    run = backtest(file, "--station", "71518", "--registry", SAMPLE, "--svg", drawing, "--json")
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout.splitlines()[-1])
    assert [(t["before"], t["after"]) for t in found["transitions"]][:3] == [(0, 1), (1, 2), (2, 3)]
    assert [siren["level"] for siren in found["sirens"]] == [2, 3]
    assert (found["missed"], found["false"], found["csi"], found["delay_samples"]) == (0, 0, 1.0, 0)
    assert found["forecast"]["lead_h"] == 3.0
    assert ElementTree.parse(drawing).getroot().tag.endswith("svg")


def test_what_labels_do_not_know_is_false_and_what_never_came_is_missed(tmp_path: Path) -> None:
    file, labels = write(tmp_path / "bo.csv", flood()), tmp_path / "labels.csv"
    labels.write_text("start,end,level\n2031-01-01T00:00+07:00,2031-01-02T00:00+07:00,3\n", encoding="utf-8")
    run = backtest(file, "--station", "phu-oc", "--registry", SAMPLE, "--events", labels, "--json")
    found = json.loads(run.stdout.splitlines()[-1])
    assert (found["false"], found["missed"], found["far"]) == (3, 1, 1.0)


STREET = """
schema = "keng.registry/1"
version = 1
commune = { id = "thu", name = "Thử" }
stations = [{ id = "cho", name = "Chợ" }]
sensors = [{ id = "cho/distance", name = "Khoảng cách", node = "n", unit = "m", sentinels = [9.999] }]
[[thresholds]]
sensor = "cho/level"
level = 1
value = 0.3
datum = "mặt đường"
source = "xã"
valid_from = 2020-01-01
[[derived]]
id = "cho/level"
name = "Ngập"
kind = "water-level"
inputs = { distance = "cho/distance" }
parameters = { sensor_above_datum_m = 2.77 }
"""


def test_a_distance_in_millimetres_becomes_a_level_by_the_datum(tmp_path: Path) -> None:
    registry = tmp_path / "commune.toml"
    registry.write_text(STREET, encoding="utf-8")
    samples = [(START + m * MINUTE, mm) for m, mm in enumerate([2770.0, 2769, 9999, 2400, 2401, 9999, 2400, 2398])]
    file = write(tmp_path / "street.csv", samples, "when,dist_mm")
    run = backtest(file, "--station", "cho", "--registry", registry, "--time", "when", "--unit", "mm", "--json")
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["flags"]["sentinel"] == 2
    [raised] = found["transitions"]
    assert (raised["after"], raised["value"]) == (1, 0.37)


def test_echoes_off_what_stands_below_a_distance_sensor_raise_nothing_and_water_does(tmp_path: Path) -> None:
    """The default registry of such a sensor: nothing about its quality is written."""
    registry, none = tmp_path / "commune.toml", tmp_path / "none.csv"
    registry.write_text(STREET, encoding="utf-8")
    none.write_text("start,end,level\n", encoding="utf-8")
    # Ever longer echoes off an object 2 m above the street, the last for twenty minutes.
    echoes = [700 if minute % 60 < minute // 60 else 2770 for minute in range(60, 21 * 60)]
    water = [2770 - 20 * minute for minute in range(40)]
    for name, distances, levels in (("echoes", echoes, []), ("flood", echoes + water, [1])):
        samples = [(START + m * MINUTE, float(mm)) for m, mm in enumerate(distances)]
        file = write(tmp_path / f"{name}.csv", samples, "time,dist_mm")
        run = backtest(file, "--station", "cho", "--registry", registry, "--unit", "mm", "--events", none, "--json")
        found = json.loads(run.stdout.splitlines()[-1])
        assert [siren["level"] for siren in found["sirens"]] == levels
    assert found["transitions"][0]["time_ms"] <= START + (len(echoes) + 15 + 3) * MINUTE


def test_a_file_with_its_newest_row_first_is_read_from_its_end(tmp_path: Path) -> None:
    file = write(tmp_path / "bo.csv", flood()[::-1])
    run = backtest(file, "--station", "phu-oc", "--registry", SAMPLE, "--json")
    found = json.loads(run.stdout.splitlines()[-1])
    assert (len(found["transitions"]) > 0, found["missed"]) == (True, 0)
    assert "newest row first" in run.stderr


def test_a_file_of_two_places_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "bo.csv", flood() + flood())
    run = backtest(file, "--station", "phu-oc", "--registry", SAMPLE, "--json")
    assert "rows are older than one before them" in run.stderr and "--where" in run.stderr


def test_day_first_times_and_minus_9999_are_understood(tmp_path: Path) -> None:
    zone = ZoneInfo("Asia/Ho_Chi_Minh")
    lines = ["Ngày giờ,Mực nước"]
    for at, level in flood():
        time = datetime.fromtimestamp(at / 1000, zone).strftime("%d/%m/%Y %H:%M")
        lines += [f"{time},{round(level * 100)}"]
        lines += [f"{time}:30,-9999"] if at % (20 * MINUTE) == 0 else []
    file = tmp_path / "bo.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    options = ["--time", "Ngày giờ", "--value", "Mực nước", "--unit", "cm", "--tz", "Asia/Ho_Chi_Minh", "--json"]
    found = json.loads(backtest(file, "--station", "phu-oc", *options).stdout.splitlines()[-1])
    assert found["missing"] == len(lines) - 1 - len(flood())
    assert [t["after"] for t in found["transitions"]][:3] == [1, 2, 3]


def test_a_spreadsheet_with_semicolons_and_commas_is_read_and_a_unit_in_the_name_is_told(tmp_path: Path) -> None:
    lines = ["Time;Trạm;Water level (cm)"]
    for at, level in flood():
        cells = (datetime.fromtimestamp(at / 1000, UTC).isoformat(), " Bồ ", f"{level * 100:.1f}".replace(".", ","))
        lines.append(";".join(cells))
        lines.append(";".join((cells[0], "Hương", "900")))
    file = tmp_path / "bo.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    options = ["--value", "Water level (cm)", "--where", "Trạm=Bồ", "--json"]
    run = backtest(file, "--station", "phu-oc", *options)
    found = json.loads(run.stdout.splitlines()[-1])
    assert [t["after"] for t in found["transitions"]][:3] == [1, 2, 3]
    assert "values are taken as cm" in run.stderr


def test_a_record_from_before_2020_is_replayed_and_keeps_its_times(tmp_path: Path) -> None:
    decade = 10 * 365 * 86_400_000
    file = write(tmp_path / "old.csv", [(t - decade, v) for t, v in flood()])
    found = json.loads(backtest(file, "--station", "kim-long", "--json").stdout.splitlines()[-1])
    assert found["missed"] == 0
    assert found["transitions"][0]["time_ms"] < START - decade + 600 * MINUTE


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("a,b\n1,2\n", [], "no column is called as a time usually is"),
        ("time,level\n", [], "no row is left"),
        ("", [], "the file is empty"),
        ("time,level\n2025-11-16 20:00,1\n", [], "line 2: the time '2025-11-16 20:00' has no offset"),
        ("time,level\nnoon,1\n", [], "line 2: the time 'noon' can't be read"),
        ("time,level\n31/02/2025 12:00,1\n", ["--tz", "UTC"], "line 2: the time '31/02/2025 12:00' can't be read"),
        ("time,level\n2025-11-16T20:00Z,high\n", [], "line 2: the value 'high' is no number"),
        ("time,level\n2025-11-16T20:00Z,1\n", ["--station", "nowhere"], "no gauge with thresholds at 'nowhere'"),
        ("time,level\n2025-11-16T20:00Z,1\n", ["--value", "stage"], "there is no column 'stage'"),
        ("time,level\n2025-11-16T20:00Z,1\n", ["--where", "x"], "'x' is no COLUMN=TEXT"),
        ("time,level\n2025-11-16T20:00Z,1\n", ["--unit", "ft"], "'ft' can't be turned into 'm'"),
        ("time,level\n2025-11-16T20:00Z,1\n", ["--tz", "Huế"], "there is no time zone 'Huế'"),
        ("time,level\n2025-11-16T20:00Z,1\n", ["--registry", "/nowhere.toml"], "the registry can't be read"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_mend(tmp_path: Path, text: str, options: list[str], says: str) -> None:
    file = tmp_path / "series.csv"
    file.write_text(text, encoding="utf-8")
    run = backtest(file, "--station", "phu-oc", *options)
    assert run.exit_code == 2
    [line] = run.stderr.strip().splitlines()
    assert says in line


def test_a_forecast_uses_nothing_that_comes_later_and_names_the_next_level() -> None:
    track = Track()
    for hour, level in enumerate([3.06, 3.40, 3.60, 3.80]):
        track.add(START + hour * HOUR_MS, level)
    found = forecast(track, {1: 1.5, 2: 3.0, 3: 4.5})
    assert found is not None
    assert found.level == 3
    assert found.made_ms < found.earliest_ms < found.expected_ms
    for hour, level in enumerate([3.79, 3.78, 3.76], start=4):
        track.add(START + hour * HOUR_MS, level)
    assert forecast(track, {1: 1.5, 2: 3.0, 3: 4.5}) is None


def test_a_lone_outlier_foretells_nothing_once_the_next_sample_is_there() -> None:
    track, levels = Track(), [1.26, 1.26, 1.25, 2.9, 1.25, 1.26]
    for index, level in enumerate(levels):
        track.add(START + index * 10 * MINUTE, level)
    assert track.values == [1.26, 1.26, 1.25, 1.25, 1.26]
    assert forecast(track, {1: 1.5, 2: 3.0, 3: 4.5}) is None


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from(
            [-7_200_000, -60_000, 0, 60_000, 60_000, 120_000, 400_000, 4_000_000]
        ),  # since the last one, ms
        st.sampled_from([0.5, 1.4, 1.6, 2.9, 3.1, 4.6, 4.8, 20.0]),
        st.sampled_from([0, 0, 0, 1_000_000]),  # how late it is heard, ms
    ),
    max_size=120,
)


@given(SAMPLES)
def test_a_replay_decides_as_the_service_did(steps: list[tuple[int, float, int]]) -> None:
    _, gauge = choose(sample(), "phu-oc")
    limits, at, samples = Limits.of(gauge.sensor), START, []
    for since, value, _ in steps:
        at += since
        samples.append((at, value))
    watch, live, heard = Watch(gauge, limits), [], 0
    for time_ms, value in samples:
        heard = max(heard, time_ms)
        taken = watch.take(Reading(LEVEL, time_ms, value, "m"), time_ms, heard)
        if taken.change is not None:
            plays = [send.action.play for step in taken.steps for send in step.sends]
            live.append((taken.change.time_ms, taken.change.after, plays))
    result = replay(gauge, limits, samples)
    sirens = {s.time_ms: [s.play] for s in result.sirens}
    assert [(s.time_ms, s.after, sirens.get(s.time_ms, [])) for s in result.steps] == live
