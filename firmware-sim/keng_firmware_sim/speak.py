"""The rim of the lines that are not Modbus: each on a port of its own, speaking at its interval and answering."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from keng_firmware_sim.faults import Kind, Read
from keng_firmware_sim.installation import RADIO_LINES, LineSpec
from keng_firmware_sim.lines import LineSensor, Rak3172
from keng_firmware_sim.ports import Port
from keng_firmware_sim.simulation import Simulation
from keng_runtime.clock import now_ms

#: Called with each line of the journal.
Tell = Callable[[dict[str, Any]], None]


class Speaker:
    """One line: its sensors and what connects them."""

    def __init__(self, spec: LineSpec, port: Port, simulation: Simulation, tell: Tell) -> None:
        self.spec = spec
        self.port = port
        self._simulation = simulation
        self._tell = tell
        self._module = Rak3172()
        self._greeting = b""  # what the module says once it is up again
        self._rest = b""
        self._sensors = {one.name: LineSensor(one.address, bytes.fromhex(one.key)) for one in spec.sensors}
        for name, sensor in self._sensors.items():
            simulation.instruments[name].rebooted = sensor.reboot
        if spec.kind == "rak3172":
            simulation.instruments[spec.name].rebooted = self._reboot

    def _reboot(self) -> None:
        self._greeting = self._module.reboot()

    def hear(self, data: bytes, baud: int | None = None) -> None:
        """What came over the port; its speed is the port's affair."""
        now_s = asyncio.get_running_loop().time()
        if self.spec.kind == "rak3172":
            if self._module_is_up(now_s):
                self.port.send(self._module.hear(data))
        elif self.spec.kind == "sdi12":
            self._rest = (self._rest + data)[-64:]
            while b"!" in self._rest:
                command, _, self._rest = self._rest.partition(b"!")
                text = command.decode("ascii", "replace").strip("\x00\r\n ") + "!"
                for name, sensor in self._sensors.items():
                    asked = f"{sensor.address}!" if text == "?!" else text
                    self._say(name, now_s, partial(sensor.sdi12, asked, now_s))

    async def speak(self) -> None:
        """Until cancelled; SDI-12 sensors speak only when they are asked."""
        while self.spec.kind != "sdi12":
            await asyncio.sleep(self.spec.interval_s)
            now_s, wall_s = asyncio.get_running_loop().time(), now_ms() // 1000
            up = self._module_is_up(now_s)
            for name, sensor in self._sensors.items():
                if self.spec.kind == "text":
                    self._say(name, now_s, sensor.text)
                else:
                    self._say(name, now_s, partial(sensor.frame, wall_s), up)

    def _say(self, name: str, now_s: float, speak: Callable[[Read], bytes], up: bool = True) -> None:
        instrument = self._simulation.instruments[name]
        data, faults = instrument.say(now_s, self._simulation.read(name, now_s), speak)
        if data and self.spec.kind == "rak3172":
            data = self._module.air(data)
        if data and up:
            self.port.send(data)
            fault = ",".join(faults) or None
            self._tell({"wall_ms": now_ms(), "line": self.spec.name, "name": name, "data": data.hex(), "fault": fault})

    def _module_is_up(self, now_s: float) -> bool:
        """Whether the radio, if the line has one, works; it says when it has just started."""
        if self.spec.kind not in RADIO_LINES:
            return True
        module = self._simulation.instruments[self.spec.name]
        if {Kind.SILENCE, Kind.REBOOT} & module.faults(now_s).keys():
            return False
        greeting, self._greeting = self._greeting, b""
        if greeting:
            self.port.send(greeting)
        return True
