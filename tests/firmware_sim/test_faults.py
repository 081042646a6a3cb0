"""Faults of one sensor: what each does to its answers, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from keng_contracts.errors import Problem
from keng_firmware_sim.faults import Kind, Order
from keng_firmware_sim.installation import SlaveSpec, models
from keng_firmware_sim.modbus import crc16, is_intact
from keng_firmware_sim.slave import Answer, Slave

MODELS = models()


@dataclass
class Sensor:
    """A slave with address 1, the values that it measures, and a clock."""

    model: str
    values: dict[str, float] = field(default_factory=dict)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.slave = Slave(SlaveSpec(address=1, name="sensor", model=self.model), MODELS[self.model], 9600, seed=1)

    def ask(self, start: int = 0, count: int = 1) -> Answer | None:
        body = bytes((1, MODELS[self.model].function)) + start.to_bytes(2) + count.to_bytes(2)
        return self.slave.answer(body + crc16(body), self.now_s, self.values.__getitem__)

    def read(self, start: int = 0) -> int:
        answer = self.ask(start)
        assert answer is not None
        return answer.response.registers[start]

    def order(self, kind: Kind, **options: Any) -> None:
        self.slave.order(Order(kind=kind, **options), self.now_s, self.values.__getitem__)


def level(metres: float = 1.5) -> Sensor:
    return Sensor("QDY30A", {"level": metres})


def rain(millimetres: float = 10.0) -> Sensor:
    return Sensor("XM9505", {"rain": millimetres})


def test_silence_ends_by_itself() -> None:
    gauge = level()
    gauge.order(Kind.SILENCE, for_s=5)
    assert gauge.ask() is None
    gauge.now_s = 4.9
    assert gauge.ask() is None
    gauge.now_s = 5.0
    assert gauge.ask() is not None
    assert gauge.slave.faults(5.0) == {}


def test_silence_without_a_time_lasts_until_it_is_switched_off() -> None:
    gauge = level()
    gauge.order(Kind.SILENCE)
    gauge.now_s = 1e6
    assert gauge.ask() is None
    assert gauge.slave.clear() == 1
    assert gauge.ask() is not None


def test_every_crc_is_wrong_at_rate_one_and_about_a_third_at_a_third() -> None:
    gauge = level()
    gauge.order(Kind.CRC)
    answer = gauge.ask(4)
    assert answer is not None and not is_intact(answer.data) and answer.faults == (Kind.CRC,)

    gauge.order(Kind.CRC, rate=1 / 3)
    broken = sum(not is_intact(answer.data) for answer in (gauge.ask(4) for _ in range(600)) if answer)
    assert 150 < broken < 250


def test_broken_answers_are_the_same_for_the_same_seed() -> None:
    def broken() -> list[bool]:
        gauge = level()
        gauge.order(Kind.CRC, rate=0.5)
        return [is_intact(answer.data) for answer in (gauge.ask(4) for _ in range(50)) if answer]

    assert broken() == broken()


def test_a_stuck_gauge_repeats_its_value_while_the_river_rises() -> None:
    gauge = level(1.5)
    gauge.order(Kind.STUCK, for_s=60)
    assert gauge.read(4) == 1500
    gauge.values["level"] = 3.0
    assert gauge.read(4) == 1500
    assert gauge.read(0) == 1  # what it does not measure stays right
    gauge.now_s = 60
    assert gauge.read(4) == 3000


def test_a_spike_lasts_for_its_answers_and_counts_only_those_that_carry_it() -> None:
    gauge = level(1.5)
    gauge.order(Kind.SPIKE, add=3.0, answers=2)
    assert gauge.read(0) == 1
    assert [gauge.read(4) for _ in range(3)] == [4500, 4500, 1500]


def test_a_spike_goes_to_the_quantity_that_was_named() -> None:
    soil = Sensor("soil-7in1-a", dict.fromkeys((r.quantity or "" for r in MODELS["soil-7in1-a"].measured), 5.0))
    soil.order(Kind.SPIKE, add=2.0, quantity="soil-ph")
    answer = soil.ask(0, 7)
    assert answer is not None
    assert soil.slave.values(dict(answer.response.registers))["soil-ph"] == 7.0
    assert soil.slave.values(dict(answer.response.registers))["soil-moisture"] == 5.0


def test_a_gauge_without_a_value_says_its_word_for_that() -> None:
    gauge = rain()
    gauge.order(Kind.MISSING)
    assert gauge.read() == 0x8000
    gauge.slave.clear(Kind.MISSING)
    assert gauge.read() == 100


def test_a_rain_gauge_counts_tips_wraps_and_starts_again_after_a_power_cut() -> None:
    gauge = rain(6553.5)
    assert gauge.read() == 0xFFFF
    gauge.values["rain"] = 6553.6
    assert gauge.read() == 0
    gauge.values["rain"] = 6553.69  # a bucket that is not full has not tipped
    assert gauge.read() == 0

    gauge.order(Kind.REBOOT, for_s=2)
    gauge.values["rain"] = 6560.0
    assert gauge.ask() is None  # what falls while the power is off is not counted
    gauge.now_s = 2
    gauge.values["rain"] = 6561.0
    assert gauge.read() == 10


def test_a_value_beyond_the_instrument_stays_at_its_end() -> None:
    assert level(99.0).read(4) == 0x7FFF
    assert level(-99.0).read(4) == 0x8000


def test_a_counter_counts_intact_answers_only_and_wraps() -> None:
    counter = Sensor("counter")
    assert [counter.read() for _ in range(3)] == [0, 1, 2]
    counter.order(Kind.CRC)
    assert counter.ask() is not None
    counter.slave.clear()
    counter.order(Kind.SILENCE)
    assert counter.ask() is None
    counter.slave.clear()
    assert counter.ask(5) is not None  # refused: no such register
    assert counter.read() == 3
    for _ in range(4, 0x10000):
        counter.ask()
    assert counter.read() == 0


def test_faults_of_different_kinds_work_together() -> None:
    gauge = level(1.5)
    gauge.order(Kind.SPIKE, add=1.0, answers=9)
    gauge.order(Kind.CRC)
    answer = gauge.ask(4)
    assert answer is not None
    assert set(answer.faults) == {Kind.SPIKE, Kind.CRC}
    assert answer.response.registers[4] == 2500
    assert gauge.slave.clear() == 2


@pytest.mark.parametrize(
    ("sensor", "order", "line"),
    [
        (level(), {"kind": Kind.MISSING}, "sensor: QDY30A has no word for 'no value'"),
        (Sensor("counter"), {"kind": Kind.SPIKE, "add": 1.0}, "sensor: counter measures nothing that could spike"),
        (rain(), {"kind": Kind.SPIKE, "quantity": "level"}, "sensor: does not measure 'level'; take one of rain"),
    ],
)
def test_a_fault_without_meaning_is_refused_in_one_line(sensor: Sensor, order: dict[str, Any], line: str) -> None:
    with pytest.raises(Problem) as refused:
        sensor.order(**order)
    assert str(refused.value) == line
