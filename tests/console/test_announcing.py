"""What a person orders at the running console, as loudspeakers hear it and answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pwd
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from keng_console.cap.message import MsgType, Urgency
from keng_contracts.commands import Command, Play, Prepare, Priority, Speech, Stop
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.status import SpeakerStatus
from keng_contracts.telemetry import Clock
from keng_contracts.topics import Channel, Kind, Topic, pattern
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.cap import SENDER, bulletin, pair, signed
from tests.support.console import RunningConsole, running_console
from tests.support.processes import until
from tests.support.registry import SAMPLE
from tests.support.services import command

ONE, OTHER = "loa-phuoc-yen", "loa-niem-pho"
#: The sample commune without quiet hours: the test may run at night.
ANY_HOUR = 'quiet_hours = ["00:00:00", "00:00:00"]\n' + SAMPLE.read_text(encoding="utf-8")
#: In quiet hours all day but for one minute.
NIGHT = 'quiet_hours = ["00:00:00", "23:59:59.999999"]\n' + SAMPLE.read_text(encoding="utf-8")
ME = pwd.getpwuid(os.geteuid()).pw_name

Said = list[tuple[What, dict[str, Any]]]
STARTED = (What.STARTED, {"item": 0, "level_dbfs": -21.5, "first_sample_ms": 1_763_323_200_000})
FINISHED = (What.FINISHED, {"item": 0, "level_dbfs": -20.0, "sounded_s": 3.0})
READY: Said = [(What.ACCEPTED, {"kind": "prepare"}), (What.FINISHED, {"kind": "prepare"})]
STOPS: Said = [(What.ACCEPTED, {"reason": "stop"})]


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningBroker, RunningConsole]]:
    """A broker and a console; each test has loudspeakers of its own."""
    folder = tmp_path_factory.mktemp("village")
    with RunningBroker() as broker, running_console(broker, folder, registry=ANY_HOUR) as console:
        yield broker, console


class Loudspeaker:
    """In the test's hand: verifies what it is told, and answers as ``answer`` says."""

    def __init__(self, link: Link, name: str) -> None:
        self.link, self.name = link, name
        self.commands: list[Command] = []
        self.listens = asyncio.Event()
        self.answer: Callable[[Command], Said] = usual
        self._seqs = count()

    async def status(self, state: str) -> None:
        topic = str(Topic(COMMUNE, Kind.SPEAKER, self.name, Channel.STATUS))
        said = SpeakerStatus.model_validate({"state": state, "boot": "0123456789abcdef", "at_ms": now_ms()})
        await self.link.publish(topic, said.model_dump_json().encode(), retain=True)

    async def say(self, what: What, play: str, **more: Any) -> None:
        numbers = {"boot": f"{now_ms():016x}", "seq": next(self._seqs), "at_ms": now_ms(), "clock": Clock.SYNCED}
        event = PlaybackEvent(what=what, play=play, **numbers, **more)  # type: ignore[arg-type]
        await self.link.publish(str(Topic(COMMUNE, Kind.SPEAKER, self.name, Channel.PLAYBACK)), event.to_bytes())

    async def run(self) -> None:
        await self.link.subscribe(pattern(Kind.ZONE, Channel.COMMAND, commune=COMMUNE))
        await self.link.subscribe(str(Topic(COMMUNE, Kind.SPEAKER, self.name, Channel.COMMAND)))
        await self.status("online")
        self.listens.set()
        async for message in self.link.messages():
            message.ack()
            payload, key = self.link.credentials.trust().verify(message.payload)
            order = Command.model_validate_json(payload)
            assert order.action.do in key.may
            self.commands.append(order)
            play = "" if isinstance(order.action, Prepare) else order.action.play
            for what, more in self.answer(order):
                await self.say(what, play, command=order.jti, **more)


def usual(order: Command) -> Said:
    """Every item is heard."""
    if isinstance(order.action, Play):
        return [(What.ACCEPTED, {}), *[STARTED, FINISHED] * len(order.action.items)]
    return READY if isinstance(order.action, Prepare) else STOPS


@asynccontextmanager
async def loudspeaker(broker: RunningBroker, console: RunningConsole, name: str) -> AsyncIterator[Loudspeaker]:
    async with Link(broker.settings(name)) as link:
        one = Loudspeaker(link, name)
        task = asyncio.create_task(one.run())
        await one.listens.wait()
        await until(lambda: state(console, name) == "online")
        yield one
        task.cancel()
        await one.status("offline")
        await until(lambda: state(console, name) == "offline")


def state(console: RunningConsole, name: str) -> str:
    return next((s["state"] for s in console.overview()["speakers"] if s["id"] == name), "")


async def keng(console: RunningConsole, *words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [command("keng-console"), *words, "--settings", console.folder / "console.toml"]
    return await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False, timeout=90)


async def announced(console: RunningConsole) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await keng(console, "announced", "--json")).stdout.splitlines()]


