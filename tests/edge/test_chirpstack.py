"""ChirpStack's broker by name and password and over TLS, and what is said while it does not let us in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.errors import Problem
from keng_edge.pipeline.pipeline import Sample
from keng_edge.plan import plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.kinds import KINDS
from keng_edge.sources.source import Health, Source
from keng_runtime.clock import now_ms
from keng_runtime.guest import Guest
from keng_runtime.mqtt import Link
from tests.support.broker import credentials
from tests.support.feeds import PlainBroker, event
from tests.support.processes import until

EUI = "24e124713b456789"
TOPIC = f"application/1/device/{EUI}/event/up"


def source(port: str, health: Health, **more: object) -> Source:
    one = {"id": "udl", "profile": "lora-em500-udl", "address": EUI, "station": "cong", "interval_s": 1.0}
    line = {"id": "lora", "kind": "lorawan", "port": port, "slaves": [one], **more}
    return KINDS["lorawan"].load().source(plan(EdgeSettings(buses=[line])).lines[0], health)  # type: ignore[no-any-return]


async def test_by_name_and_password_and_what_came_twice_is_one_sample(tmp_path: Path) -> None:
    broker = PlainBroker(tmp_path, password="mat khau")
    (tmp_path / "password").write_text("mat khau\n")
    samples: list[Sample] = []
    task = asyncio.create_task(
        source(broker.port, Health(["udl"]), username="keng", password_file=tmp_path / "password").run(samples.append)
    )
    try:
        async with Link(Guest("127.0.0.1", broker.number, "chirpstack", "keng", "mat khau")) as link:
            at_ms = now_ms()

            async def publish() -> bool:
                for _ in range(2):
                    await link.publish(TOPIC, event(EUI, bytes.fromhex("03 82 1E 00"), at_ms))
                return bool(samples)

            await until(publish)
            await link.publish(TOPIC, event(EUI, bytes.fromhex("03 82 1F 00"), at_ms + 5))
            await until(lambda: samples[-1].values["distance"].number == 31)
        assert [(s.time_ms, s.values["distance"].number) for s in samples] == [(at_ms, 30), (at_ms + 5, 31)]
        assert samples[0].values["rssi"].number == -97 and samples[0].values["snr"].number == 7.5
    finally:
        task.cancel()
        await asyncio.wait([task])
        broker.pull_out()


async def test_a_wrong_password_is_said_to_whoever_reads(tmp_path: Path) -> None:
    broker = PlainBroker(tmp_path, password="right")
    (tmp_path / "password").write_text("wrong\n")
    try:
        one = source(broker.port, Health(["udl"]), username="keng", password_file=tmp_path / "password", timeout_s=0.5)
        [outcome] = await one.read_once()
        assert "check 'username' and 'password_file'" in (outcome.failure.todo if outcome.failure else "")
    finally:
        broker.pull_out()


async def test_a_password_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="check 'password_file'"):
        source("mqtt://localhost", Health(["udl"]), username="keng", password_file=tmp_path / "none")


async def test_over_tls_by_name_and_password(tmp_path: Path) -> None:
    ca = credentials() / "broker" / "ca.crt"
    broker = PlainBroker(tmp_path, password="mật khẩu", tls=ca.parent)
    (tmp_path / "password").write_text("mật khẩu\n", encoding="utf-8")
    samples: list[Sample] = []
    one = source(broker.port, Health(["udl"]), username="keng", password_file=tmp_path / "password", ca=ca)
    task = asyncio.create_task(one.run(samples.append))
    try:
        guest = Guest("127.0.0.1", broker.number, "chirpstack", "keng", "mật khẩu", tls=True, ca=ca)
        async with Link(guest) as link:

            async def publish() -> bool:
                await link.publish(TOPIC, event(EUI, bytes.fromhex("03 82 1E 00"), now_ms()))
                return bool(samples)

            await until(publish)
        assert samples[0].values["distance"].number == 30
    finally:
        task.cancel()
        await asyncio.wait([task])
        broker.pull_out()


@pytest.mark.parametrize(
    ("wrong", "said", "todo"),
    [
        ({"ca": None}, "over TLS: unable to get local issuer certificate", "check 'ca'"),
        ({"host": "127.1"}, "over TLS: Hostname mismatch", "its certificate is for 127.1"),
        ({"password": "another"}, "has not let us in", "check 'username' and 'password_file'"),
        ({"scheme": "mqtt"}, "has not let us in", "mqtt:// or mqtts://"),
    ],
)
async def test_who_is_not_let_in_over_tls_is_told_why(
    tmp_path: Path, wrong: dict[str, Any], said: str, todo: str
) -> None:
    ca = credentials() / "broker" / "ca.crt"
    broker = PlainBroker(tmp_path, password="right", tls=ca.parent)
    (tmp_path / "password").write_text(wrong.get("password", "right"))
    try:
        port = f"{wrong.get('scheme', 'mqtts')}://{wrong.get('host', '127.0.0.1')}:{broker.number}"
        more = {"username": "keng", "password_file": tmp_path / "password", "timeout_s": 1.5}
        [outcome] = await source(port, Health(["udl"]), **more, ca=wrong.get("ca", ca)).read_once()
        assert outcome.failure is not None and said in outcome.failure.what, outcome
        assert todo in outcome.failure.todo
    finally:
        broker.pull_out()


async def test_a_file_that_is_no_authority_is_a_problem() -> None:
    with pytest.raises(Problem, match="check 'ca'"):
        await source("mqtts://localhost", Health(["udl"]), ca=Path(__file__)).read_once()
