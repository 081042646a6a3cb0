"""Signed commands to the agent: obeyed once, answered, and settings that break the link are taken back."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.edge_commands import EdgeAction, EdgeCommand, Identify, Reload, Restart, SetInterval
from keng_contracts.judging import Audience, Refusal
from keng_contracts.status import EdgeStatus
from keng_contracts.telemetry import Clock
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_edge import trial
from keng_edge.orders import name_of
from keng_edge.settings import Calibration, EdgeSettings, sample
from keng_runtime.mqtt import Link
from keng_runtime.obeying import Refused, decide
from keng_runtime.settings import load
from keng_runtime.signing import SigningKey, TrustStore
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.edge import NODE, bus, outbox, slave, start_edge
from tests.support.processes import Process, until
from tests.support.services import command

ME = Audience(COMMUNE, NODE, frozenset(), kind="edge")
EVERYTHING = frozenset({"edge-identify", "edge-reload", "edge-interval", "edge-restart"})


def order(action: EdgeAction, number: int, issuer: str = "console", **more: Any) -> EdgeCommand:
    now = time.time()
    fields = {"commune": COMMUNE, "aud": f"edge/{NODE}", "iat": now, "nbf": now, "exp": now + 60, **more}
    return EdgeCommand(iss=issuer, jti=f"{number:08x}", ctr=number, action=action, **fields)


def judged(token: bytes, trust: TrustStore, counters: dict[str, int] | None = None) -> EdgeCommand | Refusal:
    found = decide(
        token,
        EdgeCommand.model_validate_json,
        trust=trust,
        me=ME,
        counters=counters or {},
        now_s=time.time(),
        clock=Clock.SYNCED,
    )
    return found.reason if isinstance(found, Refused) else found


def test_what_is_obeyed_and_what_is_refused() -> None:
    key, stranger = SigningKey.generate("console"), SigningKey.generate("console")
    trusted = key.trusted(EVERYTHING - {"edge-restart"})
    trust = TrustStore({key.kid: trusted})
    good = order(Identify(), 7)

    def sign(command: EdgeCommand) -> bytes:
        return key.sign(command.model_dump_json().encode())

    assert judged(sign(good), trust) == good
    assert judged(sign(good), trust, {"console": 7}) is Refusal.REPLAYED
    assert judged(sign(order(Restart(), 8)), trust) is Refusal.NOT_ALLOWED
    assert judged(sign(order(Identify(), 8, aud="edge/tram-khac")), trust) is Refusal.NOT_FOR_ME
    assert judged(sign(order(Identify(), 8, exp=time.time() - 1)), trust) is Refusal.EXPIRED
    assert judged(stranger.sign(good.model_dump_json().encode()), trust) is Refusal.UNKNOWN_KEY
    assert judged(key.sign(b'{"do":"all"}'), trust) is Refusal.UNREADABLE


def test_a_refused_command_is_named_if_it_reads_as_one() -> None:
    key = SigningKey.generate("console")
    assert name_of(key.sign(order(Identify(), 7).model_dump_json().encode())) == "00000007"
    assert name_of(key.sign(b'{"jti":"00000007"}')) == name_of(b"a.b.c") == name_of(b"") == ""


@given(token=st.binary(max_size=300))
def test_no_bytes_make_it_fall(token: bytes) -> None:
    assert isinstance(judged(token, TrustStore({})), Refusal) and name_of(token) == ""


class Console:
    """Sends commands as the console does, and hears the agent's status."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.number = 0
        self.status: EdgeStatus | None = None
        self.replies: list[str] = []  # since the last command: one may follow the other before anybody looks

    async def hear(self) -> None:
        await self.link.subscribe(pattern(Kind.EDGE, Channel.STATUS))
        async for message in self.link.messages():
            message.ack()
            self.status = EdgeStatus.model_validate_json(message.payload)
            self.replies += [self.status.reply.detail] if self.status.reply else []

    async def send(self, action: EdgeAction) -> bytes:
        self.number += 1
        command = order(action, self.number)
        token = self.link.credentials.signing_key().sign(command.model_dump_json().encode())
        await self.again(token)
        return token

    async def again(self, token: bytes) -> None:
        self.replies.clear()
        await self.link.publish(str(Topic(COMMUNE, Kind.EDGE, NODE, Channel.COMMAND)), token)

    def said(self, words: str) -> bool:
        return any(words in reply for reply in self.replies)


