"""Alerts as a real process behind a real broker: what it says, and what a crash in between changes (nothing)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keng_alerts.memory import Memory
from keng_alerts.settings import AlertsSettings
from keng_contracts.alerts import AlertDocument, Delivery, Hazard
from keng_contracts.commands import Command, Play
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.telemetry import Clock
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.settings import sample_toml
from keng_runtime.signing import TrustStore
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import Process, until
from tests.support.registry import LEVEL, sample, signed
from tests.support.services import start_alerts
from tests.support.telemetry import BOOT, EdgeInATest, edge, retain_registry

ROOT = Path(__file__).parents[2]


class Witness:
    """A loudspeaker's ear on zone commands and the console's eye on alerts."""

    def __init__(self, broker: RunningBroker, console: Link) -> None:
        self._trust = TrustStore.load(broker.credentials / "loa-phuoc-yen" / "trust.json")
        self._link = console
        self.commands: list[Command] = []
        self.alert: AlertDocument | None = None

    async def look(self) -> None:
        for message in await self._link.batch(100):
            message.ack()
            if message.topic.endswith("/command"):
                payload, key = self._trust.verify(message.payload)
                assert "play" in key.may
                self.commands.append(Command.model_validate_json(payload))
            else:
                self.alert = AlertDocument.model_validate_json(message.payload)

    async def sees(self, level: int, within: float = 20.0) -> AlertDocument:
        async with asyncio.timeout(within):
            while self.alert is None or self.alert.level != level:
                await self.look()
        return self.alert

    async def hears(self, play: str, within: float = 20.0) -> None:
        async with asyncio.timeout(within):
            while not any(isinstance(c.action, Play) and c.action.play == play for c in self.commands):
                await self.look()


@asynccontextmanager
async def witness(broker: RunningBroker) -> AsyncIterator[Witness]:
    async with Link(broker.settings("console"), session_expiry_s=300) as link:
        await link.subscribe(pattern(Kind.ALERT))
        await link.subscribe(pattern(Kind.ZONE, Channel.COMMAND))
        yield Witness(broker, link)


@pytest.fixture
def alerts(broker: RunningBroker, tmp_path: Path) -> Iterator[Process]:
    asyncio.run(retain_registry(broker, signed(sample(), broker.credentials)))
    with start_alerts(broker, tmp_path) as process:
        process.says("listening")
        yield process


async def rise(node: EdgeInATest, *levels: float) -> None:
    for level in levels:
        await node.level(level)


async def test_a_crossing_becomes_an_alert_and_one_signed_command_for_the_zone(
    broker: RunningBroker, alerts: Process
) -> None:
    async with edge(broker) as node, witness(broker) as seen:
        await rise(node, 4.51, 4.53, 4.55)
        alert = await seen.sees(level=3)
        await seen.hears(play="phu-oc-level-1-3")
    assert alert.headline == "Báo động 3 tại Phú Ốc (Sông Bồ): 4,55 m, ngưỡng 4,50 m"
    [command] = seen.commands
    assert (command.iss, command.aud) == ("alerts", "zone/toan-xa")
    assert isinstance(command.action, Play)
    assert [item.kind for item in command.action.items] == ["siren", "speech"]
    cause = command.action.cause
    assert cause is not None
    assert cause.measured_ms <= cause.made_ms <= cause.heard_ms <= cause.decided_ms


async def test_counts_survive_a_kill_and_no_order_is_given_twice(
    broker: RunningBroker, alerts: Process, tmp_path: Path
) -> None:
    async with edge(broker) as node, witness(broker) as seen:
        await rise(node, 3.1, 3.1)
        await _taken(tmp_path, count=2)
        alerts.kill()
        with start_alerts(broker, tmp_path) as second:
            second.says("listening")
            await rise(node, 3.1)
            await seen.sees(level=2)
            await seen.hears(play="phu-oc-level-1-2")
            second.kill()
        with start_alerts(broker, tmp_path) as third:
            third.says("listening")
            await rise(node, 3.2, 3.2, 3.2, 4.6, 4.6, 4.6)
            await seen.sees(level=3)
            await seen.hears(play="phu-oc-level-1-3")
    # A command may come twice if the kill fell between its publication and the note of it: the very same one, with the
    # same number, and a loudspeaker refuses the copy.
    plays = {
        command.jti: (command.ctr, command.action.play) for command in seen.commands if command.action.do == "play"
    }
    assert [play for _, play in sorted(plays.values())] == ["phu-oc-level-1-2", "phu-oc-level-1-3"]


async def test_an_outlier_counts_for_nothing_and_a_kill_does_not_forget_what_it_is_seen_by(
    broker: RunningBroker, tmp_path: Path
) -> None:
    sensors = [
        s.model_dump() | ({"quality": {"spike": 0.5}} if s.id == "phu-oc/level" else {}) for s in sample().sensors
    ]
    await retain_registry(broker, signed(sample(sensors=sensors), broker.credentials))
    async with edge(broker) as node, witness(broker) as seen:
        with start_alerts(broker, tmp_path) as first:
            first.says("listening")
            await rise(node, 1.2, 1.2, 1.2, 1.2)
            await _judged(tmp_path, ["", "", "", ""])
            first.kill()
        with start_alerts(broker, tmp_path) as second:
            second.says("listening")
            await rise(node, 4.6, 4.6)
            await _judged(tmp_path, ["", "", "", "spike", "spike"])
            assert seen.alert is None
            await rise(node, 4.6, 4.6, 4.6)
            await seen.sees(level=3)


async def _judged(folder: Path, tests: list[str]) -> None:
    """Wait until the gauge's window on disk has these findings."""
    memory = Memory(folder / "alerts" / "alerts.sqlite")

    def judged() -> bool:
        window = memory.windows().get(LEVEL)
        return window is not None and [verdict.test for verdict in window.verdicts] == tests

    await until(judged, what=f"{tests} on disk")
    memory.close()


