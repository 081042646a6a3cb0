"""Faults of sensors that are no Modbus slaves: text, SDI-12, LoRa nodes and their radio, LoRaWAN devices."""

from __future__ import annotations

import doctest
import json
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.errors import Problem
from keng_firmware_sim import files, instrument, orders
from keng_firmware_sim.faults import Kind, Order
from keng_firmware_sim.installation import Installation, models
from keng_firmware_sim.instrument import Instrument, Said
from keng_firmware_sim.lines import MEASURED, LineSensor, sdi12_crc
from keng_firmware_sim.scenario import Scenario
from keng_firmware_sim.simulation import Simulation
from tests.support.processes import eventually
from tests.support.radio import KEY, frame
from tests.support.simulator import Simulator
from tests.support.twin import nmea


def test_examples_are_true() -> None:
    outcome = doctest.testmod(instrument)
    assert outcome.attempted and not outcome.failed


class Sensor:
    """One sensor of a kind of line, with the world around it; ``say`` is what comes of it next."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.now_s = 0.0
        self.world = {"level": 1.652, "soil-temperature": 24.1, "rain": 53.6}
        self.sensor = LineSensor("17" if kind in ("e22", "rak3172") else "0", KEY)
        self.instrument = Instrument("it", kind, MEASURED[kind], seed=1)
        self.instrument.rebooted = self.sensor.reboot

    def order(self, kind: Kind, **options: Any) -> None:
        self.instrument.order(Order(kind=kind, **options), self.now_s, self.world.__getitem__)

    def say(self, command: str = "0MC!") -> Said:
        speak: Callable[[Any], bytes] = self.sensor.text
        if self.kind == "sdi12":
            speak = lambda read: self.sensor.sdi12(command, self.now_s, read)  # noqa: E731
        elif self.kind != "text":
            speak = lambda read: self.sensor.frame(100, read)  # noqa: E731
        return self.instrument.say(self.now_s, self.world.__getitem__, speak)

    def values(self) -> bytes:
        """What it says of what it measures."""
        if self.kind != "sdi12":
            return self.say().data
        self.say("0CC!")
        self.now_s += 1
        return self.say("0D0!").data


@pytest.fixture(params=["text", "sdi12", "e22", "rak3172"])
def sensor(request: pytest.FixtureRequest) -> Sensor:
    return Sensor(request.param)


def expected(kind: str, level: str, other: str = "", sequence: int = 100) -> bytes:
    """The message that says these numbers, written down anew."""
    if kind == "text":
        return nmea(f"level={level};temp={other or '24.1'};bat=12.6")[1:]
    if kind == "sdi12":
        body = "".join(f"{'' if number.startswith('-') else '+'}{number}" for number in (level, other or "24.1"))
        return f"0{body}".encode() + sdi12_crc(f"0{body}".encode()) + b"\r\n"
    numbers = (round(float(level) * 1000), 536) if level != "-9999" else (-(1 << 31), -(1 << 31))
    one, two = (number.to_bytes(4, "big", signed=True) for number in numbers)
    return frame(17, sequence, b"\x00\x00\x00\x64\x81" + one + b"\x82" + two)


def test_without_a_fault_it_says_what_is(sensor: Sensor) -> None:
    assert sensor.values() == expected(sensor.kind, "1.652")


def test_silence_and_a_power_cut_say_nothing_and_end_by_themselves(sensor: Sensor) -> None:
    sensor.order(Kind.SILENCE, for_s=5)
    assert sensor.values() == b""
    sensor.now_s = 5.0
    assert sensor.say().data
    sensor.order(Kind.REBOOT)
    assert sensor.say().data == b""
    sensor.now_s = 7.0
    assert sensor.say().data


def test_a_damaged_message_is_one_bit_or_character_off(sensor: Sensor) -> None:
    sensor.order(Kind.CRC)
    right, damaged = expected(sensor.kind, "1.652"), sensor.values()
    assert len(right) == len(damaged) and sum(a != b for a, b in zip(right, damaged, strict=True)) == 1


def test_it_is_stuck_at_its_first_value(sensor: Sensor) -> None:
    sensor.order(Kind.STUCK)
    assert sensor.values() == expected(sensor.kind, "1.652")
    sensor.world["level"] = 3.0
    assert sensor.values() == expected(sensor.kind, "1.652", sequence=101)
    sensor.instrument.clear()
    assert sensor.values() == expected(sensor.kind, "3.000", sequence=102)


def test_a_spike_lasts_for_its_answers(sensor: Sensor) -> None:
    sensor.order(Kind.SPIKE, add=3.0, answers=2)
    assert [sensor.values() for _ in range(3)] == [
        expected(sensor.kind, level, sequence=100 + number) for number, level in enumerate(("4.652", "4.652", "1.652"))
    ]


def test_it_says_its_word_for_no_value(sensor: Sensor) -> None:
    sensor.order(Kind.MISSING)
    assert sensor.values() == expected(sensor.kind, "-9999", "-9999")


def test_a_measurement_is_gone_with_the_power() -> None:
    sensor = Sensor("sdi12")
    sensor.say("0MC!")
    sensor.order(Kind.REBOOT, for_s=0.5)
    sensor.now_s = 2.0
    assert sensor.say("0D0!").data == b"0" + sdi12_crc(b"0") + b"\r\n"


def test_the_rain_of_a_node_begins_anew() -> None:
    sensor = Sensor("e22")
    sensor.order(Kind.REBOOT)
    sensor.world["rain"] = 60.0
    assert sensor.say().data == b"", "what falls while the power is off is not counted"
    sensor.now_s, sensor.world["rain"] = 2.0, 60.5
    assert b"\x82" + (5).to_bytes(4, "big") in sensor.say().data


def simulation(installation: str) -> Simulation:
    return Simulation(
        files.load(Installation, "installations", installation),
        models(),
        files.load(Scenario, "scenarios", "ngay-thuong"),
        seed=1,
    )


def test_lorawan_devices_have_faults_too() -> None:
    sim = simulation("moi-cam-bien")
    by_model = {device.model: device for device in sim.devices}

    def data(model: Any, count: int = 0) -> bytes:
        payload = sim.uplink(by_model[model], count, 0.0, 1_763_294_400_000).payload
        return b64decode(json.loads(payload)["data"]) if payload else b""

    def order(model: Any, kind: Kind, **options: Any) -> None:
        sim.obey(orders.Fault(slave=by_model[model].name, kind=kind, **options), 0.0)

    right = data("em500-udl")
    order("em500-udl", Kind.SPIKE, add=1.0)
    far = data("em500-udl")
    assert int.from_bytes(far[-2:], "little") - int.from_bytes(right[-2:], "little") == pytest.approx(1000, abs=20)
    order("em500-udl", Kind.CRC)
    assert len(data("em500-udl")) == len(right) - 1
    order("em500-udl", Kind.SILENCE)
    assert data("em500-udl") == b""
    order("ldds75", Kind.MISSING)
    assert data("ldds75")[2:4] == b"\x00\x00"
    with pytest.raises(Problem, match="wts506 has no word for 'no value'"):
        order("wts506", Kind.MISSING)
    told = sim.obey(orders.Faults(), 0.0)["faults"]
    assert {one["kind"] for one in told if one["slave"] == by_model["em500-udl"].name} == {"crc", "silence"}
    assert sim.obey(orders.Off(), 0.0) == {"ended": 3}


def test_a_radio_module_can_be_silent_and_nothing_that_it_does_not_measure() -> None:
    sim = simulation("duong-khac")
    sim.obey(orders.Fault(slave="rak", kind=Kind.SILENCE), 0.0)
    with pytest.raises(Problem, match="a radio module measures nothing that could spike"):
        sim.obey(orders.Fault(slave="rak", kind=Kind.SPIKE, add=1.0), 0.0)
    with pytest.raises(Problem, match="take one of e22, logger, node-17, node-18, rak, sdi-level, sdi-level-2"):
        sim.obey(orders.Fault(slave="nobody", kind=Kind.SILENCE), 0.0)


@pytest.mark.system
def test_faults_of_lines_are_ordered_as_those_of_slaves_and_are_in_the_journal(tmp_path: Path) -> None:
    with Simulator(tmp_path / "ports", "--installation", "duong-khac") as simulator:
        simulator.order(orders.Fault(slave="logger", kind=Kind.MISSING))
        simulator.order(orders.Fault(slave="node-17", kind=Kind.CRC))
        for wanted, words in ((("logger", "missing"), b"level=-9999;temp=-9999;"), (("node-17", "crc"), b"KG")):
            said = eventually(partial(journalled, simulator, *wanted))
            assert words in bytes.fromhex(said[-1]["data"])


def journalled(simulator: Simulator, name: str, fault: str) -> list[dict[str, Any]]:
    return [one for one in simulator.journal() if (one["name"], one["fault"]) == (name, fault)]
