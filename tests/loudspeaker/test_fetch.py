"""Media files come whole or not at all, over a link that breaks, and are played from disk when it is down."""

from __future__ import annotations

import hashlib
import io
import math
import os
import wave
from array import array
from collections.abc import Iterator
from datetime import time
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import pytest

from keng_contracts import commands
from keng_contracts.commands import Play, Priority
from keng_contracts.playback import PlaybackEvent, What
from keng_loudspeaker.hours import Hours
from keng_loudspeaker.obeying.memory import Memory
from keng_loudspeaker.playing.jobs import Jobs
from keng_loudspeaker.playing.performance import Performance
from keng_loudspeaker.proving.meter import Meter
from keng_loudspeaker.proving.reports import Clockwork, Evidence, Order
from keng_loudspeaker.sounding import fetch
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.loudness import measured
from keng_loudspeaker.sounding.media import Media, Unplayable
from keng_loudspeaker.sounding.speech import Voice
from tests.loudspeaker.stage_support import Told, running
from tests.support.broker import credentials
from tests.support.https import HttpsServer, breaks_after, says, sends
from tests.support.processes import until

CA = credentials() / "loa-phuoc-yen" / "ca.crt"


def tone(seconds: float, peak: float, hz: float = 997.0, rate: int = 48_000) -> bytes:
    """A sine as a WAV file."""
    samples = [round(32767 * peak * math.sin(2 * math.pi * hz * i / rate)) for i in range(int(seconds * rate))]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(array("h", samples).tobytes())
    return file.getvalue()


SONG = tone(2.0, 0.1)


def media_item(server: HttpsServer, content: bytes = SONG, path: str = "/tin.wav") -> commands.Media:
    server.files.setdefault(path, content)
    return commands.Media(url=server.url + path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    monkeypatch.setattr(fetch, "PAUSE_MIN_S", 0.02)
    with HttpsServer() as running_server:
        yield running_server


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "kept", tmp_path / "spare", 1 << 20)
    cache.prepare()
    return cache


async def test_a_file_is_fetched_once_and_then_played_from_disk_with_the_link_down(
    server: HttpsServer, cache: Cache
) -> None:
    item, media = media_item(server), Media(cache, Voice(), ca=CA)
    first = await media.clip(item)
    assert first.path.read_bytes() == SONG and math.isclose(first.seconds, 2.0, abs_tol=0.05)
    server.stop()
    assert (await media.clip(item)).path == first.path
    after_restart = Media(cache, Voice(), ca=CA)
    assert (await after_restart.clip(item)).path == first.path
    assert len(server.requests) == 1


async def test_what_had_to_be_fetched_is_told_before_it_sounds_and_what_was_there_is_not(
    server: HttpsServer, cache: Cache, folder: Path
) -> None:
    told: list[PlaybackEvent] = []
    evidence = Evidence("0" * 16, Clockwork(True), SimpleNamespace(add=told.append))  # type: ignore[arg-type]
    never = Hours(quiet=(time(0), time(0)))
    async with running("loa", "file", folder) as (stage, _):
        memory = Memory(folder / "obeyed.sqlite")
        jobs = Jobs(stage, Media(cache, Voice(), ca=CA), evidence, memory, lambda: never, lambda: None, lambda _: None)  # type: ignore[arg-type,return-value]
        for name in ("mot", "hai"):
            play = Play(play=name, priority=Priority.SCHEDULED, items=[media_item(server)])
            jobs.play(Order(play, "command", monotonic()), jobs.keep_ended)
            await until(lambda: told[-1].what is What.FINISHED, what="it is over")
        await jobs.close()
        memory.close()
    steps = [(event.play, event.what) for event in told]
    once = [What.ACCEPTED, What.STARTED, What.FINISHED]
    assert [what for play, what in steps if play == "mot"] == [What.ACCEPTED, What.FETCHED, What.STARTED, What.FINISHED]
    assert [what for play, what in steps if play == "hai"] == once


async def test_a_link_that_breaks_is_tried_again_and_goes_on_where_it_was(server: HttpsServer, cache: Cache) -> None:
    item = media_item(server)
    server.answers = [breaks_after(SONG, 50_000), says(503)]
    assert (await Media(cache, Voice(), ca=CA).clip(item)).path.read_bytes() == SONG
    assert [wanted for _, wanted in server.requests] == ["", "bytes=50000-", "bytes=50000-"]


async def test_what_came_before_a_restart_is_not_fetched_again(server: HttpsServer, cache: Cache) -> None:
    item = media_item(server)
    cache.parts(f"media-{item.sha256}")[0].write_bytes(SONG[:1000])
    cache.prepare()
    assert (await Media(cache, Voice(), ca=CA).clip(item)).path.read_bytes() == SONG
    assert server.requests == [("/tin.wav", "bytes=1000-")]


