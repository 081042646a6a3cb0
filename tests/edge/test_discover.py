"""``keng edge discover`` against what hangs on a real pseudo-terminal."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keng_edge.cli import cli
from tests.support.modbus_slave import ModbusSlaves
from tests.support.radio import frame, payload, rak
from tests.support.twin import Twin, nmea


def discover(port: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(cli, ["discover", str(port), "--json", *arguments])
    assert result.stdout, result.output + repr(result.exception)
    found = json.loads(result.stdout.splitlines()[-1])["found"]
    return result.exit_code, [{key: one[key] for key in ("kind", "baud", "address", "fits")} for one in found]


def test_modbus_slaves_are_found_with_the_profile_that_fits(tmp_path: Path) -> None:
    registers = {(1, 3): {0: 1, 1: 3, 2: 16, 3: 3, 4: 1652, 5: 0, 6: 10000}, (3, 3): {}, (3, 4): {4: 248, 5: 353}}
    with ModbusSlaves(tmp_path / "bus", registers) as slaves:
        status, found = discover(slaves.port, "--kind", "modbus", "--baud", "9600", "--to", "4")
        assert all(request[1] in (3, 4) for _, request in slaves.requests), "nothing is written"
    assert status == 0
    by_address = {one["address"]: one["fits"] for one in found if one["baud"] == 9600}
    assert set(by_address) == {"1", "3"}
    assert "qdy30a" in by_address["1"] and "pm-delta-ohm" in by_address["3"]


def test_a_lone_sdi12_sensor_is_asked_who_it_is(tmp_path: Path) -> None:
    def hear(data: bytes) -> bytes:
        command = data.lstrip(b"\x00")
        return {b"?!": b"5\r\n", b"5I!": b"514METER   TER12 112x\r\n"}.get(command, b"")

    with Twin(tmp_path / "sdi", hear=hear) as twin:
        status, found = discover(twin.port, "--kind", "sdi12")
    assert status == 0 and found == [{"kind": "sdi12", "baud": 1200, "address": "5", "fits": ["teros-12"]}]


def test_sdi12_sensors_that_answer_at_once_are_found_one_by_one(tmp_path: Path) -> None:
    def hear(data: bytes) -> bytes:
        command = data.lstrip(b"\x00")
        return {b"?!": b"5\r\n7\r\n", b"5I!": b"514METER   TER12 112x\r\n", b"7I!": b"714X\r\n"}.get(command, b"")

    with Twin(tmp_path / "sdi", hear=hear) as twin:
        _, found = discover(twin.port, "--kind", "sdi12")
    assert [one["address"] for one in found] == ["5", "7"]


def test_a_radio_module_says_its_version(tmp_path: Path) -> None:
    with Twin(tmp_path / "rak", hear=rak()) as twin:
        status, found = discover(twin.port, "--kind", "rak3172")
    assert status == 0 and found == [{"kind": "rak3172", "baud": 115200, "address": "", "fits": ["keng-node"]}]


def test_lines_of_text_are_heard_and_their_profile_named(tmp_path: Path) -> None:
    with Twin(tmp_path / "uart", talk=lambda: nmea("WIMWV,214.8,R,0.1,M,A")) as twin:
        status, found = discover(twin.port)
    assert status == 0 and found == [{"kind": "text", "baud": 9600, "address": "", "fits": ["nmea-wind"]}]


@pytest.mark.parametrize(("rssi", "said"), [(b"", False), (b"\xa3", True)])
def test_lora_nodes_behind_an_e22_are_heard_without_their_keys(tmp_path: Path, rssi: bytes, said: bool) -> None:
    sequence = itertools.count(1)

    def talk() -> bytes:
        number = next(sequence)
        damaged = bytearray(frame(99, number, payload(1652)))
        damaged[12] ^= 1
        sent = (bytes(damaged), frame(17, number, payload(1652)), frame(18, number, payload(-3)))
        return b"".join(one + rssi for one in sent)

    with Twin(tmp_path / "e22", talk=talk) as twin:
        status, found = discover(twin.port, "--listen", "0.5")
        shown = CliRunner().invoke(cli, ["discover", str(twin.port), "--kind", "e22", "--listen", "0.5"]).stdout
        assert twin.heard == b"", "nothing is written to it"
    assert status == 0
    assert found == [{"kind": "e22", "baud": 9600, "address": node, "fits": ["keng-node"]} for node in ("17", "18")]
    assert "LoRa node 17, keng frame" in shown and "node 99" not in shown
    assert ("rssi_byte = true" in shown) is said
    written = tomllib.loads(shown[shown.index("[[buses]]") : shown.index("Their readings")])["buses"]
    assert written[0]["kind"] == "e22" and written[0]["port"] == str(twin.port)
    assert written[0]["slaves"] == [{"profile": "keng-node", "address": 17}, {"profile": "keng-node", "address": 18}]


def test_where_nothing_answers_it_says_what_to_check(tmp_path: Path) -> None:
    with Twin(tmp_path / "none") as twin:
        result = CliRunner().invoke(cli, ["discover", str(twin.port), "--kind", "rak3172"])
    assert result.exit_code == 1 and "Check power, wiring (A and B exchanged?)" in result.output
    result = CliRunner().invoke(cli, ["discover", str(tmp_path / "none")])
    assert result.exit_code == 2 and "the port is not there; plug the adapter in" in result.output
