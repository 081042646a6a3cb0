"""How a job is played, by each player alike: mpv on a silent sink, and the file player. All is heard at the output."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import time
import wave
from array import array
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from keng_contracts.commands import Siren
from keng_contracts.playback import What
from keng_contracts.telemetry import Clock
from keng_loudspeaker.playing import silence, together
from keng_loudspeaker.playing.performance import Maker, Manner, Performance, Place
from keng_loudspeaker.playing.player import Device, PlayerFailed
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.meter import RATE, dbfs
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.media import Clip, Media
from keng_loudspeaker.sounding.speech import Voice
from tests.loudspeaker.stage_support import Told, running, siren
from tests.support.processes import until

BEEP = Siren(pattern="bip", blasts=1, blast_s=0.3, gap_s=0)
SHORT = Siren(pattern="ngan", blasts=2, blast_s=0.3, gap_s=0.1)
LONGER = Siren(pattern="hai-giay", blasts=1, blast_s=2, gap_s=0)
LONG = Siren(pattern="dai", blasts=1, blast_s=60, gap_s=0)
#: Both players, and both with what is measured, agree within this, in dB.
ALIKE_DB = 0.3

Running = Callable[[], AbstractAsyncContextManager[tuple[Stage, Device]]]


@pytest.fixture(params=["null", "file"], ids=["mpv", "file-player"])
def playing(request: pytest.FixtureRequest, folder: Path) -> Running:
    """Opens the device of a player."""
    return lambda: running("loa", request.param, folder)


def tone(folder: Path, seconds: float, amplitude: float = 0.03, rate: int = RATE) -> Maker:
    """A clip of a sine, softer than a siren; with amplitude 0 it is silence."""
    path = folder / f"tone-{seconds}-{amplitude}.wav"
    samples = [round(32767 * amplitude * math.sin(2 * math.pi * 440 * i / rate)) for i in range(round(seconds * rate))]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(array("h", samples).tobytes())

    async def make() -> Clip:
        return Clip(path, seconds, ((0.0, seconds),))

    return make


def amplified(make: Maker, gain_db: float) -> Maker:
    async def amplify() -> Clip:
        clip = await make()
        return Clip(clip.path, clip.seconds, clip.spans, gain_db)

    return amplify


async def level(stage: Stage, clip: Maker, manner: Manner = Manner()) -> float:
    """How loud it was, in dB below full scale."""
    told = Told()
    assert await Performance([clip], stage, told, manner).start()
    heard = told.steps[-1][2]
    assert told.whats == [What.STARTED, What.FINISHED] and heard is not None and heard.level_dbfs is not None
    return heard.level_dbfs


async def test_a_sound_is_heard_from_its_beginning_to_its_end_as_loud_as_it_is(playing: Running, folder: Path) -> None:
    clip = await siren(SHORT, folder)()
    with wave.open(str(clip.path)) as file:
        samples = array("h", file.readframes(round(0.3 * file.getframerate())))
    async with playing() as (stage, _):
        told, began_s = Told(), time.monotonic()
        assert await Performance([siren(SHORT, folder)], stage, told).start()
    assert told.whats == [What.STARTED, What.FINISHED]
    heard = told.steps[-1][2]
    assert heard is not None and heard.first_s is not None and heard.last_s is not None
    assert heard.first_s > began_s
    assert math.isclose(heard.sounded_s, 0.6, abs_tol=0.03)
    assert math.isclose(heard.last_s - heard.first_s, 0.7, abs_tol=0.03)
    assert math.isclose(heard.level_dbfs or 0, dbfs(sum(v * v for v in samples), len(samples)), abs_tol=ALIKE_DB)


async def test_items_are_repeated_with_their_gaps(playing: Running, folder: Path) -> None:
    async with playing() as (stage, device):
        told = Told()
        beeps = [siren(BEEP, folder), siren(BEEP, folder)]
        with device.ears.meter.hearing(time.monotonic()) as heard:
            assert await Performance(beeps, stage, told, Manner(repeats=2, gap_s=0.5)).start()
    assert told.whats == [What.STARTED, What.FINISHED] * 4
    assert told.steps[0][1] == "repeat 1 of 2" and told.steps[-2][1] == "repeat 2 of 2"
    assert math.isclose(heard.sounded_s, 4 * 0.3, abs_tol=0.08)
    firsts = [hearing.first_s for what, _, hearing in told.steps if what is What.FINISHED and hearing is not None]
    for one, next_ in itertools.pairwise(firsts):
        assert one is not None and next_ is not None and 0.8 <= next_ - one < 1.6


async def test_a_gong_comes_first_and_is_no_step(playing: Running, folder: Path) -> None:
    cache = Cache(folder / "kept", folder / "spare", 1 << 30)
    cache.prepare()
    async with playing() as (stage, device):
        told = Told()
        manner = Manner(gong=Media(cache, Voice()).gong)
        with device.ears.meter.hearing(time.monotonic()) as heard:
            assert await Performance([siren(BEEP, folder)], stage, told, manner).start()
    assert told.whats == [What.STARTED, What.FINISHED]
    started = told.steps[0][2]
    assert heard.first_s is not None and started is not None and started.first_s is not None
    assert 2.0 < started.first_s - heard.first_s < 4.0


async def test_what_is_cut_in_its_gong_goes_on_from_its_beginning(playing: Running, folder: Path) -> None:
    cache = Cache(folder / "kept", folder / "spare", 1 << 30)
    cache.prepare()
    async with playing() as (stage, device):
        performance = Performance([siren(BEEP, folder)], stage, Told(), Manner(gong=Media(cache, Voice()).gong))
        with device.ears.meter.hearing(time.monotonic()) as heard:
            task = performance.start()
            await until(lambda: heard.sounded_s > 1.2, what="more than the overlap of a resumption has sounded")
            place = performance.place
            performance.cut("interrupted")
            await asyncio.gather(task, return_exceptions=True)
    assert place == Place()


async def test_it_fades_in_and_out(playing: Running, folder: Path) -> None:
    async with playing() as (stage, device):
        told = Told()
        manner = Manner(fade_in_s=0.8, fade_out_s=0.8)
        await Performance([siren(LONGER, folder)], stage, told, manner).start()
        first_s = told.steps[-1][2].first_s or 0  # type: ignore[union-attr]
        curve = [(at_s - first_s, level) for at_s, level in device.ears.meter.curve]

    def near(position_s: float) -> float:
        return max(level for at_s, level in curve if abs(at_s - position_s) < 0.06)

    for edge_s, middle_s in ((0.1, 0.4), (1.9, 1.6)):
        assert math.isclose(near(middle_s), near(1.0) - 6 + 1, abs_tol=1.5), "half of the amplitude halfway"
        assert near(edge_s) < near(middle_s) - 3


async def test_the_gain_of_an_item_is_heard_and_limited_where_it_would_clip(playing: Running, folder: Path) -> None:
    """A sine of half the full scale may grow by 5 dB; clipped at 12 dB it would be 1.5 dB louder still."""
    soft, half = tone(folder, 0.4), tone(folder, 0.6, 0.5)
    async with playing() as (stage, _):
        plain = await level(stage, soft)
        for gain_db in (-12.0, -3.0, 12.0):
            changed = await level(stage, amplified(soft, gain_db))
            assert math.isclose(changed - plain, gain_db, abs_tol=ALIKE_DB)
        limited = await level(stage, amplified(half, 12.0)) - await level(stage, half)
    assert math.isclose(limited, 20 * math.log10(0.89 / 0.5), abs_tol=ALIKE_DB)


async def test_the_volume_of_the_hour_is_heard(playing: Running, folder: Path) -> None:
    async with playing() as (stage, _):
        own, full, less = [await level(stage, siren(BEEP, folder), Manner(volume=v)) for v in (None, 100, 60)]
    assert own == full
    assert math.isclose(less - full, 60 * math.log10(0.6), abs_tol=ALIKE_DB), "the cube of its share"


async def test_what_was_cut_is_silent_at_once_and_goes_on_where_it_was(playing: Running, folder: Path) -> None:
    async with playing() as (stage, device):
        told = Told()
        items = [siren(BEEP, folder), siren(LONGER, folder)]
        first = Performance(items, stage, told, Manner(repeats=2))
        task = first.start()
        await until(lambda: told.whats.count(What.STARTED) == 2)
        await asyncio.sleep(1.1)
        place = first.place
        first.cut("interrupted: coi")
        with pytest.raises(asyncio.CancelledError):
            await task
        await device.ears.silence(within_s=5)
        with device.ears.meter.hearing(time.monotonic()) as after:
            await asyncio.sleep(0.2)
            await device.ears.caught_up(time.monotonic())
        assert after.first_s is None
        assert (place.repeat, place.item) == (0, 1) and 0.2 < place.at_s < 1.5
        again = Told()
        assert await Performance(items, stage, again, Manner(repeats=2), place).start()
    assert told.whats == [What.STARTED, What.FINISHED, What.STARTED, What.CUT]
    cut = told.steps[-1][2]
    assert cut is not None and math.isclose(cut.sounded_s, place.at_s + 1.0, abs_tol=0.3)
    assert again.whats == [What.STARTED, What.FINISHED] * 3
    assert again.steps[0][1] == f"repeat 1 of 2, resumed at {place.at_s:.1f} s"
    rest = again.steps[1][2]
    assert rest is not None and math.isclose(rest.sounded_s, 2 - place.at_s, abs_tol=0.1)


async def test_what_was_cut_before_anything_was_heard_begins_anew(playing: Running, folder: Path) -> None:
    async with playing() as (stage, _):
        assert Performance([siren(BEEP, folder)], stage, Told()).place == Place()


@pytest.mark.parametrize("ahead_s", [0.7, 2.2])
async def test_it_begins_at_its_moment(playing: Running, folder: Path, ahead_s: float) -> None:
    async with playing() as (stage, _):
        for _attempt in range(3):  # on a machine that has no time it begins at another moment, and says so
            told, due_s = Told(), time.time() + ahead_s
            begin = partial(together.begin, start_s=due_s, clock=Clock.SYNCED)
            assert await Performance([siren(BEEP, folder)], stage, told, Manner(begin=begin)).start()
            late_s = time.monotonic() - time.time() + due_s
            if told.steps[0][1] != "on-arrival: silence-not-measured":
                break
    heard = told.steps[-1][2]
    assert told.steps[0][1] == "" and heard is not None and heard.first_s is not None
    assert heard.first_s > late_s - 0.06, "a sink's period at most before it"
    assert math.isclose(heard.sounded_s, 0.3, abs_tol=0.03)


async def test_a_live_voice_is_heard_as_it_comes(playing: Running, folder: Path) -> None:
    pipe, frame = folder / "voice.pcm", array("h", ([8000] * 16 + [-8000] * 16) * 10).tobytes()
    os.mkfifo(pipe)
    async with playing() as (_, device):
        player = await device.players.take()
        with device.ears.meter.hearing(time.monotonic()) as heard:
            await player.hear_live(pipe, 16_000, gain_db=0.0, volume=None)
            end = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)
            for _ in range(50):
                os.write(end, frame)
                await asyncio.sleep(0.02)
            os.close(end)
            await device.ears.caught_up(time.monotonic() + 0.3)
        player.silence()
        with pytest.raises(PlayerFailed):
            await player.alive_still()
        await player.close()
    assert 0.8 < heard.sounded_s < 1.2 and heard.level_dbfs is not None and heard.level_dbfs > -20


async def test_what_cannot_be_played_fails_with_its_reason_and_the_next_item_still_sounds(
    playing: Running, folder: Path
) -> None:
    (folder / "broken.wav").write_bytes(b"no sound at all")

    async def clip() -> Clip:
        return Clip(folder / "broken.wav", 1.0, ((0.0, 1.0),))

    async with playing() as (stage, _):
        told = Told()
        assert await Performance([clip, siren(BEEP, folder)], stage, told).start()
    assert told.whats == [What.FAILED, What.FAILED, What.STARTED, What.FINISHED]
    assert told.steps[0][1].startswith("player-error: ") and told.steps[0][1].endswith("(tried again)")


async def test_a_player_that_plays_silence_is_not_believed(
    playing: Running, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "PATIENCE_S", 0.4)
    async with playing() as (stage, _):
        told = Told()
        assert not await Performance([tone(folder, 5.0, amplitude=0)], stage, told).start()
    assert told.whats == [What.SILENT, What.SILENT]


async def test_a_device_that_is_lost_is_opened_again_and_the_item_played_again(playing: Running, folder: Path) -> None:
    async with playing() as (stage, device):
        told = Told()
        told.on[What.STARTED] = device.ears.lost.set
        assert await Performance([siren(LONGER, folder)], stage, told).start()
    assert told.whats == [What.STARTED, What.FAILED, What.STARTED, What.FINISHED]
    assert told.steps[1][1].endswith("(tried again)")
