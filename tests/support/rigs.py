"""Rigs for sources that are no serial line, see ``tests/edge/test_sources_conform.py``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

from keng_edge.sources.chirpstack import ChirpStack
from keng_edge.sources.lorawan import Field_, LorawanProfile
from keng_edge.sources.machine import Folder, Machine, MachineProfile, Told
from keng_edge.sources.modbus import ModbusBus, Slave
from keng_edge.sources.modbus_tcp import TcpLine
from keng_edge.sources.profiles import Profile, Quantity
from keng_edge.sources.source import Health, Sensor, Source
from keng_firmware_sim import lorawan
from keng_firmware_sim.faults import Kind, Order, Read
from keng_firmware_sim.instrument import Instrument
from keng_runtime.clock import now_ms
from keng_runtime.guest import Guest
from tests.support.feeds import ModbusTcpServer, PlainBroker, Publisher, event


class ModbusTcpRig:
    def __init__(self, folder: Path) -> None:
        self._server = ModbusTcpServer({(1, 3): {0: 536}, (2, 3): {0: 42}})
        profile = Profile(model="x", function=3, baud=9600, quantities={"value": Quantity(register=0, unit="1")})
        self.health = Health(["good", "other"])
        pair = [Slave("good", 1, 0.1, profile), Slave("other", 2, 0.1, profile)]
        self.source: Source = ModbusBus(TcpLine(self._server.port, 0.15), pair, self.health)

    def _spoil(self, sensor: str, instead: bytes) -> None:
        unit = {"good": 1, "other": 2}[sensor]
        self._server.spoil = lambda request, answer: instead if request[6] == unit else answer

    def silence(self, sensor: str) -> None:
        self._spoil(sensor, b"")

    def damage(self, sensor: str) -> None:
        self._spoil(sensor, b"HTTP/1.1 400 Bad Request\r\n")

    def mend(self) -> None:
        self._server.spoil = lambda request, answer: answer

    def unplug(self) -> None:
        self._server.pull_out()

    def plug_in(self) -> None:
        self._server.plug_in()

    @property
    def slaves(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.pull_out()


EUIS = {"good": "a84041f15612c0de", "other": "24e124713b456789"}
FAR = {"good": 0.536, "other": 0.042}


def udl(read: Read) -> bytes:
    return lorawan.payload("em500-udl", read)[0]


class LorawanRig:
    def __init__(self, folder: Path) -> None:
        self._broker = PlainBroker(folder)
        self._instruments = {name: Instrument(name, "lorawan", ("distance",)) for name in EUIS}
        quantities = {"value": Field_(field="distance", unit="1")}
        profile = LorawanProfile(model="x", payload="em500-udl", quantities=quantities)
        self.health = Health(["good", "other"])
        devices = [Sensor(name, eui, 0.1, profile) for name, eui in EUIS.items()]
        guest = Guest("127.0.0.1", self._broker.number, "keng-edge-test")
        self.source: Source = ChirpStack(guest, devices, self.health, read_once_s=1.5)
        self._publisher = Publisher(self._broker.number, self._events)

    def _events(self) -> list[tuple[str, bytes]]:
        return [
            (f"application/1/device/{EUIS[name]}/event/up", event(EUIS[name], data, now_ms()))
            for name, instrument in self._instruments.items()
            if (data := instrument.say(time.monotonic(), lambda _, name=name: FAR[name], udl).data)  # type: ignore[misc]
        ]

    def _order(self, sensor: str, kind: Kind) -> None:
        self._instruments[sensor].order(Order(kind=kind), time.monotonic(), lambda quantity: 0.0)

    def silence(self, sensor: str) -> None:
        self._order(sensor, Kind.SILENCE)

    def damage(self, sensor: str) -> None:
        self._order(sensor, Kind.CRC)

    def mend(self) -> None:
        for instrument in self._instruments.values():
            instrument.clear()

    def unplug(self) -> None:
        self._broker.pull_out()

    def plug_in(self) -> None:
        self._broker.plug_in()

    @property
    def slaves(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.stop()
        self._broker.pull_out()


class MachineRig:
    def __init__(self, folder: Path) -> None:
        self._root = folder / "root"
        self._root.mkdir()
        self._away = folder / "away"
        self._files = {"good": "536\n", "other": "42\n"}
        self.mend()
        self.health = Health(list(self._files))
        sensors = [
            Sensor(name, None, 0.1, MachineProfile(model="x", quantities={"value": Told(file=name, unit="1")}))
            for name in self._files
        ]
        self.source: Source = Machine(Folder(str(self._root)), sensors, self.health)

    def silence(self, sensor: str) -> None:
        (self._root / sensor).unlink()

    def damage(self, sensor: str) -> None:
        (self._root / sensor).write_text("\0\0\0")

    def mend(self) -> None:
        for name, text in self._files.items():
            (self._root / name).write_text(text)

    def unplug(self) -> None:
        self._root.rename(self._away)

    def plug_in(self) -> None:
        self._away.rename(self._root)

    @property
    def slaves(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
