"""The command line: what a person types and sees, each mistake answered by one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keng_firmware_sim.cli import cli
from tests.support.simulator import Simulator


def keng(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("sim"), "--lapse", "0", "--begin", "order") as running:
        yield running


def test_scenarios_are_listed_by_name_and_title() -> None:
    lines = keng("scenarios").stdout.splitlines()
    assert any(line.startswith("quang-tho-2025-11 ") and "Lũ sông Bồ" in line for line in lines)


def test_a_scenario_is_drawn() -> None:
    shown = keng("show", "quang-tho-2025-11", "--rows", "70").stdout
    assert "17/11 08:00" in shown and "4.96" in shown and "BĐ3" in shown and "assumed" in shown


def test_devices_are_listed_with_their_registers() -> None:
    shown = keng("devices").stdout
    assert "XM9505" in shown and "rain, x 0.1 mm" in shown


def test_faults_are_ordered_listed_and_ended(simulator: Simulator) -> None:
    control = ("--control", simulator.control)
    assert keng("fault", *control, "list").stdout == "no faults\n"
    assert keng("fault", *control, "river-level", "silence", "--for", "5m").exit_code == 0
    assert keng("fault", *control, "river-level", "spike", "--add", "3", "--answers", "2").exit_code == 0
    assert keng("hold", *control, "level", "5.0").exit_code == 0
    listed = keng("fault", *control, "list").stdout.splitlines()
    assert listed[0].split()[:2] == ["river-level", "silence"] and listed[0].endswith("s left")
    assert listed[1].split() == ["river-level", "spike", "until", "off,", "add", "3,", "answers", "left", "2"]
    assert listed[2] == "level             held at 5"
    assert keng("fault", *control, "river-level", "off").stdout == "river-level: 2 faults ended\n"
    assert keng("hold", *control, "level", "off").exit_code == 0
    assert keng("fault", *control, "all", "off").stdout == "all: 0 faults ended\n"


def test_the_scenario_begins_on_order(simulator: Simulator) -> None:
    control = ("--control", simulator.control)
    assert "waits, 2025-11-16T04:00:00.000+07:00" in keng("state", *control).stdout
    assert keng("begin", *control).exit_code == 0
    assert "runs, " in keng("state", *control).stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("river-level", "which fault?; say silence, crc, stuck, spike, missing, reboot or off"),
        ("river-level lame", "there is no fault 'lame'; say silence, crc, stuck, spike, missing, reboot or off"),
        ("nobody silence", "there is no sensor 'nobody'; take one of air, rain, river-level, soil"),
        ("rain silence --for 3", "--for: '3' is no duration; write for example 500ms, 5s, 2m or 1h"),
        ("rain silence --add 3", "--add has no meaning with silence; leave it away"),
        ("rain spike", "spike: how much?; say --add, in the quantity's unit"),
        ("soil missing", "soil: soil-7in1-a has no word for 'no value'"),
    ],
)
def test_a_mistake_with_a_fault_is_one_line(simulator: Simulator, arguments: str, line: str) -> None:
    result = keng("fault", "--control", simulator.control, *arguments.split())
    assert result.exit_code == 2
    assert result.stderr == f"keng: {line}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--scenario", "lu-lut"], "there is no 'lu-lut' in scenarios; take one of dien-tap, ngay-thuong, "),
        (["--installation", "nha-toi.toml"], "nha-toi.toml: can't be read: No such file or directory; check the path"),
        (["--tcp", "bus-tay=localhost:1"], "--tcp: there is no bus 'bus-tay'; take one of bus-dong, bus-song"),
        (["--tcp", "bus-song=localhost"], "--tcp: 'localhost' is no HOST:PORT; say for example 127.0.0.1:7001"),
        (["--journal", "/no/such/folder/journal"], "/no/such/folder/journal: can't be written: No such file"),
        (["--control", "/no/such/folder/socket"], "/no/such/folder/socket: no control socket can be made: No such"),
    ],
)
def test_a_mistake_at_the_start_is_one_line(tmp_path: Path, arguments: list[str], line: str) -> None:
    result = keng("run", "--dir", tmp_path / "ports", *arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"keng: {line}")
    assert "Traceback" not in result.output


def test_a_file_in_the_place_of_a_port_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bus-song").write_text("mine")
    result = keng("run", "--dir", tmp_path)
    assert result.exit_code == 2
    assert "is there and is no port of ours" in result.stderr
    assert (tmp_path / "bus-song").read_text() == "mine"


def test_without_a_simulator_orders_say_so(tmp_path: Path) -> None:
    result = keng("fault", "--control", tmp_path / "none", "list")
    assert result.stderr == (
        f"keng: {tmp_path / 'none'}: no simulator answers: No such file or directory; start one with this --control\n"
    )
