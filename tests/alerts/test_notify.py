"""The notifier as a process: a real broker, real gateways, and what a crash in between changes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keng_alerts.notify.settings import NotifySettings
from keng_contracts.alerts import Acknowledgement, Stage
from keng_contracts.status import NotifyStatus
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link
from keng_runtime.settings import sample_toml
from tests.support import processes
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.console import alert, say_alert
from tests.support.gateways import MailServer, WebHook, web_hook
from tests.support.processes import Process
from tests.support.registry import sample, signed
from tests.support.services import command, settings, start_alerts
from tests.support.telemetry import edge, retain_registry

ROOT = Path(__file__).parents[2]
STATUS = str(Topic(COMMUNE, Kind.NOTIFY, "notify", Channel.STATUS))
SECRET = "h1dden-t0ken"
#: Every message starts a process that loads Apprise, on a machine that others may be using.
until = partial(processes.until, within=60.0)


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with web_hook() as running:
        yield running


class Post:
    """A notifier in a folder of its own, whose addresses are a test's gateways."""

    def __init__(self, broker: RunningBroker, folder: Path, addresses: dict[str, str], **changes: Any) -> None:
        self.broker = broker
        self.folder = folder
        credentials = folder / "credentials"
        shutil.copytree(broker.credentials / "notify", credentials)
        self.secrets = credentials / "notify.toml"
        self.secrets.write_text("".join(f'{name} = "{url}"\n' for name, url in addresses.items()))
        self.secrets.chmod(0o600)
        fields = {
            "gather_s": 0.3,
            "pause_s": 0.0,
            "send_timeout_s": 30.0,
            "after_min": (0, 0.03, 5),
            "repeats": 0,
            **changes,
        }
        more = (
            f'commune = "{COMMUNE}"\ngather_s = {fields["gather_s"]}\npause_s = {fields["pause_s"]}\n'
            f"send_timeout_s = {fields['send_timeout_s']}\n"
        )
        text = settings(broker, "notify", folder / "state", more)
        text = text.replace(str(broker.credentials / "notify"), str(credentials))
        for name in addresses:
            text += f'[[people]]\nname = "{name}"\naddresses = ["{name}"]\nlanguages = ["vi", "en"]\n'
        text += f'[[chains]]\nname = "lu"\nrepeats = {fields["repeats"]}\n'
        for number, name in enumerate(addresses):
            text += f'[[chains.steps]]\nafter_min = {fields["after_min"][number]}\nto = ["{name}"]\n'
        self.file = folder / "notify.toml"
        self.file.write_text(text, encoding="utf-8")

    def start(self) -> Process:
        line = [command("keng-alerts"), "notify", "run", "--settings", self.file]
        return Process(line, log=self.folder / "notify.log")

    def tell(self, *words: str) -> subprocess.CompletedProcess[str]:
        line = [command("keng-alerts"), "notify", *words, "--settings", self.file]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.folder / "state" / "notify.sqlite") as database:
            return database.execute(f"SELECT * FROM {table}").fetchall()


async def status(broker: RunningBroker, condition: Any, within: float = 20.0) -> NotifyStatus:
    async with Link(broker.settings("console")) as link, asyncio.timeout(within):
        await link.subscribe(STATUS)
        async for message in link.messages():
            said = NotifyStatus.model_validate_json(message.payload)
            if condition(said):
                return said
    raise AssertionError


