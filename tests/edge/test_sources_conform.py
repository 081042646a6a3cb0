"""What every source promises, whichever hardware is behind it: one suite, a rig for each kind.

A rig has two sensors on one line, ``good`` and ``other``, and can do to them what happens in a field.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from keng_edge.pipeline.pipeline import Sample
from keng_edge.sources.e22 import E22Bus
from keng_edge.sources.modbus import Line, ModbusBus, Slave
from keng_edge.sources.profiles import Profile, Quantity
from keng_edge.sources.radio import Node, Receiver, Sequences
from keng_edge.sources.radioframes import RadioProfile, RadioQuantity
from keng_edge.sources.rak3172 import Rak3172Bus
from keng_edge.sources.sdi12 import Sdi12Bus, Sdi12Line
from keng_edge.sources.sdi12frames import Sdi12Profile, Sdi12Quantity
from keng_edge.sources.serialport import SerialPort
from keng_edge.sources.source import Failure, Health, Sensor, Source
from keng_edge.sources.text import TextBus
from keng_edge.sources.textlines import TextProfile, TextQuantity
from keng_firmware_sim.faults import Kind, Order, Read
from keng_firmware_sim.instrument import Instrument
from keng_firmware_sim.lines import LineSensor, Rak3172
from keng_runtime.clock import now_ms
from tests.support.modbus_slave import ModbusSlaves
from tests.support.processes import until
from tests.support.radio import KEY
from tests.support.rigs import LorawanRig, MachineRig, ModbusTcpRig
from tests.support.twin import Twin, nmea


class Rig(Protocol):
    source: Source
    health: Health

    def silence(self, sensor: str) -> None: ...
    def damage(self, sensor: str) -> None: ...
    def mend(self) -> None: ...
    def unplug(self) -> None: ...
    def plug_in(self) -> None: ...


class ModbusRig:
    def __init__(self, folder: Path) -> None:
        self.slaves = ModbusSlaves(folder / "bus", {(1, 3): {0: 536}, (2, 3): {0: 42}})
        profile = Profile(model="x", function=3, baud=9600, quantities={"value": Quantity(register=0, unit="1")})
        self.health = Health(["good", "other"])
        line = Line(str(self.slaves.port), 9600, timeout_s=0.15)
        pair = [Slave("good", 1, 0.1, profile), Slave("other", 2, 0.1, profile)]
        self.source: Source = ModbusBus(line, pair, self.health)

    def _spoil(self, sensor: str, answer: bytes) -> None:
        address = {"good": 1, "other": 2}[sensor]
        self.slaves.spoil = lambda request, right: [(0.0, answer if request[0] == address else right)]

    def silence(self, sensor: str) -> None:
        self._spoil(sensor, b"")

    def damage(self, sensor: str) -> None:
        self._spoil(sensor, bytes.fromhex("02 03 02 00 2A 00 00"))

    def mend(self) -> None:
        self.slaves.spoil = lambda request, right: [(0.0, right)]

    def unplug(self) -> None:
        self.slaves.pull_out()

    def plug_in(self) -> None:
        self.slaves.plug_in()


class TwinRig:
    """Sensors of the simulator behind a twin, with the simulator's faults; a subclass says what they say."""

    slaves: Twin
    kind = "text"
    values: ClassVar = {"good": 536.0, "other": 42.0}

    def __init__(self) -> None:
        self.health = Health(["good", "other"])
        self._instruments = {name: Instrument(name, self.kind, ("level",)) for name in self.values}

    def _say(self, name: str, speak: Callable[[Read], bytes]) -> bytes:
        true = lambda quantity: self.values[name] if quantity == "level" else 0.0  # noqa: E731
        return self._instruments[name].say(time.monotonic(), true, speak).data

    def _order(self, name: str, kind: Kind) -> None:
        self._instruments[name].order(Order(kind=kind), time.monotonic(), lambda quantity: 0.0)

    def silence(self, sensor: str) -> None:
        self._order(sensor, Kind.SILENCE)

    def damage(self, sensor: str) -> None:
        self._order(sensor, Kind.CRC)

    def mend(self) -> None:
        for instrument in self._instruments.values():
            instrument.clear()

    def unplug(self) -> None:
        self.slaves.pull_out()

    def plug_in(self) -> None:
        self.slaves.plug_in()


class TextRig(TwinRig):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.slaves = Twin(folder / "uart", talk=self._talk)
        pair = [
            Sensor(
                name,
                None,
                0.1,
                TextProfile(
                    kind="text",
                    model="x",
                    form="nmea",
                    begins=f"${name.upper()},",
                    quantities={"value": TextQuantity(field=1, unit="1")},
                ),
            )
            for name in self.values
        ]
        self.source: Source = TextBus(SerialPort(str(self.slaves.port), 9600), pair, self.health, 0.4)

    def _talk(self) -> bytes:
        return b"".join(self._say(name, partial(self._line, name)) for name in self.values)

    def _line(self, name: str, read: Read) -> bytes:
        return nmea(f"{name.upper()},{read('level'):g}")  # the simulator's own line does not say of whom it is


