"""Alarms by rules in a real process behind a real broker: raised, told, muted, kept over a kill, and never a siren."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keng_alerts.memory import Memory
from keng_contracts.alerts import AlertDocument, Hazard, Stage
from keng_contracts.status import EdgeStatus
from keng_contracts.telemetry import Reading
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import until
from tests.support.registry import sample, signed
from tests.support.services import command, start_alerts
from tests.support.telemetry import EdgeInATest, edge, retain_registry

RAIN = f"{COMMUNE}/phu-oc/rain"
RULES: list[dict[str, Any]] = [
    {"id": "mua-1h", "kind": "rain", "watch": ["phu-oc/rain"], "window_s": 3600, "raise_at": 40, "raise_samples": 2},
    {"id": "tram", "kind": "node-offline", "watch": ["*"], "raise_after_s": 1, "clear_after_s": 1},
    {"id": "im", "kind": "silent", "watch": ["*"], "raise_at": 0.05, "clear_at": 0.04, "clear_after_s": 0},
]


class Seen:
    """What the console sees: the newest document of each alert, and every command to loudspeakers."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.alerts: dict[str, AlertDocument] = {}
        self.commands: list[str] = []

    async def sees(self, condition: Callable[[dict[str, AlertDocument]], object], within: float = 20.0) -> None:
        async with asyncio.timeout(within):
            while not condition(self.alerts):
                for message in await self._link.batch(100):
                    message.ack()
                    if message.topic.endswith("/command"):
                        self.commands.append(message.topic)
                    elif message.payload:
                        document = AlertDocument.model_validate_json(message.payload)
                        self.alerts[document.id] = document


@asynccontextmanager
async def seen_by_the_console(broker: RunningBroker) -> AsyncIterator[Seen]:
    async with Link(broker.settings("console"), session_expiry_s=300) as link:
        for filter_ in (
            pattern(Kind.ALERT),
            pattern(Kind.ZONE, Channel.COMMAND),
            pattern(Kind.SPEAKER, Channel.COMMAND),
        ):
            await link.subscribe(filter_)
        yield Seen(link)


async def rains(node: EdgeInATest, minutes_ago: float, total: float) -> None:
    await node.send([Reading(RAIN, now_ms() - round(minutes_ago * 60_000), total, "mm")])


async def at_the_machine(folder: Path, *arguments: str) -> str:
    """What ``keng alerts`` answers there."""
    call = [command("keng-alerts"), *arguments, "--settings", folder / "alerts.toml"]
    run = await asyncio.create_subprocess_exec(*map(str, call), stdout=PIPE, stderr=STDOUT)
    output, _ = await run.communicate()
    return output.decode()


def is_(hazard: Hazard, id_: str) -> Callable[[dict[str, AlertDocument]], bool]:
    return lambda alerts: id_ in alerts and alerts[id_].hazard is hazard


async def test_heavy_rain_is_told_a_kill_forgets_nothing_and_nothing_ever_sounds(
    broker: RunningBroker, tmp_path: Path
) -> None:
    await retain_registry(broker, signed(sample(rules=RULES[:1]), broker.credentials))
    async with edge(broker) as node, seen_by_the_console(broker) as seen:
        with start_alerts(broker, tmp_path) as first:
            first.says("listening")
            for minutes, total in ((14, 0.0), (9, 20.0), (4, 41.0)):
                await rains(node, minutes, total)
            await until(lambda: _phase(tmp_path) == "pending", what="the first of two readings is on disk")
            first.kill()
        with start_alerts(broker, tmp_path) as second:
            second.says("listening")
            await rains(node, 1, 43.0)
            await seen.sees(is_(Hazard.RAISED, "mua-1h-phu-oc-rain"))
            alert = seen.alerts["mua-1h-phu-oc-rain"]
            assert alert.headline == "Mưa lớn tại Phú Ốc (Sông Bồ): 43,0 mm trong 1 giờ, ngưỡng 40 mm"
            assert (alert.kind, alert.level, alert.stage) == ("rain", 0, Stage.RAISED)
            second.kill()
        with start_alerts(broker, tmp_path) as third:
            third.says("listening")
            await rains(node, 0.5, 44.0)
            # A rule that is gone leaves no alarm behind; this also ends the wait for what should not come.
            await retain_registry(broker, signed(sample(version=2), broker.credentials))
            await seen.sees(is_(Hazard.CLEARED, "mua-1h-phu-oc-rain"))
    assert seen.alerts["mua-1h-phu-oc-rain"].episode == 1
    assert seen.commands == []
    memory = Memory(tmp_path / "alerts" / "alerts.sqlite")
    assert [entry.what for entry in memory.timeline("mua-1h-phu-oc-rain")] == ["raised", "withdrawn"]
    memory.close()