async def test_a_raised_level_is_told_step_by_step_until_somebody_acknowledges(
    broker: RunningBroker, tmp_path: Path, hook: WebHook
) -> None:
    with MailServer() as mail:
        addresses = {"truc-ban": hook.url("truc-ban"), "chu-tich": mail.url, "huyen": hook.url("huyen")}
        post = Post(broker, tmp_path, addresses)
        with post.start() as process:
            process.says("listening")
            raised = alert(3, now_ms(), headline="Báo động 3 tại Phú Ốc (Sông Bồ): 4,57 m, ngưỡng 4,50 m")
            await say_alert(broker, raised)
            await until(lambda: hook.titles("truc-ban"), what="step 1 is told")
            assert hook.titles("truc-ban") == ["Báo động 3 tại Phú Ốc (Sông Bồ): 4,57 m, ngưỡng 4,50 m"]
            await until(lambda: mail.mails, what="step 2 is told by mail")
            seen = Acknowledgement(by="chu-tich", at_ms=now_ms())
            fields = {"acknowledged": seen, "stage": Stage.ACKNOWLEDGED, "version": 2}
            await say_alert(broker, raised.model_copy(update=fields))
            await until(lambda: any('"acknowledged":true' in row[4] for row in post.rows("occasion")))
            told = len(post.rows("message"))
            await say_alert(broker, alert(0, now_ms(), version=3, peak_level=3, headline="Nước đã xuống"))
            await until(lambda: "Nước đã xuống" in hook.titles("truc-ban"), what="the end is told")
            await until(lambda: len(mail.mails) == told, what="the end is told by mail too")
            assert hook.titles("huyen") == []
    assert mail.mails[0][0].startswith("Báo động 3")
    assert "nobody has acknowledged" in " ".join(mail.mails[0][1].split())


async def test_from_a_reading_to_a_message_through_the_alerts_that_serve_a_commune(
    broker: RunningBroker, tmp_path: Path, hook: WebHook
) -> None:
    await retain_registry(broker, signed(sample(), broker.credentials))
    post = Post(broker, tmp_path, {"truc-ban": hook.url("truc-ban")})
    with start_alerts(broker, tmp_path) as alerts, post.start() as process:
        alerts.says("listening")
        process.says("listening")
        async with edge(broker) as node:
            for level in (4.51, 4.53, 4.55):
                await node.level(level)
        await until(lambda: hook.titles(), what="the level is told")
        assert hook.titles() == ["Báo động 3 tại Phú Ốc (Sông Bồ): 4,55 m, ngưỡng 4,50 m"]
        assert "Flood alarm level 3 at Phú Ốc" in hook.taken[0][1]["message"]


async def test_a_gateway_that_refuses_and_one_that_hangs_are_told_in_the_status_and_tried_again(
    broker: RunningBroker, tmp_path: Path, hook: WebHook
) -> None:
    with web_hook() as dead:
        dead.hold.clear()
        hook.status = 503
        addresses = {"truc-ban": hook.url("truc-ban", SECRET), "huyen": dead.url("huyen", SECRET) + "?rto=60"}
        post = Post(broker, tmp_path, addresses, after_min=(0, 0.001), send_timeout_s=4.0)
        with post.start() as process:
            process.says("listening")
            await say_alert(broker, alert(2, now_ms(), headline="Báo động 2"))
            wanted = ["huyen: the gateway gave no answer in time", "truc-ban: the gateway answered 503"]
            said = await status(broker, lambda s: [p.partition(" (")[0] for p in s.problems] == wanted, within=90)
            assert said.waiting == 2 and said.oldest_ms is not None
            hook.status = 200
            await until(lambda: hook.titles() == ["Báo động 2"], within=60, what="it is sent at last")
            await status(broker, lambda s: s.waiting == 1)
            assert process.stop() == 0
        assert (await status(broker, lambda s: s.state == "offline")).waiting == 1
        everything = process.text() + said.model_dump_json() + str([post.rows(t) for t in ("delivery", "message")])
        assert SECRET not in everything


