"""Rigs for sources that are no serial line, see ``tests/edge/test_sources_conform.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from keng_edge.sources.chirpstack import ChirpStack
from keng_edge.sources.lorawan import Field_, LorawanProfile
from keng_edge.sources.machine import Folder, Machine, MachineProfile, Told
from keng_edge.sources.modbus import ModbusBus, Slave
from keng_edge.sources.modbus_tcp import TcpLine
from keng_edge.sources.profiles import Profile, Quantity
from keng_edge.sources.source import Health, Sensor, Source
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Guest
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


class LorawanRig:
    def __init__(self, folder: Path) -> None:
        self._broker = PlainBroker(folder)
        self._said = {"good": bytes.fromhex("03 82 18 02"), "other": bytes.fromhex("03 82 2A 00")}
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
            for name, data in self._said.items()
            if data
        ]

    def silence(self, sensor: str) -> None:
        self._said[sensor] = b""

    def damage(self, sensor: str) -> None:
        self._said[sensor] = bytes.fromhex("03 99 2A 00")

    def mend(self) -> None:
        self._said["other"] = bytes.fromhex("03 82 2A 00")

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
