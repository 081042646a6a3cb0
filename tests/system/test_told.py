"""A person at the console's machine commands a real edge node, and sees what becomes of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.edge_commands import EdgeCommand, Identify
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.mqtt import Link
from keng_runtime.signing import SigningKey
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.console import RunningConsole, running_console
from tests.support.edge import NODE, bus, ingest, outbox, slave, start_edge
from tests.support.modbus_slave import ModbusSlaves
from tests.support.processes import until
from tests.support.services import command

pytestmark = pytest.mark.system


async def keng(console: RunningConsole, *words: str) -> subprocess.CompletedProcess[str]:
    """``keng-console …`` with the running console's settings."""
    line = [command("keng-console"), *words, "--settings", console.folder / "console.toml"]
    return await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False, timeout=60)


async def tell(console: RunningConsole, *words: str) -> dict[str, Any]:
    done = await keng(console, "tell", NODE, *words, "--json")
    assert done.returncode in (0, 1), done.stderr
    return dict(json.loads(done.stdout))


def node(console: RunningConsole) -> dict[str, Any]:
    return dict(next(iter(console.overview()["nodes"]), {"state": "unknown"}))


def three_within(slaves: ModbusSlaves, seconds: float) -> bool:
    """Whether the sensor was asked three times in so short a time."""
    times = [at for at, _ in slaves.requests[-3:]]
    return len(times) == 3 and times[-1] - times[0] < seconds


async def test_a_node_is_told_its_pace_takes_back_settings_that_cut_it_off_and_refuses_what_is_forged_or_old(
    broker: RunningBroker, tmp_path: Path
) -> None:
    folder = tmp_path / "edge"
    folder.mkdir()
    with (
        ModbusSlaves(tmp_path / "bus", {(1, 3): {3: 3, 4: 1652}}) as slaves,
        running_console(broker, tmp_path) as console,
    ):
        buses = bus("bus-song", slaves.port, slave("muc-nuoc", "qdy30a", 1, "phu-oc", 3.0))
        async with ingest(broker, receipting=True):
            with start_edge(broker, folder, buses, "trial_s = 2.0\n"):
                await until(lambda: node(console)["state"] == "online", what="the console hears the node")

                said = await tell(console, "interval", "muc-nuoc", "0.5")
                assert (said["stands"], said["answers"][-1]["detail"]) == ("done", "muc-nuoc: every 0.5 s")
                await until(lambda: three_within(slaves, 3.0), what="it reads at the new pace")

                settings = folder / "edge.toml"
                good = settings.read_text()
                settings.write_text(good.replace(f"port = {broker.port}\n", "port = 9\n"))
                cut_off = await keng(console, "tell", NODE, "reload")
                assert cut_off.returncode == 1, cut_off.stdout + cut_off.stderr
                assert "đang thử cấu hình mới: the new settings are on trial for 2 s" in cut_off.stdout
                assert "taken back, the old settings run again: " in cut_off.stdout
                await until(lambda: "taken back" in str(node(console)["problems"]), what="the page says so too")
                settings.write_text(good)

                await forge_and_replay(broker, console)
                assert (await tell(console, "identify"))["stands"] == "done", "and obeys its own console as before"
            await until(lambda: node(console)["state"] == "offline")
            away = await keng(console, "tell", NODE, "identify")
            assert away.returncode == 2 and "mất liên lạc" in away.stderr
    assert outbox(folder)["committed"] > 0


async def forge_and_replay(broker: RunningBroker, console: RunningConsole) -> None:
    """What a broker in the wrong hands could send: signed by nobody's key, and an old command again. Only the console
    may publish there, so its own session is what it comes by; the console itself is back right after."""
    key, stranger = Link(broker.settings("console")).credentials.signing_key(), SigningKey.generate("console")
    now = time.time()
    old = EdgeCommand(
        iss="console", commune=COMMUNE, aud=f"edge/{NODE}", jti="0" * 8, ctr=1, iat=now, nbf=now, exp=now + 60,
        action=Identify(),
    )  # fmt: skip
    topic = str(Topic(COMMUNE, Kind.EDGE, NODE, Channel.COMMAND))
    for reason, by in (("unknown-key", stranger), ("replayed", key)):
        refused = node(console)["refused"]
        async with Link(broker.settings("console")) as link:
            await link.publish(topic, by.sign(old.model_dump_json().encode()))
        await until(lambda known=refused: node(console)["refused"] == known + 1, what=f"{reason} is counted")  # type: ignore[misc]
        listed = (await keng(console, "told")).stdout
        assert reason in listed and "đã từ chối một lệnh không phải từ đây" in listed