async def _taken(folder: Path, count: int) -> None:
    """Wait until the gauge's count on disk is this high."""
    memory = Memory(folder / "alerts" / "alerts.sqlite")

    def counted() -> bool:
        return any(run.count >= count for state in memory.states().values() for run in state.rising.values())

    await until(counted, what=f"{count} samples are counted on disk")
    memory.close()


async def test_a_broker_that_forgot_everything_gets_the_alert_again(broker: RunningBroker, alerts: Process) -> None:
    async with edge(broker) as node, witness(broker) as seen:
        await rise(node, 1.6, 1.6, 1.6)
        await seen.sees(level=1)
    broker.kill()
    for file in (broker.home / "data").iterdir():
        file.unlink()
    broker.start()
    async with witness(broker) as seen:
        assert (await seen.sees(level=1, within=40)).hazard is Hazard.RAISED


async def test_evidence_confirms_the_delivery(broker: RunningBroker, alerts: Process) -> None:
    async with edge(broker) as node, witness(broker) as seen, Link(broker.settings("loa-niem-pho")) as speaker:
        await rise(node, 4.6, 4.6, 4.6)
        await seen.hears(play="phu-oc-level-1-3")
        action = seen.commands[0].action
        assert isinstance(action, Play)
        event = PlaybackEvent(
            boot=BOOT,
            seq=1,
            at_ms=now_ms(),
            clock=Clock.SYNCED,
            what=What.STARTED,
            play=action.play,
            level_dbfs=-9.0,
            cause=action.cause,
        )
        topic = Topic(COMMUNE, Kind.SPEAKER, "loa-niem-pho", Channel.PLAYBACK)
        await speaker.publish(str(topic), event.to_bytes())
        async with asyncio.timeout(20):
            while seen.alert is None or seen.alert.deliveries.get("loa-niem-pho") is not Delivery.CONFIRMED:
                await seen.look()
    assert seen.alert.deliveries["loa-phuoc-yen"] is Delivery.PENDING


async def test_what_one_node_says_of_anothers_gauge_raises_nothing(broker: RunningBroker, alerts: Process) -> None:
    async with edge(broker) as node, edge(broker, "tram-khac") as other, witness(broker) as seen:
        await rise(other, 9.0, 9.0, 9.0, 9.0)
        await node.link.publish(node.topic(Channel.TELEMETRY), b"\xff not a pack")
        await rise(node, 1.6, 1.6, 1.6)
        assert (await seen.sees(level=1)).peak_level == 1
    assert seen.commands == []


async def test_a_registry_with_a_wrong_signature_is_not_followed(
    broker: RunningBroker, alerts: Process, tmp_path: Path
) -> None:
    forged = signed(sample(version=99, thresholds=[]), broker.credentials)
    header, payload, signature = forged.split(b".")
    await retain_registry(broker, b".".join((header, payload, signature[:-8] + b"AAAAAAAA")))
    async with edge(broker) as node, witness(broker) as seen:
        await rise(node, 1.6, 1.6, 1.6)
        await seen.sees(level=1)
    assert "a registry is not taken: bad-signature" in alerts.text()


def test_it_waits_for_a_broker_that_is_not_there_yet(broker: RunningBroker, tmp_path: Path) -> None:
    broker.stop()
    with start_alerts(broker, tmp_path) as process:
        process.says("can't be reached")
        broker.start()
        process.says("listening", within=30)
        assert "Traceback" not in process.text()


def test_the_sample_settings_are_the_code() -> None:
    assert (ROOT / "alerts" / "sample.toml").read_text(encoding="utf-8") == sample_toml(AlertsSettings, "keng-alerts")
