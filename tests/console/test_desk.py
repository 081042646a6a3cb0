"""Commands to edge nodes given at the running console's socket."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keng_console.cli import cli
from keng_console.desk import listen
from keng_contracts.edge_commands import EdgeCommand, Restart
from keng_contracts.errors import Problem
from keng_contracts.judging import Audience
from keng_contracts.status import EdgeReply, EdgeStatus
from keng_contracts.telemetry import Clock
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.console import RunningConsole, console_settings, running_console, say_status
from tests.support.processes import until
from tests.support.services import command, start

NODE = "tram-phu-oc"
ME = Audience(COMMUNE, NODE, frozenset(), kind="edge")


@pytest.fixture
def console(broker: RunningBroker, tmp_path: Path) -> Iterator[RunningConsole]:
    with running_console(broker, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningBroker, RunningConsole]]:
    """A broker and a console for tests that leave them as they are."""
    folder = tmp_path_factory.mktemp("village")
    with RunningBroker() as one, running_console(one, folder) as running:
        yield one, running


def first(console: RunningConsole) -> Any:
    """The node as the page has it; of a console that has not read its registry yet, nothing."""
    return next(iter(console.overview()["nodes"]), {"state": "", "order": None})


async def keng(console: RunningConsole, *words: str) -> subprocess.CompletedProcess[str]:
    line = [command("keng-console"), *words, "--settings", console.folder / "console.toml"]
    return await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False, timeout=60)


async def tell(console: RunningConsole, *words: str) -> Any:
    done = await keng(console, "tell", NODE, *words, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


class Node:
    """An edge node in the test's hand: verifies what it is told, and answers as ``answer`` says."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.commands: list[EdgeCommand] = []
        self.listens = asyncio.Event()
        self.answer: Callable[[EdgeCommand], EdgeStatus | None] = lambda command: online(reply(command, "done it"))

    async def say(self, status: EdgeStatus) -> None:
        topic = str(Topic(COMMUNE, Kind.EDGE, NODE, Channel.STATUS))
        await self.link.publish(topic, status.model_dump_json().encode(), retain=True)

    async def run(self) -> None:
        await self.link.subscribe(str(Topic(COMMUNE, Kind.EDGE, NODE, Channel.COMMAND)))
        await self.say(online())
        self.listens.set()
        async for message in self.link.messages():
            payload, key = self.link.credentials.trust().verify(message.payload)
            command = EdgeCommand.model_validate_json(payload)
            assert command.action.do in key.may and ME.hears(command.commune, command.aud)
            self.commands.append(command)
            message.ack()
            if (status := self.answer(command)) is not None:
                await self.say(status)


def online(reply: EdgeReply | None = None, boot: str = "6f1c2a90d3e4b7a1", refused: int = 0) -> EdgeStatus:
    return EdgeStatus(state="online", boot=boot, at_ms=now_ms(), clock=Clock.SYNCED, reply=reply, refused=refused)


def reply(command: EdgeCommand, detail: str, ok: bool = True) -> EdgeReply:
    return EdgeReply(jti=command.jti, ok=ok, detail=detail, at_ms=now_ms())


@asynccontextmanager
async def node(broker: RunningBroker, console: RunningConsole) -> AsyncIterator[Node]:
    async with Link(broker.settings(NODE)) as link:
        one = Node(link)
        task = asyncio.create_task(one.run())
        await one.listens.wait()
        await until(lambda: first(console)["state"] == "online")
        yield one
        task.cancel()


async def test_who_told_what_and_the_answer_are_kept_and_shown(broker: RunningBroker, console: RunningConsole) -> None:
    async with node(broker, console) as one:
        said = await tell(console, "interval", "muc-nuoc", "30")
        assert (said["stands"], said["by"]) == ("done", pwd.getpwuid(os.geteuid()).pw_name)
        assert said["action"] == {"do": "edge-interval", "sensor": "muc-nuoc", "interval_s": 30.0}
        one.answer = lambda command: online(reply(command, "there is no sensor 'mua'", ok=False))
        failed = await keng(console, "tell", NODE, "interval", "mua", "default")
        assert failed.returncode == 1
        vi, en = failed.stdout.splitlines()[-2:]
        assert vi == f"{NODE}: đo mua theo cấu hình – không làm được: there is no sensor 'mua'"
        assert en.strip() == "read mua as its settings say – not done: there is no sensor 'mua'"
        page = console.get("/")[2].decode()
        assert "Lệnh gần nhất" in page and "không làm được: there is no sensor" in page
        counters = [command.ctr for command in one.commands]
        console.process.kill()
        with running_console(broker, console.folder) as again:
            await until(lambda: first(again)["state"] == "online")
            one.answer = lambda command: online(reply(command, "it is me"))
            assert (await tell(again, "identify"))["stands"] == "done"
            assert one.commands[-1].ctr > counters[1] > counters[0], "a crash brings no counter back"
            listed = [json.loads(line) for line in (await keng(again, "told", "--json")).stdout.splitlines()]
            assert [row["stands"] for row in listed] == ["done", "failed", "done"]


async def test_a_refusal_is_the_answer_of_the_command_that_it_names(
    village: tuple[RunningBroker, RunningConsole],
) -> None:
    broker, console = village
    async with node(broker, console) as one:
        one.answer = lambda command: online(reply(command, "refused: expired", ok=False), refused=3)
        refused = await keng(console, "tell", NODE, "identify")
        assert refused.returncode == 1
        assert "bị từ chối: lệnh đã hết hạn, hãy so đồng hồ hai máy (expired)" in refused.stdout
        await until(lambda: first(console)["refused"] == 3)


