"""The whole simulation without its rim: bytes heard on a line in, timed answers out; orders in, replies out. Pure.

Two clocks meet here. ``now_s`` is the wall's, any clock that only grows, and times the line and the faults. The
scenario's own time runs ``lapse`` times as fast from the moment at which it begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

from keng_contracts.errors import Problem
from keng_firmware_sim import lines, lorawan, modbus, orders
from keng_firmware_sim.faults import Faulty, Read
from keng_firmware_sim.installation import RADIO_LINES, BusSpec, Installation, Model, RadioSpec, model_of
from keng_firmware_sim.instrument import Instrument
from keng_firmware_sim.scenario import Scenario
from keng_firmware_sim.slave import Answer, Slave
from keng_firmware_sim.world import World


@dataclass(slots=True)
class Timeline:
    """The scenario's time: it stands at its start until it begins, then runs ``lapse`` times as fast as the wall's."""

    start_s: float
    lapse: float
    began_s: float | None = None

    def begin(self, now_s: float) -> None:
        if self.began_s is None:
            self.began_s = now_s

    def at(self, now_s: float) -> float:
        return self.start_s if self.began_s is None else self.start_s + (now_s - self.began_s) * self.lapse


@dataclass(frozen=True, slots=True)
class Sending:
    """An answer on its way: its last byte is on the wire at ``due_s``. ``record`` is its line in the journal."""

    due_s: float
    data: bytes
    record: dict[str, Any]


class Uplink(NamedTuple):
    """An event of ChirpStack's (no payload while the device is silent), and its line in the journal."""

    topic: str
    payload: bytes
    record: dict[str, Any]


class Bus:
    """One line and its slaves. It carries one frame at a time."""

    def __init__(self, spec: BusSpec, slaves: list[Slave]) -> None:
        self.name = spec.name
        self.baud = spec.baud
        self.slaves = {slave.address: slave for slave in slaves}
        self.bauds = frozenset(slave.baud for slave in slaves)
        self._framer = modbus.Framer(max(modbus.silent_interval_s(min(self.bauds)), _PTY_SILENCE_S))
        self._free_s = float("-inf")

    def frames(self, data: bytes, now_s: float) -> list[bytes]:
        return self._framer.feed(data, now_s)

    def due_s(self, request: bytes, answer: bytes, now_s: float, baud: int) -> float:
        """When the last byte of ``answer`` is through: the request's own time, the silence after it, the answer's."""
        on_wire_s = modbus.characters_s(len(request) + len(answer), baud) + modbus.silent_interval_s(baud)
        self._free_s = max(now_s, self._free_s) + on_wire_s
        return self._free_s


#: A pseudo-terminal carries no byte timing, and a busy machine may tear a write apart by a few ms.
_PTY_SILENCE_S = 0.02


