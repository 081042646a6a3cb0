"""Sound files on disk, named by what they were made from; made once, and the least used go when room is needed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import wave
from pathlib import Path

log = logging.getLogger(__name__)


def seconds(path: Path) -> float | None:
    """How long a WAV file sounds; None if it is not there or not whole (a power cut while it was written)."""
    try:
        with wave.open(str(path), "rb") as sound:
            frames, rate = sound.getnframes(), sound.getframerate()
            promised = frames * sound.getnchannels() * sound.getsampwidth()
        return frames / rate if rate and frames and path.stat().st_size >= promised + 44 else None
    except (OSError, EOFError, wave.Error):
        return None


class Cache:
    """Two folders: ``kept`` survives restarts and is bounded; ``spare`` (in memory under systemd) takes over when the
    disk does not. A full disk must not silence a siren."""

    def __init__(self, kept: Path, spare: Path, max_bytes: int) -> None:
        self._folders = (kept, spare)
        self._max_bytes = max_bytes

    def find(self, kind: str, key: str) -> Path | None:
        """The whole file of that key, if it is there."""
        for folder in self._folders:
            path = folder / _name(kind, key)
            if seconds(path) is not None:
                with contextlib.suppress(OSError):
                    os.utime(path)  # it was used: it goes last
                return path
        return None

    def places(self, kind: str, key: str) -> list[Path]:
        """Where to make it: temporary names, best first; hand the one that worked to :meth:`keep`."""
        return [folder / f".{_name(kind, key)}.{secrets.token_hex(4)}" for folder in self._folders]

    def keep(self, temporary: Path) -> Path:
        """Give a finished file its name, and make room. Raises OSError."""
        path = temporary.with_name(temporary.name[1:].rpartition(".")[0])
        temporary.replace(path)
        self._make_room(path)
        return path

    def _make_room(self, newest: Path) -> None:
        files = []
        for path in newest.parent.iterdir():
            with contextlib.suppress(OSError):
                stat = path.stat()
                files.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._max_bytes:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                total -= size

    def prepare(self) -> None:
        """Make the folders and clear away what an interrupted run left half made."""
        for folder in self._folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for left in folder.glob(".*"):
                    left.unlink(missing_ok=True)
            except OSError as error:
                log.error("%s: sounds can't be kept there (%s); free the disk or mend its mode", folder, error.strerror)


def _name(kind: str, key: str) -> str:
    return f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.wav"