class Sdi12Rig(TwinRig):
    kind = "sdi12"
    command = "CC"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.slaves = Twin(folder / "sdi12", hear=self._hear)
        profile = Sdi12Profile(
            kind="sdi12", model="x", command=self.command, quantities={"value": Sdi12Quantity(value=1, unit="1")}
        )
        self._sensors = {
            name: LineSensor(address, KEY, measuring_s=0) for name, address in (("good", "0"), ("other", "b"))
        }
        pair = [Sensor(name, sensor.address, 0.1, profile) for name, sensor in self._sensors.items()]
        line = Sdi12Line(str(self.slaves.port), 9600, "N", timeout_s=0.15)
        self.source: Source = Sdi12Bus(line, pair, self.health)

    def _hear(self, data: bytes) -> bytes:
        command, now_s = data.lstrip(b"\x00").decode(), time.monotonic()
        return b"".join(
            self._say(name, partial(sensor.sdi12, command, now_s)) for name, sensor in self._sensors.items()
        )


class Sdi12PlainRig(Sdi12Rig):
    command = "M"


class RadioRig(TwinRig):
    """Two nodes in the air; each sends its value again and again."""

    kind = "e22"
    values: ClassVar = {"good": 0.536, "other": 0.042}

    def __init__(self, folder: Path) -> None:
        super().__init__()
        quantities = {"value": RadioQuantity(channel=1, unit="1"), "rain": RadioQuantity(channel=2, unit="1")}
        profile = RadioProfile(kind="radio", model="x", quantities=quantities)
        self.memory = Sequences(folder / "sequences.json")
        self._nodes = {name: LineSensor(address, KEY, 1 << 16) for name, address in (("good", "17"), ("other", "18"))}
        sensors = [Sensor(name, int(node.address), 0.1, profile) for name, node in self._nodes.items()]
        receiver = Receiver([Node(sensor, KEY) for sensor in sensors], self.memory)
        self.source: Source = self._source(folder, sensors, receiver)

    def _source(self, folder: Path, sensors: list[Sensor[RadioProfile]], receiver: Receiver) -> Source:
        self.slaves = Twin(folder / "e22", talk=self._talk)
        port = SerialPort(str(self.slaves.port), 9600)
        return E22Bus(port, sensors, self.health, receiver, self.memory, 0.4)

    def _talk(self) -> bytes:
        sent = [self._say(name, partial(node.frame, 0)) for name, node in self._nodes.items()]  # they have no clock
        return b"".join(self._air(one) for one in sent if one)

    def _air(self, sent: bytes) -> bytes:
        return sent


class RakRig(RadioRig):
    kind = "rak3172"

    def _source(self, folder: Path, sensors: list[Sensor[RadioProfile]], receiver: Receiver) -> Source:
        self._module = Rak3172()
        self.slaves = Twin(folder / "rak", talk=self._talk, hear=self._module.hear)
        bus = Rak3172Bus(SerialPort(str(self.slaves.port), 115200), sensors, self.health, receiver, self.memory, 0.4)
        bus.p2p = "923200000:9:125:0:8:14"
        return bus

    def _air(self, sent: bytes) -> bytes:
        return self._module.air(sent)


class RakOldRig(RakRig):
    def _air(self, sent: bytes) -> bytes:
        said = super()._air(sent)
        return f"+EVT:RXP2P, RSSI -87, SNR 5\r\n+EVT:{sent.hex()}\r\n".encode() if said else said


@pytest.fixture(
    params=[
        ModbusRig,
        TextRig,
        Sdi12Rig,
        Sdi12PlainRig,
        ModbusTcpRig,
        LorawanRig,
        MachineRig,
        RadioRig,
        RakRig,
        RakOldRig,
    ]
)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    one = request.param(tmp_path)
    with one.slaves:
        yield one


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[list[Sample]]:
    samples: list[Sample] = []

    def deliver(sample: Sample) -> None:
        samples.append(sample)
        if sample.kept is not None:
            sample.kept()

    task = asyncio.create_task(rig.source.run(deliver))
    try:
        yield samples
        assert not task.done(), "a source runs until it is cancelled"
    finally:
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2.0)
        assert done, "a source stops at once"


def count(samples: list[Sample], sensor: str) -> int:
    return sum(sample.source == sensor for sample in samples)


