"""WAV files without mpv: read as the samples of our sinks, and kept of what sounded."""

from __future__ import annotations

import contextlib
import functools
import logging
import struct
import sys
import wave
from array import array
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from keng_loudspeaker.playing.sound import RATE
from keng_loudspeaker.proving.meter import BLOCK

log = logging.getLogger(__name__)

_HEADER = 44
#: What the module wave raises for files that are none, or no whole ones.
_BROKEN = (wave.Error, EOFError, OSError, RuntimeError, ValueError, ArithmeticError, struct.error)


class Unreadable(Exception):
    """It is no WAV file of whole numbers; the message says what it is."""


class WavReader:
    """Blocks of a WAV file (PCM of 8 to 32 bit, any rate and channels) as 16 bit mono at :data:`RATE`.

    Another rate is met by holding or leaving out samples: nobody listens to what is read so, and its level and length
    stay. Raises :class:`Unreadable`.
    """

    def __init__(self, path: Path, from_s: float = 0.0) -> None:
        try:
            self._wave = wave.open(str(path), "rb")  # noqa: SIM115 - closed by close()
        except _BROKEN as error:
            raise Unreadable(str(error) or "it is broken") from None
        self.rate = self._wave.getframerate()
        self._channels, self._width = self._wave.getnchannels(), self._wave.getsampwidth()
        if not (1000 <= self.rate <= 200_000 and 1 <= self._channels <= 8 and 1 <= self._width <= 4):
            self.close()
            raise Unreadable(f"{self._channels} channels of {8 * self._width} bit at {self.rate} Hz")
        first = min(round(from_s * self.rate), self._wave.getnframes())
        self._wave.setpos(first)
        self._left = self._wave.getnframes() - first
        self._blocks = 0
        #: How long it lasts from here, in seconds.
        self.seconds = self._left / self.rate

    def block(self) -> array[int] | None:
        """The next :data:`BLOCK` samples, with silence after the last; None when it is over, or broken off."""
        count = (self._blocks + 1) * self.rate * BLOCK // RATE - self._blocks * self.rate * BLOCK // RATE
        self._blocks += 1
        samples = self.read(count)
        if not samples:
            return None
        samples.extend([0] * (count - len(samples)))
        return spread(samples)

    def read(self, count: int) -> array[int]:
        """The next samples at the file's own rate; fewer at the end, and where it is broken off."""
        try:
            data = self._wave.readframes(count) if self._left > 0 else b""
        except _BROKEN:
            data = b""
        self._left -= count
        return _mono(sixteen_bit(data, self._width), self._channels)

    def close(self) -> None:
        self._wave.close()


def sixteen_bit(data: bytes, width: int = 2) -> array[int]:
    """Little-endian samples of ``width`` bytes, reduced or widened to two."""
    data = data[: len(data) // width * width]
    if width != 2:
        high = bytes(byte ^ 0x80 for byte in data) if width == 1 else data[width - 1 :: width]
        both = bytearray(2 * len(high))
        both[1::2] = high
        if width > 2:
            both[::2] = data[width - 2 :: width]
        data = bytes(both)
    samples = array("h")
    samples.frombytes(data)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _mono(samples: array[int], channels: int) -> array[int]:
    if channels == 1:
        return samples
    whole = len(samples) // channels * channels
    return array("h", [sum(samples[i : i + channels]) // channels for i in range(0, whole, channels)])


def spread(samples: array[int]) -> array[int]:
    """A block of another rate as :data:`BLOCK` samples."""
    return samples if len(samples) == BLOCK else array("h", _picker(len(samples))(samples))


@functools.lru_cache(maxsize=32)
def _picker(count: int) -> Callable[[array[int]], tuple[Any, ...]]:
    return itemgetter(*(i * count // BLOCK for i in range(BLOCK)))


class Recording:
    """What sounded last, in two WAV files of ``seconds`` together: when ``file`` is full it becomes ``file``'s
    neighbour ``…-before.wav``. A disk that takes nothing changes nothing else. With 0 seconds nothing is kept."""

    def __init__(self, file: Path, seconds: float) -> None:
        self._path = file
        self._before = file.with_name(f"{file.stem}-before{file.suffix}")
        self._most = round(seconds / 2 * RATE) * 2
        self._complaint = ""
        self._file: BinaryIO | None = None
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """Samples that sounded, 16 bit little-endian."""
        if not self._most:
            return
        try:
            file = self._open()
            file.write(data)
            self._bytes += len(data)
            self._finish_header(file)
            if self._bytes >= self._most:
                self.close()
                self._path.replace(self._before)
            self._complaint = ""
        except OSError as error:
            self.close()
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("what sounds can't be kept (%s)", error)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = self._path.open("r+b" if self._path.exists() else "w+b", buffering=0)
            self._bytes = max(0, self._file.seek(0, 2) - _HEADER)
            self._finish_header(self._file)
        return self._file

    def _finish_header(self, file: BinaryIO) -> None:
        """Each time: a node may be killed, and the file can be listened to all the same."""
        file.seek(0)
        file.write(
            struct.pack(
                "<4sI8sIHHIIHH4sI",
                b"RIFF",
                36 + self._bytes,
                b"WAVEfmt ",
                16,
                1,
                1,
                RATE,
                2 * RATE,
                2,
                16,
                b"data",
                self._bytes,
            )
        )
        file.seek(_HEADER + self._bytes)