class Simulation:
    """An installation in a scenario. ``lapse`` is scenario seconds a second; ``begin_on_read`` holds it until then."""

    def __init__(
        self,
        installation: Installation,
        models: Mapping[str, Model],
        scenario: Scenario,
        *,
        seed: int = 0,
        lapse: float = 1.0,
        begin_on_read: bool = False,
    ) -> None:
        self.scenario = scenario
        self.devices = installation.lorawan
        self.world = World(scenario, seed)
        self.timeline = Timeline(scenario.start_s, lapse)
        self._begin_on_read = begin_on_read
        self._zone = timezone(timedelta(seconds=scenario.utc_offset_s))
        self._held: dict[str, tuple[float, float]] = {}  # quantity → value, until
        self.buses = {
            spec.name: Bus(
                spec,
                [
                    Slave(slave, self._checked(model_of(slave, models)), slave.baud or spec.baud, seed)
                    for slave in spec.slaves
                ],
            )
            for spec in installation.buses
        }
        self.slaves = {slave.name: slave for bus in self.buses.values() for slave in bus.slaves.values()}
        self.instruments = {one.name: one for one in _instruments(installation, seed)}
        self._sensors: dict[str, Faulty] = {**self.slaves, **self.instruments}

    def _checked(self, model: Model) -> Model:
        for register in model.measured:
            if register.quantity not in self.world.quantities:
                raise Problem(f"no scenario has the quantity {register.quantity!r}", where=model.model)
        return model

    def hear(self, bus_name: str, data: bytes, now_s: float, baud: int | None = None) -> list[Sending]:
        """What the slaves of a line send in answer to ``data``, in order. Requests to nobody here are not answered, nor
        are those at another speed than the slave's (``baud`` None: the speed can't be seen)."""
        bus = self.buses[bus_name]
        sendings = []
        for frame in bus.frames(data, now_s):
            slave = bus.slaves.get(frame[0])  # a broadcast (address 0) is never answered
            if slave is None or baud not in (None, slave.baud):
                continue
            if self._begin_on_read:
                self.timeline.begin(now_s)
            scenario_s = self.timeline.at(now_s)
            answer = slave.answer(frame, now_s, self.read(slave.name, now_s))
            if answer is not None:
                due_s = bus.due_s(frame, answer.data, now_s, slave.baud)
                sendings.append(Sending(due_s, answer.data, self._record(bus, slave, frame, answer, scenario_s)))
        return sendings

    def obey(self, order: orders.Order, now_s: float) -> dict[str, Any]:
        """Carry out an order and reply. Raises :class:`Problem` for one that can't be carried out."""
        match order:
            case orders.Begin():
                self.timeline.begin(now_s)
            case orders.Fault():
                sensor = self._sensor(order.slave)
                sensor.order(order.fault(), now_s, self.read(sensor.name, now_s))
            case orders.Off():
                chosen = [self._sensor(order.slave)] if order.slave else list(self._sensors.values())
                return {"ended": sum(sensor.clear(order.kind) for sensor in chosen)}
            case orders.Hold():
                self._known(order.quantity)
                until_s = float("inf") if order.for_s is None else now_s + order.for_s
                self._held[order.quantity] = (order.value, until_s)
            case orders.LetGo():
                self._known(order.quantity)
                self._held.pop(order.quantity, None)
            case orders.Faults():
                return {"faults": self._faults(now_s), "held": self._holding(now_s)}
            case orders.State():
                return self._state(now_s)
        return {}

    def time_text(self, scenario_s: float) -> str:
        """A moment of the scenario in its own local time, RFC 3339 with milliseconds."""
        return datetime.fromtimestamp(scenario_s, UTC).astimezone(self._zone).isoformat(timespec="milliseconds")

    def uplink(self, device: RadioSpec, count: int, now_s: float, wall_ms: int) -> Uplink:
        """What a LoRaWAN device sends now, as ChirpStack publishes it."""
        values: dict[str, float] = {}

        def speak(read: Read) -> bytes:
            data, told = lorawan.payload(device.model, read)
            values.update(told)
            return data

        payload, faults = self.instruments[device.name].say(now_s, self.read(device.name, now_s), speak)
        record = {
            "lorawan": device.dev_eui,
            "name": device.name,
            "device": device.model,
            "data": payload.hex(),
            "values": values,
            "scenario_time": self.time_text(self.timeline.at(now_s)),
            "fault": ",".join(faults) or None,
        }
        topic = f"application/{lorawan.APPLICATION}/device/{device.dev_eui}/event/up"
        event = lorawan.event(device.dev_eui, device.name, device.model, payload, count, wall_ms) if payload else b""
        return Uplink(topic, event, record)

    def read(self, name: str, now_s: float) -> Read:
        """The quantities as the instrument of that name reads them now."""
        scenario_s = self.timeline.at(now_s)
        holding = self._holding(now_s)
        return lambda q: holding[q] if q in holding else self.world.value(q, scenario_s, name)

    def _record(self, bus: Bus, slave: Slave, request: bytes, answer: Answer, scenario_s: float) -> dict[str, Any]:
        registers = dict(answer.response.registers)
        return {
            "bus": bus.name,
            "slave": slave.address,
            "name": slave.name,
            "device": slave.model.model,
            "function": request[1],
            "registers": {str(at): word for at, word in registers.items()},
            "values": slave.values(registers),
            "exception": answer.response.exception,
            "scenario_time": self.time_text(scenario_s),
            "fault": ",".join(answer.faults) or None,
        }

    def _sensor(self, name: str) -> Faulty:
        if name not in self._sensors:
            raise Problem(f"there is no sensor {name!r}", todo=f"take one of {', '.join(sorted(self._sensors))}")
        return self._sensors[name]

    def _known(self, quantity: str) -> None:
        if quantity not in self.world.quantities:
            raise Problem(f"there is no quantity {quantity!r}", todo=f"take one of {', '.join(self.world.quantities)}")

    def _holding(self, now_s: float) -> dict[str, float]:
        self._held = {quantity: held for quantity, held in self._held.items() if now_s < held[1]}
        return {quantity: value for quantity, (value, _) in self._held.items()}

    def _faults(self, now_s: float) -> list[dict[str, Any]]:
        return [
            {"slave": sensor.name} | fault.describe(now_s)
            for sensor in self._sensors.values()
            for fault in sensor.faults(now_s).values()
        ]

    def _state(self, now_s: float) -> dict[str, Any]:
        scenario_s = self.timeline.at(now_s)
        truth = {q: round(self.world.truth(q, scenario_s), 4) for q in self.world.quantities} | self._holding(now_s)
        return {
            "scenario": self.scenario.title,
            "scenario_time": self.time_text(scenario_s),
            "began": self.timeline.began_s is not None,
            "ended": scenario_s >= self.scenario.end_s,
            "lapse": self.timeline.lapse,
            "values": truth,
            "answered": {sensor.name: sensor.answered for sensor in self._sensors.values()},
        }


def _instruments(installation: Installation, seed: int) -> Iterator[Instrument]:
    """All that is no Modbus slave: sensors on other lines, radio modules, LoRaWAN devices."""
    for line in installation.lines:
        if line.kind in RADIO_LINES:
            yield Instrument(line.name, line.kind, (), model="a radio module", seed=seed)
        for sensor in line.sensors:
            yield Instrument(sensor.name, line.kind, lines.MEASURED[line.kind], seed=seed)
    for device in installation.lorawan:
        missing = device.model in lorawan.WITH_MISSING
        measured = lorawan.measured(device.model)
        yield Instrument(device.name, "lorawan", measured, missing=missing, model=device.model, seed=seed)