async def test_a_kill_while_a_message_is_on_its_way_tells_nobody_twice_and_forgets_nobody(
    broker: RunningBroker, tmp_path: Path, hook: WebHook
) -> None:
    addresses = {"truc-ban": hook.url("truc-ban"), "huyen": hook.url("huyen")}
    post = Post(broker, tmp_path, addresses, after_min=(0, 5))
    hook.hold.clear()
    with post.start() as process:
        process.says("listening")
        await say_alert(broker, alert(3, now_ms(), headline="Báo động 3"))
        await until(lambda: hook.asked == 1, what="the message is at the gateway")
        process.kill()
    hook.hold.set()
    await until(lambda: [row[2] for row in post.rows("delivery")] == ["sent"], what="its own process writes it down")
    _an_hour_passes(post)
    with post.start():
        await until(lambda: hook.titles("huyen") == ["Báo động 3"], what="the second step is told")
        assert hook.titles("truc-ban") == ["Báo động 3"]
    for _ in range(3):  # and kills at any time
        with post.start() as process:
            process.says("listening")
            process.kill()
    assert hook.asked == 2


def _an_hour_passes(post: Post) -> None:
    with sqlite3.connect(post.folder / "state" / "notify.sqlite") as database:
        database.execute("UPDATE occasion SET first_ms = first_ms - 3600000")


async def test_a_kill_before_the_message_left_forgets_nobody(
    broker: RunningBroker, tmp_path: Path, hook: WebHook
) -> None:
    post = Post(broker, tmp_path, {"truc-ban": hook.url("truc-ban")}, gather_s=2.0)
    with post.start() as process:
        process.says("listening")
        await say_alert(broker, alert(3, now_ms(), headline="Báo động 3"))
        await until(lambda: post.rows("occasion"), what="the alert is on disk")
        process.kill()
    assert hook.asked == 0
    with post.start():
        await until(lambda: hook.titles() == ["Báo động 3"], what="it is told after the restart")


async def test_an_alert_that_was_acknowledged_while_the_notifier_was_away_is_not_told_on(
    broker: RunningBroker, tmp_path: Path, hook: WebHook
) -> None:
    addresses = {"truc-ban": hook.url("truc-ban"), "huyen": hook.url("huyen")}
    post = Post(broker, tmp_path, addresses, after_min=(0, 5))
    raised = alert(2, now_ms(), headline="Báo động 2")
    with post.start() as process:
        process.says("listening")
        await say_alert(broker, raised)
        await until(lambda: hook.titles("truc-ban"))
        process.kill()
    seen = {"acknowledged": Acknowledgement(by="x", at_ms=now_ms()), "stage": Stage.ACKNOWLEDGED, "version": 2}
    await say_alert(broker, raised.model_copy(update=seen))
    _an_hour_passes(post)
    with post.start():
        await until(lambda: any('"acknowledged":true' in row[4] for row in post.rows("occasion")))
        await say_alert(broker, alert(0, now_ms(), version=3, headline="Hết"))
        await until(lambda: "Hết" in hook.titles("truc-ban"), what="planning goes on")
    assert hook.titles("huyen") == []


async def test_an_alert_that_can_not_be_read_makes_people_look_for_themselves(
    broker: RunningBroker, tmp_path: Path, hook: WebHook
) -> None:
    post = Post(broker, tmp_path, {"truc-ban": hook.url("truc-ban")})
    with post.start() as process:
        process.says("listening")
        async with Link(broker.settings("alerts")) as link:
            await link.publish(str(Topic(COMMUNE, Kind.ALERT, "odd")), b"\xff{", retain=True)
        await say_alert(broker, alert(2, now_ms(), headline="Báo động 2"))
        await until(lambda: hook.titles() == ["2 việc, nặng nhất: Không đọc được cảnh báo odd: cần xem trang Kẻng"])
        assert "Báo động 2" in hook.taken[0][1]["message"]
        await status(broker, lambda s: s.problems == ["the alert odd can't be read"])
        async with Link(broker.settings("alerts")) as link:
            await link.publish(str(Topic(COMMUNE, Kind.ALERT, "odd")), b"", retain=True)
        await status(broker, lambda s: s.problems == [])


