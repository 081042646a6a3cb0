"""The rim of the LoRaWAN devices: each speaks in its time, and what ChirpStack would publish goes to a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from keng_contracts.errors import Problem
from keng_firmware_sim.installation import RadioSpec
from keng_firmware_sim.simulation import Simulation
from keng_runtime.clock import now_ms

#: How long a broker may take to be found missing.
CONNECT_S = 5.0


class Radio:
    """ChirpStack and its devices, at the broker ``host:port``."""

    def __init__(self, host: str, port: int, *, username: str = "", password: str = "") -> None:
        self.where = f"mqtt://{host}:{port}"
        self._host, self._port = host, port
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if username:
            self._client.username_pw_set(username, password)
        self._tasks: list[asyncio.Task[None]] = []
        self._counts: dict[str, int] = {}  # a device that joins anew counts from 0

    async def open(self, simulation: Simulation, note: Callable[[dict[str, Any]], None]) -> None:
        """Connect, and let every device speak from now on. Raises :class:`Problem`."""
        self._client.connect_timeout = CONNECT_S
        try:
            await asyncio.to_thread(self._client.connect, self._host, self._port)
        except OSError as error:
            raise Problem(f"can't be reached ({error})", where=self.where, todo="start the broker first") from None
        self._client.loop_start()
        for device in simulation.devices:
            simulation.instruments[device.name].rebooted = partial(self._counts.pop, device.name, None)
            print(f"{device.name}  {self.where}  {device.dev_eui} ({device.model}), every {device.interval_s:g} s")
            self._tasks.append(asyncio.create_task(self._speak(simulation, device, note)))

    async def _speak(self, simulation: Simulation, device: RadioSpec, note: Callable[[dict[str, Any]], None]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            count = self._counts.get(device.name, 0)
            uplink = simulation.uplink(device, count, loop.time(), now_ms())
            if uplink.payload:
                self._counts[device.name] = count + 1
                self._client.publish(uplink.topic, uplink.payload, qos=1)
                note(uplink.record)
            due += device.interval_s
            await asyncio.sleep(max(0.0, due - loop.time()))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._client.disconnect()
        self._client.loop_stop()
