"""Lines that are not Modbus: byte for byte, and read by the edge's own command line over their ports."""

from __future__ import annotations

import doctest
import subprocess
from pathlib import Path

import pytest

from keng_firmware_sim import lines
from keng_firmware_sim.lines import LineSensor, Rak3172
from tests.support.radio import KEY, frame
from tests.support.services import command
from tests.support.simulator import Simulator
from tests.support.twin import nmea

WORLD = {"level": 1.652, "soil-temperature": 24.1, "rain": 53.6}.__getitem__


def test_examples_are_true() -> None:
    outcome = doctest.testmod(lines)
    assert outcome.attempted and not outcome.failed


def test_a_line_of_text_has_its_check_sum() -> None:
    assert LineSensor("0", KEY).text(WORLD) == nmea("level=1.652;temp=24.1;bat=12.6")[1:]


def test_an_sdi12_sensor_has_its_values_when_it_said_and_not_before() -> None:
    sensor = LineSensor("0", KEY)
    assert sensor.sdi12("0CC!", 10.0, WORLD) == b"000102\r\n"
    early, late = sensor.sdi12("0D0!", 10.5, WORLD), sensor.sdi12("0D0!", 11.0, WORLD)
    assert early[:1] == b"0" and len(early) == 6
    assert late == b"0+1.652+24.1" + lines.sdi12_crc(b"0+1.652+24.1") + b"\r\n"
    assert sensor.sdi12("1CC!", 12.0, WORLD) == b""


def test_a_node_s_frame_is_that_of_the_documents_and_its_sequence_grows() -> None:
    sensor = LineSensor("17", KEY)
    payload = bytes.fromhex("00000064 81 00000674 82 00000218")
    assert sensor.frame(100, WORLD) == frame(17, 100, payload)
    assert sensor.frame(100, WORLD) == frame(17, 101, payload)


def test_a_rak3172_hears_nothing_before_it_is_told_to_and_takes_no_settings_meanwhile() -> None:
    module = Rak3172()
    assert module.hear(b"AT+PRECV=65534\r\n") == b"AT_MODE_NO_SUPPORT\r\n"
    assert b"LoRa P2P" in module.hear(b"AT+NWM=0\r\n") and module.air(b"x") == b""
    assert module.hear(b"AT+P2P=923200000:9:125:0:8:14\r\nAT+PRECV=65534\r\n") == b"OK\r\nOK\r\n"
    assert module.air(b"He") == b"+EVT:RXP2P:-87:5:4865\r\n"
    assert module.hear(b"AT+P2P=923200000:9:125:0:8:14\r\n") == b"AT_BUSY_ERROR\r\n"


@pytest.mark.system
def test_the_edge_reads_every_kind_of_line(tmp_path: Path) -> None:
    (tmp_path / "radio").mkdir()
    text = f'state = "{tmp_path}"\n'
    table = (
        ("uart", "text", "level-key-value", None, "a"),
        ("sdi12", "sdi12", "sdi12-level", '"0"', "b"),
        ("e22", "e22", "keng-node", "17", "c"),
        ("rak", "rak3172", "keng-node", "18", "d"),
    )
    for name, kind, profile, address, station in table:
        speed = 'parity = "N"\n' if kind == "sdi12" else "baud = 115200\n" if kind == "rak3172" else ""
        text += f'[[buses]]\nid = "{name}"\nkind = "{kind}"\nport = "{tmp_path}/ports/{name}"\n{speed}'
        text += f'[[buses.slaves]]\nid = "{name}"\nprofile = "{profile}"\nstation = "{station}"\n'
        if address:
            text += f"address = {address}\n"
            (tmp_path / f"radio/{address}.key").write_text(KEY.hex())
    (tmp_path / "edge.toml").write_text(text + f'[broker]\ncredentials = "{tmp_path}"\n', encoding="utf-8")
    with Simulator(tmp_path / "ports", "--installation", "duong-khac"):
        done = subprocess.run(
            [command("keng-edge"), "read", "--settings", tmp_path / "edge.toml"], capture_output=True, text=True
        )
    rows = {tuple(line.split()[1:2]): line.split()[2] for line in done.stdout.splitlines()[1:]}
    assert done.returncode == 0, done.stdout + done.stderr
    levels = [float(rows[f"quang-tho/{station}/level",]) for *_, station in table]
    assert max(levels) - min(levels) < 0.2, "one river, four instruments"
    assert rows["quang-tho/d/rssi-rak",] == "-87" and rows["quang-tho/d/snr-rak",] == "5"
