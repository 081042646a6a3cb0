"""The console as a process, with a real broker: registry out, evidence in, sections to viewers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import keng_console
from keng_console.settings import ConsoleSettings
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.receipts import Receipt
from keng_contracts.status import NotifyStatus, SpeakerStatus
from keng_contracts.telemetry import Clock, Flag, Reading
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.credentials import Credentials
from keng_runtime.mqtt import Link
from keng_runtime.registry import RegistryCopy
from keng_runtime.settings import sample_toml
from keng_store.protocol import Row
from tests.support import services
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.console import (
    RunningConsole,
    alert,
    console_settings,
    ready,
    running_console,
    say_alert,
    say_played,
    say_status,
    write_rows,
)
from tests.support.processes import Process, eventually, free_port, until
from tests.support.registry import LEVEL, SAMPLE
from tests.support.telemetry import edge

BOOT = "0123456789abcdef"
NODE = "loa-phuoc-yen"
TEXT = SAMPLE.read_text(encoding="utf-8")


def event(seq: int, **more: Any) -> PlaybackEvent:
    fields = {"boot": BOOT, "seq": seq, "at_ms": now_ms(), "clock": Clock.SYNCED, "what": What.STARTED, "play": "p"}
    return PlaybackEvent(**{**fields, **more})


def kept(console: RunningConsole) -> list[tuple[str, int]]:
    with sqlite3.connect(console.folder / "console" / "console.sqlite") as database:
        return database.execute("SELECT node, seq FROM playback_event ORDER BY node, seq").fetchall()


class Receipts:
    """A loudspeaker's view: what has been receipted."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.seqs: set[int] = set()

    async def wait(self, *seqs: int, within: float = 20.0) -> None:
        async with asyncio.timeout(within):
            while not set(seqs) <= self.seqs:
                for message in await self._link.batch(100):
                    receipt = Receipt.model_validate_json(message.payload)
                    assert receipt.boot == BOOT
                    for first, last in receipt.stored:
                        self.seqs.update(range(first, last + 1))
                    message.ack()

    async def say(self, payload: bytes) -> None:
        await self._link.publish(str(Topic(COMMUNE, Kind.SPEAKER, NODE, Channel.PLAYBACK)), payload)


@pytest.fixture
def console(broker: RunningBroker, tmp_path: Path) -> Iterator[RunningConsole]:
    store_url = f"sqlite:///{tmp_path / 'readings.sqlite'}"
    write_rows(store_url, [Row(LEVEL, now_ms() - 60_000, 1.2, Flag.GOOD)])
    with running_console(broker, tmp_path) as running:
        ready(running)
        yield running


# -- registry ---------------------------------------------------------------------------------------------------


async def taken(broker: RunningBroker, folder: Path, version: int) -> RegistryCopy:
    """The registry as a node takes it: retained, verified with its pinned keys."""
    copy = RegistryCopy(Credentials.open(broker.credentials / NODE).trust(), folder / f"copy-{version}")
    async with Link(broker.settings(NODE)) as link, asyncio.timeout(20):
        await link.subscribe(str(Topic(COMMUNE, Kind.REGISTRY)))
        async for message in link.messages():
            copy.offer(message.payload)
            message.ack()
            if copy.current is not None and copy.current.version >= version:
                break
    return copy


async def test_the_registry_is_published_signed_and_retained_and_a_newer_file_follows(
    broker: RunningBroker, console: RunningConsole, tmp_path: Path
) -> None:
    assert (await taken(broker, tmp_path, 1)).current is not None
    newer = TEXT.replace("version = 1", "version = 2", 1).replace("Loa thôn Phước Yên", "Loa Phước Yên mới")
    console.registry_file.write_text(newer, encoding="utf-8")
    copy = await taken(broker, tmp_path, 2)
    assert copy.current is not None and copy.current.speakers[0].name == "Loa Phước Yên mới"
    await until(lambda: "Loa Phước Yên mới" in console.get("/")[2].decode(), what="the page shows the new name")


