"""Over crashes and restarts: nothing is forgotten, nothing is played back, nothing is left behind."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keng_contracts.playback import What
from tests.loudspeaker.conftest import LONG, SHORT, RunningNode, Village, alive, children_of, connected, play
from tests.support.broker import RunningBroker
from tests.support.processes import Process, until


@pytest.fixture
def own_node(village_broker: RunningBroker) -> Iterator[RunningNode]:
    running = RunningNode(village_broker)
    yield running
    running.stop()


def unreceipted(node: RunningNode) -> int:
    with sqlite3.connect(f"file:{node.state}/evidence.sqlite?mode=ro", uri=True) as database:
        return int(database.execute("SELECT count(*) FROM event").fetchone()[0])


async def test_a_killed_node_falls_silent_remembers_and_proves_until_it_is_receipted(
    own_node: RunningNode, village: Village
) -> None:
    village.receipting = False
    await until(lambda: village.status.device == "null", what="the node is online")
    done, cut = play(SHORT), play(LONG)
    old = village.alerts.command(done)
    await village.order(old)
    await village.event(done.play, What.FINISHED)
    await village.order(village.alerts.command(cut))
    first_run = await village.event(cut.play, What.STARTED)
    families = children_of(own_node.process.pid)
    assert set(families.values()) == {"mpv", "parec", "pulseaudio"}

    own_node.process.kill()
    await until(lambda: not any(map(alive, families)), what="its children die with it")
    await until(lambda: village.status.state == "offline", what="the broker tells its last will")

    own_node.start()
    await until(lambda: village.status.state == "online" and village.status.boot != first_run.boot)
    await village.order(old)
    replay = await until(lambda: next((e for e in village.events if e.reason == "replayed"), None))
    assert replay is not None and (replay.what, replay.play) == (What.REFUSED, done.play)
    await village.order(village.alerts.command(done))
    again = await until(lambda: next((e for e in village.events if e.reason == "already"), None))
    assert again is not None and again.play == done.play
    await village.order(village.alerts.command(cut))  # it had not ended: it may be ordered again
    await until(lambda: village.steps(cut.play).count(What.STARTED) == 2, what="it sounds again")

    ours = [e for e in village.events if e.boot in (first_run.boot, replay.boot)]
    await until(
        lambda: all(village.deliveries[e.boot, e.seq] > 1 for e in ours if e.boot == first_run.boot),
        what="the evidence of the first run is sent again",
    )
    assert unreceipted(own_node) > 0
    village.receipting = True
    await village.receipt(ours)
    await until(lambda: unreceipted(own_node) == 0, what="receipted evidence is let go")


async def test_a_stopped_node_says_so_and_leaves_nothing_running(own_node: RunningNode, village: Village) -> None:
    await until(lambda: village.status.device == "null")
    job = play(LONG)
    await village.order(village.alerts.command(job))
    await village.event(job.play, What.STARTED)
    families = children_of(own_node.process.pid)
    assert own_node.process.stop() == 0
    assert not any(map(alive, families))
    cut = await village.event(job.play, What.CUT)
    assert cut.reason == "node-stopped" and cut.sounded_s is not None and cut.sounded_s > 0
    await until(lambda: village.status.state == "offline")


async def test_evidence_waits_for_the_broker(own_node: RunningNode, village_broker: RunningBroker) -> None:
    """A broker that dies while a siren sounds interrupts nothing; what was heard is told when it is back."""
    async with connected(village_broker) as village:
        village.receipting = False
        await until(lambda: village.status.device == "null")
        job = play(SHORT)
        await village.order(village.alerts.command(job))
        await village.event(job.play, What.ACCEPTED)
        village_broker.kill()
        await until(lambda: unreceipted(own_node) == 3, what="accepted, started and finished are on disk")
        village_broker.start()
        await village.event(job.play, What.FINISHED)
        assert village.steps(job.play) == [What.ACCEPTED, What.STARTED, What.FINISHED]
        village.receipting = True
        await village.receipt(village.events)
        await until(lambda: unreceipted(own_node) == 0)


def test_without_credentials_it_ends_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "keng_loudspeaker", "run"]
    env = {"KENG_LOUDSPEAKER_COMMUNE": "quang-tho", "KENG_LOUDSPEAKER_STATE": str(tmp_path)}
    env["KENG_LOUDSPEAKER_BROKER__CREDENTIALS"] = str(tmp_path / "nowhere")
    with Process(command, log=tmp_path / "log", env=env) as process:
        assert process.wait() == 2
    assert process.text().count("\n") == 1 and "keng provision" in process.text()
