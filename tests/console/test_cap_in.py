"""CAP from others at the running console: posted or polled, played once, shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from keng_console.cap import xml
from keng_console.cap.message import MsgType, Urgency
from keng_console.cap.signature import SigningPair
from keng_contracts.commands import Command
from keng_contracts.topics import Channel, Kind, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.signing import TrustStore
from tests.support.broker import RunningBroker
from tests.support.cap import SENDER, bulletin, pair, signed, unsigned
from tests.support.console import RunningConsole, running_console
from tests.support.gateways import feed_server
from tests.support.processes import eventually


def cap_settings(folder: Path, province: SigningPair, feed: str = "") -> str:
    certificate = folder / "tinh.crt"
    certificate.write_bytes(province.certificate)
    feeds = f'[[cap.feeds]]\nurl = "{feed}"\nevery_s = 1.0\n' if feed else ""
    return f'\n[cap]\n{feeds}[[cap.senders]]\nname = "tinh"\ncertificate = "{certificate}"\nsenders = ["{SENDER}"]\n'


def post(console: RunningConsole, data: bytes, kind: str = "application/cap+xml") -> tuple[int, Any]:
    answer = console.post("/cap", data, kind)
    return answer["status"], answer


class Ear:
    """What a loudspeaker hears on its zones, and obeys."""

    def __init__(self, link: Link, trust: TrustStore) -> None:
        self._link, self._trust = link, trust
        self.commands: list[Command] = []

    async def hears(self, count: int) -> list[Command]:
        async with asyncio.timeout(20):
            while len(self.commands) < count:
                for message in await self._link.batch(50):
                    message.ack()
                    payload, key = self._trust.verify(message.payload)
                    command = Command.model_validate_json(payload)
                    assert key.issuer == "console" and command.action.do in key.may
                    self.commands.append(command)
        assert len(self.commands) == count
        assert [c.ctr for c in self.commands] == sorted({c.ctr for c in self.commands})
        return self.commands


@asynccontextmanager
async def ear(broker: RunningBroker) -> AsyncIterator[Ear]:
    async with Link(broker.settings("loa-phuoc-yen"), session_expiry_s=300) as link:
        await link.subscribe(pattern(Kind.ZONE, Channel.COMMAND))
        yield Ear(link, TrustStore.load(broker.credentials / "loa-phuoc-yen" / "trust.json"))


async def test_a_posted_bulletin_is_played_once_cancelled_and_shown(broker: RunningBroker, tmp_path: Path) -> None:
    now, province = now_ms(), pair()
    first = bulletin("t-1", now)
    async with ear(broker) as heard:
        with running_console(broker, tmp_path, cap_settings(tmp_path, province)) as console:
            eventually(lambda: console.overview()["registry_version"] == 1)
            assert post(console, unsigned(first))[1]["verdict"] == "unsigned"
            assert post(console, signed(first, pair()))[1]["verdict"] == "untrusted"
            stranger = replace(first, sender="khac@example.vn")
            assert post(console, signed(stranger, province))[1]["verdict"] == "untrusted"
            assert post(console, b"<html/>")[0] == 400
            assert post(console, signed(first, province), "text/plain")[0] == 415
            assert post(console, b" " * (xml.MAX_BYTES + 1))[0] == 413
            later = bulletin("t-0", now, urgency=Urgency.EXPECTED)
            status, answer = post(console, signed(later, province))
            assert (status, answer["verdict"], answer["bulletin"]) == (202, "recorded", "uu-tien")
            status, answer = post(console, signed(first, province))
            assert (status, answer["verdict"], answer["zones"]) == (202, "played", ["toan-xa", "ven-song"])
            commands = await heard.hears(2)
            assert [command.aud for command in commands] == ["zone/toan-xa", "zone/ven-song"]
            assert post(console, signed(first, province))[1]["verdict"] == "duplicate"
            shown = json.loads(console.get("/api/cap/received")[2])
            assert [row["verdict"] for row in shown[:2]] == ["played", "recorded"]
            page = console.get("/")[2].decode()
            assert "Lũ quét trên sông Bồ" in page and "đã phát ngay" in page and "chờ người quyết định" in page
            assert "bị từ chối vì không rõ ai gửi: 4" in page
            console.process.kill()
        with running_console(broker, tmp_path, cap_settings(tmp_path, province)) as console:
            eventually(lambda: console.overview()["registry_version"] == 1)
            assert post(console, signed(first, province))[1]["verdict"] == "duplicate"
            cancel = bulletin("t-2", now, msg_type=MsgType.CANCEL, references=(first.reference,))
            assert post(console, signed(cancel, province))[1]["verdict"] == "cancelled"
            commands = await heard.hears(6)
            assert [command.action.do for command in commands[2:]] == ["stop", "stop", "play", "play"]


async def test_what_was_decided_while_the_broker_was_away_goes_out_after_a_crash(
    broker: RunningBroker, tmp_path: Path
) -> None:
    province = pair()
    with running_console(broker, tmp_path, cap_settings(tmp_path, province)) as console:
        eventually(lambda: console.overview()["registry_version"] == 1)
        broker.stop()
        eventually(lambda: not console.overview()["broker_connected"])
        assert post(console, signed(bulletin("t-1", now_ms()), province))[1]["verdict"] == "played"
        console.process.kill()
    broker.start()
    async with ear(broker) as heard:
        with running_console(broker, tmp_path, cap_settings(tmp_path, province)):
            assert len(await heard.hears(2)) == 2


def test_a_flood_of_unproven_messages_is_refused_and_a_signed_one_still_gets_through(
    broker: RunningBroker, tmp_path: Path
) -> None:
    now, province = now_ms(), pair()
    with running_console(broker, tmp_path, cap_settings(tmp_path, province)) as console:
        eventually(lambda: console.overview()["registry_version"] == 1)
        answers = [post(console, unsigned(bulletin(f"x-{n}", now)))[0] for n in range(30)]
        assert answers.count(202) < 30 and answers[-1] == 429
        assert post(console, signed(bulletin("t-1", now), province))[1]["verdict"] == "played"


def test_a_feed_is_polled_and_only_what_is_new_is_fetched(broker: RunningBroker, tmp_path: Path) -> None:
    now, province = now_ms(), pair()
    with feed_server() as server:
        server.files["/a.xml"] = signed(bulletin("t-1", now, urgency=Urgency.EXPECTED), province)
        server.files["/feed.xml"] = _atom("a.xml")
        with running_console(broker, tmp_path, cap_settings(tmp_path, province, server.url("/feed.xml"))) as console:
            eventually(lambda: _verdicts(console) == ["recorded"], what="the first bulletin is taken")
            eventually(lambda: server.unchanged > 0, within=20, what="an unchanged feed is asked for conditionally")
            before = server.asked.count("/a.xml")  # more than one where the first look came before the registry
            server.files["/b.xml"] = signed(bulletin("t-2", now), province)
            server.files["/feed.xml"] = _atom("b.xml", "a.xml", "missing.xml")
            eventually(lambda: _verdicts(console) == ["played", "recorded"], within=20, what="the second is taken")
            assert server.asked.count("/a.xml") == before
            server.files["/feed.xml"] = b"<html>" + b" " * (2 << 20)
            console.process.says("answers with more than")
            assert console.get("/healthz")[0] in (200, 503)


def test_a_certificate_that_has_ended_or_is_missing_proves_nothing(broker: RunningBroker, tmp_path: Path) -> None:
    province = pair(ends_in=timedelta(days=-1))
    text = cap_settings(tmp_path, province) + (
        '[[cap.senders]]\nname = "mat"\ncertificate = "/nowhere.crt"\nsenders = ["a"]\n'
    )
    with running_console(broker, tmp_path, text) as console:
        eventually(lambda: console.overview()["registry_version"] == 1)
        assert "messages of mat are not believed" in console.process.text()
        answer = post(console, signed(bulletin("t-1", now_ms()), province))[1]
        assert answer["verdict"] == "untrusted" and "has ended" in answer["detail"]


def _verdicts(console: RunningConsole) -> list[str]:
    return [row["verdict"] for row in json.loads(console.get("/api/cap/received")[2])]


def _atom(*files: str) -> bytes:
    rows = "".join(f'<entry><updated>1</updated><link href="{file}"/></entry>' for file in files)
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{rows}</feed>'.encode()
