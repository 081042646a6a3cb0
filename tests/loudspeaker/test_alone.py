"""A node without a link plays its programme and obeys its button, and reports all of it once when the link is back."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from keng_contracts.playback import What
from keng_contracts.programme import Entry, Occurrence, Programme
from keng_contracts.topics import Channel, Kind, Topic
from keng_loudspeaker.alone.button import EV_KEY, EVENT, Hold, watch
from keng_runtime.mqtt import Link
from tests.loudspeaker.conftest import NODE, SHORT, RunningNode, connected
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import until


def programme(at_ms: int) -> Programme:
    """One item at that time, agreed to for the night (tests run at any hour), and a set for the button."""
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(timezone(timedelta(hours=7)))
    entry = Entry(id="thong-bao", items=[SHORT], late_within_s=300, night="Trần Thị Lan")
    return Programme(
        schema="keng.programme/1",
        commune=COMMUNE,
        speaker=NODE,
        version=1,
        from_ms=at_ms - 60_000,
        until_ms=at_ms + 60_000,
        entries=[entry],
        occurrences=[Occurrence(play="thong-bao-1", entry=entry.id, local=local, at_ms=at_ms)],
        emergency=[SHORT],
    )


def press(fifo: Path, down: bool) -> Callable[[], bool]:
    """Close or open the contact, once somebody listens; whether somebody does."""

    def written() -> bool:
        try:
            file = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        os.write(file, EVENT.pack(0, 0, EV_KEY, 28, int(down)) + EVENT.pack(0, 0, 0, 0, 0))
        os.close(file)
        return True

    return written


async def test_programme_and_button_need_no_link_and_are_reported_once_when_it_is_back(tmp_path: Path) -> None:
    fifo = tmp_path / "button"
    os.mkfifo(fifo)
    with RunningBroker() as broker:
        node = RunningNode(broker, more=f'button = "{fifo}"\nbutton_hold_s = 0.3\n')
        try:
            at_ms = round(time.time() * 1000) + 16_000
            async with connected(broker) as village, Link(broker.settings("console")) as console:
                token = village.console.key.sign(programme(at_ms).model_dump_json(by_alias=True).encode())
                topic = str(Topic(COMMUNE, Kind.SPEAKER, NODE, Channel.PROGRAMME))
                await console.publish(topic, token, retain=True)
                await until(lambda: any(e.kind == "programme" for e in village.events), what="the programme is taken")
                boots = {e.boot for e in village.events}
            broker.kill()
            node.process.kill()
            node.start()
            await until(press(fifo, True), within=30, what="the button is watched")
            text = await until(lambda: "the button starts" in node.process.text(), what="the button starts the set")
            assert text
            await until(press(fifo, False), what="the button is let go")
            await until(lambda: "thong-bao-1: item 0 finished" in node.process.text(), within=40, what="it was played")
            broker.start()
            async with connected(broker) as village:
                await village.event("thong-bao-1", What.FINISHED)
                started = await village.event("thong-bao-1", What.STARTED)
                assert started.due_ms == at_ms and started.first_sample_ms is not None
                assert abs(started.first_sample_ms - at_ms) <= 1000
                by_button = [e for e in village.events if e.command == "button"]
                assert [e.what for e in by_button] == [What.ACCEPTED, What.STARTED, What.FINISHED]
                assert {e.boot for e in by_button}.isdisjoint(boots)
                assert village.steps("thong-bao-1") == [What.ACCEPTED, What.STARTED, What.FINISHED]
        finally:
            node.stop()


# -- the button -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        ([(True, 0.0)], [2.0]),
        ([(True, 0.0), (False, 1.9)], []),
        ([(True, 0.0), (False, 0.004), (True, 0.008), (False, 1.5), (True, 1.51)], [2.0]),  # it bounces
        ([(True, 0.0), (False, 1.0), (True, 1.2)], [3.2]),
        ([(True, 0.0), (False, 3.0), (True, 4.0)], [2.0, 6.0]),
        ([], []),
    ],
)
def test_a_button_counts_when_it_was_held_and_once_in_every_hold(
    contact: list[tuple[bool, float]], expected: list[float]
) -> None:
    hold, left, told = Hold(2.0), list(contact), []
    for tick in range(800):
        now_s = tick / 100
        while left and left[0][1] <= now_s:
            hold.pressed(*left.pop(0))
        if hold.held(now_s):
            told.append(now_s)
    assert told == pytest.approx(expected, abs=0.021)


async def test_a_button_that_is_not_there_yet_is_found_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keng_loudspeaker.alone.button.RETRY_S", 0.05)
    held = asyncio.Event()
    watching = asyncio.create_task(watch(tmp_path / "button", 0.2, held.set))
    await asyncio.sleep(0.1)  # it has looked in vain
    os.mkfifo(tmp_path / "button")
    await until(press(tmp_path / "button", True), what="it is found")
    await until(held.is_set, what="it was held")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