async def test_what_each_loudspeaker_answers_is_told_counted_and_kept(
    village: tuple[RunningBroker, RunningConsole],
) -> None:
    broker, console = village
    async with loudspeaker(broker, console, ONE) as one, loudspeaker(broker, console, OTHER) as other:
        done = await keng(console, "announce", "Mời bà con họp.", "--to", "toan-xa", "--repeat", "1", "--rank", "3")
        assert done.returncode == 0, done.stderr
        assert "Đã gửi (sent): zone/toan-xa" in done.stdout
        assert "đang phát, −21,5 dBFS (sounding, −21.5 dBFS)" in done.stdout
        assert "đã phát xong, −20,0 dBFS, 3,0 giây (finished, −20.0 dBFS, 3.0 s)" in done.stdout.split("Kết quả")[1]
        play = one.commands[-1].action
        assert isinstance(play, Play) and (play.priority, play.rank, play.gong) == (Priority.SCHEDULED, 3, True)
        other.answer = lambda order: [(What.REFUSED, {"reason": "expired"})]
        half = await keng(console, "announce", "Mời bà con họp.", "--to", ONE, "--to", OTHER)
        assert half.returncode == 1 and "TỪ CHỐI, lệnh đã hết hạn" in half.stdout
        other.answer = lambda order: []
        silent = await keng(console, "announce", "Họp.", "--to", OTHER, "--wait", "1")
        assert silent.returncode == 1 and "chưa trả lời (no answer)" in silent.stdout
        other.answer = lambda order: [(What.ACCEPTED, {})]
        pending = asyncio.create_task(keng(console, "announce", "Họp.", "--to", "toan-xa", "--wait", "60", "--json"))
        await until(lambda: other.commands and isinstance(other.commands[-1].action, Play) and len(other.commands) == 4)
        await other.status("offline")
        rows = json.loads((await pending).stdout)["speakers"]
        assert [row["stands"] for row in rows] == ["finished", "waiting"], "who went away is not waited for"
        last = (await announced(console))[-1]
        assert (last["by"], last["to"]) == (ME, ["zone/toan-xa"])
        assert {o["speaker"]: o["stands"] for o in last["outcomes"]} == {ONE: "finished", OTHER: "waiting"}
        assert [len(order["to"]) for order in await announced(console)] == [1, 2, 1, 1]


async def test_a_file_is_prepared_first_and_who_starts_together_is_told_the_moment(
    village: tuple[RunningBroker, RunningConsole], tmp_path: Path
) -> None:
    broker, console = village
    file = tmp_path / "ban-tin.mp3"
    file.write_bytes(b"sound")
    media = ["--media", "https://xa.example/ban-tin.mp3", "--file", str(file)]
    async with loudspeaker(broker, console, ONE) as one:
        done = await keng(console, "announce", "Bản tin.", *media, "--to", ONE, "--start-together", "--json")
        assert done.returncode == 0, done.stderr
        prepare, play = (order.action for order in one.commands)
        assert isinstance(prepare, Prepare) and isinstance(play, Play) and list(prepare.items) == list(play.items)
        speech, sound = play.items
        assert isinstance(speech, Speech) and sound.kind == "media"
        assert (sound.sha256, sound.size) == (hashlib.sha256(b"sound").hexdigest(), 5)
        assert play.start_ms is not None and play.start_ms / 1000 > one.commands[1].iat + 2
        one.answer = lambda order: [(What.FAILED, {"kind": "prepare", "reason": "fetch-failed: 404"})]
        missing = await keng(console, "announce", *media, "--to", ONE)
        assert missing.returncode == 2 and "no loudspeaker could get the sound: fetch-failed: 404" in missing.stderr
        assert not isinstance(one.commands[-1].action, Play)


async def test_a_stop_reaches_where_the_job_was_ordered(village: tuple[RunningBroker, RunningConsole]) -> None:
    broker, console = village
    async with loudspeaker(broker, console, ONE) as one:
        said = json.loads((await keng(console, "announce", "Họp.", "--to", "ven-song", "--json")).stdout)
        done = await keng(console, "stop", said["play"])
        assert done.returncode == 0 and "đã dừng (stopped)" in done.stdout
        assert one.commands[-1].action == Stop(play=said["play"]) and one.commands[-1].aud == "zone/ven-song"
        everything = await keng(console, "stop", "--to", ONE, "--json")
        assert json.loads(everything.stdout)["speakers"][0]["done"] and one.commands[-1].action == Stop()
        nowhere = await keng(console, "stop")
        assert nowhere.returncode == 2 and "it is not said where" in nowhere.stderr
        one.answer = lambda order: [(What.REFUSED, {"reason": "not-allowed"})]
        refused = await keng(console, "stop", "--to", ONE)
        assert refused.returncode == 1 and "TỪ CHỐI" in refused.stdout


