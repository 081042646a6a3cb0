"""LoRa nodes through an Ebyte E22 in transparent or fixed mode: what it hears comes as bare bytes, so frames are found
in them (``radioframes``). With its RSSI byte enabled (register 06h, bit 7) each frame is followed by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from keng_edge.pipeline.pipeline import Sample
from keng_edge.plan import PlannedLine
from keng_edge.sources.listening import ListeningBus
from keng_edge.sources.radio import Receiver, Sequences, receiver, sequences
from keng_edge.sources.radioframes import Fed, RadioProfile, Splitter
from keng_edge.sources.serialport import SerialPort
from keng_edge.sources.source import Health, Outcome, Sensor, Source
from keng_runtime.clock import now_ms

PROFILE = RadioProfile
#: The module hands a packet over without pauses; after one of that length a frame is not going to be finished.
PAUSE_S = 0.5


class RadioBus(ListeningBus[RadioProfile]):
    """A radio and its nodes, as one source."""

    def __init__(
        self,
        port: SerialPort,
        sensors: Sequence[Sensor[RadioProfile]],
        health: Health,
        receiver: Receiver,
        memory: Sequences,
        silence_s: float | None = None,
    ) -> None:
        super().__init__(port, sensors, health, silence_s)
        self._receiver = receiver
        self._memory = memory

    async def run(self, deliver: Callable[[Sample], None]) -> None:
        try:
            await super().run(deliver)
        finally:
            self._memory.save(at_once=True)


class E22Bus(RadioBus):
    """What an E22 hears."""

    rssi_byte = False
    _splitter = Splitter()
    _heard_s = 0.0

    async def prepare(self) -> None:
        self._splitter = Splitter(self.rssi_byte)

    def tick(self) -> Iterator[Outcome]:
        self._memory.save()
        if time.monotonic() - self._heard_s > PAUSE_S:
            yield from self._outcomes(self._splitter.pause(), now_ms())

    def heard(self, data: bytes, time_ms: int) -> Iterator[Outcome]:
        self._heard_s = time.monotonic()
        yield from self._outcomes(self._splitter.feed(data), time_ms)

    def _outcomes(self, fed: Fed, time_ms: int) -> Iterator[Outcome]:
        for node in fed.damaged:
            yield from self._receiver.damaged(node)
        for heard in fed.frames:
            yield from self._receiver.take(heard, time_ms, heard.rssi)


def source(line: PlannedLine, health: Health) -> Source:
    """The source of a planned line of this kind."""
    memory = sequences(line.edge.state / "radio-sequences.json")
    port = SerialPort(line.port, line.baud, line.parity)
    bus = E22Bus(port, line.slaves, health, receiver(line), memory, line.settings.timeout_s)
    bus.rssi_byte = line.settings.rssi_byte
    return bus
