"""The rim: one event loop over ports, control socket and journal. Everything that is decided is in ``simulation``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from keng_contracts.errors import Problem
from keng_firmware_sim import control, orders
from keng_firmware_sim.installation import LineSpec
from keng_firmware_sim.ports import Port
from keng_firmware_sim.radio import Radio
from keng_firmware_sim.simulation import Sending, Simulation
from keng_firmware_sim.speak import Speaker
from keng_runtime import service
from keng_runtime.clock import now_ms

log = logging.getLogger(__name__)


class Journal:
    """What was really answered: one JSON object a line, on disk's way as soon as its last byte is on the wire."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None
        self._path = path
        if path is not None:
            try:
                self._file = path.open("a", encoding="utf-8", buffering=1)
            except OSError as error:
                raise Problem(
                    f"can't be written: {error.strerror}", where=str(path), todo="take another --journal"
                ) from None

    def write(self, record: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:  # the sensors go on; a journal with a hole would mislead, so it ends here
            log.error("%s: the journal ends here: %s", self._path, error.strerror)
            self.close()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what a full disk did not take
                file.close()


async def run(
    simulation: Simulation,
    ports: Mapping[str, Port],
    stop: asyncio.Event,
    *,
    control_path: Path | None = None,
    journal_path: Path | None = None,
    begin: bool = True,
    radio: Radio | None = None,
    lines: Sequence[tuple[LineSpec, Port]] = (),
    ready_fd: int | None = None,
) -> None:
    """Simulate until ``stop`` is set. ``ports`` has one for each bus of the simulation.

    When all is up a line a bus and then ``ready`` go to standard output, and the scenario begins unless ``begin`` is
    False: then the first reader or an order begins it.
    """
    loop = asyncio.get_running_loop()
    journal = Journal(journal_path)

    def send(port: Port, sending: Sending) -> None:
        port.send(sending.data)
        journal.write({"wall_ms": now_ms(), **sending.record})

    def hear(bus: str, port: Port, data: bytes, baud: int | None) -> None:
        for sending in simulation.hear(bus, data, loop.time(), baud):
            loop.call_at(sending.due_s, send, port, sending)

    def obey(order: orders.Order) -> dict[str, Any]:
        return simulation.obey(order, loop.time())

    listener: asyncio.Server | None = None
    speakers = [Speaker(spec, port, simulation, journal.write) for spec, port in lines]
    speaking: list[asyncio.Task[None]] = []
    try:
        for speaker in speakers:
            await speaker.port.open(speaker.hear)
            speaking.append(asyncio.create_task(speaker.speak()))
            names = ", ".join(f"{one.address} {one.name}" for one in speaker.spec.sensors)
            print(f"{speaker.spec.name}  {speaker.port.where}  {speaker.spec.kind}  {names}", flush=True)
        for name, port in ports.items():
            await port.open(partial(hear, name, port))
            print(describe(simulation, name, port), flush=True)
        if control_path is not None:
            listener = await control.serve(control_path, obey)
        if begin:
            simulation.timeline.begin(loop.time())
        if radio is not None:
            await radio.open(simulation, lambda record: journal.write({"wall_ms": now_ms(), **record}))
        _say_ready(ready_fd)
        await stop.wait()
    finally:
        for task in speaking:
            task.cancel()
        for port in (*ports.values(), *(port for _, port in lines)):
            port.close()
        if radio is not None:
            radio.close()
        if listener is not None and control_path is not None:
            listener.close()
            control_path.unlink(missing_ok=True)  # noqa: ASYNC240 (a name in memory; nothing waits for it)
        journal.close()


def describe(simulation: Simulation, name: str, port: Port) -> str:
    """One line for a bus: where it is, how it speaks and who is on it."""
    bus = simulation.buses[name]
    slaves = ", ".join(f"{address} {slave.name} ({slave.model.model})" for address, slave in sorted(bus.slaves.items()))
    return f"{name}  {port.where}  {bus.baud} 8N1  {slaves}"


def _say_ready(ready_fd: int | None) -> None:
    print("ready", flush=True)
    service.notify("READY=1")
    if ready_fd is not None:
        try:
            os.write(ready_fd, b"ready\n")
            os.close(ready_fd)
        except OSError as error:
            raise Problem(f"can't be written: {error.strerror}", where=f"--ready-fd {ready_fd}") from None