async def test_a_broker_that_lost_everything_gets_the_registry_again(
    broker: RunningBroker, console: RunningConsole, tmp_path: Path
) -> None:
    broker.kill()
    for file in broker.home.glob("**/*.db"):
        file.unlink()
    broker.start()
    assert (await taken(broker, tmp_path, 1)).current is not None


def test_a_faulty_file_is_told_on_the_page_and_the_last_valid_version_stays(console: RunningConsole) -> None:
    console.registry_file.write_text(TEXT.replace('unit = "mm"\n', ""), encoding="utf-8")
    eventually(lambda: "unit: is missing" in console.overview()["registry_fault"])
    page = console.get("/")[2].decode()
    assert "phiên bản 1 vẫn có hiệu lực" in page and "sensors phu-oc/rain: unit: is missing" in page
    assert "Phú Ốc" in page
    assert "Traceback" not in console.process.text()


def test_it_starts_without_a_registry_and_goes_on_when_there_is_one(broker: RunningBroker, tmp_path: Path) -> None:
    with running_console(broker, tmp_path, registry="nonsense") as console:
        eventually(lambda: "is not TOML" in console.overview()["registry_fault"])
        assert "Đang chờ sổ đăng ký" in console.get("/")[2].decode()
        console.registry_file.write_text(TEXT, encoding="utf-8")
        eventually(lambda: console.overview()["registry_version"] == 1)
        eventually(lambda: "Phú Ốc" in console.get("/")[2].decode())


# -- evidence ---------------------------------------------------------------------------------------------------


async def test_evidence_is_receipted_once_it_is_committed(broker: RunningBroker, console: RunningConsole) -> None:
    async with Link(broker.settings(NODE)) as link:
        await link.subscribe(str(Topic(COMMUNE, Kind.SPEAKER, NODE, Channel.PLAYBACK_RECEIPT)))
        receipts = Receipts(link)
        for seq in (1, 2, 3, 2):
            await receipts.say(event(seq).to_bytes())
        await receipts.wait(1, 2, 3)
        assert kept(console) == [(NODE, 1), (NODE, 2), (NODE, 3)]

        # What it can't understand but can name is kept and receipted too, or it would come for ever.
        odd = json.dumps({"boot": BOOT, "seq": 4, "what": "sung", "at_ms": 1, "clock": "synced"})
        await receipts.say(odd.encode())
        await receipts.say(b"\xff not a document")
        await receipts.say(event(5, level_dbfs=float("inf"), at_ms=10**17).to_bytes())
        await receipts.say(event(6).to_bytes())
        await receipts.wait(4, 5, 6)
        assert kept(console)[-1] == (NODE, 6)


async def test_no_receipt_while_the_database_can_not_commit(broker: RunningBroker, console: RunningConsole) -> None:
    holder = sqlite3.connect(console.folder / "console" / "console.sqlite", isolation_level=None)
    async with Link(broker.settings(NODE)) as link:
        await link.subscribe(str(Topic(COMMUNE, Kind.SPEAKER, NODE, Channel.PLAYBACK_RECEIPT)))
        receipts = Receipts(link)
        holder.execute("BEGIN EXCLUSIVE")
        await receipts.say(event(1).to_bytes())
        await until(lambda: "wait for the database" in console.process.text(), what="it says that events wait")
        with pytest.raises(TimeoutError):
            await receipts.wait(1, within=0.5)
        assert console.get("/")[0] == 200  # and the page lives on
        holder.execute("ROLLBACK")
        holder.close()
        await receipts.wait(1)
        assert kept(console) == [(NODE, 1)]


async def test_evidence_sent_while_the_console_was_away_is_kept_and_shown_after_its_return(
    broker: RunningBroker, console: RunningConsole
) -> None:
    await say_played(broker, NODE, event(1, kind="siren", level_dbfs=-12.5))
    eventually(lambda: kept(console) == [(NODE, 1)])
    assert console.process.stop() == 0
    await say_played(broker, NODE, event(2, what=What.FINISHED, kind="siren", sounded_s=170.0, level_dbfs=-14.0))
    with running_console(broker, console.folder) as again:
        eventually(lambda: kept(again) == [(NODE, 1), (NODE, 2)])
        eventually(lambda: (again.overview()["speakers"] or [{"sound": None}])[0]["sound"] is not None)
        assert again.overview()["speakers"][0]["sound"]["what"] == "finished"