def errors(rig: Rig, sensor: str) -> int:
    return next(source.errors for source in rig.health.report() if source.id == sensor)


def record(samples: list[Sample], marks: list[int], mark: int) -> int:
    """Note ``mark`` for each sample that is new; returns it."""
    marks += [mark] * (len(samples) - len(marks))
    return mark


async def test_samples_carry_numbers_and_the_time_of_measurement(rig: Rig) -> None:
    begin = now_ms()
    async with running(rig) as samples:
        await until(lambda: count(samples, "good") >= 3 and count(samples, "other") >= 3)
    assert {sample.source: sample.values["value"].number for sample in samples} == {"good": 536, "other": 42}
    times = [sample.time_ms for sample in samples if sample.source == "good"]
    assert begin <= times[0] and times == sorted(times) and times[-1] <= now_ms()
    assert all(source.ok and source.last_reading_ms and not source.errors for source in rig.health.report())


async def test_a_dead_sensor_costs_the_others_no_more_than_its_time_out(rig: Rig) -> None:
    rig.silence("other")
    failed_before: list[int] = []  # how often the dead one had been tried in vain when a sample came
    async with running(rig) as samples:
        await until(lambda: record(samples, failed_before, errors(rig, "other")) >= 4)
    assert count(samples, "other") == 0
    steps = [later - earlier for earlier, later in itertools.pairwise(failed_before)]
    assert max(steps) <= 1, "between two readings of the good one the dead one was waited for once at most"
    dead = next(source for source in rig.health.report() if source.id == "other")
    assert not dead.ok and "no answer" in dead.error
    assert next(source.ok for source in rig.health.report() if source.id == "good")


async def test_a_sensor_that_works_again_is_well_again(rig: Rig) -> None:
    rig.silence("other")
    async with running(rig) as samples:
        await until(lambda: errors(rig, "other") >= 2)
        rig.mend()
        await until(lambda: count(samples, "other") >= 2)
    other = next(source for source in rig.health.report() if source.id == "other")
    assert other.ok and other.error == "" and other.errors >= 2


async def test_what_is_damaged_is_counted_and_never_delivered(rig: Rig) -> None:
    rig.damage("other")
    async with running(rig) as samples:
        await until(lambda: errors(rig, "other") >= 2 and count(samples, "good") >= 2)
    assert count(samples, "other") == 0
    assert "damaged" in next(source.error for source in rig.health.report() if source.id == "other")


async def test_hardware_that_is_not_there_yet_is_waited_for(rig: Rig) -> None:
    rig.unplug()
    async with running(rig) as samples:
        await until(lambda: errors(rig, "good") >= 1 and errors(rig, "other") >= 1)
        assert all(not source.ok and "not there" in source.error for source in rig.health.report())
        rig.plug_in()
        await until(lambda: count(samples, "good") and count(samples, "other"))
    assert all(source.ok for source in rig.health.report())


async def test_hardware_that_is_unplugged_and_plugged_in_again_is_found_again(rig: Rig) -> None:
    async with running(rig) as samples:
        await until(lambda: count(samples, "good"))
        rig.unplug()
        await until(lambda: errors(rig, "good"))
        samples.clear()
        rig.plug_in()
        await until(lambda: count(samples, "good") and count(samples, "other"))


async def test_it_stops_at_once_whatever_it_waits_for(rig: Rig) -> None:
    rig.silence("other")
    async with running(rig) as samples:
        await until(lambda: count(samples, "good"))
        rig.unplug()
    rig.plug_in()
    assert all(
        outcome.failure is None or "in use" not in str(outcome.failure) for outcome in await rig.source.read_once()
    )


async def test_asked_once_each_sensor_answers_or_says_why_not(rig: Rig) -> None:
    rig.silence("other")
    good, other = await rig.source.read_once()
    assert good.sample is not None and good.sample.values["value"].number == 536 and good.failure is None
    assert other.sample is None and "no answer" in str(other.failure)
    rig.unplug()
    assert all(
        outcome.sample is None and "not there" in str(outcome.failure) for outcome in await rig.source.read_once()
    )


def test_an_outage_is_logged_once_and_a_single_fault_not_at_all(caplog: pytest.LogCaptureFixture) -> None:
    health = Health(["gauge"])
    changes: list[int] = []
    health.changed = lambda: changes.append(1)
    caplog.set_level("INFO")
    health.good("gauge", 1)
    health.failed("gauge", Failure("no answer"))
    health.good("gauge", 2)
    assert caplog.messages == [] and len(changes) == 3
    for _ in range(5):
        health.failed("gauge", Failure("no answer", todo="check power"))
    health.good("gauge", 3)
    assert caplog.messages == ["gauge: no answer; check power (retried by itself)", "gauge: works again"]
    assert len(changes) == 5
