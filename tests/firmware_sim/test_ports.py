"""The running simulator, read over its real ports by pymodbus and by pyserial."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from pymodbus import ModbusException
from pymodbus.client import ModbusSerialClient

from keng_contracts.errors import Problem
from keng_firmware_sim import orders
from keng_firmware_sim.faults import Kind
from tests.support.processes import eventually, free_port
from tests.support.simulator import Simulator

RAIN = bytes.fromhex("02 03 00 00 00 01 84 39")


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "ports", "--lapse", "0") as running:
        yield running


def client(simulator: Simulator, bus: str, baud: int) -> ModbusSerialClient:
    reader = ModbusSerialClient(simulator.port(bus), baudrate=baud, timeout=2, retries=0)
    assert reader.connect()
    return reader


def test_pymodbus_reads_every_sensor_through_pyserial(simulator: Simulator) -> None:
    with client(simulator, "bus-song", 9600) as river:
        level = river.read_holding_registers(0, count=7, device_id=1).registers
        rain = river.read_holding_registers(0, count=1, device_id=2).registers
    with client(simulator, "bus-dong", 4800) as field:
        soil = field.read_holding_registers(0, count=7, device_id=1).registers
        air = field.read_input_registers(4, count=2, device_id=3).registers

    assert level[:4] == [1, 3, 16, 3] and level[5:] == [0, 10000]
    assert abs(level[4] - 1400) < 20
    assert rain == [0]
    assert abs(soil[0] - 340) < 5 and soil[3] in range(54, 59)
    assert 0 < air[0] < air[1]
    told = eventually(lambda: (lines := simulator.journal()) and len(lines) == 4 and lines)
    assert [(line["bus"], line["slave"], line["device"]) for line in told] == [
        ("bus-song", 1, "QDY30A"),
        ("bus-song", 2, "XM9505"),
        ("bus-dong", 1, "soil-7in1-a"),
        ("bus-dong", 3, "PMsense"),
    ]
    assert list(told[0]["registers"].values()) == level
    assert told[0]["scenario_time"] == "2025-11-16T04:00:00.000+07:00"
    assert abs(told[0]["wall_ms"] - time.time() * 1000) < 60_000


def test_pymodbus_understands_the_refusals(simulator: Simulator) -> None:
    with client(simulator, "bus-song", 9600) as river:
        assert river.read_input_registers(0, count=1, device_id=1).exception_code == 1
        assert river.read_holding_registers(7, count=1, device_id=1).exception_code == 2
        assert river.write_register(0, 9, device_id=1).exception_code == 1


def test_a_request_is_answered_after_noise_on_the_wire(simulator: Simulator) -> None:
    with serial.Serial(simulator.port("bus-song"), 9600, timeout=5) as port:
        port.write(b"\x00\xffnoise\x01\x10\x00\x00\x00\x01\xff" + RAIN)
        assert port.read(7).hex(" ") == "02 03 02 00 00 fc 44"
        port.write(RAIN[:3])
        port.flush()
        time.sleep(0.1)  # the silence that a reader leaves before it asks again
        port.write(RAIN)
        assert len(port.read(7)) == 7


def test_faults_come_and_go_while_it_runs(simulator: Simulator) -> None:
    with client(simulator, "bus-song", 9600) as river:
        simulator.order(orders.Fault(slave="rain", kind=Kind.SILENCE))
        assert river.read_holding_registers(0, count=1, device_id=1).registers == [1]  # the neighbour still answers
        simulator.order(orders.Off(slave="rain"))
        assert river.read_holding_registers(0, count=1, device_id=2).registers == [0]

        simulator.order(orders.Fault(slave="river-level", kind=Kind.SPIKE, add=3.0))
        assert river.read_holding_registers(4, count=1, device_id=1).registers[0] > 4000
        assert river.read_holding_registers(4, count=1, device_id=1).registers[0] < 2000
    with serial.Serial(simulator.port("bus-song"), 9600, timeout=0.3) as port:
        simulator.order(orders.Fault(slave="rain", kind=Kind.CRC))
        port.write(RAIN)
        assert port.read(7).hex(" ") == "02 03 02 00 00 fc 45"
        simulator.order(orders.Fault(slave="rain", kind=Kind.SILENCE))
        port.write(RAIN)
        assert port.read(7) == b""
    assert [line["fault"] for line in simulator.journal()] == [None, None, "spike", None, "crc"]


def test_a_reader_that_is_killed_finds_the_port_again(simulator: Simulator) -> None:
    reading = (
        "import serial, sys, time\n"
        f"port = serial.Serial({simulator.port('bus-song')!r}, 9600, timeout=5, exclusive=True)\n"
        f"port.write(bytes.fromhex('{RAIN.hex()}'))\n"
        "print(len(port.read(7)), flush=True)\n"
        f"port.write(bytes.fromhex('{RAIN.hex()}'))\n"
        "time.sleep(60)\n"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", reading], stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "7\n"
            reader.kill()  # with an answer on its way
    with client(simulator, "bus-song", 9600) as river:
        assert river.read_holding_registers(0, count=1, device_id=2).registers == [0]
    assert simulator.process.running


def test_a_reader_at_another_speed_is_not_understood(simulator: Simulator) -> None:
    with serial.Serial(simulator.port("bus-song"), 4800, timeout=0.3) as port:
        port.write(RAIN)
        assert port.read(7) == b""
    assert "the reader speaks at 4800 baud, the line at 9600" in simulator.process.text()
    with serial.Serial(simulator.port("bus-song"), 9600, timeout=5) as port:
        port.write(RAIN)
        assert len(port.read(7)) == 7


def test_the_counter_counts_without_a_gap(tmp_path: Path) -> None:
    with Simulator(tmp_path / "ports", "--installation", "counter") as running:
        with client(running, "bus-dem", 115200) as reader:
            counts = [reader.read_holding_registers(0, count=1, device_id=1).registers[0] for _ in range(50)]
        assert counts == list(range(50))


def test_a_bus_can_be_a_serial_device_server(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with Simulator(tmp_path / "ports", "--tcp", f"bus-song={address}") as running:
        assert f"socket://{address}" in running.process.text()
        for _ in range(2):
            with serial.serial_for_url(f"socket://{address}", timeout=5) as port:
                port.write(RAIN)
                assert len(port.read(7)) == 7
        with ModbusSerialClient(f"socket://{address}", timeout=2) as reader:
            assert reader.read_holding_registers(0, count=1, device_id=1).registers == [1]
        assert (tmp_path / "ports" / "bus-dong").is_symlink()


def test_it_ends_on_sigterm_and_takes_its_ports_with_it(tmp_path: Path) -> None:
    with Simulator(tmp_path / "ports") as running:
        assert (tmp_path / "ports" / "bus-song").is_symlink()
        running.process.signal(signal.SIGTERM)
        assert running.process.wait() == 0
    assert sorted(path.name for path in (tmp_path / "ports").iterdir()) == [".lock", "journal", "log"]


def test_after_a_kill_it_starts_again_in_the_same_place(tmp_path: Path) -> None:
    with Simulator(tmp_path / "ports") as running:
        running.process.kill()
    with Simulator(tmp_path / "ports") as again, client(again, "bus-song", 9600) as river:
        assert river.read_holding_registers(0, count=1, device_id=1).registers == [1]
        assert again.order(orders.State())["began"] is True


def test_two_simulators_do_not_share_a_folder(simulator: Simulator) -> None:
    second = subprocess.run(
        [sys.executable, "-c", "from keng_firmware_sim.cli import main; main()", "run", "--dir", simulator.folder],
        capture_output=True,
        text=True,
    )
    assert second.returncode == 2
    assert second.stderr == (
        f"keng: {simulator.folder}: another simulator has its ports here; stop it, or take another --dir\n"
    )


def test_what_is_no_order_is_answered_and_the_next_one_works(simulator: Simulator) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(simulator.control))
        connection.sendall(b'nonsense\n{"do": "off", "slave": "nobody"}\n{"do": "faults"}\n')
        replies = [json.loads(line) for _, line in zip(range(3), connection.makefile("rb"), strict=False)]
    assert [reply["ok"] for reply in replies] == [False, False, True]
    assert "there is no sensor 'nobody'" in replies[1]["error"]
    with pytest.raises(Problem, match="there is no quantity 'happiness'"):
        simulator.order(orders.Hold(quantity="happiness", value=1))


def test_a_full_disk_ends_the_journal_and_not_the_sensors(tmp_path: Path) -> None:
    with Simulator(tmp_path / "ports", "--journal", "/dev/full") as running:
        with client(running, "bus-song", 9600) as river:
            for _ in range(3):
                assert river.read_holding_registers(0, count=1, device_id=1).registers == [1]
        running.process.says("/dev/full: the journal ends here: No space left on device")
        assert "Traceback" not in running.process.text()
        assert running.process.stop() == 0


def test_it_says_ready_on_a_descriptor(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-c", "from keng_firmware_sim.cli import main; main()", "run"]
    with subprocess.Popen(
        [*command, "--dir", tmp_path / "ports", "--ready-fd", str(writing)],
        pass_fds=[writing],
        stdout=subprocess.DEVNULL,
    ) as child:
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            assert ready.read() == b"ready\n"
        assert (tmp_path / "ports" / "bus-song").exists()
        child.terminate()


def test_silence_is_silence_for_pymodbus_too(simulator: Simulator) -> None:
    simulator.order(orders.Fault(slave="river-level", kind=Kind.SILENCE))
    river = ModbusSerialClient(simulator.port("bus-song"), baudrate=9600, timeout=0.2, retries=0)
    with river, pytest.raises(ModbusException):
        river.read_holding_registers(0, count=1, device_id=1)
