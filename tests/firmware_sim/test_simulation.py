"""The simulation as a whole, without its rim: several sensors on a line, the line's timing, the scenario's time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.errors import Problem
from keng_firmware_sim import files, orders
from keng_firmware_sim.faults import Kind
from keng_firmware_sim.installation import Installation, models
from keng_firmware_sim.modbus import crc16, is_intact
from keng_firmware_sim.scenario import Scenario
from keng_firmware_sim.simulation import Simulation

MODELS = models()
PLAN = files.load(Installation, "installations", "tram-phu-oc")
FLOOD = files.load(Scenario, "scenarios", "quang-tho-2025-11")


def simulation(**options: Any) -> Simulation:
    return Simulation(PLAN, MODELS, FLOOD, seed=1, **options)


def request(address: int, function: int = 3, start: int = 0, count: int = 1) -> bytes:
    body = bytes((address, function)) + start.to_bytes(2) + count.to_bytes(2)
    return body + crc16(body)


def read(sim: Simulation, name: str, now_s: float, start: int, count: int = 1) -> dict[str, float]:
    bus = next(bus for bus in sim.buses.values() if sim.slaves[name] in bus.slaves.values())
    slave = sim.slaves[name]
    [sending] = sim.hear(bus.name, request(slave.address, slave.model.function, start, count), now_s)
    values: dict[str, float] = sending.record["values"]
    return values


def test_each_sensor_on_a_line_answers_to_its_own_address() -> None:
    sim = simulation()
    level, rain = sim.hear("bus-song", request(1, start=4) + request(2), 0.0)
    assert level.record["name"] == "river-level" and level.data[0] == 1
    assert rain.record["name"] == "rain" and rain.data[0] == 2


def test_nobody_answers_for_an_address_that_is_not_there_or_to_a_broadcast() -> None:
    sim = simulation()
    assert sim.hear("bus-song", request(3) + request(0), 0.0) == []
    assert sim.hear("bus-dong", request(2), 0.0) == []


@given(st.lists(st.binary(max_size=64), max_size=10))
def test_whatever_is_sent_the_line_stays_usable(noise: list[bytes]) -> None:
    sim = simulation()
    now = 0.0
    for chunk in noise:
        assert all(is_intact(sending.data) for sending in sim.hear("bus-song", chunk, now))
        now += 0.001
    [answer] = sim.hear("bus-song", request(2), now + 1)
    assert answer.record["name"] == "rain"


def test_an_answer_takes_the_time_that_the_wire_takes() -> None:
    sim = simulation()
    [sending] = sim.hear("bus-song", request(1, count=7), 10.0)
    assert sending.due_s == pytest.approx(10.0 + (8 + 19 + 3.5) * 10 / 9600)
    [slower] = sim.hear("bus-dong", request(1, count=7), 10.0)
    assert slower.due_s == pytest.approx(10.0 + (8 + 19 + 3.5) * 10 / 4800)


def test_a_line_carries_one_frame_at_a_time() -> None:
    first, second = simulation().hear("bus-song", request(1, start=4) + request(2), 0.0)
    assert second.due_s - first.due_s == pytest.approx((8 + 7 + 3.5) * 10 / 9600)


def test_scenario_time_runs_as_many_times_faster_as_was_said() -> None:
    sim = simulation(lapse=1800)
    sim.timeline.begin(100.0)
    peak_s = 100 + 28 * 3600 / 1800  # 08:00 on the 17th is 28 hours after the start
    assert read(sim, "river-level", peak_s, 4)["level"] == pytest.approx(4.96, abs=0.015)
    assert read(sim, "river-level", 1e6, 4)["level"] == pytest.approx(2.80, abs=0.015)


def test_the_scenario_can_wait_for_the_first_reader() -> None:
    sim = simulation(lapse=3600, begin_on_read=True)
    assert sim.obey(orders.State(), 50.0)["began"] is False
    [first] = sim.hear("bus-song", request(1, start=4), 100.0)
    assert first.record["scenario_time"] == "2025-11-16T04:00:00.000+07:00"
    [later] = sim.hear("bus-song", request(1, start=4), 102.0)
    assert later.record["scenario_time"] == "2025-11-16T06:00:00.000+07:00"


def test_the_scenario_can_wait_for_an_order() -> None:
    sim = simulation(lapse=3600)
    read(sim, "river-level", 100.0, 4)
    assert sim.obey(orders.State(), 200.0)["scenario_time"].startswith("2025-11-16T04:00")
    sim.obey(orders.Begin(), 200.0)
    sim.obey(orders.Begin(), 201.0)  # a second order changes nothing
    assert sim.obey(orders.State(), 202.0)["scenario_time"].startswith("2025-11-16T06:00")


def test_the_same_seed_gives_the_same_frames() -> None:
    def frames() -> list[bytes]:
        sim = simulation(lapse=600)
        sim.timeline.begin(0.0)
        return [s.data for t in range(20) for s in sim.hear("bus-dong", request(1, count=7) + request(3, 4, 4, 2), t)]

    assert frames() == frames()
    assert len(set(frames())) > 10


def test_a_quantity_can_be_held_for_a_while() -> None:
    sim = simulation()
    sim.obey(orders.Hold(quantity="level", value=5.0, for_s=10), 0.0)
    assert read(sim, "river-level", 9.0, 4) == {"level": 5.0}
    assert sim.obey(orders.Faults(), 9.0)["held"] == {"level": 5.0}
    assert read(sim, "river-level", 10.0, 4)["level"] < 2
    sim.obey(orders.Hold(quantity="level", value=4.0), 20.0)
    sim.obey(orders.LetGo(quantity="level"), 21.0)
    assert read(sim, "river-level", 22.0, 4)["level"] < 2


def test_faults_are_listed_ended_one_by_one_and_all_at_once() -> None:
    sim = simulation()
    sim.obey(orders.Fault(slave="rain", kind=Kind.SILENCE, for_s=5), 0.0)
    sim.obey(orders.Fault(slave="rain", kind=Kind.SPIKE, add=3), 0.0)
    sim.obey(orders.Fault(slave="air", kind=Kind.CRC, rate=0.5), 0.0)
    told = sim.obey(orders.Faults(), 1.0)["faults"]
    assert {(fault["slave"], fault["kind"], fault["left_s"]) for fault in told} == {
        ("rain", "silence", 4.0),
        ("rain", "spike", None),
        ("air", "crc", None),
    }
    assert sim.obey(orders.Off(slave="rain", kind=Kind.SPIKE), 1.0) == {"ended": 1}
    assert sim.obey(orders.Off(), 1.0) == {"ended": 2}
    assert sim.obey(orders.Faults(), 1.0)["faults"] == []


def test_the_record_of_an_answer_says_what_was_really_sent() -> None:
    sim = simulation()
    sim.obey(orders.Fault(slave="river-level", kind=Kind.SPIKE, add=3.0), 0.0)
    [sending] = sim.hear("bus-song", request(1, start=3, count=2), 0.0)
    assert sending.record["fault"] == "spike"
    assert sending.record["registers"]["3"] == 3
    assert sending.record["values"]["level"] == sending.record["registers"]["4"] / 1000 == pytest.approx(4.4, abs=0.02)
    assert int.from_bytes(sending.data[5:7]) == sending.record["registers"]["4"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"null",
        b"[1]",
        b'{"do": "dance"}',
        b'{"do": "hold", "quantity": "level", "value": NaN}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_order_is_refused(line: bytes) -> None:
    with pytest.raises(Problem, match="no order"):
        orders.read(line)


def test_an_order_for_nobody_names_those_who_are_there() -> None:
    with pytest.raises(Problem, match="there is no sensor 'river'; take one of air, rain, river-level, soil"):
        simulation().obey(orders.Off(slave="river"), 0.0)


def test_an_installation_is_checked() -> None:
    def plan(*slaves: dict[str, Any]) -> dict[str, Any]:
        return {"schema": "keng.installation/1", "buses": [{"name": "b", "baud": 9600, "slaves": slaves}]}

    with pytest.raises(ValueError, match="two slaves have one address"):
        Installation.model_validate(
            plan({"address": 1, "name": "a", "model": "QDY30A"}, {"address": 1, "name": "b", "model": "QDY30A"})
        )
    with pytest.raises(ValueError, match="sensor a is there twice"):
        Installation.model_validate(
            plan({"address": 1, "name": "a", "model": "QDY30A"}, {"address": 2, "name": "a", "model": "QDY30A"})
        )
    unknown = Installation.model_validate(plan({"address": 1, "name": "a", "model": "HAL9000"}))
    with pytest.raises(Problem, match="a: there is no model 'HAL9000'; take one of"):
        Simulation(unknown, MODELS, FLOOD)


@pytest.mark.parametrize("name", files.names("installations"))
def test_every_installation_that_comes_along_works(name: str) -> None:
    sim = Simulation(files.load(Installation, "installations", name), MODELS, FLOOD)
    for bus in sim.buses.values():
        for slave in bus.slaves.values():
            first = slave.model.registers[0].at
            [sending] = sim.hear(bus.name, request(slave.address, slave.model.function, first), 1.0)
            assert sending.record["exception"] is None
