"""The machine's own health, from a tree of files such as a Raspberry Pi has."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_edge.plan import load_profile
from keng_edge.sources.machine import Folder, Machine, MachineProfile
from keng_edge.sources.source import Health, Outcome, Sensor

FILES = {
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "proc/meminfo": "MemTotal:         944264 kB\nMemFree:           88992 kB\nMemAvailable:     512000 kB\n",
    "proc/loadavg": "0.42 0.31 0.27 1/180 4242\n",
    "proc/uptime": "123456.78 400000.00\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon0/in0_lcrit_alarm": "7\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
}


def pi() -> MachineProfile:
    profile = load_profile("raspberry-pi")
    assert isinstance(profile, MachineProfile)
    return profile


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


async def told(root: Path) -> tuple[Outcome, dict[str, float]]:
    profile = pi()
    [outcome] = await Machine(Folder(str(root)), [Sensor("pi", None, 60.0, profile)], Health(["pi"])).read_once()
    values = outcome.sample.values if outcome.sample else {}
    return outcome, {name: round(raw.number * profile.quantities[name].scale, 6) for name, raw in values.items()}


async def test_a_pi_tells_its_heat_room_load_and_weak_supply(tmp_path: Path) -> None:
    outcome, values = await told(tree(tmp_path, FILES))
    assert outcome.failure is None
    assert 0 < values.pop("disk-free") < 1e6
    assert values == {
        "cpu-temperature": 48.312,
        "memory-free": 0.524288,
        "load": 0.42,
        "uptime": 123456.78,
        "under-voltage": 1,
        "under-voltage-seen": 1,
        "throttled": 1,
        "supply-alarm": 1,
    }


async def test_what_a_system_does_not_tell_is_left_out_without_a_word(tmp_path: Path) -> None:
    outcome, values = await told(tree(tmp_path, {"proc/loadavg": "0.00 0.00 0.00 1/1 1\n"}))
    assert outcome.failure is None
    assert set(values) == {"load", "disk-free"}


async def test_a_healthy_supply(tmp_path: Path) -> None:
    name = "sys/devices/platform/soc/soc:firmware/get_throttled"
    _, values = await told(tree(tmp_path, {name: "0x0\n"}))
    assert [values[n] for n in ("under-voltage", "under-voltage-seen", "throttled")] == [0, 0, 0]


async def test_a_damaged_number_is_told_and_its_neighbours_are_kept(tmp_path: Path) -> None:
    files = FILES | {"sys/class/thermal/thermal_zone0/temp": "99999999\n", "proc/uptime": "soon"}
    outcome, values = await told(tree(tmp_path, files))
    assert "load" in values and "cpu-temperature" not in values
    assert "cpu-temperature is out of range" in str(outcome.failure) and "uptime is damaged: 'soon'" in str(
        outcome.failure
    )


async def test_this_machine_tells_something() -> None:
    outcome, values = await told(Path("/"))
    assert outcome.failure is None and values["uptime"] > 0 and values["memory-free"] > 0


@given(st.dictionaries(st.sampled_from(sorted(pi().quantities)), st.text(max_size=40)))
def test_whatever_the_files_hold_nothing_is_raised_and_nothing_out_of_range_passes(texts: dict[str, str]) -> None:
    profile = pi()
    for name, raw in profile.decode(texts).values.items():
        assert math.isfinite(raw.number) and not profile.quantities[name].fault(raw)


def test_a_pattern_without_a_group_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs one group"):
        MachineProfile(model="x", quantities={"a": {"file": "a", "unit": "1", "pattern": "x"}})