def _phase(folder: Path) -> str:
    memory = Memory(folder / "alerts" / "alerts.sqlite")
    kept = memory.alarms().get("mua-1h-phu-oc-rain")
    memory.close()
    return kept[0]["phase"] if kept else ""


async def test_an_edge_that_vanishes_is_told_once_and_mutes_the_silence_of_its_sensors(
    broker: RunningBroker, tmp_path: Path
) -> None:
    await retain_registry(broker, signed(sample(rules=RULES[1:]), broker.credentials))
    topic = str(Topic(COMMUNE, Kind.EDGE, "tram-phu-oc", Channel.STATUS))

    async with edge(broker) as node, seen_by_the_console(broker) as seen:

        async def says(state: str) -> None:
            status = EdgeStatus.model_validate({"state": state, "at_ms": now_ms()})
            await node.link.publish(topic, status.model_dump_json().encode(), retain=True)

        with start_alerts(broker, tmp_path) as process:
            process.says("listening")
            await says("online")
            await rains(node, 0, 1.0)
            await says("offline")
            await seen.sees(
                lambda alerts: (
                    is_(Hazard.RAISED, "tram-tram-phu-oc")(alerts)
                    and "im-phu-oc-rain" in alerts
                    and alerts["im-phu-oc-rain"].muted_by == "tram-tram-phu-oc"
                )
            )
            assert seen.alerts["tram-tram-phu-oc"].headline_en == "Edge node offline: tram-phu-oc"
            assert (await at_the_machine(tmp_path, "list")).splitlines() == [
                "tram-tram-phu-oc  severe  raised  Trạm đo mất kết nối: tram-phu-oc"
            ]
            assert "acknowledged" in await at_the_machine(tmp_path, "ack", "tram-tram-phu-oc", "--by", "Lan")
            assert "nothing plays" in await at_the_machine(tmp_path, "drill", "tram-tram-phu-oc", "--level", "1")
            await seen.sees(lambda alerts: alerts["tram-tram-phu-oc"].stage is Stage.ACKNOWLEDGED)
            assert "Lan" in str(seen.alerts["tram-tram-phu-oc"].acknowledged)
            silence = "silence", "tram-tram-phu-oc", "--by", "Lan", "--for"
            assert "nobody is told" in await at_the_machine(tmp_path, *silence, "60")
            await seen.sees(lambda alerts: alerts["tram-tram-phu-oc"].silence)
            assert "nobody is told until" in await at_the_machine(tmp_path, "list")
            assert "has ended" in await at_the_machine(tmp_path, *silence, "0")
            await seen.sees(lambda alerts: not alerts["tram-tram-phu-oc"].silence)
            assert seen.alerts["tram-tram-phu-oc"].stage is Stage.RAISED
            await says("online")
            await seen.sees(is_(Hazard.CLEARED, "tram-tram-phu-oc"))
            await seen.sees(lambda alerts: not alerts["im-phu-oc-rain"].muted_by)
            assert seen.alerts["im-phu-oc-rain"].hazard is Hazard.RAISED  # nothing has come from it yet
            await rains(node, 0, 1.0)
            await seen.sees(is_(Hazard.CLEARED, "im-phu-oc-rain"))
            assert "Traceback" not in process.text()
    assert seen.commands == []
