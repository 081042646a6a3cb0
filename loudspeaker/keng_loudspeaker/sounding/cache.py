"""Sound files on disk, named by what they were made from; made once, and the least used go when room is needed.

Some are protected: what the emergency set and the registry's sirens are made of stays, whatever else needs room.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import wave
from collections.abc import Callable, Iterable
from pathlib import Path

from keng_runtime.files import write_atomically

log = logging.getLogger(__name__)

#: What is known of a sound stands in a file beside it, with this added to its name.
BESIDE = ".json"
_PROTECTED = "protected.list"


def seconds(path: Path) -> float | None:
    """How long a WAV file sounds; None if it is not there or not whole (a power cut while it was written)."""
    try:
        with wave.open(str(path), "rb") as sound:
            frames, rate = sound.getnframes(), sound.getframerate()
            promised = frames * sound.getnchannels() * sound.getsampwidth()
        return frames / rate if rate and frames and path.stat().st_size >= promised + 44 else None
    except (OSError, EOFError, wave.Error):
        return None


def named(kind: str, key: str) -> str:
    """The name of a sound that is made here."""
    return f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.wav"


class Cache:
    """Two folders: ``kept`` survives restarts and is bounded; ``spare`` (in memory under systemd) takes over when the
    disk does not. A full disk must not silence a siren."""

    def __init__(self, kept: Path, spare: Path, max_bytes: int) -> None:
        self._folders = (kept, spare)
        self.max_bytes = max_bytes
        self._protected: dict[str, list[str]] = {}

    def find(self, name: str, whole: Callable[[Path], bool] = lambda path: seconds(path) is not None) -> Path | None:
        """The whole file of that name, if it is there."""
        for folder in self._folders:
            path = folder / name
            if path.exists() and whole(path):
                with contextlib.suppress(OSError):
                    os.utime(path)  # it was used: it goes last
                return path
        return None

    def places(self, name: str) -> list[Path]:
        """Where to make it: temporary names, best first; hand the one that worked to :meth:`keep`."""
        return [folder / f".{name}.{secrets.token_hex(4)}" for folder in self._folders]

    def parts(self, name: str) -> list[Path]:
        """Where to fetch it in several goes, best first: these names survive a restart."""
        return [folder / f"{name}.part" for folder in self._folders]

    def keep(self, temporary: Path) -> Path:
        """Give a finished file its name, and make room. Raises OSError."""
        name = temporary.name.removesuffix(".part")
        if name.startswith("."):
            name = name[1:].rpartition(".")[0]
        path = temporary.with_name(name)
        temporary.replace(path)
        self.make_room(path)
        return path

    def make_room(self, newest: Path, more: int = 0) -> None:
        """Let the least used files beside ``newest`` go until there is room for them and ``more`` bytes."""
        safe = {name for names in self._protected.values() for name in names} | {newest.name, _PROTECTED}
        files = []
        with contextlib.suppress(OSError):
            for path in newest.parent.iterdir():
                with contextlib.suppress(OSError):
                    stat = path.stat()
                    files.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in files) + more
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                break
            if path.name.removesuffix(BESIDE) not in safe:
                path.unlink(missing_ok=True)
                total -= size

    def protect(self, owner: str, names: Iterable[str]) -> None:
        """From now on these files stay for ``owner``, and no longer those that it had named before."""
        wanted = sorted(set(names))
        if self._protected.get(owner, []) == wanted:
            return
        self._protected[owner] = wanted
        try:
            write_atomically(self._folders[0] / _PROTECTED, json.dumps(self._protected).encode())
        except OSError as error:
            log.error("what must stay in the cache can't be written down (%s); free the disk", error.strerror)

    def protected(self, owner: str) -> list[str]:
        return self._protected.get(owner, [])

    def prepare(self) -> None:
        """Make the folders and clear away what an interrupted run left half made."""
        for folder in self._folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for left in folder.glob(".*"):
                    left.unlink(missing_ok=True)
            except OSError as error:
                log.error("%s: sounds can't be kept there (%s); free the disk or mend its mode", folder, error.strerror)
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            read = json.loads((self._folders[0] / _PROTECTED).read_bytes())
            self._protected = {str(owner): [str(name) for name in names] for owner, names in read.items()}