async def test_nothing_is_sent_where_nobody_would_hear_it(village: tuple[RunningBroker, RunningConsole]) -> None:
    _, console = village
    before = len(await announced(console))
    for words, said in (
        (["announce", "Họp.", "--to", "toan-xa"], "no loudspeaker there is online"),
        (["announce", "Họp.", "--to", "toan-tinh"], "there is no such zone or loudspeaker"),
        (["announce", "Họp."], "say where"),
        (["announce", "--to", "toan-xa"], "there is nothing to say"),
        (["announce", "--media", "http://xa.example/a.mp3", "--sha256", "0" * 64, "--size", "5"], "https"),
        (["announce", "--media", "https://xa.example/a.mp3", "--to", "toan-xa"], "must be what was signed"),
        (["announce", "--bulletin", "7"], "there is no such bulletin"),
    ):
        done = await keng(console, *words)
        assert done.returncode == 2 and said in done.stderr, words
    assert len(await announced(console)) == before


async def test_at_night_a_second_person_has_to_agree(broker: RunningBroker, tmp_path: Path) -> None:
    with running_console(broker, tmp_path, registry=NIGHT) as console:
        async with loudspeaker(broker, console, ONE) as one:
            refused = await keng(console, "announce", "Họp.", "--to", ONE)
            assert refused.returncode == 2 and "in quiet hours: nothing was sent" in refused.stderr
            assert "--night 'NAME'" in refused.stderr and not one.commands
            myself = await keng(console, "announce", "Họp.", "--to", ONE, "--night", ME)
            assert myself.returncode == 2 and not one.commands
            agreed = await keng(console, "announce", "Họp.", "--to", ONE, "--night", "Trần Thị Lan")
            assert agreed.returncode == 0 and isinstance(one.commands[0].action, Play)
            assert one.commands[0].action.night == "Trần Thị Lan"
            assert "agreed by): Trần Thị Lan" in (await keng(console, "announced")).stdout
            urgent = await keng(console, "announce", "Vỡ đê.", "--to", ONE, "--priority", "urgent", "--json")
            assert urgent.returncode == 0


async def test_a_recorded_bulletin_is_played_when_a_person_says_so_and_its_cancel_stops_it(
    broker: RunningBroker, tmp_path: Path
) -> None:
    province, now = pair(), now_ms()
    certificate = tmp_path / "tinh.crt"
    certificate.write_bytes(province.certificate)
    more = f'[cap]\n[[cap.senders]]\nname = "tinh"\ncertificate = "{certificate}"\nsenders = ["{SENDER}"]\n'
    normal = bulletin("t-1", now, urgency=Urgency.FUTURE)
    priority = bulletin("t-2", now, urgency=Urgency.EXPECTED)
    with running_console(broker, tmp_path, more, registry=ANY_HOUR) as console:
        async with loudspeaker(broker, console, ONE) as one:
            for message in (priority, normal):
                assert console.post("/cap", signed(message, province))["verdict"] == "recorded"
            rows = [json.loads(line) for line in (await keng(console, "bulletins", "--json")).stdout.splitlines()]
            assert [row["bulletin"] for row in rows] == ["uu-tien", "thong-thuong"], "ưu tiên first"
            number = str(rows[0]["number"])
            by_name = await keng(console, "announce", "--bulletin", number, "--to", ONE)
            assert by_name.returncode == 2 and "in zones" in by_name.stderr and not one.commands
            said = await keng(console, "announce", "--bulletin", number, "--rank", "5", "--json")
            assert said.returncode == 0, said.stderr
            play = one.commands[0].action
            assert isinstance(play, Play) and (play.priority, play.rank) == (Priority.PRIORITY, 5)
            assert isinstance(play.items[0], Speech) and play.items[0].text.startswith("Bản tin của Ban Chỉ huy")
            assert {order.aud for order in one.commands} == {"zone/toan-xa", "zone/ven-song"}
            assert "đã phát theo quyết định của người" in console.get("/")[2].decode()
            again = await keng(console, "announce", "--bulletin", number)
            assert again.returncode == 0 and one.commands[-1].action.play != play.play, "in the evening once more"  # type: ignore[union-attr]
            cancel = bulletin("t-3", now, msg_type=MsgType.CANCEL, references=(priority.reference,))
            assert console.post("/cap", signed(cancel, province))["verdict"] == "cancelled"
            await until(lambda: len(one.commands) == 6)
            stops = [order.action for order in one.commands[4:]]
            assert stops == [Stop(play=one.commands[2].action.play)] * 2, "and nobody is woken by it"  # type: ignore[union-attr]
            gone = await keng(console, "announce", "--bulletin", number)
            assert gone.returncode == 2 and "it was updated or cancelled" in gone.stderr
            listed = (await keng(console, "bulletins")).stdout
            assert "đã được thay thế hoặc hủy bỏ" in listed and "thông thường (normal)" in listed.splitlines()[0]
