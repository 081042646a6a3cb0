"""What a technician types, and what comes back. Also the systemd unit."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keng_contracts.telemetry import Clock, Reading
from keng_edge.cli import cli
from keng_edge.outbox.outbox import Batch, Boot, Outbox
from tests.support.edge import bus, slave
from tests.support.modbus_slave import ModbusSlaves
from tests.support.services import command

PART = Path(__file__).parents[2] / "edge"


@pytest.fixture
def slaves(tmp_path: Path) -> Iterator[ModbusSlaves]:
    with ModbusSlaves(tmp_path / "bus-song", {(1, 3): {3: 3, 4: 1652}, (2, 3): {0: 0x8000}}) as slaves:
        yield slaves


@pytest.fixture
def file(tmp_path: Path, slaves: ModbusSlaves) -> Path:
    text = f'state = "{tmp_path}"\n' + bus(
        "bus-song",
        slaves.port,
        slave("muc-nuoc", "qdy30a", 1, "phu-oc", alarm=True),
        slave("mua", "xm9505", 2, "phu-oc"),
        slave("dat", "soil-7in1-a", 3, "phuoc-yen"),
    )
    (tmp_path / "edge.toml").write_text(text, encoding="utf-8")
    return tmp_path / "edge.toml"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="keng-edge")


def test_read_shows_what_every_sensor_says_and_why_one_does_not(file: Path) -> None:
    result = run("read", "--settings", file)
    rows = [line.split() for line in result.output.splitlines()]
    assert rows[1] == ["muc-nuoc", "quang-tho/phu-oc/level", "1.652", "m"]
    assert rows[2] == [
        "mua",
        "quang-tho/phu-oc/rain",
        "-3276.8",
        "mm",
        "missing:",
        "the",
        "sensor",
        "has",
        "no",
        "value",
    ]
    assert " ".join(rows[3]).startswith("dat — no answer within 0.3")
    assert "check power, wiring and address" in result.output
    assert result.exit_code == 1


def test_read_is_content_when_all_answer(file: Path, slaves: ModbusSlaves) -> None:
    slaves.registers[3, 3] = {register: 10 for register in range(7)}
    result = run("read", "--settings", file)
    assert result.exit_code == 0 and len(result.output.splitlines()) == 10


def test_check_shows_what_would_be_read(file: Path) -> None:
    result = run("check", file)
    assert result.exit_code == 0
    assert "muc-nuoc: address 1, QDY30A submersible pressure level gauge, every 0.1 s, alarm" in result.output
    assert result.output.endswith("is right: 1 lines, 3 sensors, 9 series.\n")


def test_check_says_in_one_line_what_is_wrong(file: Path) -> None:
    file.write_text(file.read_text().replace("xm9505", "xm9506"), encoding="utf-8")
    result = run("check", file)
    assert result.exit_code == 2
    assert result.output.startswith("keng: buses.0.slaves.1 (mua): there is no profile 'xm9506'; take one of")
    assert len(result.output.splitlines()) == 1


def test_outbox_shows_depth_ledger_and_what_was_dropped(file: Path) -> None:
    outbox = Outbox(file.parent / "edge-outbox.db", Boot("f" * 16), 10_000_000)
    reading = Reading("quang-tho/phu-oc/level", 1_763_294_400_000, 4.57, "m")
    outbox.append([Batch([reading] * 3, True)], made_ms=1_763_294_400_000, clock=Clock.SYNCED, sync=True, lost=2)
    result = run("outbox", "--settings", file, "--json")
    said = json.loads(result.output)
    assert said["ledger"] == {"quang-tho/phu-oc/level": 3}
    assert (said["readings"], said["packs"], said["committed"], said["dropped"], said["damaged"]) == (3, 1, 3, 2, [])
    assert said["age_s"] > 0
    shown = run("outbox", "--settings", file).output
    assert "waiting    3 readings in 1 packs, the oldest of 16.11.2025" in shown
    assert "quang-tho/phu-oc/level  3" in shown
    outbox.close()


def test_an_outbox_that_is_not_there_is_said(file: Path) -> None:
    result = run("outbox", "--settings", file)
    assert result.exit_code == 2 and "there is no outbox yet; start the agent first" in result.output


def test_the_agent_without_credentials_says_so_in_one_line(file: Path) -> None:
    text = file.read_text() + f'[broker]\ncredentials = "{file.parent / "none"}"\n'
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([command("keng-edge"), "run", "--settings", file], capture_output=True, text=True)
    assert done.returncode == 2
    missing = "the credentials folder is not there; make it with 'keng provision' and copy it here"
    assert done.stderr.splitlines() == [f"keng: {file.parent / 'none'}: {missing}"]


@pytest.mark.parametrize("name", ["run", "read", "check", "outbox"])
def test_help_has_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0 and f"keng edge {name}" in result.output


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze (package systemd)")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = (PART / "keng-edge.service").read_text(encoding="utf-8")
    (tmp_path / "keng-edge.service").write_text(unit.replace("/opt/keng/bin/keng-edge", str(command("keng-edge"))))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "keng-edge.service"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
