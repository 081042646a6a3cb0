"""The link is cut at the moment of crossing: sensor, edge, broker, alerts and loudspeaker as real processes.

Minutes are seconds here: the registry says after how many of them a sample is history.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from keng_contracts.alerts import AlertDocument
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import Registry
from keng_contracts.topics import Channel, Kind, pattern
from keng_edge.outbox.outbox import inspect
from keng_firmware_sim import orders
from keng_runtime.mqtt import Link
from tests.support import services
from tests.support.broker import RunningBroker
from tests.support.processes import Process, until
from tests.support.registry import LEVEL, signed
from tests.support.simulator import Simulator
from tests.support.telemetry import retain_registry
from tests.support.watching import commune

pytestmark = pytest.mark.system

SPEAKER, NODE = "loa-niem-pho", "tram-phu-oc"
LOW, HIGH = 0.5, 4.9
_EDGE = 'commune = "quang-tho"\ncommit_every_s = 0.2\nreceipt_timeout_s = 2.0\n'
_BUS = """
[[buses]]
id = "bus-song"
port = {port}
baud = 9600
[[buses.slaves]]
id = "muc-nuoc"
profile = "qdy30a"
address = 1
station = "phu-oc"
interval_s = 0.2
alarm = true
"""


def registry(late_after_s: float) -> Registry:
    sirens = [
        {**siren.model_dump(), "blasts": 1, "blast_s": 0.5, "gap_s": 0.1, "repeats": 1} for siren in commune().sirens
    ]
    rule = {"sensor": "phu-oc/level", "raise_samples": 3, "late_after_s": late_after_s, "clear_after_s": 600}
    quick = {"sensor": "phu-oc/level", "retries": 5, "retry_after_s": 1}
    return commune(sirens=sirens, hazard_rules=[rule], response_rules=[quick])


class Rig:
    """Sensor, edge, broker, alerts and one loudspeaker, and what the console would see of them."""

    def __init__(self, broker: RunningBroker, simulator: Simulator, outbox: Path) -> None:
        self.broker = broker
        self.simulator = simulator
        self._outbox = outbox
        self.sirens: list[str] = []
        self.alert: AlertDocument | None = None

    def hold(self, level: float) -> None:
        self.simulator.order(orders.Hold(quantity="level", value=level))

    async def readings(self, more: int) -> None:
        """Wait until the edge has committed this many more readings of the gauge."""
        before = self._committed()
        await until(lambda: self._committed() >= before + more, within=40, what=f"{more} readings more")

    def _committed(self) -> int:
        return inspect(self._outbox)[1].get(LEVEL, 0) if self._outbox.exists() else 0

    async def listen(self, link: Link) -> None:
        await link.subscribe(pattern(Kind.ALERT))
        await link.subscribe(pattern(Kind.SPEAKER, Channel.PLAYBACK))
        seen: set[tuple[str, int]] = set()
        async for message in link.messages():
            message.ack()
            if message.topic.endswith("/playback"):
                event = PlaybackEvent.model_validate_json(message.payload)
                if event.what is What.STARTED and event.kind == "siren" and (event.boot, event.seq) not in seen:
                    seen.add((event.boot, event.seq))
                    self.sirens.append(event.play)
            else:
                self.alert = AlertDocument.model_validate_json(message.payload)


@asynccontextmanager
async def rig(broker: RunningBroker, folder: Path, late_after_s: float) -> AsyncIterator[Rig]:
    await retain_registry(broker, signed(registry(late_after_s), broker.credentials))
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator(folder / "ports"))
        simulator.order(orders.Hold(quantity="level", value=LOW))

        def start(part: str, name: str, more: str, tail: str = "") -> Process:
            text = services.settings(broker, name, folder / name, more) + tail
            return stack.enter_context(services.start(part, name, folder, text))

        alerts = start("keng-alerts", "alerts", "")
        speaker = start("keng-loudspeaker", SPEAKER, 'commune = "quang-tho"\ndevice = "null"\n')
        start("keng-edge", NODE, _EDGE, _BUS.format(port=json.dumps(simulator.port("bus-song"))))
        one = Rig(broker, simulator, folder / NODE / "edge-outbox.db")
        async with Link(broker.settings("console"), session_expiry_s=300) as link:
            listening = asyncio.create_task(one.listen(link))
            await asyncio.to_thread(alerts.says, "listening")
            await asyncio.to_thread(speaker.says, "registry of")
            await one.readings(5)
            yield one
            listening.cancel()


async def test_the_siren_comes_once_when_the_link_is_back_in_time(broker: RunningBroker, tmp_path: Path) -> None:
    async with rig(broker, tmp_path, late_after_s=60) as one:
        broker.kill()
        one.hold(HIGH)
        await one.readings(8)
        assert one.sirens == []
        broker.start()
        await until(lambda: one.sirens, within=40, what="the siren sounds")
        await until(lambda: one.alert and one.alert.deliveries.get(SPEAKER) == "confirmed", what="it is confirmed")
        broker.kill()  # and once more while it sounds: nothing of it sounds again
        broker.start()
        await one.readings(15)
    assert one.sirens == ["phu-oc-level-1-3"]


async def test_a_flood_that_came_and_went_while_the_link_was_cut_is_history(
    broker: RunningBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path, late_after_s=2) as one:
        broker.kill()
        one.hold(HIGH)
        await one.readings(5)
        one.hold(LOW)
        await one.readings(15)
        broker.start()
        await until(lambda: one.alert and one.alert.level == 3, within=40, what="history has it")
        await one.readings(15)
        assert one.alert is not None
        assert {q.why.value for q in one.alert.questions} == {"late"}
    assert one.sirens == []


async def test_a_flood_that_lasts_when_the_link_is_back_too_late_sounds_by_its_fresh_samples(
    broker: RunningBroker, tmp_path: Path
) -> None:
    async with rig(broker, tmp_path, late_after_s=2) as one:
        broker.kill()
        one.hold(HIGH)
        await one.readings(20)
        broker.start()
        await until(lambda: one.sirens, within=40, what="the siren sounds")
        await one.readings(10)
    assert one.sirens == ["phu-oc-level-1-3"]
