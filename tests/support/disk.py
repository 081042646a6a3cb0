"""A disk that can be full: a small file system in memory. Needs the right to mount; elsewhere the test is skipped."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PAGE = 4096


class SmallDisk:
    """Mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave room for not one byte more."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def make_room(self) -> None:
        self._filler.unlink()


def copy_all(folder: Path, to: Path) -> None:
    """A copy that takes no more room: SQLite's shared memory has holes in it."""

    def copy(source: str, target: str) -> None:
        if not source.endswith("-shm"):
            shutil.copy2(source, target)
            return
        data = Path(source).read_bytes()
        with Path(target).open("wb") as file:
            for at in range(0, len(data), _PAGE):
                if any(page := data[at : at + _PAGE]):
                    file.seek(at)
                    file.write(page)
            file.truncate(len(data))

    shutil.copytree(folder, to, copy_function=copy)


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[SmallDisk]:
    """``mib`` MiB at ``path``, which is made."""
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
