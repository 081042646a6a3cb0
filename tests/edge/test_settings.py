"""Settings: what they amount to, and how a mistake is told."""

from pathlib import Path
from typing import Any

import pytest

from keng_contracts.errors import Problem
from keng_edge.plan import plan
from keng_edge.settings import EdgeSettings, sample
from keng_runtime.settings import load
from tests.support.edge import bus, slave
from tests.support.registry import sample as sample_commune

PART = Path(__file__).parents[2] / "edge"
GAUGE = slave("muc-nuoc", "qdy30a", 1, "phu-oc")


def test_the_sample_is_what_the_code_says() -> None:
    assert (PART / "sample.toml").read_text(encoding="utf-8") == sample()


def test_the_sample_is_the_installation_of_the_sample_commune() -> None:
    planned = plan(load(EdgeSettings, PART / "sample.toml"))
    assert [
        (line.id, line.baud, line.parity, [(s.address, s.profile.model[:6]) for s in line.slaves])
        for line in planned.lines
    ] == [
        ("bus-song", 9600, "N", [(1, "QDY30A"), (2, "XM9505")]),
        ("bus-dong", 4800, "N", [(1, "Soil p"), (3, "Delta ")]),
    ]
    assert planned.alarms == {"muc-nuoc"}
    assert {(channel.series, channel.unit) for channel in planned.channels.values()} == {
        ("quang-tho/phu-oc/level", "m"),
        ("quang-tho/phu-oc/rain", "mm"),
        ("quang-tho/phuoc-yen/soil-moisture", "%"),
        ("quang-tho/phuoc-yen/soil-temperature", "Cel"),
        ("quang-tho/phuoc-yen/soil-ec", "mS/cm"),
        ("quang-tho/phuoc-yen/soil-ph", "pH"),
        ("quang-tho/phuoc-yen/soil-n", "mg/kg"),
        ("quang-tho/phuoc-yen/soil-p", "mg/kg"),
        ("quang-tho/phuoc-yen/soil-k", "mg/kg"),
        ("quang-tho/uy-ban/pm2-5", "ug/m3"),
        ("quang-tho/uy-ban/pm10", "ug/m3"),
    }


def test_the_sample_reports_what_the_sample_registry_expects() -> None:
    commune = sample_commune()
    planned = plan(load(EdgeSettings, PART / "sample.toml"))
    assert {(channel.series, channel.unit) for channel in planned.channels.values()} == {
        (commune.series(sensor), sensor.unit) for sensor in commune.sensors
    }


def planned(folder: Path, text: str) -> Any:
    (folder / "edge.toml").write_text(text, encoding="utf-8")
    return plan(load(EdgeSettings, folder / "edge.toml"))


def test_a_series_may_have_another_name_and_a_gauge_another_zero(tmp_path: Path) -> None:
    text = bus("a", "/dev/x", GAUGE + 'series = { level = "level-2" }\noffset = { level = 0.12 }\n')
    channel = planned(tmp_path, text).channels["muc-nuoc", "level"]
    assert (channel.series, channel.offset) == ("quang-tho/phu-oc/level-2", 0.12)


def test_a_line_without_speed_runs_as_its_sensors_leave_the_factory(tmp_path: Path) -> None:
    text = bus("a", "/dev/x", slave("k", "pm-delta-ohm", 3, "uy-ban")).replace("baud = 9600\n", "")
    (line,) = planned(tmp_path, text).lines
    assert (line.baud, line.parity) == (19200, "E")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("comune = 'x'\n", "comune: is no setting"),
        (
            bus("a", "/dev/x", GAUGE.replace("qdy30a", "qdy")),
            r"buses.0.slaves.0 \(muc-nuoc\): there is no profile 'qdy'; take",
        ),
        (bus("a", "/dev/x", GAUGE, GAUGE.replace("address = 1", "address = 2")), "sensor 'muc-nuoc' is there twice"),
        (bus("a", "/dev/x", GAUGE, GAUGE.replace("muc-nuoc", "hai")), "a: address 1 is there twice"),
        (bus("a", "/dev/x") + bus("b", "/dev/x"), "port '/dev/x' is there twice"),
        (bus("a", "COM3", GAUGE), "'COM3' is neither the path of a device nor socket://HOST:PORT"),
        (
            bus("a", "/dev/x", GAUGE, slave("hai", "qdy30a", 2, "phu-oc")),
            r"buses.0.slaves.1 \(hai\): quang-tho/phu-oc/level is already the series of muc-nuoc; give it another name",
        ),
        (
            bus("a", "/dev/x", GAUGE + "offset = { depth = 1.0 }\n"),
            "offset: qdy30a has no quantity 'depth'; it has level",
        ),
        (bus("a", "/dev/x", GAUGE + "offset = { level = nan }\n"), "offset.level: .*finite"),
        (bus("a", "/dev/x", GAUGE.replace("interval_s = 0.1", "interval_s = 0")), "interval_s: .*greater"),
        (bus("a", "/dev/x", GAUGE.replace("address = 1", "address = 250")), "address: .*247"),
        ("[[buses]\n", "is not TOML: .*line 1"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Problem, match=said):
        planned(tmp_path, text)