async def test_a_notifier_that_is_off_or_does_not_get_through_is_told_on_the_page(
    broker: RunningBroker, console: RunningConsole
) -> None:
    topic = str(Topic(COMMUNE, Kind.NOTIFY, "notify", Channel.STATUS))
    async with Link(broker.settings("notify")) as link:
        stuck = NotifyStatus(state="online", waiting=3, problems=["truc-ban: the gateway answered 401 (7 attempts)"])
        await link.publish(topic, stuck.to_bytes(), retain=True)
        await until(lambda: "chưa gửi được (3 tin đang chờ)" in console.get("/")[2].decode())
        assert "truc-ban: the gateway answered 401" in console.get("/")[2].decode()
        await link.publish(topic, NotifyStatus(state="offline").to_bytes(), retain=True)
        await until(lambda: "Dịch vụ báo tin đã tắt" in console.get("/")[2].decode())


# -- live -------------------------------------------------------------------------------------------------------


class Stream:
    """The page's event stream, read by lines in a thread."""

    def __init__(self, console: RunningConsole, revision: str = "") -> None:
        url = f"{console.url}/events?lang=vi&since={revision}"
        self._answer = urllib.request.urlopen(url, timeout=20)
        self.headers = self._answer.headers

    def next(self) -> tuple[str, Any]:
        """The next event's name and data."""
        name, data = "", ""
        for raw in self._answer:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = line[6:]
            elif not line and name:
                return name, json.loads(data) if data else None
        raise AssertionError("the stream ended")

    def close(self) -> None:
        self._answer.close()


def revision(console: RunningConsole) -> str:
    return console.get("/")[2].decode().split('data-revision="')[1].split('"')[0]


async def test_a_viewer_is_sent_the_sections_that_changed_and_no_others(
    broker: RunningBroker, console: RunningConsole
) -> None:
    stream = await asyncio.to_thread(Stream, console, revision(console))
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert "content-encoding" not in stream.headers
    await say_status(broker, NODE, SpeakerStatus(state="online", at_ms=now_ms(), playing="p"))
    changed: dict[str, str] = {}
    while "Đang phát" not in changed.get("speakers", ""):
        name, update = await asyncio.to_thread(stream.next)
        assert name == "update"
        changed |= {s["id"]: s["html"] for s in update["sections"]}
    assert "station-uy-ban" not in changed and "alerts" not in changed

    await say_alert(broker, alert(3, now_ms()))
    while "Báo động 3 tại Phú Ốc" not in changed.get("headline", ""):
        _, update = await asyncio.to_thread(stream.next)
        changed |= {s["id"]: s["html"] for s in update["sections"]}
    assert update["tone"] == "l3" and "Báo động 3" in update["title"]
    stream.close()


async def test_readings_come_live_without_the_store_and_judged(broker: RunningBroker, console: RunningConsole) -> None:
    async with edge(broker) as one:
        await one.level(2.34)
        await until(lambda: console.overview()["gauges"][0]["sensor"]["reading"]["value"] == 2.34)
        await one.send([Reading(LEVEL, now_ms(), 99.0, "m")])
        await until(lambda: console.overview()["gauges"][0]["sensor"]["rejected"] is not None)
    sensor = console.overview()["gauges"][0]["sensor"]
    assert (sensor["reading"]["value"], sensor["rejected"]["flag"]) == (2.34, int(Flag.BAD))


