"""The rim of the lines that are not Modbus: each on a port of its own, speaking at its interval and answering."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from keng_firmware_sim.installation import LineSpec
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
        self._rest = b""
        self._sensors = {one.name: LineSensor(one.address, bytes.fromhex(one.key)) for one in spec.sensors}

    def hear(self, data: bytes, baud: int | None = None) -> None:
        """What came over the port; its speed is the port's affair."""
        now_s = asyncio.get_running_loop().time()
        if self.spec.kind == "rak3172":
            self._send("", self._module.hear(data))
        elif self.spec.kind == "sdi12":
            self._rest = (self._rest + data)[-64:]
            while b"!" in self._rest:
                command, _, self._rest = self._rest.partition(b"!")
                text = command.decode("ascii", "replace").strip("\x00\r\n ") + "!"
                for name, sensor in self._sensors.items():
                    asked = f"{sensor.address}!" if text == "?!" else text
                    self._send(name, sensor.sdi12(asked, now_s, self._simulation.read(name, now_s)))

    async def speak(self) -> None:
        """Until cancelled; SDI-12 sensors speak only when they are asked."""
        while self.spec.kind != "sdi12":
            await asyncio.sleep(self.spec.interval_s)
            now_s, wall_s = asyncio.get_running_loop().time(), now_ms() // 1000
            for name, sensor in self._sensors.items():
                read = self._simulation.read(name, now_s)
                if self.spec.kind == "text":
                    self._send(name, sensor.text(read))
                else:
                    frame = sensor.frame(wall_s, read)
                    self._send(name, frame if self.spec.kind == "e22" else self._module.air(frame))

    def _send(self, name: str, data: bytes) -> None:
        if data:
            self.port.send(data)
            if name:
                self._tell({"wall_ms": now_ms(), "line": self.spec.name, "name": name, "data": data.hex()})
