"""mpv as a child, spoken to over its JSON IPC on a socket pair: no socket file, and mpv ends when we do.

Every job gets a fresh mpv, and one idle spare is kept spawned ahead, so that a start does not wait for a process and no
job inherits anything from the one before (mpv could not resume after 12 h of pause, #6544).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keng_contracts.errors import Problem
from keng_loudspeaker.playing import children, gapless
from keng_loudspeaker.playing.filters import Shape, chain, voice_chain
from keng_loudspeaker.playing.player import PlayerFailed
from keng_loudspeaker.playing.sound import Sound

log = logging.getLogger(__name__)

#: mpv answers within this time, or it hangs.
ANSWER_S = 2.0
#: What a player holds of a live voice; of all else it is 200 ms.
LIVE_BUFFER_MS = 60
#: The spare is looked at this often, and made so long after the last one was taken.
LOOK_S, REFILL_S = 30.0, 0.5


class Mpv:
    """One mpv. It plays one file at a time."""

    def __init__(self, child: Process, reader: StreamReader, writer: StreamWriter) -> None:
        self._child = child
        self._writer = writer
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._complaint = ""
        self._last: int | None = None  # of what was appended, the entry whose end is the end
        self._properties: dict[str, object] = {}
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def spawn(cls, sound: Sound, volume: int) -> Mpv:
        """Start an idle mpv that plays into a sink; raises :class:`Problem` if it is not installed."""
        return await cls.start(
            *("--cache=no", "--gapless-audio=no", "--volume-max=100", f"--volume={volume}"),
            *("--ao=pulse", f"--audio-device=pulse/{sound.sink}", "--pulse-buffer=200"),
            *("--audio-client-name=keng-loudspeaker", "--network-timeout=10", *_authorities()),
            env=sound.env,
        )

    @classmethod
    async def start(cls, *options: str, env: Mapping[str, str] | None = None) -> Mpv:
        """Start an idle mpv; raises :class:`Problem` if it is not installed."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                child = await children.start(
                    *("mpv", "--no-config", "--load-scripts=no", "--ytdl=no", "--idle=yes", "--no-terminal"),
                    *("--no-video", "--audio-display=no", *options),
                    f"--input-ipc-client=fd://{theirs.fileno()}",
                    env=env,
                    pass_fds=[theirs.fileno()],
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(child, reader, writer)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.returncode is None and not self._reading.done()

    async def ready(self) -> None:
        """Wait until it answers; raises :class:`PlayerFailed`."""
        await self.ask("request_log_messages", "error", within_s=10.0)

    async def play(self, source: Path | str, shape: Shape = Shape(), *, from_s: float = 0.0) -> None:
        """See :class:`keng_loudspeaker.playing.player.Player`."""
        await self._have("start", f"{from_s:.3f}" if from_s > 0 else "none", at_first="none")
        await self.prepare(chain(shape), shape.volume)
        await self.load(source)

    async def play_at(self, source: Path, shape: Shape, due_s: Callable[[], float]) -> str:
        """See :class:`keng_loudspeaker.playing.player.Player`. It does not fade: a fade would count from the silence
        that is before."""
        await self.prepare(chain(shape.unfaded), shape.volume)
        return await gapless.play_at(self, source, due_s)

    async def load(self, source: Path | str) -> None:
        """Begin to play a file or stream as the player is set up; :meth:`ended` tells of its end. Raises
        :class:`PlayerFailed`."""
        self._ended = asyncio.get_running_loop().create_future()
        self._last = None
        await self.ask("loadfile", str(source))

    async def prepare(self, filters: str, volume: int | None) -> None:
        """Set a chain as ``--af`` takes it, and the volume, unless None. Raises :class:`PlayerFailed`."""
        if volume is not None:
            await self._have("volume", volume, at_first=None)
        await self._have("af", filters, at_first="")

    async def hear_live(self, pipe: Path, rate: int, *, gain_db: float, volume: int | None) -> None:
        """See :class:`keng_loudspeaker.playing.player.Player`."""
        await self.prepare(voice_chain(gain_db), volume)
        for name, value in (
            ("demuxer", "lavf"),
            ("demuxer-lavf-format", "s16le"),
            ("demuxer-lavf-o", f"sample_rate={rate}"),
            ("demuxer-lavf-probe-info", "no"),
            ("demuxer-readahead-secs", 0),
            ("audio-buffer", LIVE_BUFFER_MS / 1000),
            ("pulse-buffer", LIVE_BUFFER_MS),
        ):
            await self.ask("set_property", name, value)
        await self.load(pipe)

    async def append(self, source: Path | str) -> None:
        """Play this after what plays; :meth:`ended` then tells of the end of this. Raises :class:`PlayerFailed`."""
        self._last = (await self.ask("loadfile", str(source), "append"))["playlist_entry_id"]

    async def _have(self, name: str, value: object, *, at_first: object) -> None:
        """Set a property, unless it has that value: most sounds need none, and an answer takes its time."""
        if self._properties.get(name, at_first) != value:
            await self.ask("set_property", name, value)
            self._properties[name] = value

    async def ended(self, within_s: float) -> bool:
        """See :class:`keng_loudspeaker.playing.player.Player`."""
        await asyncio.wait([self._ended], timeout=within_s)
        if not self._ended.done():
            return False
        reason = self._ended.result()
        if reason != "eof":
            raise PlayerFailed(reason)
        return True

    async def alive_still(self) -> None:
        """Raises :class:`PlayerFailed` unless it answers."""
        await self.ask("get_property", "idle-active")

    async def ask(self, *command: object, within_s: float | None = None) -> Any:
        """Run a command (mpv(1), JSON IPC) and return its data."""
        number = next(self._ids)
        self._asked[number] = future = asyncio.get_running_loop().create_future()
        try:
            if self._reading.done():
                raise PlayerFailed("player-died")
            self._writer.write(json.dumps({"command": command, "request_id": number}).encode() + b"\n")
            async with asyncio.timeout(within_s or ANSWER_S):
                answer = await future
        except TimeoutError:
            raise PlayerFailed("player-hangs") from None
        except OSError:
            raise PlayerFailed("player-died") from None
        finally:
            self._asked.pop(number, None)
        if answer.get("error") != "success":
            raise PlayerFailed(f"player-error: {answer.get('error')}")
        return answer.get("data")

    def silence(self) -> None:
        """End it at once: the sound stops with it."""
        children.kill(self._child)

    async def close(self) -> None:
        self.silence()
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        self._writer.close()
        await self._child.wait()

    async def _read(self, reader: StreamReader) -> None:
        try:
            while line := await reader.readline():
                with contextlib.suppress(ValueError):
                    self._take(json.loads(line))
        except (OSError, ValueError):
            pass  # a broken pipe, or a line beyond all measure: as good as dead
        finally:
            self._end("player-died")
            for future in self._asked.values():
                if not future.done():
                    future.set_exception(PlayerFailed("player-died"))

    def _take(self, message: dict[str, Any]) -> None:
        future = self._asked.get(message.get("request_id", 0))
        if future is not None and "error" in message:
            if not future.done():
                future.set_result(message)
        elif message.get("event") == "property-change":  # of eof-reached, in a player that keeps files open
            if message.get("data") is True:
                self._end("eof")
        elif message.get("event") == "log-message":
            self._complaint = str(message.get("text", "")).strip()[:120]
        elif message.get("event") == "end-file":
            reason = message.get("reason")
            if reason == "eof" and self._last not in (None, message.get("playlist_entry_id")):
                return
            problem = message.get("file_error") or reason
            self._end("eof" if reason == "eof" else f"player-error: {self._complaint or problem}")

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)