def test_a_test_goes_the_very_way_of_a_page_through_the_running_notifier(
    broker: RunningBroker, tmp_path: Path, hook: WebHook
) -> None:
    addresses = {"truc-ban": hook.url("truc-ban", SECRET), "huyen": hook.url("huyen", SECRET)}
    post = Post(broker, tmp_path, addresses, pause_s=600.0)
    with post.start() as process:
        process.says("listening")
        # The asker has no address any more: what sends is the service with those that it has loaded.
        post.secrets.unlink()
        done = post.tell("test", "--to", "truc-ban")
        assert (done.returncode, done.stdout) == (0, "truc-ban by truc-ban: sent\n"), done.stderr
        assert hook.titles() == ["Tin thử từ Kẻng. Không cần làm gì."]
        [delivery] = post.rows("delivery")
        assert delivery[1:4] == ("truc-ban", "sent", 1) and f"· {delivery[0]}" in hook.taken[0][1]["message"]
        process.says(f"page {delivery[0]} to truc-ban by truc-ban is sent")
        hook.status = 401
        done = post.tell("test")
        assert done.returncode == 1 and "huyen by huyen: the gateway answered 401" in done.stdout
        assert [row[2:4] for row in post.rows("delivery")][1:] == [("dropped", 1)] * 2  # tried once
        hook.status = 200
        asyncio.run(say_alert(broker, alert(1, now_ms(), headline="Báo động 1")))
        processes.eventually(lambda: "Báo động 1" in hook.titles("truc-ban"), what="no page waits for a test")
        assert "there is no person 'ai'" in post.tell("test", "--to", "ai").stderr


def test_a_test_that_no_notifier_takes_is_withdrawn(broker: RunningBroker, tmp_path: Path, hook: WebHook) -> None:
    post = Post(broker, tmp_path, {"truc-ban": hook.url("truc-ban")}, send_timeout_s=1.0)
    done = post.tell("test")
    assert done.returncode == 2 and "no notifier has run with this state folder" in done.stderr
    with post.start() as process:
        process.says("listening")
    done = post.tell("test")
    assert (done.returncode, done.stdout) == (
        1,
        "truc-ban by truc-ban: no running notifier took it, and it was withdrawn\n",
    )
    assert [row[2] for row in post.rows("delivery")] == ["dropped"] and hook.asked == 0


def test_a_check_names_what_is_wrong(broker: RunningBroker, tmp_path: Path, hook: WebHook) -> None:
    post = Post(broker, tmp_path, {"truc-ban": hook.url("truc-ban", SECRET), "huyen": hook.url("huyen", SECRET)})
    done = post.tell("check")
    assert done.returncode == 0 and "lu: everything, from minor on" in done.stdout
    post.secrets.write_text('truc-ban = "nosuchthing://s3cret"\nhuyen = "json://localhost"\n')
    done = post.tell("check")
    assert (
        done.returncode == 2 and "Apprise does not understand truc-ban" in done.stderr and "s3cret" not in done.stderr
    )
    post.secrets.write_text(f'huyen = "{SECRET}\n')
    done = post.tell("run")
    assert done.returncode == 2 and "is not TOML" in done.stderr and SECRET not in done.stderr
    post.secrets.write_text('huyen = "json://localhost"\n')
    assert "has no address truc-ban" in post.tell("check").stderr
    post.secrets.chmod(0o644)
    assert "can be read by others" in post.tell("check").stderr
    assert SECRET not in done.stdout


def test_neither_alerts_nor_the_notifier_itself_loads_apprise() -> None:
    for module in ("keng_alerts.service", "keng_alerts.notify.service"):
        code = f"import sys, {module}; sys.exit('apprise' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_the_sample_settings_are_the_code() -> None:
    text = (ROOT / "alerts" / "sample-notify.toml").read_text(encoding="utf-8")
    assert text == sample_toml(NotifySettings, "keng-notify")
