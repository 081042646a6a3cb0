"""What a technician types, and what comes back."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keng_contracts.telemetry import Clock, Reading
from keng_edge.cli import cli
from keng_edge.outbox.file import APPLICATION_ID
from keng_edge.outbox.outbox import Batch, Boot, Outbox
from tests.support.broker import credentials
from tests.support.edge import bus, slave
from tests.support.modbus_slave import ModbusSlaves
from tests.support.services import command

PART = Path(__file__).parents[2] / "edge"


@pytest.fixture
def slaves(tmp_path: Path) -> Iterator[ModbusSlaves]:
    with ModbusSlaves(tmp_path / "bus-song", {(1, 3): {3: 3, 4: 1652}, (2, 3): {0: 0x8000}}) as slaves:
        yield slaves


def head(state: Path, folder: Path | None = None) -> str:
    return f'state = "{state}"\n[broker]\nport = 1\ncredentials = "{folder or credentials() / "tram-phu-oc"}"\n'


@pytest.fixture
def file(tmp_path: Path, slaves: ModbusSlaves) -> Path:
    text = head(tmp_path) + bus(
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


def lines_of(file: Path, words: str) -> list[int]:
    return [number for number, line in enumerate(file.read_text().splitlines(), 1) if words in line]


def wrong(file: Path, text: str) -> list[str]:
    """What ``check`` says of the settings, in lines; and ``run`` refuses them too."""
    file.write_text(text, encoding="utf-8")
    result = run("check", file)
    assert result.exit_code == 2
    if "mend the settings" not in result.output:  # what is no settings at all is refused before either begins
        run_too = [command("keng-edge"), "run", "--settings", file]
        done = subprocess.run(run_too, capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert all(line.startswith(f"keng: {file}: line ") for line in result.output.splitlines()), result.output
    return [line.removeprefix(f"keng: {file}: ") for line in result.output.splitlines()]


def test_check_says_of_everything_that_is_wrong_in_which_line(file: Path) -> None:
    text = file.read_text().replace("xm9505", "xm9506").replace("soil-7in1-a", "nmea-wind") + "offset = { ph = 1 }\n"
    third, first, second = wrong(file, text.replace(str(credentials() / "tram-phu-oc"), f"{file.parent}/none"))
    [mua] = lines_of(file, "xm9506")
    [dat] = lines_of(file, "nmea-wind")
    assert first.startswith(f"line {mua}, buses.0.slaves.1 (mua): there is no profile 'xm9506'; take one of")
    said = "nmea-wind is no profile for a line of kind 'modbus'; put it on a line for lines of text"
    assert second == f"line {dat}, buses.0.slaves.2 (dat): {said}"
    missing = f"{file.parent}/none: the credentials folder is not there; make it with 'keng provision' and copy it here"
    assert third == f"line {lines_of(file, 'credentials')[0]}, {missing}"


def line_of_kind(kind: str, port: str, profile: str, address: str, more: str = "", station: str = "x") -> str:
    return (
        f'[[buses]]\nid = "{station}"\nkind = "{kind}"\nport = "{port}"\n{more}\n[[buses.slaves]]\n'
        f'id = "{station}-1"\nprofile = "{profile}"\naddress = {address}\nstation = "{station}"\n'
    )


EUI = '"24e124713b456789"'
LORA = ("lora-em500-udl", EUI)


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        (
            line_of_kind("e22", "/dev/x", "keng-node", "17"),
            "address",
            "17.key: the key of this radio node is not here;",
        ),
        (line_of_kind("e22", "/dev/x", "keng-node", "17"), "address", "keng provision … --radio-node EDGE 17'"),
        (line_of_kind("rak3172", "/dev/x", "keng-node", "18"), "address", "18.key: is no key: 32 hexadecimal digits"),
        (line_of_kind("rak3172", "/dev/x", "keng-node", "18", 'radio = "923"'), "radio =", "should match"),
        (
            line_of_kind("lorawan", "mqtt://h", *LORA, 'password_file = "/none"'),
            "password_file",
            "can't be read (No such",
        ),
        (line_of_kind("lorawan", "mqtts://h", *LORA, 'ca = "/etc/hostname"'), "ca =", "is no authority's certificate"),
        (line_of_kind("lorawan", "mqtt://h:99999", *LORA), "port", "is neither mqtt://HOST:PORT nor"),
        (line_of_kind("lorawan", "mqtt://h", "lora-em500-udl", '"24e1"'), "address", "a DevEUI has 16"),
        (line_of_kind("modbus", "tcp://h:0", "qdy30a", "1"), "port", "nor tcp://HOST:PORT"),
        (line_of_kind("modbus", "/dev/x", "qdy30a", "0"), "address", "a Modbus address is a number from 1 to 247"),
        (line_of_kind("modbus", "/dev/x", "qdy30a", "1", "baud = 50"), "baud", "greater than or equal to 300"),
        (line_of_kind("text", "COM3", "nmea-wind", "1"), "port", "'COM3' is neither the path"),
        (line_of_kind("text", "/dev/x", "nmea-wind", "1"), "address", "there is no address on this kind"),
        (line_of_kind("sdi12", "/dev/x", "sdi12-level", '"ab"'), "address", "an SDI-12 address is one"),
        (line_of_kind("machine", "pi", "raspberry-pi", "1"), "port", "is not the root of the system's files"),
        (line_of_kind("carrier-pigeon", "/dev/x", "qdy30a", "1"), "kind", "Input should be 'modbus', 'lorawan'"),
    ],
)
def test_each_kind_of_line_has_its_mistakes_told_with_their_line(tmp_path: Path, text: str, at: str, said: str) -> None:
    folder = tmp_path / "credentials"
    shutil.copytree(credentials() / "tram-phu-oc", folder)
    (folder / "radio").mkdir(exist_ok=True)
    (folder / "radio" / "18.key").write_text("no key")
    file = tmp_path / "edge.toml"
    [told] = wrong(file, head(tmp_path, folder) + text)
    assert told.startswith(f"line {lines_of(file, at)[-1]}, ") and said in told


@pytest.mark.parametrize(
    ("same", "said"),
    [("/dev/x", "port '/dev/x' is there twice"), ("/dev/y", "quang-tho/x/level is already the series of x-1")],
)
def test_what_is_there_twice_is_told_with_the_line_of_the_second(file: Path, same: str, said: str) -> None:
    first = line_of_kind("modbus", "/dev/x", "qdy30a", "1")
    second = line_of_kind("modbus", same, "qdy30a", "1").replace('id = "x', 'id = "y')
    [told] = wrong(file, head(file.parent) + first + second)
    assert told.startswith(f"line {lines_of(file, 'port' if same == '/dev/x' else 'station')[-1]}, ") and said in told


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


def test_an_outbox_that_is_just_being_made_is_empty(file: Path) -> None:
    """The agent's first statements, one after the other, with somebody who looks after each."""
    path = file.parent / "edge-outbox.db"
    path.touch()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in ("SELECT 1", f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA journal_mode = WAL"):
            db.execute(statement)
            result = run("outbox", "--settings", file, "--json")
            said = json.loads(result.output)
            assert (result.exit_code, said["readings"], said["committed"], said["ledger"]) == (0, 0, 0, {})
        db.execute("PRAGMA application_id = 7")
        assert "no such table" in run("outbox", "--settings", file).output, "a file of something else is no outbox"


def test_the_agent_without_credentials_says_so_in_one_line(file: Path) -> None:
    text = file.read_text().replace(str(credentials() / "tram-phu-oc"), str(file.parent / "none"))
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([command("keng-edge"), "run", "--settings", file], capture_output=True, text=True)
    assert done.returncode == 2
    missing = "the credentials folder is not there; make it with 'keng provision' and copy it here"
    assert done.stderr.splitlines() == [f"keng: {file.parent / 'none'}: {missing}"]


@pytest.mark.parametrize("name", ["run", "read", "check", "outbox"])
def test_help_has_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0 and f"keng edge {name}" in result.output