def _authorities() -> list[str]:
    """mpv believes any server unless it is told whom to believe."""
    file = ssl.get_default_verify_paths().cafile
    return ["--tls-verify=yes", f"--tls-ca-file={file}"] if file else ["--tls-verify=yes"]


class Mpvs:
    """Hands out fresh ones, one always ready ahead."""

    def __init__(self, sound: Sound, volume: int) -> None:
        self._sound = sound
        self._volume = volume
        self._spare: Mpv | None = None
        self._taken = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Mpvs:
        self._spare = await self._fresh()
        self._keeping = asyncio.create_task(self._keep_one_ready())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        await self._discard()

    async def take(self) -> Mpv:
        """A fresh player, the taker's to close; raises :class:`PlayerFailed` and :class:`Problem`."""
        self._taken.set()
        spare, self._spare = self._spare, None
        if spare is not None:
            if spare.alive:
                return spare
            await spare.close()
        return await self._fresh()

    async def _fresh(self) -> Mpv:
        mpv = await Mpv.spawn(self._sound, self._volume)
        try:
            await mpv.ready()
        except BaseException:
            await mpv.close()
            raise
        return mpv

    async def _discard(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.close()

    async def _keep_one_ready(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._taken.wait()
                self._taken.clear()
                await asyncio.sleep(REFILL_S)  # the job that took it is just beginning, and comes first
            try:
                if self._spare is None:
                    self._spare = await self._fresh()
                else:
                    await self._spare.alive_still()
            except (PlayerFailed, Problem) as failure:
                log.error("the spare player failed: %s", failure)
                await self._discard()
                await asyncio.sleep(ANSWER_S)
                self._taken.set()
