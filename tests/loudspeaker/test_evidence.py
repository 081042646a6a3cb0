"""Evidence is kept until it is receipted, in order and within bounds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.receipts import DeadLettered, Receipt, to_ranges
from keng_contracts.telemetry import Clock
from keng_loudspeaker.obeying.allowance import Allowance
from keng_loudspeaker.proving.evidence import Courier, Outbox
from keng_runtime.mqtt import Link
from tests.support.broker import RunningBroker

BOOT = "6f1c2a90d3e4b7a1"


def event(seq: int, what: What = What.STARTED, boot: str = BOOT) -> PlaybackEvent:
    return PlaybackEvent(boot=boot, seq=seq, at_ms=1_763_258_400_000 + seq, clock=Clock.SYNCED, what=what, play="coi")


def kept(outbox: Outbox) -> list[int]:
    return [PlaybackEvent.model_validate_json(payload).seq for _, payload in outbox.oldest(10_000)]


def test_events_survive_and_go_only_with_their_receipt(tmp_path: Path) -> None:
    Outbox(tmp_path / "evidence.sqlite", 100).keep([event(n) for n in range(5)])
    outbox = Outbox(tmp_path / "evidence.sqlite", 100)  # the first was never closed
    assert outbox.pending == 5
    assert outbox.receipted(Receipt(boot=BOOT, stored=[(1, 2)], dead=[DeadLettered(seq=4, reason="?")])) == 3
    assert outbox.receipted(Receipt(boot="0" * 16, stored=[(0, 9)])) == 0, "another run's receipt"
    assert kept(outbox) == [0, 3] and outbox.pending == 2


def test_the_same_event_twice_is_one(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "evidence.sqlite", 100)
    outbox.keep([event(1)])
    outbox.keep([event(1), event(2)])
    assert kept(outbox) == [1, 2] and outbox.pending == 2


def test_when_it_is_full_refusals_go_first_and_then_the_oldest(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "evidence.sqlite", 5)
    assert outbox.keep([event(0), event(1, What.REFUSED), event(2), event(3, What.REFUSED), event(4)]) == 0
    assert outbox.keep([event(5), event(6), event(7)]) == 3
    assert kept(outbox) == [2, 4, 5, 6, 7] and outbox.pending == 5


def test_it_is_paged_in_order(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "evidence.sqlite", 100)
    outbox.keep([event(n) for n in range(7)])
    first = outbox.oldest(4)
    second = outbox.oldest(4, after=first[-1][0])
    assert [len(first), len(second)] == [4, 3]
    assert [payload for _, payload in [*first, *second]] == [event(n).to_bytes() for n in range(7)]


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_exactly_what_is_receipted_goes(there: set[int], receipted: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder) / "evidence.sqlite", 100)
        if there:
            outbox.keep([event(n) for n in sorted(there)])
        assert outbox.receipted(Receipt(boot=BOOT, stored=to_ranges(receipted))) == len(there & receipted)
        assert kept(outbox) == sorted(there - receipted) and outbox.pending == len(there - receipted)
        outbox.close()


def test_a_flood_of_refusals_is_told_in_part_and_the_rest_as_time_goes_by() -> None:
    allowance = Allowance(20, every_s=3.0)
    assert sum(allowance.take(0.001 * n) for n in range(1000)) == 20
    assert sum(allowance.take(1 + 0.01 * n) for n in range(3000)) == 10  # half a minute


async def test_a_full_disk_delays_no_evidence_and_loses_none(
    shared_broker: RunningBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topic = "keng/v1/quang-tho/speaker/loa-niem-pho/playback"
    outbox = Outbox(tmp_path / "evidence.sqlite", 100_000)
    async with Link(shared_broker.settings("loa-niem-pho")) as link, Link(shared_broker.settings("console")) as console:
        await console.subscribe(topic)
        await link.wait_connected()
        courier = Courier(outbox, link, topic)
        outbox._db.execute("PRAGMA max_page_count=1")  # SQLite then finds no room for another page
        heard: set[int] = set()
        for seq in range(500):
            courier.add(event(seq))
            await courier.work()
        async for message in console.messages():
            heard.add(PlaybackEvent.model_validate_json(message.payload).seq)
            message.ack()
            if len(heard) == 500:
                break
        assert outbox.pending < 500 and "disk is full" in caplog.text and "free the disk" in caplog.text
        outbox._db.execute("PRAGMA max_page_count=1000000")
        await courier.work()
        assert outbox.pending == 500
        courier.close()
