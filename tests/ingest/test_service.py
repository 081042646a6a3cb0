"""Ingest as a real process between a real broker and a real store: what it promises to edges."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from keng_contracts.telemetry import Flag, Reading
from keng_contracts.topics import Channel
from keng_ingest.dead_letters import DeadLetters
from keng_ingest.settings import IngestSettings
from keng_runtime.clock import now_ms
from keng_runtime.settings import sample_toml
from keng_store.protocol import Store
from keng_store.settings import StoreSettings, open_store
from tests.support.broker import RunningBroker
from tests.support.processes import Process
from tests.support.registry import sample, signed
from tests.support.services import start_ingest
from tests.support.telemetry import LEVEL, edge, retain_registry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'readings.sqlite'}"


@pytest.fixture
def ingest(broker: RunningBroker, tmp_path: Path, url: str) -> Iterator[Process]:
    asyncio.run(retain_registry(broker, signed(sample(), broker.credentials)))
    with start_ingest(broker, tmp_path, url) as process:
        process.says("taking telemetry")
        yield process


def stored(url: str) -> Store:
    return open_store(StoreSettings(url=url), read_only=True)


async def test_a_receipt_means_that_the_store_has_it(broker: RunningBroker, ingest: Process, url: str) -> None:
    async with edge(broker) as node:
        await node.receipt_for(await node.level(4.57))
    assert [(row.value, row.flag) for row in stored(url).range(LEVEL, 0, 2**42)] == [(4.57, Flag.GOOD)]


async def test_the_same_pack_twice_is_one_row_and_two_receipts(
    broker: RunningBroker, ingest: Process, url: str
) -> None:
    async with edge(broker) as node:
        readings = [Reading(LEVEL, now_ms() + i, 4.0 + i / 100, "m") for i in range(20)]
        seq = await node.send(readings)
        await node.receipt_for(seq)
        node.receipted.clear()
        await node.send(readings, seq)
        await node.receipt_for(seq)
    assert stored(url).counts("quang-tho") == {LEVEL: 20}


async def test_what_can_not_be_read_is_kept_and_does_not_stop_the_rest(
    broker: RunningBroker, ingest: Process, url: str, tmp_path: Path
) -> None:
    async with edge(broker) as node:
        await node.link.publish(node.topic(Channel.TELEMETRY), b"\xff not a pack")
        await node.receipt_for(await node.level(3.06))
    [letter] = DeadLetters(tmp_path / "ingest" / "dead-letters.sqlite").list()
    assert letter.reason.startswith("not JSON")
    assert DeadLetters(tmp_path / "ingest" / "dead-letters.sqlite").payload(letter.id) == b"\xff not a pack"
    assert stored(url).counts("quang-tho") == {LEVEL: 1}


async def test_an_unknown_node_is_told_why(broker: RunningBroker, ingest: Process) -> None:
    async with edge(broker, "tram-khac") as node:
        seq = await node.level(3.06)
        await node.receipt_for(seq)
    assert node.reasons[seq] == "unknown node: the registry has no sensor of node tram-khac"


async def test_what_waits_while_ingest_is_dead_arrives_once(
    broker: RunningBroker, ingest: Process, url: str, tmp_path: Path
) -> None:
    async with edge(broker) as node:
        await node.receipt_for(await node.level(3.0))
        ingest.kill()
        waiting = [await node.level(3.0 + i / 100) for i in range(1, 51)]
        with start_ingest(broker, tmp_path, url):
            await node.receipt_for(*waiting)
    assert stored(url).counts("quang-tho") == {LEVEL: 51}


async def test_two_replicas_share_the_work(broker: RunningBroker, ingest: Process, url: str, tmp_path: Path) -> None:
    with start_ingest(broker, tmp_path, url, identity="ingest-2") as second:
        second.says("taking telemetry")
        async with edge(broker) as node:
            sent = [await node.level(3.0, now_ms() + i) for i in range(100)]
            await node.receipt_for(*sent)
        assert ingest.running
    assert stored(url).counts("quang-tho") == {LEVEL: 100}


def test_without_credentials_it_refuses_to_start_and_says_how_to_make_them(
    broker: RunningBroker, tmp_path: Path
) -> None:
    broker.credentials = tmp_path / "none"
    with start_ingest(broker, tmp_path, f"sqlite:///{tmp_path / 'readings.sqlite'}") as process:
        assert process.wait() == 2
    assert "make it with 'keng provision'" in process.text()
    assert "Traceback" not in process.text()


def test_the_sample_settings_are_the_code() -> None:
    assert (ROOT / "ingest" / "sample.toml").read_text(encoding="utf-8") == sample_toml(IngestSettings, "keng-ingest")
