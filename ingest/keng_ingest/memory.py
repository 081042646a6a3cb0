"""The windows of the quality control, by series: on disk every now and then, so that a restart begins where it ended.

They are a few numbers a series and good to have, nothing that a receipt rests on: after a crash the file is some
seconds old, and one that can't be read or written costs a few verdicts and no reading.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container
from pathlib import Path

from keng_runtime.files import write_atomically
from keng_signals.quality import Window

log = logging.getLogger(__name__)

#: How old the file may become while readings flow, in ms.
SAVE_AFTER_MS = 10_000


class Windows(dict[str, Window]):
    """All windows; :func:`keng_ingest.sort.sort` adds and changes them."""

    def __init__(self, path: Path, now_ms: int) -> None:
        super().__init__()
        self._path = path
        self._saved_ms = now_ms
        try:
            self.update({series: Window.load(dumped) for series, dumped in json.loads(path.read_bytes()).items()})
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError) as error:
            log.warning("%s can't be read (%s): quality control begins anew", path, error)

    def keep_only(self, series: Container[str]) -> None:
        """Forget what the registry no longer has."""
        for gone in [name for name in self if name not in series]:
            del self[gone]

    def save_if_due(self, now_ms: int) -> None:
        """Call it after every batch."""
        if not 0 <= now_ms - self._saved_ms < SAVE_AFTER_MS:
            self.save(now_ms)

    def save(self, now_ms: int) -> None:
        """Write the file; a disk that takes nothing is told of and goes on."""
        self._saved_ms = now_ms
        dumped = {series: window.dump() for series, window in self.items()}
        try:
            write_atomically(self._path, json.dumps(dumped, separators=(",", ":"), allow_nan=False).encode())
        except OSError as error:
            log.warning("the windows of quality control can't be written (%s)", error)
