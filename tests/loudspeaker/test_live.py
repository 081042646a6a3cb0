"""A live voice: only what the session's key has signed is heard, soon, and what comes late holds nothing up."""

from __future__ import annotations

import asyncio
import math
import os
import time
import uuid
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.commands import Live, Play, Priority, Stop
from keng_contracts.playback import What
from keng_contracts.topics import Kind, Topic
from keng_loudspeaker.playing import live
from keng_loudspeaker.playing.live import HELD, PILED, Playout
from keng_loudspeaker.playing.player import Silent
from keng_runtime.live_voice import FRAME_BYTES, FRAME_S, RATE, Listening, Speaking
from tests.loudspeaker.conftest import LONG, RunningNode, Village, children_of, play, zones_of
from tests.loudspeaker.stage_support import running
from tests.support.broker import COMMUNE
from tests.support.processes import until

SAMPLES = FRAME_BYTES // 2
TONE = array("h", [round(9000 * math.sin(2 * math.pi * 500 * i / RATE)) for i in range(SAMPLES)]).tobytes()
QUIET = bytes(FRAME_BYTES)


# -- frames -----------------------------------------------------------------------------------------------------------


def test_a_session_hears_its_speaker_to_the_end() -> None:
    speaking = Speaking()
    listening = Listening(speaking.key)
    assert listening.take(speaking.frame(TONE)) == TONE
    assert listening.take(speaking.frame(b"")) == b""
    assert listening.refused == 0


def test_what_is_repeated_or_out_of_order_or_of_another_session_is_not_heard() -> None:
    speaking, other = Speaking(), Speaking()
    listening = Listening(speaking.key)
    first, second = speaking.frame(TONE), speaking.frame(QUIET)
    assert listening.take(second) == QUIET
    assert [listening.take(frame) for frame in (second, first, other.frame(TONE))] == [None] * 3
    assert listening.refused == 3


@given(at=st.integers(0, 7 + FRAME_BYTES + 63), flip=st.integers(1, 255))
def test_no_altered_frame_is_heard(at: int, flip: int) -> None:
    speaking = Speaking()
    frame = bytearray(speaking.frame(TONE))
    frame[at] ^= flip
    assert Listening(speaking.key).take(bytes(frame)) is None


@given(st.binary(max_size=2000))
def test_no_byte_string_is_a_frame(data: bytes) -> None:
    assert Listening(Speaking().key).take(data) is None


# -- what is played next ----------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=200))
def test_a_voice_stays_in_order_and_near(comes: list[bool]) -> None:
    """Each step a frame comes or none does, and then one is played."""
    playout, given_, heard = Playout(), 0, []
    for come in comes:
        if come:
            given_ += 1
            playout.offer(given_.to_bytes(2, "big"))
        frame = playout.next()
        if len(frame) == 2:
            heard.append(int.from_bytes(frame, "big"))
            assert given_ - heard[-1] < PILED, "no farther behind than what may pile up"
    assert heard == sorted(set(heard))
    assert len(heard) + playout.let_go + len(playout.rest()) == given_


def test_after_a_stall_the_voice_is_as_near_as_before() -> None:
    playout = Playout()
    for number in range(20):  # what was held up comes at once
        playout.offer(bytes([number]))
    for number in range(20, 60):
        playout.offer(bytes([number]))
        last = playout.next()[0]
    assert last == 60 - HELD and playout.missing == 0


# -- on a node --------------------------------------------------------------------------------------------------------


class Mouth:
    """Somebody who speaks: the console's end of a session."""

    def __init__(self, village: Village) -> None:
        self._village = village
        self._speaking = Speaking()
        self._session = f"loi-noi-{uuid.uuid4()}"
        item = Live(session=self._session, key=self._speaking.key)
        self.order = Play(play=self._session, priority=Priority.LIVE, items=[item], night="Trần Thị Lan")
        self.play = self.order.play

    async def open(self) -> None:
        """Order it, and wait until the node says that it takes it."""
        await self._village.order(self._village.alerts.command(self.order))
        await self._village.event(self.play, What.ACCEPTED)

    async def send(self, frame: bytes) -> None:
        topic = str(Topic(COMMUNE, Kind.VOICE, self._session))
        await self._village.console_link.publish(topic, frame, qos=0)

    async def speak(self, seconds: float, sound: bytes = TONE) -> None:
        """At the pace of speech."""
        due_s = time.monotonic()
        for _ in range(round(seconds / FRAME_S)):
            await self.send(self._speaking.frame(sound))
            due_s += FRAME_S
            await asyncio.sleep(due_s - time.monotonic())

    async def end(self) -> None:
        await self.send(self._speaking.frame(b""))