async def test_a_part_of_something_else_is_thrown_away_and_a_server_without_ranges_is_no_trouble(
    server: HttpsServer, cache: Cache
) -> None:
    item = media_item(server)
    cache.parts(f"media-{item.sha256}")[0].write_bytes(b"of another file")
    assert (await Media(cache, Voice(), ca=CA).clip(item)).path.read_bytes() == SONG
    cache2 = Cache(cache.places("x")[0].parent / "b", cache.places("x")[0].parent / "c", 1 << 20)
    cache2.prepare()
    cache2.parts(f"media-{item.sha256}")[0].write_bytes(SONG[:1000])
    server.answers = [sends(SONG)]
    assert (await Media(cache2, Voice(), ca=CA).clip(item)).path.read_bytes() == SONG


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SONG[:-1] + b"!", "wrong-hash"),
        (SONG + b"!", "wrong-size"),
        (b"", "fetch-failed"),
        (SONG[:100], "fetch-failed"),
    ],
    ids=["another", "longer", "empty", "shorter"],
)
async def test_what_is_not_what_was_signed_is_refused_and_not_kept(
    server: HttpsServer, cache: Cache, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.3)
    item = media_item(server)
    server.files["/tin.wav"] = content
    with pytest.raises(Unplayable, match=reason):
        await Media(cache, Voice(), ca=CA).clip(item)
    assert cache.find(f"media-{item.sha256}", lambda _: True) is None


async def test_a_server_that_has_it_not_is_asked_once_and_one_that_is_not_there_for_a_while(
    server: HttpsServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.3)
    item = media_item(server)
    server.files.clear()
    with pytest.raises(Unplayable, match="404"):
        await Media(cache, Voice(), ca=CA).clip(item)
    assert len(server.requests) == 1
    server.stop()
    with pytest.raises(Unplayable, match="fetch-failed"):
        await Media(cache, Voice(), ca=CA).clip(item)


async def test_a_redirection_away_from_https_is_not_followed(
    server: HttpsServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.2)
    item = media_item(server)
    server.answers = [says(302, Location="http://localhost:1/tin.wav")] * 50
    with pytest.raises(Unplayable, match="fetch-failed"):
        await Media(cache, Voice(), ca=CA).clip(item)


async def test_a_server_that_no_authority_vouches_for_is_not_believed(
    server: HttpsServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.1)
    with pytest.raises(Unplayable, match=r"fetch-failed.*certificate"):
        await Media(cache, Voice()).clip(media_item(server))


async def test_a_file_that_rotted_on_disk_is_fetched_again(server: HttpsServer, cache: Cache) -> None:
    item = media_item(server)
    path = (await Media(cache, Voice(), ca=CA).clip(item)).path
    path.write_bytes(b"?" * len(SONG))
    assert (await Media(cache, Voice(), ca=CA).clip(item)).path.read_bytes() == SONG


async def test_a_file_that_is_no_sound_says_so(server: HttpsServer, cache: Cache) -> None:
    with pytest.raises(Unplayable, match="no-sound"):
        await Media(cache, Voice(), ca=CA).clip(media_item(server, b"<html>" * 50, "/anh.html"))


async def test_the_emergency_set_stays_whatever_else_needs_room_and_over_a_restart(
    server: HttpsServer, cache: Cache
) -> None:
    vital = media_item(server, tone(4.0, 0.1, 500), "/khan-cap.wav")
    others = [media_item(server, tone(4.0, 0.1, hz), f"/{hz}.wav") for hz in (600, 700, 800, 900)]
    media = Media(cache, Voice(), ca=CA)
    assert await media.prepare("emergency", [vital]) == []
    os.utime((await media.clip(vital)).path, (1, 1))  # the least used of all
    again = Cache(cache.places("x")[0].parent, cache.places("x")[1].parent, 1 << 20)
    again.prepare()
    for item in others:
        await Media(again, Voice(), ca=CA).clip(item)
    kept = [file.name for file in cache.places("x")[0].parent.glob("media-*") if not file.name.endswith(".json")]
    assert f"media-{vital.sha256}" in kept and len(kept) == 2
    assert sum(file.stat().st_size for file in cache.places("x")[0].parent.iterdir()) <= 1 << 20
    assert await Media(again, Voice(), ca=CA).prepare("emergency", []) == []
    await Media(again, Voice(), ca=CA).clip(others[0])
    assert again.find(f"media-{vital.sha256}", lambda _: True) is None


async def test_an_emergency_set_that_takes_more_than_half_of_the_cache_is_refused(
    server: HttpsServer, cache: Cache
) -> None:
    large = commands.Media(url=server.url + "/x", sha256="0" * 64, size=700_000)
    assert "no-room" in (await Media(cache, Voice(), ca=CA).prepare("emergency", [large]))[0]
    assert not server.requests


@pytest.mark.parametrize("peak", [0.04, 0.9])
async def test_loud_and_soft_files_leave_the_loudspeaker_equally_loud(
    server: HttpsServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peak: float
) -> None:
    cache = Cache(folder / "kept", folder / "spare", 1 << 24)
    cache.prepare()
    item = media_item(server, tone(4.0, peak), f"/{peak}.wav")
    media = Media(cache, Voice(), lufs=-20.0, ca=CA)
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        recorded = bytearray()
        feed = Meter.feed

        def record(meter: Meter, data: bytes, arrived_s: float) -> None:
            recorded.extend(data)
            feed(meter, data, arrived_s)

        monkeypatch.setattr(Meter, "feed", record)
        assert await Performance([lambda: media.clip(item)], stage, told).start()
    output = tmp_path / "output.wav"
    with wave.open(str(output), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(48_000)
        out.writeframes(bytes(recorded[: len(recorded) // 2 * 2]))
    assert math.isclose((await measured(output)).lufs, -20.0, abs_tol=0.5)
