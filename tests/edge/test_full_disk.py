"""A disk that is really full under the whole agent; and an agent that is asked to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import RunningBroker
from tests.support.edge import bus, edge_settings, ingest, outbox, slave, start_edge, statuses
from tests.support.modbus_slave import ModbusSlaves
from tests.support.processes import Process, until
from tests.support.services import command, start

pytestmark = pytest.mark.system

LEVEL, RAIN = "quang-tho/phu-oc/level", "quang-tho/phu-oc/rain"


@pytest.fixture
def slaves(tmp_path: Path) -> Iterator[ModbusSlaves]:
    with ModbusSlaves(tmp_path / "bus-song", {(1, 3): {3: 3, 4: 1652}, (2, 3): {0: 536}}) as slaves:
        yield slaves


@pytest.fixture
def buses(slaves: ModbusSlaves) -> str:
    level, rain = slave("muc-nuoc", "qdy30a", 1, "phu-oc", alarm=True), slave("mua", "xm9505", 2, "phu-oc")
    return bus("bus-song", slaves.port, level, rain)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The agent's state folder on a small file system of its own."""
    disk = tmp_path / "state"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting is refused here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def fill(disk: Path) -> Path:
    """Leave not a byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return ballast


async def test_on_a_full_disk_it_reads_on_alarms_speak_and_it_says_so_and_all_is_kept_once_there_is_room(
    broker: RunningBroker, tmp_path: Path, small_disk: Path, buses: str
) -> None:
    async with statuses(broker) as status, ingest(broker) as hearing:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: {LEVEL, RAIN} <= hearing.rows().keys())
            ballast = fill(small_disk)
            await until(lambda: status and any("the disk is full" in problem for problem in status[-1].problems))
            edge.says("the disk is full: readings are held in memory")
            assert os.statvfs(small_disk).f_bavail == 0
            committed, heard = status[-1].committed, len(hearing.rows()[LEVEL])
            await until(lambda: len(hearing.rows()[LEVEL]) >= heard + 20, what="alarms are sent all the same")
            assert all(source.ok for source in status[-1].sources), "it reads on"
            assert status[-1].committed == committed
            ballast.unlink()
            edge.says("the disk takes readings again")
            await until(lambda: not status[-1].problems)
            hearing.receipting = True
            edge.stop()
        assert "Traceback" not in edge.text()
        with start_edge(broker, tmp_path, ""):
            await until(lambda: outbox(tmp_path)["packs"] == 0)
        ledger = outbox(tmp_path)["ledger"]
        assert {series: len(times) for series, times in hearing.rows().items()} == ledger, "none lost, none doubled"
        assert outbox(tmp_path)["dropped"] == 0


async def test_an_agent_that_starts_on_a_full_disk_reads_and_alarms_speak(
    broker: RunningBroker, tmp_path: Path, small_disk: Path, buses: str
) -> None:
    ballast = fill(small_disk)
    async with statuses(broker) as status, ingest(broker) as hearing:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: len(hearing.rows().get(LEVEL, ())) >= 5)
            await until(lambda: status and any("held in memory" in problem for problem in status[-1].problems))
            ballast.unlink()
            edge.says("the disk takes readings again")
            edge.stop()
            assert outbox(tmp_path)["ledger"][LEVEL] >= 5
        assert "Traceback" not in edge.text()


async def test_an_agent_that_starts_on_a_read_only_disk_reads_and_alarms_speak_and_is_alone(
    broker: RunningBroker, tmp_path: Path, small_disk: Path, buses: str
) -> None:
    remount(small_disk, "ro")
    async with ingest(broker) as hearing:
        with start_edge(broker, tmp_path, buses) as edge:
            await until(lambda: len(hearing.rows().get(LEVEL, ())) >= 5)
            again = [command("keng-edge"), "run", "--settings", tmp_path / "edge.toml"]
            with Process(again, log=tmp_path / "second.log") as second:
                assert await asyncio.to_thread(second.wait) == 2
                assert "another agent uses this outbox" in second.text()
            remount(small_disk, "rw")
            edge.says("the disk takes readings again")
            edge.stop()
            assert outbox(tmp_path)["ledger"][LEVEL] >= 5
        assert "Traceback" not in edge.text()


async def test_an_agent_without_its_folder_reads_and_alarms_speak_and_it_takes_the_folder_when_it_comes(
    broker: RunningBroker, tmp_path: Path, small_disk: Path, buses: str
) -> None:
    remount(small_disk, "ro")
    folder = small_disk / "edge"
    text = edge_settings(broker, folder, buses)
    async with statuses(broker) as status, ingest(broker) as hearing:
        with start("keng-edge", "edge", tmp_path, text) as edge:
            edge.says(f"{folder}: can't be opened (No such file or directory): the agent runs without it")
            await until(lambda: len(hearing.rows().get(LEVEL, ())) >= 5)
            await until(lambda: status and any("held in memory" in problem for problem in status[-1].problems))
            remount(small_disk, "rw")
            folder.mkdir()
            edge.says("the disk takes readings again")
            edge.stop()
            assert outbox(tmp_path)["ledger"][LEVEL] >= 5
        assert "Traceback" not in edge.text()


async def test_asked_to_stop_it_is_gone_within_two_seconds_with_everything_on_disk(
    broker: RunningBroker, tmp_path: Path, slaves: ModbusSlaves, buses: str
) -> None:
    """Also when the broker does not answer any more, and readings were gathered for a commit that is far off."""
    text = edge_settings(broker, tmp_path / "state", buses).replace("commit_every_s = 0.2", "commit_every_s = 60.0")
    with start("keng-edge", "edge", tmp_path, text) as edge:
        edge.says("connected to")
        await until(lambda: len(slaves.asked(2)) >= 10)
        broker.process.signal(signal.SIGSTOP)
        try:
            answered = len(slaves.asked(2)) - 1
            edge.signal(signal.SIGTERM)
            assert edge.wait(within=2.0) == 0
        finally:
            broker.process.signal(signal.SIGCONT)
    assert outbox(tmp_path)["ledger"][RAIN] >= answered
