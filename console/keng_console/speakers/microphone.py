"""Sound as it is spoken: a microphone of this machine, or standard input. 16-bit mono at 16 kHz."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from array import array
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from operator import mul

from keng_contracts.errors import Problem
from keng_runtime.live_voice import FRAME_BYTES, RATE

#: Even a silent room comes as sound, and at once.
OPEN_S = 5.0


@contextlib.asynccontextmanager
async def microphone(source: str) -> AsyncIterator[asyncio.StreamReader]:
    """The sound of a source of the sound server, or of the default one; raises :class:`Problem`."""
    where = source or "default microphone"
    try:
        child = await asyncio.create_subprocess_exec(
            *("parec", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=1", "--latency-msec=20"),
            *("--client-name=keng-console", "--stream-name=voice", *([f"--device={source}"] if source else [])),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the speaker, who has a last word to send
        )
    except FileNotFoundError:
        todo = "apt-get install pulseaudio-utils, or speak from a browser: --link"
        raise Problem("parec is not installed", where=where, todo=todo) from None
    try:
        assert child.stdout is not None
        try:
            async with asyncio.timeout(OPEN_S):
                await child.stdout.readexactly(FRAME_BYTES)
        except (TimeoutError, asyncio.IncompleteReadError):
            todo = "give one of 'pactl list short sources' with --source, or speak from a browser: --link"
            raise Problem("nothing can be heard from it", where=where, todo=todo) from None
        yield child.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


@contextlib.asynccontextmanager
async def standard_input() -> AsyncIterator[asyncio.StreamReader]:
    """What another program pipes in."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    try:
        yield reader
    finally:
        transport.close()


def level_dbfs(sound: bytes) -> float:
    """RMS of some samples in dB below full scale, -90 at the least."""
    samples = array("h", sound[: len(sound) // 2 * 2])
    square = sum(map(mul, samples, samples)) / max(1, len(samples)) / 32768**2
    return max(-90.0, 10 * math.log10(square)) if square > 0 else -90.0
