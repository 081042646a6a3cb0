"""Device, ears and player together: what fails is noticed by ear, told, and tried again."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from pathlib import Path

import pytest

from keng_contracts.commands import Siren
from keng_contracts.playback import What
from keng_loudspeaker.playing import mpv, sound
from keng_loudspeaker.playing import performance as performing
from keng_loudspeaker.playing.performance import Performance
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.proving.meter import listen
from tests.loudspeaker.conftest import children_of
from tests.loudspeaker.stage_support import Told, running, siren
from tests.support.processes import until

SHORT = Siren(pattern="ngan", blasts=2, blast_s=0.3, gap_s=0.1)
SECOND = Siren(pattern="mot-giay", blasts=1, blast_s=1, gap_s=0)


async def test_a_sink_of_the_machine_is_fed_through_our_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs already, as PulseAudio or PipeWire does on a PC; its sink stands in for a sound card."""
    async with sound._private_server(
        folder / "machine", ["module-null-sink sink_name=card rate=44100 norewinds=1"]
    ) as env:
        monkeypatch.setenv("PULSE_SERVER", env["PULSE_SERVER"])
        await sound._pactl(env, "set-sink-mute", "card", "1")
        left_over = "module-null-sink sink_name=keng_loa"  # by a node that was killed
        await sound._pactl(env, "load-module", *left_over.split())
        async with running("loa", "auto", folder) as (stage, open_):
            sinks = await sound._pactl(env, "list", "short", "sinks") or ""
            assert sinks.count("keng_loa") == 1 and "module-remap-sink" in sinks
            assert stage.device == "card" and open_.sound is not None and open_.sound.sink == "keng_loa"
            told = Told()
            async with listen(sound.Sound("card", "card", env)) as behind:
                with behind.meter.hearing(time.monotonic()) as at_the_card:
                    assert await Performance([siren(SHORT, folder)], stage, told).start()
                    await behind.caught_up(time.monotonic())
            assert told.whats == [What.STARTED, What.FINISHED]
            heard = told.steps[-1][2]
            assert heard is not None and math.isclose(heard.sounded_s, 0.6, abs_tol=0.03)
            assert math.isclose(at_the_card.sounded_s, 0.6, abs_tol=0.05), "and unmuted"
        assert "keng_loa" not in (await sound._pactl(env, "list", "short", "sinks") or "keng_loa")


async def test_a_sink_that_is_not_there_is_said_with_those_that_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with sound._private_server(folder / "machine", ["module-null-sink sink_name=card"]) as env:
        monkeypatch.setenv("PULSE_SERVER", env["PULSE_SERVER"])
        stage = Stage("loa", "khac", folder, latency_ms=20, volume=100)
        task = asyncio.create_task(stage.run())
        await until(lambda: "there is no such sink; there are: card" in caplog.text)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_two_nodes_on_one_machine_do_not_hear_each_other(folder: Path) -> None:
    async with running("loa-a", "null", folder) as (stage, _), running("loa-b", "null", folder) as (_, other):
        with other.ears.meter.hearing(time.monotonic()) as heard:
            assert await Performance([siren(SHORT, folder)], stage, Told()).start()
            await other.ears.caught_up(time.monotonic())
        assert heard.first_s is None


async def test_a_player_that_dies_is_told_and_the_item_is_played_again(folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        job = Performance([siren(SECOND, folder)], stage, told)
        told.on[What.STARTED] = lambda: os.kill(job._player.pid, signal.SIGKILL)  # type: ignore[union-attr]
        assert await job.start()
    assert told.whats == [What.STARTED, What.FAILED, What.STARTED, What.FINISHED]
    assert told.steps[1][1] == "player-died (tried again)"
    heard = told.steps[-1][2]
    assert heard is not None and math.isclose(heard.sounded_s, 1.0, abs_tol=0.03)


async def test_a_player_that_hangs_is_told_and_the_item_is_played_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performing, "ASK_S", 0.2)
    monkeypatch.setattr(mpv, "ANSWER_S", 0.5)
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        job = Performance([siren(SECOND, folder)], stage, told)
        told.on[What.STARTED] = lambda: os.kill(job._player.pid, signal.SIGSTOP)  # type: ignore[union-attr]
        assert await job.start()
    assert told.whats == [What.STARTED, What.FAILED, What.STARTED, What.FINISHED]
    assert told.steps[1][1] == "player-hangs (tried again)"


async def test_a_sound_server_that_dies_is_replaced_and_the_item_is_played_again(folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        server = next(pid for pid, name in _family().items() if name == "pulseaudio")
        told.on[What.STARTED] = lambda: os.kill(server, signal.SIGKILL)
        assert await Performance([siren(SECOND, folder)], stage, told).start()
    assert told.whats == [What.STARTED, What.FAILED, What.STARTED, What.FINISHED]


async def test_a_cut_ends_the_sound_and_tells_how_much_was_heard(folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, open_):
        told = Told()
        job = Performance([siren(Siren(pattern="dai", blasts=1, blast_s=60, gap_s=0), folder)], stage, told)
        told.on[What.STARTED] = lambda: job.cut("stopped")
        with pytest.raises(asyncio.CancelledError):
            await job.start()
        assert told.whats == [What.STARTED, What.CUT]
        heard = told.steps[-1][2]
        assert heard is not None and 0.2 < heard.sounded_s < 5
        await open_.ears.silence(within_s=5)
        assert open_.ears.meter.until_s > open_.ears.meter.sound_s + 0.03
    assert not _family()


def _family() -> dict[int, str]:
    """The children that a node has; the test run has others (a broker, a database)."""
    return {pid: name for pid, name in children_of(os.getpid()).items() if name in ("mpv", "parec", "pulseaudio")}
