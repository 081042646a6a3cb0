"""Orders of people to the real service: signed over a real broker, and at the machine with the broker away."""

from __future__ import annotations

import asyncio
import getpass
import json
import stat
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keng_alerts.people.control import NAME
from keng_contracts.alert_commands import AlertAcknowledge, AlertAction, AlertCommand, AlertConfirm
from keng_contracts.alerts import AlertDocument
from keng_contracts.commands import Command, Play, Stop
from keng_contracts.registry import Registry
from keng_contracts.telemetry import Reading
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.signing import SigningKey
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import eventually, until
from tests.support.registry import sample, signed
from tests.support.services import command, start_alerts
from tests.support.telemetry import edge, retain_registry
from tests.support.watching import commune

GAUGE = "phu-oc-level"
AN = "Nguyễn Văn An"
ASKED = commune(level3={"mode": "confirm"}, level2={"mode": "manual"})
QUICK = {
    "response_rules": [{"sensor": "phu-oc/level", "retries": 3, "retry_after_s": 0.5, "silent_after_s": 2}],
}


class Ear:
    """What is ordered and told, as the console hears it; nothing that was heard is forgotten."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.ordered: list[tuple[str, Command]] = []
        self.told: list[AlertDocument] = []
        self._subscribed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def of(cls, broker: RunningBroker) -> AsyncIterator[Ear]:
        """An ear that listens."""
        async with Link(broker.settings("console"), session_expiry_s=300) as link:
            ear = cls(link)
            listening = asyncio.create_task(ear.listen())
            await ear._subscribed.wait()
            yield ear
            listening.cancel()

    async def listen(self) -> None:
        for filter_ in (
            pattern(Kind.ALERT),
            pattern(Kind.ZONE, Channel.COMMAND),
            pattern(Kind.SPEAKER, Channel.COMMAND),
        ):
            await self.link.subscribe(filter_)
        self._subscribed.set()
        async for message in self.link.messages():
            message.ack()
            if message.topic.endswith("/command"):
                payload, _ = self.link.credentials.trust().verify(message.payload)
                self.ordered.append((message.topic, Command.model_validate_json(payload)))
            else:
                self.told.append(AlertDocument.model_validate_json(message.payload))

    @property
    def plays(self) -> list[str]:
        """The plays that zones were told, each as often as a new command told it."""
        seen = {c.jti: c.action.play for t, c in self.ordered if "/zone/" in t and isinstance(c.action, Play)}
        return list(seen.values())

    @property
    def now(self) -> AlertDocument | None:
        return self.told[-1] if self.told else None


class Service:
    """The real process; what people type at its machine goes through the real command line."""

    def __init__(self, broker: RunningBroker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.process = start_alerts(broker, folder)

    @property
    def state(self) -> Path:
        return self.folder / "alerts"

    async def typed(self, *words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(self.types, *words)

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        settings = ["--settings", str(self.folder / "alerts.toml")]
        return subprocess.run([command("keng-alerts"), *words, *settings], capture_output=True, text=True, timeout=60)

    async def answers(self) -> bool:
        return (await self.typed("list")).returncode == 0

    def lists(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(self.types("list", "--json").stdout)
        return answer

    def timeline(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(self.types("timeline", GAUGE, "--json").stdout)
        return answer


@pytest.fixture
def service(broker: RunningBroker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    registry = getattr(request, "param", ASKED)
    asyncio.run(retain_registry(broker, signed(registry, broker.credentials)))
    one = Service(broker, tmp_path)
    with one.process:
        one.process.says("listening")
        yield one


async def crossing(broker: RunningBroker, *levels: float) -> None:
    async with edge(broker) as node:
        for level in levels or (4.6, 4.6, 4.6):
            await node.level(level)


def token(broker: RunningBroker, action: AlertAction, counter: int, **changes: Any) -> bytes:
    key = SigningKey.load(broker.credentials / "console" / "signing.jwk")
    now = now_ms() / 1000
    order = {
        "iss": "console",
        "commune": COMMUNE,
        "aud": f"alert/{GAUGE}",
        "jti": str(uuid.uuid4()),
        "ctr": counter,
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "action": action,
    }
    return key.sign(AlertCommand.model_validate(order | changes).model_dump_json().encode())


async def test_a_signed_confirmation_sounds_once_and_is_answered(broker: RunningBroker, service: Service) -> None:
    topic = str(Topic(COMMUNE, Kind.ALERT, GAUGE, Channel.COMMAND))
    async with Ear.of(broker) as ear:
        link = ear.link
        await crossing(broker)
        await until(lambda: ear.now and ear.now.questions, what="a person is asked")
        assert ear.plays == []
        for refused in (
            token(broker, AlertConfirm(by=AN), 1, commune="phong-dien"),
            token(broker, AlertConfirm(by=AN), 1, aud="alert/another"),
            token(broker, AlertConfirm(by=AN), 1, exp=now_ms() / 1000 - 1),
            SigningKey.generate("console").sign(b"{}"),
            b"\xff",
        ):
            await link.publish(topic, refused)
        confirm = token(broker, AlertConfirm(by=AN), 2)
        for _ in range(3):
            await link.publish(topic, confirm)
        await link.publish(topic, token(broker, AlertAcknowledge(by=AN), 1))  # its number has been passed
        await until(lambda: ear.plays, what="it sounds")
        await link.publish(topic, token(broker, AlertAcknowledge(by=AN, note="ra đê"), 3))
        await until(lambda: ear.now and ear.now.acknowledged, what="it is acknowledged")
    assert ear.plays == ["phu-oc-level-1-3"]
    assert ear.now is not None
    assert ear.now.authority == AN
    assert ear.now.answer is not None and ear.now.answer.ok
    text = service.process.text()
    for reason in ("not-for-me", "expired", "unknown-key", "unreadable", "replayed"):
        assert f"an order is refused: {reason}" in text


async def test_counters_of_people_survive_a_kill(broker: RunningBroker, service: Service, tmp_path: Path) -> None:
    topic = str(Topic(COMMUNE, Kind.ALERT, GAUGE, Channel.COMMAND))
    await crossing(broker)
    first = token(broker, AlertAcknowledge(by=AN), 7)
    async with Link(broker.settings("console")) as link:
        await link.publish(topic, first)
        await until(lambda: any(e["what"] == "acknowledged" for e in service.timeline()))
        service.process.kill()
        with start_alerts(broker, tmp_path) as second:
            second.says("listening")
            await link.publish(topic, first)
            second.says("an order is refused: replayed")


async def test_a_question_survives_a_kill_and_can_be_answered_after_it(
    broker: RunningBroker, service: Service, tmp_path: Path
) -> None:
    await crossing(broker)
    await until(lambda: service.lists(), what="the alert stands")
    service.process.kill()
    async with Ear.of(broker) as ear:
        with start_alerts(broker, tmp_path) as second:
            await until(service.answers, what="it is there again")
            assert (await service.typed("confirm", GAUGE, "--by", AN)).returncode == 0
            await until(lambda: ear.plays, what="it sounds")
            second.kill()
            with start_alerts(broker, tmp_path):
                await until(service.answers, what="it is there again")
                assert "nothing waits" in (await service.typed("confirm", GAUGE)).stderr
    assert ear.plays == ["phu-oc-level-1-3"]


def two_gauges() -> Registry:
    """Báo động 3 at Phú Ốc sounds by itself if the gauge at Phước Yên has reached its level 1."""
    plain = sample()
    other = {**plain.sensors[0].model_dump(), "id": "phuoc-yen/level", "node": "tram-khac"}
    its_own = {**plain.thresholds[0].model_dump(), "sensor": "phuoc-yen/level", "value": 0.8}
    return commune(
        level3={"second": {"sensor": "phuoc-yen/level", "level": 1, "within_s": 600}},
        level2={"mode": "manual"},
        sensors=[*(s.model_dump() for s in plain.sensors), other],
        thresholds=[*(t.model_dump() for t in plain.thresholds), its_own],
    )


@pytest.mark.parametrize("service", [two_gauges()], indirect=True)
async def test_two_gauges_that_agree_sound_what_one_alone_does_not(broker: RunningBroker, service: Service) -> None:
    async with Ear.of(broker) as ear, edge(broker, "tram-khac") as other:
        await crossing(broker)
        await until(lambda: ear.now and ear.now.questions, what="a person is asked")
        assert ear.now is not None and ear.now.questions[0].why == "second-source"
        for number in range(3):
            await other.send([Reading(f"{COMMUNE}/phuoc-yen/level", now_ms() + number, 0.9, "m")])
        await until(lambda: ear.plays, what="it sounds")
    assert ear.plays == ["phu-oc-level-1-3"]


async def test_with_broker_and_console_down_people_order_at_the_machine_and_all_is_recorded(
    broker: RunningBroker, service: Service
) -> None:
    """The link is cut between the crossing and the confirmation; the siren comes once, when the link is back."""
    await crossing(broker)
    await until(lambda: service.lists(), what="the alert stands")
    mode = stat.S_IMODE((service.state / NAME).stat().st_mode)
    assert mode == 0o660
    broker.kill()
    assert "level 3 waits for a person in toan-xa (confirm)" in service.types("list").stdout
    confirmed = service.types("confirm", GAUGE, "--by", AN)
    assert (confirmed.returncode, confirmed.stdout) == (0, "level 3 sounds in toan-xa\n")
    assert service.types("ack", GAUGE, "--note", "ra đê").returncode == 0
    again = service.types("confirm", GAUGE)
    assert again.returncode == 2
    assert again.stderr == "keng: phu-oc-level: nothing waits for a confirmation; see 'keng alerts list'\n"
    broker.start()
    async with Ear.of(broker) as ear:
        await until(lambda: any(d.authority for d in ear.told), what="the alert is told", within=40)
    service.process.stop()
    entries = service.timeline()
    assert [e["what"] for e in entries if e["by"]] == ["confirmed", "acknowledged", "refused"]
    assert entries[0]["what"] == "raised"
    assert [level for _, level in entries[0]["detail"]["samples"]] == [4.6, 4.6, 4.6]
    who = next(e["by"] for e in entries if e["what"] == "confirmed")
    assert who == f"{AN} ({getpass.getuser()})"
    told = service.types("timeline", GAUGE, "--episode", "1").stdout
    assert "raised: before 0, level 3" in told and f"confirmed by {who}" in told
    assert service.types("list").returncode == 2  # alerts does not run here


async def test_one_press_silences_every_zone(broker: RunningBroker, service: Service) -> None:
    async with Ear.of(broker) as ear:
        await crossing(broker)
        await until(lambda: ear.now, what="the alert stands")
        assert (await service.typed("confirm", GAUGE)).returncode == 0
        await until(lambda: ear.plays, what="it sounds")
        assert (await service.typed("stop", "--by", AN)).stdout == "all is stopped in Xã Quảng Thọ\n"

        def quiet() -> set[str]:
            return {topic.split("/")[-2] for topic, c in ear.ordered if c.action == Stop()}

        await until(lambda: quiet() == {"toan-xa", "ven-song"}, what="every zone is told to be quiet")


async def test_what_was_stopped_while_the_broker_was_away_never_sounds(broker: RunningBroker, service: Service) -> None:
    async with Ear.of(broker) as ear:
        await crossing(broker)
        await until(lambda: ear.now, what="the alert stands")
        broker.stop()  # gracefully: it remembers who listens, so that nothing is missed that is published at its return
        service.process.says("closed the connection")
        assert (await service.typed("confirm", GAUGE)).returncode == 0
        assert (await service.typed("stop", GAUGE)).returncode == 0
        broker.start()
        await until(lambda: any(isinstance(c.action, Stop) for _, c in ear.ordered), within=40, what="the stop comes")
    assert ear.plays == []


@pytest.mark.parametrize("service", [commune(**QUICK)], indirect=True)
async def test_a_zone_command_that_was_lost_is_mended_by_orders_to_each_loudspeaker(
    broker: RunningBroker, service: Service
) -> None:
    """A broker that is killed forgets a command that it has taken; nobody has heard the zone's."""
    async with Link(broker.settings("loa-niem-pho")) as deaf_to_zones:
        await deaf_to_zones.subscribe(str(Topic(COMMUNE, Kind.SPEAKER, "loa-niem-pho", Channel.COMMAND)))
        await crossing(broker)
        async with asyncio.timeout(20):
            (message,) = await deaf_to_zones.batch(1)
        payload, _ = deaf_to_zones.credentials.trust().verify(message.payload)
    mended = Command.model_validate_json(payload)
    assert isinstance(mended.action, Play)
    assert (mended.aud, mended.action.play) == ("speaker/loa-niem-pho", "phu-oc-level-1-3")
    silent = {"loa-niem-pho": "Loa thôn Niêm Phò", "loa-phuoc-yen": "Loa thôn Phước Yên"}
    await until(lambda: service.lists()[0]["silent"] == silent, what="both are named to people")
    assert "NOT CONFIRMED, go there: " in service.types("list").stdout