@pytest.fixture
async def mouth(node: RunningNode, village: Village) -> Mouth:
    """At a node that hears commands."""
    await until(zones_of(node), within=30, what="the node has its zones")
    return Mouth(village)


async def test_a_live_voice_is_heard_as_long_as_it_speaks(node: RunningNode, village: Village, mouth: Mouth) -> None:
    await mouth.open()
    await mouth.speak(2.0)
    started = await village.event(mouth.play, What.STARTED)
    assert started.kind == "live" and started.level_dbfs is not None and started.level_dbfs > -20
    await mouth.end()
    finished = await village.event(mouth.play, What.FINISHED)
    assert finished.reason == ""
    assert finished.sounded_s is not None and 1.6 < finished.sounded_s < 2.3


async def test_forged_frames_are_not_heard(node: RunningNode, village: Village, mouth: Mouth) -> None:
    forger = Speaking()
    await mouth.open()
    async with node.ears() as ears:
        await mouth.speak(0.6, QUIET)
        with ears.meter.hearing(time.monotonic()) as heard:
            for _ in range(25):
                await mouth.send(forger.frame(TONE))
                await mouth.speak(FRAME_S, QUIET)
            await ears.caught_up(time.monotonic() + 0.5, within_s=3)
        assert heard.first_s is None
    await mouth.end()
    failed = await village.event(mouth.play, What.FAILED)
    assert failed.reason == "nothing-was-said"


async def test_a_voice_that_breaks_off_is_said_to_be_lost_and_gives_way(
    node: RunningNode, village: Village, mouth: Mouth
) -> None:
    await mouth.open()
    await mouth.speak(1.0)
    lost = await village.event(mouth.play, What.FAILED)
    assert lost.reason == "voice-lost" and lost.sounded_s is not None and lost.sounded_s < 1.3
    await until(lambda: village.status.playing == "", what="nothing plays any more")


async def test_an_emergency_cuts_a_live_voice_at_once(node: RunningNode, village: Village, mouth: Mouth) -> None:
    await mouth.open()
    speaking = asyncio.create_task(mouth.speak(20.0))
    await village.event(mouth.play, What.STARTED)
    siren = play(LONG, rank=3)
    await village.order(village.alerts.command(siren))
    cut = await village.event(mouth.play, What.CUT)
    assert cut.reason == f"interrupted: {siren.play}"
    await village.event(siren.play, What.STARTED)
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)
    await village.order(village.alerts.command(Stop(play=siren.play)))
    await village.event(siren.play, What.CUT)
    assert What.STARTED not in village.steps(mouth.play)[village.steps(mouth.play).index(What.CUT) :]


async def test_a_player_that_dies_is_replaced_while_somebody_speaks(
    node: RunningNode, village: Village, mouth: Mouth
) -> None:
    await mouth.open()
    speaking = asyncio.create_task(mouth.speak(20.0))
    await village.event(mouth.play, What.STARTED)
    async with node.ears() as ears:
        for pid, name in children_of(node.process.pid).items():
            if name == "mpv":
                os.kill(pid, 9)
        failed = await village.event(mouth.play, What.FAILED)
        assert failed.reason == "player-died (tried again)"
        await until(lambda: village.steps(mouth.play).count(What.STARTED) == 2, what="it sounds again")
        assert ears.meter.until_s - ears.meter.sound_s < 1.0
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)
    await mouth.end()
    await village.event(mouth.play, What.FINISHED)


def test_a_voice_ends_after_its_time_whatever_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speaking = Speaking()
    item = Live(session="loi-noi", key=speaking.key, seconds=60)
    voice = live.LiveVoice(item, None, COMMUNE, tmp_path)  # type: ignore[arg-type]
    now_s = time.monotonic()
    voice._came_s, voice._ends_s = now_s + 60, now_s + 60
    voice._look(now_s + 59)
    assert voice.over is None
    voice._look(now_s + 61)
    assert voice.over == "time-up"


async def test_a_player_that_stays_silent_while_somebody_speaks_is_not_believed(folder: Path) -> None:
    speaking = Speaking()
    voice = live.LiveVoice(Live(session="loi-noi", key=speaking.key), None, COMMUNE, folder)  # type: ignore[arg-type]
    voice._came_s = time.monotonic()
    voice._ends_s = voice._came_s + 60

    async def speak() -> None:
        while True:
            voice._take(speaking.frame(TONE))
            await asyncio.sleep(FRAME_S)

    async with running("loa", "null", folder) as (_, device):
        player, mouth = await device.players.take(), asyncio.create_task(speak())
        with device.ears.meter.hearing(time.monotonic()) as hearing, pytest.raises(Silent, match="nothing-heard"):
            await voice.play(player, device.ears, hearing, lambda what, reason: None, 0)
        mouth.cancel()
        await asyncio.gather(mouth, return_exceptions=True)
        await player.close()