async def test_a_restarted_node_is_awaited(village: tuple[RunningBroker, RunningConsole]) -> None:
    broker, console = village
    async with node(broker, console) as one:

        def ends(command: EdgeCommand) -> EdgeStatus:
            assert isinstance(command.action, Restart)
            asyncio.get_running_loop().call_later(0.2, lambda: come_back.set())
            return online(reply(command, "restarting"))

        come_back = asyncio.Event()
        one.answer = ends
        telling = asyncio.create_task(tell(console, "restart"))
        await come_back.wait()
        await until(lambda: (first(console)["order"] or {}).get("answers"), what="it is restarting")
        await one.say(online(boot="1111111111111111"))
        assert [answer["detail"] for answer in (await telling)["answers"]] == [
            "restarting",
            "is back as run 1111111111111111",
        ]


async def test_silence_is_said_and_one_command_at_a_time_is_enough(
    village: tuple[RunningBroker, RunningConsole],
) -> None:
    broker, console = village
    async with node(broker, console) as one:
        one.answer = lambda command: None
        telling = asyncio.create_task(keng(console, "tell", NODE, "identify", "--wait", "3"))
        await until(lambda: one.commands)
        second = await keng(console, "tell", NODE, "identify")
        assert second.returncode == 2 and "another command still waits" in second.stderr
        silent = await telling
        assert silent.returncode == 1 and "Quá giờ mà chưa có trả lời" in silent.stdout
        assert "nothing is sent again by itself" in silent.stdout
        assert len(one.commands) == 1


async def test_a_console_that_is_stopped_sends_away_who_waits(broker: RunningBroker, console: RunningConsole) -> None:
    async with node(broker, console) as one:
        one.answer = lambda command: None
        telling = asyncio.create_task(keng(console, "tell", NODE, "identify", "--wait", "600"))
        await until(lambda: one.commands)
        assert await asyncio.to_thread(console.process.stop) == 0
        left = await telling
        assert left.returncode == 2 and "the console ended before it had answered" in left.stderr
        assert "Traceback" not in console.process.text()
        gone = await keng(console, "told")
        assert gone.returncode == 2 and "no console runs with this state folder" in gone.stderr


async def test_nothing_is_sent_where_nobody_would_hear_it(broker: RunningBroker, console: RunningConsole) -> None:
    await until(lambda: console.overview()["broker_connected"])
    strange = await keng(console, "tell", "tram-la", "identify")
    assert strange.returncode == 2 and "never heard" in strange.stderr
    await say_status(broker, NODE, EdgeStatus(state="offline", at_ms=now_ms()))
    await until(lambda: first(console)["state"] == "offline")
    away = await keng(console, "tell", NODE, "identify")
    assert away.returncode == 2 and "no command is kept for a node that is away" in away.stderr
    broker.kill()
    await until(lambda: not console.overview()["broker_connected"])
    alone = await keng(console, "tell", NODE, "identify")
    assert alone.returncode == 2 and "no connection to the broker" in alone.stderr
    assert "Chưa có lệnh nào." in (await keng(console, "told")).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tell", "Trạm 1", "identify"), "node:"),
        (("tell", NODE, "interval", "mua", "soon"), "is neither a number nor 'default'"),
        (("tell", NODE, "interval", "mua", "0"), "interval_s:"),
    ],
)
def test_what_can_not_be_meant_is_told_before_it_is_sent(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2 and said in done.output


async def test_rubbish_at_the_socket_stops_nothing(village: tuple[RunningBroker, RunningConsole]) -> None:
    _, console = village
    for rubbish in (b"\n", b"\xff\xfe\n", b"{}\n", b'{"do": "tell"}\n', b"x" * 100_000, b""):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(console.folder / "console" / "console.sock"))
            try:
                link.sendall(rubbish)
                link.shutdown(socket.SHUT_WR)
                assert rubbish == b"x" * 100_000 or b'"problem"' in link.recv(65_536)
            except (BrokenPipeError, ConnectionResetError):
                assert len(rubbish) == 100_000
    assert (await keng(console, "told")).returncode == 0
    assert "Traceback" not in console.process.text()


def test_only_owner_and_group_may_open_the_socket_and_it_goes_with_the_console(console: RunningConsole) -> None:
    path = console.folder / "console" / "console.sock"
    assert path.is_socket() and path.stat().st_mode & 0o777 == 0o660
    assert console.process.stop() == 0
    assert not path.exists()


def test_a_socket_that_a_crash_left_is_replaced_and_one_that_lives_is_not(tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with listen(path), pytest.raises(Problem, match="another console uses this state folder"), listen(path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can let go of its rights")
def test_a_stranger_may_not_open_the_socket() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "console.sock"
        program = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        line = [sys.executable, "-I", "-c", program, str(path)]
        with listen(path):
            assert subprocess.run(line, check=False).returncode == 0
            stranger = subprocess.run(
                ["/usr/bin/python3", *line[1:]], user="nobody", group="nogroup", capture_output=True, check=False
            )
        assert b"PermissionError" in stranger.stderr


def test_without_its_socket_it_does_not_start(broker: RunningBroker, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    text, _ = console_settings(broker, deep)
    with start("keng-console", "console", deep, text) as process:
        assert process.wait() == 2
        assert "is too long for the socket by which commands are given" in process.text()
        assert "set 'state' to a folder with a shorter path" in process.text()


def test_a_folder_that_takes_no_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="can't be made"), listen(tmp_path / "nowhere" / "console.sock"):
        pass
