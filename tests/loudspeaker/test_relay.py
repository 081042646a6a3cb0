"""A relay sounds until its end; when the stream fails or falls silent, as measured at the output, its fallback does."""

from __future__ import annotations

import math
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from keng_contracts.commands import Relay, Siren, Speech
from keng_contracts.playback import What
from keng_loudspeaker.playing import performance as performing
from keng_loudspeaker.playing.performance import Performance
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.media import Clip, Media, Stream, Unplayable
from keng_loudspeaker.sounding.speech import Voice
from tests.loudspeaker.stage_support import Told, running, siren

RATE = 16_000
TONE = array("h", [round(8000 * math.sin(2 * math.pi * 440 * i / RATE)) for i in range(RATE)]).tobytes()
#: A WAV file of no known end, as radio servers send it.
HEADER = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
HEADER += b"data\xff\xff\xff\xff"
BEEP = Siren(pattern="bip", blasts=1, blast_s=0.5, gap_s=0)


class Radio:
    """A station on a free loopback port. ``programme`` says what it sends in the second n of a connection: True a tone,
    False silence, None the end."""

    def __init__(self) -> None:
        self.programme: Callable[[int], bool | None] = lambda second: True
        self.listeners = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.listeners += 1
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
                self.end_headers()
                try:
                    self.wfile.write(HEADER)
                    began_s = time.monotonic()
                    for tenth in range(600):
                        sends = outer.programme(tenth // 10)
                        if sends is None:
                            return
                        self.wfile.write(TONE[: len(TONE) // 10] if sends else bytes(len(TONE) // 10))
                        time.sleep(max(0.0, began_s + (tenth - 25) / 10 - time.monotonic()))  # some ahead
                except OSError:
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/live"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def radio() -> Iterator[Radio]:
    station = Radio()
    yield station
    station.stop()


def stream(radio: Radio, seconds: float, fallback: Clip | None = None) -> Callable[..., object]:
    async def make() -> Stream:
        return Stream(radio.url, time.monotonic() + seconds, silent_after_s=1.5, fallback=fallback)

    return make


async def test_a_stream_sounds_until_its_end(radio: Radio, folder: Path) -> None:
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        assert await Performance([stream(radio, 5.0)], stage, told).start()  # type: ignore[list-item]
    assert told.whats == [What.STARTED, What.FINISHED]
    heard = told.steps[-1][2]
    assert heard is not None and 1.0 < heard.sounded_s < 5.5 and radio.listeners == 1


async def test_a_stream_is_brought_to_the_loudness_of_all_else(radio: Radio, folder: Path) -> None:
    async def make() -> Stream:
        return Stream(radio.url, time.monotonic() + 12.0, silent_after_s=1.5, lufs=-24.0)

    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        assert await Performance([make], stage, told).start()
    heard = told.steps[-1][2]
    assert told.whats == [What.STARTED, What.FINISHED]
    # The station sends a tone of -15.3 dBFS; one of 440 Hz has 0.7 LU less than its level (ITU-R BS.1770).
    assert heard is not None and heard.level_dbfs == pytest.approx(-23.3, abs=1.5)


@pytest.mark.parametrize(("then", "what"), [(False, What.SILENT), (None, What.FAILED)], ids=["silent", "ended"])
async def test_a_stream_that_fails_is_replaced_by_its_fallback_and_tried_again(
    radio: Radio, folder: Path, then: bool | None, what: What, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performing, "RELAY_AGAIN_S", 0.1)
    radio.programme = lambda second: True if second < 2 or radio.listeners > 1 else then
    fallback = await siren(BEEP, folder)()
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        assert await Performance([stream(radio, 12.0, fallback)], stage, told).start()  # type: ignore[list-item]
    assert told.whats == [What.STARTED, what, What.STARTED, What.FINISHED, What.STARTED, What.FINISHED]
    assert told.steps[2][1] == "fallback" and told.steps[3][1] == "fallback" and radio.listeners == 2


async def test_a_station_that_is_not_there_leaves_its_fallback_until_the_end(
    radio: Radio, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performing, "RELAY_AGAIN_S", 0.1)
    radio.stop()
    fallback = await siren(BEEP, folder)()
    async with running("loa", "null", folder) as (stage, _):
        told = Told()
        assert await Performance([stream(radio, 3.0, fallback)], stage, told).start()  # type: ignore[list-item]
    assert told.whats[:3] == [What.FAILED, What.STARTED, What.FINISHED] and told.whats[-1] is What.FAILED


async def test_a_relay_is_made_ready_with_its_fallback_and_refused_when_its_time_has_passed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept", tmp_path / "spare", 1 << 24)
    cache.prepare()
    media, relay = Media(cache, Voice()), Relay(url="http://radio.example/live", until=time.time() + 100)
    with_fallback = relay.model_copy(update={"fallback": Speech(text="Tạm ngừng tiếp sóng")})
    made = await media.part(with_fallback)
    assert isinstance(made, Stream) and made.fallback is not None and made.fallback.seconds > 0.5
    assert 98 < made.ends_s - time.monotonic() <= 100
    long = await media.part(relay.model_copy(update={"until": time.time() + 1e6}))
    assert isinstance(long, Stream) and long.ends_s - time.monotonic() <= 4 * 3600
    with pytest.raises(Unplayable, match="over"):
        await media.part(relay.model_copy(update={"until": time.time() - 1}))