async def test_rubbish_on_every_topic_stops_nothing(broker: RunningBroker, console: RunningConsole) -> None:
    rubbish = [b"", b"\x00\xff", b"[]", b'{"state": "online", "at_ms": 99999999999999999999}', b'[{"bn": 5}]']
    async with Link(broker.settings("tram-phu-oc")) as link:
        for payload in rubbish:
            for channel in (Channel.TELEMETRY, Channel.STATUS):
                await link.publish(str(Topic(COMMUNE, Kind.EDGE, "tram-phu-oc", channel)), payload)
        good = b'{"state": "online", "outbox_readings": 7}'
        await link.publish(str(Topic(COMMUNE, Kind.EDGE, "tram-phu-oc", Channel.STATUS)), good)
    async with Link(broker.settings("alerts")) as link:
        for payload in rubbish:
            await link.publish(str(Topic(COMMUNE, Kind.ALERT, "phu-oc-level")), payload)
    await until(lambda: 7 in [node["outbox_readings"] for node in console.overview()["nodes"]])
    assert console.get("/")[0] == 200
    assert "Traceback" not in console.process.text() and "can't be read" in console.process.text()


def test_without_broker_and_store_the_page_is_there_and_says_so(broker: RunningBroker, tmp_path: Path) -> None:
    with running_console(broker, tmp_path) as console:  # there is no store yet
        eventually(lambda: console.overview()["registry_version"] == 1 and console.overview()["broker_connected"])
        broker.kill()
        eventually(lambda: not console.overview()["broker_connected"])
        status, _, body = console.get("/healthz")
        health = json.loads(body)
        assert (status, health["broker_connected"], health["store_readable"]) == (503, False, False)
        page = console.get("/")[2].decode()
        assert "mất kết nối với máy chủ tin" in page and "Chưa đọc được kho số liệu" in page


# -- starting ---------------------------------------------------------------------------------------------------


def fails(folder: Path, text: str) -> str:
    """What it says when it does not start, on its last line."""
    with services.start("keng-console", "console", folder, text) as process:
        assert process.wait() == 2
        assert "Traceback" not in process.text()
        return process.text().strip().splitlines()[-1]


def test_it_does_not_speak_to_other_machines(broker: RunningBroker, tmp_path: Path) -> None:
    text, _ = console_settings(broker, tmp_path, 'host = "0.0.0.0"\n')
    assert "operators can't log in yet" in fails(tmp_path, text)


def test_a_taken_port_is_said(broker: RunningBroker, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken_port:
        taken_port.bind(("127.0.0.1", 0))
        taken_port.listen()
        port = taken_port.getsockname()[1]
        text, _ = console_settings(broker, tmp_path)
        said = fails(tmp_path, text.replace("port = 0", f"port = {port}", 1))
    assert f"127.0.0.1:{port}: the pages can't be served there" in said and "choose another port" in said


def test_a_missing_signing_key_is_said(broker: RunningBroker, tmp_path: Path) -> None:
    text, _ = console_settings(broker, tmp_path)
    text = text.replace('/console"\n', '/ingest"\n') if '/console"\n' in text else text
    assert "the signing key is missing" in fails(tmp_path, text.replace(str(tmp_path / "ingest"), str(tmp_path / "x")))


def test_it_waits_for_a_broker_that_is_not_there_yet(broker: RunningBroker, tmp_path: Path) -> None:
    text, _ = console_settings(broker, tmp_path)
    text = text.replace(f"port = {broker.port}", f"port = {free_port()}")
    (tmp_path / "commune.toml").write_text(TEXT, encoding="utf-8")
    with services.start("keng-console", "console", tmp_path, text) as process:
        process.says("can't be reached")
        process.says("the page is at ")
        assert process.stop() == 0


def test_help_has_examples() -> None:
    said = subprocess.run([services.command("keng-console"), "--help"], capture_output=True, text=True, check=True)
    assert "keng console run --settings" in said.stdout and "check" in said.stdout


def test_the_sample_settings_are_the_settings() -> None:
    file = Path(keng_console.__file__).parents[1] / "sample.toml"
    assert file.read_text(encoding="utf-8") == sample_toml(ConsoleSettings, "keng-console")


def test_it_ends_at_once_while_somebody_looks(console: RunningConsole) -> None:
    stream = Stream(console, revision(console))
    process: Process = console.process
    assert process.stop(within=10) == 0
    stream.close()
