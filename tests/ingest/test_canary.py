"""The canary: alive is who gets his own message back through the broker."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

import pytest

from keng_ingest import canary
from keng_ingest.canary import Canary
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import Process, until
from tests.support.services import settings


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "EVERY_S", 0.05)
    monkeypatch.setattr(canary, "PATIENCE_S", 1.0)


def rounds() -> float:
    [metric] = canary.ROUND.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_count"))


async def test_it_comes_back_past_telemetry_that_nobody_takes_and_stops_with_the_broker() -> None:
    with RunningBroker() as broker:
        async with Link(broker.settings("ingest"), receive_maximum=1) as link:
            one, before = Canary(link), rounds()
            flying = asyncio.create_task(one.fly(COMMUNE))
            await until(lambda: rounds() >= before + 30)  # longer than the patience
            assert one.alive()
            broker.kill()
            await until(lambda: not one.alive())
            broker.start()
            await until(one.alive)
            flying.cancel()


async def test_a_broker_that_hangs_is_noticed_though_the_connection_stands(broker: RunningBroker) -> None:
    async with Link(broker.settings("ingest")) as link:
        one, before = Canary(link), rounds()
        flying = asyncio.create_task(one.fly(COMMUNE))
        await until(lambda: rounds() > before)
        broker.process.signal(signal.SIGSTOP)
        try:
            await until(lambda: not one.alive())
            assert link.connected, "the client knows nothing of it"
        finally:
            broker.process.signal(signal.SIGCONT)
        await until(one.alive)
        flying.cancel()


#: Ingest with less patience.
_IMPATIENT = """
from keng_ingest import canary
canary.EVERY_S, canary.PATIENCE_S = 0.05, 0.5
from keng_ingest.cli import main
main()
"""


async def test_systemds_watchdog_is_fed_only_while_the_canary_comes_back(
    commune_broker: RunningBroker, tmp_path: Path
) -> None:
    file = tmp_path / "ingest.toml"
    url = f"sqlite:///{tmp_path / 'readings.sqlite'}"
    file.write_text(settings(commune_broker, "ingest", tmp_path / "ingest") + f'[store]\nurl = "{url}"\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)

        def fed() -> int:
            """How often since it was last asked."""
            said = b""
            with contextlib.suppress(BlockingIOError):
                while True:
                    said += systemd.recv(100)
            return said.count(b"WATCHDOG=1")

        command = [sys.executable, "-c", _IMPATIENT, "run", "--settings", file]
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        with Process(command, log=tmp_path / "ingest.log", env=env) as ingest:
            ingest.says("taking telemetry")
            await until(fed)
            commune_broker.process.signal(signal.SIGSTOP)
            try:
                await asyncio.to_thread(ingest.says, "no canary came back")
                fed()
                with pytest.raises(AssertionError):
                    await until(fed, within=0.5)
            finally:
                commune_broker.process.signal(signal.SIGCONT)
            await until(fed)


async def test_a_message_of_somebody_else_is_no_canary(shared_broker: RunningBroker) -> None:
    async with Link(shared_broker.settings("ingest")) as link:
        one, before = Canary(link), rounds()
        await until(lambda: not one.alive())
        one._back(b"1")
        assert not one.alive() and rounds() == before