async def test_a_drill_is_ordered_told_and_ended_apart_from_what_is(broker: RunningBroker, service: Service) -> None:
    async with Ear.of(broker) as ear:
        await service.typed("drill", GAUGE, "--level", "3", "--night", "Trần Thị Lan")
        await until(lambda: ear.plays and ear.now, what="the drill sounds")
    assert ear.plays == ["phu-oc-level-drill-1-3"]
    assert {(d.id, d.exercise, d.drill_of) for d in ear.told} == {("phu-oc-level-drill", True, GAUGE)}
    assert service.types("stop", "phu-oc-level-drill").returncode == 0
    assert [d["level"] for d in service.lists()] == [0]


def test_a_state_folder_that_takes_no_socket_stops_nothing(broker: RunningBroker, tmp_path: Path) -> None:
    asyncio.run(retain_registry(broker, signed(ASKED, broker.credentials)))
    (tmp_path / "alerts" / NAME).mkdir(parents=True)
    with start_alerts(broker, tmp_path) as process:
        process.says("orders at this machine can't be taken")
        process.says("listening")


def test_an_order_that_can_not_be_read_is_answered_in_words(service: Service) -> None:
    from keng_alerts.people.control import ask

    for request, says in (
        ({"do": "dance"}, "no order"),
        ({"alert": GAUGE, "order": {"do": "alert-dance"}}, "alert-dance"),
        ({"alert": GAUGE, "order": {"do": "alert-silence", "level": 9, "until_ms": 0}}, "level"),
        ({"alert": "cho", "order": {"do": "alert-confirm"}}, "there are: phu-oc-level"),
    ):
        answer = eventually(lambda r=request: ask(service.state, r))  # type: ignore[misc]
        assert not answer["ok"] and says in answer["detail"]