@pytest.mark.system
async def test_commands_are_obeyed_once_answered_and_remembered(broker: RunningBroker, tmp_path: Path) -> None:
    buses = bus("bus-song", tmp_path / "nothing", slave("muc-nuoc", "qdy30a", 1, "phu-oc", 0.1))
    buses += '[[buses]]\nid = "gio"\nkind = "text"\nport = "/dev/nothing"\n[[buses.slaves]]\nid = "gio"\n'
    buses += 'profile = "nmea-wind"\nstation = "uy-ban"\n'
    settings = tmp_path / "edge.toml"
    async with Link(broker.settings("console")) as link:
        console = Console(link)
        hearing = asyncio.create_task(console.hear())
        with start_edge(broker, tmp_path, buses, "trial_s = 2.0\n") as edge:
            edge.says("connected to")
            await until(lambda: console.status is not None and console.status.state == "online")
            token = await console.send(Identify())
            await until(lambda: console.said(f"{NODE} of {COMMUNE}: gio, muc-nuoc"))
            await console.again(token)
            await until(lambda: console.said("refused: replayed"))
            assert console.status is not None and console.status.reply is not None
            assert (console.status.reply.jti, console.status.refused) == ("00000001", 1)
            await console.send(SetInterval(sensor="muc-nuoc", interval_s=5.0))
            await until(lambda: console.said("muc-nuoc: every 5 s"))
            await console.send(SetInterval(sensor="mua", interval_s=5.0))
            await until(lambda: console.said("there is no sensor 'mua'"))
            await console.send(SetInterval(sensor="gio", interval_s=5.0))
            await until(lambda: console.said("gio speaks unasked"))
            await console.send(Reload())
            await until(lambda: console.said("nothing is changed"))

            settings.write_text(settings.read_text().replace("commit_every_s = 0.2", "commit_every_s = 0.3"))
            await console.send(Reload())
            await until(lambda: console.said("the new settings are good"))

            good = settings.read_text()
            settings.write_text("nonsense = 1\n" + good)
            await console.send(Reload())
            await until(lambda: console.said("nonsense: is no setting"))

            settings.write_text(good.replace(f"port = {broker.port}\n", "port = 9\n"))
            await console.send(Reload())
            await until(lambda: console.said("taken back: neither the broker nor a receipt was reached within 2 s"))
            assert console.status is not None and "taken back" in console.status.problems[0]

            settings.write_text(good)
            await console.send(Restart())
            assert await asyncio.to_thread(edge.wait) == 0, "systemd starts it again"
            await until(lambda: console.status is not None and console.status.state == "offline")
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: console.said("the new settings are good"), what="it is there, and hears")
            await console.again(token)
            await until(lambda: console.said("refused: replayed"), what="the counter is on disk")
            assert console.status is not None and console.status.refused == 2
            assert '"muc-nuoc": 5.0' in (tmp_path / "state" / "edge-orders.json").read_text()
        hearing.cancel()
    assert outbox(tmp_path)["committed"] == 0


def test_a_trial_is_kept_as_it_was_and_without_a_secret(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(sample() + '[[buses]]\nid = "lora"\nkind = "lorawan"\nport = "mqtt://h:1"\n')
    good = load(EdgeSettings, tmp_path / "edge.toml").model_copy(update={"state": tmp_path})
    good.buses[0].slaves[0].calibration = {"level": [Calibration(**{"from": "2026-03-01", "offset": 0.03})]}
    good.buses[-1].password_file = tmp_path / "password"
    (tmp_path / "password").write_text("tr0ng-t0i")
    last = trial.Trial(good.model_copy(update={"commit_every_s": 3.0}), good, "no broker")
    last.save()
    assert trial.read(tmp_path) == last
    assert "tr0ng-t0i" not in (tmp_path / "edge-trial.json").read_text()
    for damaged in (b"", b"{}", b'{"tried": {}, "good": 7, "why": ""}', b"\xff"):
        (tmp_path / "edge-trial.json").write_bytes(damaged)
        assert trial.read(tmp_path) is None
    trial.forget(tmp_path)
    trial.forget(tmp_path)


@pytest.mark.system
async def test_settings_that_were_taken_back_stay_so_over_a_restart_until_the_file_is_changed(
    broker: RunningBroker, tmp_path: Path
) -> None:
    buses = bus("bus-song", tmp_path / "nothing", slave("muc-nuoc", "qdy30a", 1, "phu-oc", 0.1))
    file, said = tmp_path / "edge.toml", "these settings were taken back, and the last good ones run"

    def restarted() -> Process:
        return Process([command("keng-edge"), "run", "--settings", file], log=tmp_path / "edge.log")

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run([command("keng-edge"), "check", file], capture_output=True, text=True, check=False)

    async with Link(broker.settings("console")) as link:
        console = Console(link)
        hearing = asyncio.create_task(console.hear())
        with start_edge(broker, tmp_path, buses, "trial_s = 2.0\n") as edge:
            await until(lambda: console.status is not None and console.status.state == "online")
            good = file.read_text()
            file.write_text(good.replace(f"port = {broker.port}\n", "port = 9\n"))
            await console.send(Reload())
            await until(lambda: console.said("is on trial") or console.said("are on trial"))
            edge.kill()
        with restarted() as edge:  # killed in the middle of its trial: it is tried once more, and taken back
            await until(lambda: console.said("taken back: neither the broker nor a receipt was reached within 2 s"))
            edge.kill()
        console.status = None
        with restarted() as edge:  # the very file that was taken back
            await until(lambda: console.status is not None and any(said in one for one in console.status.problems))
            edge.says(said)
            assert said in check().stderr and check().returncode == 2
        file.write_text(good.replace("commit_every_s = 0.2", "commit_every_s = 0.3"))
        assert said not in check().stderr
        console.status = None
        with restarted() as edge:
            await until(lambda: console.said("the new settings are good"))
            assert console.status is not None and console.status.problems == []
        assert not (tmp_path / "state" / "edge-trial.json").exists()
        hearing.cancel()
