"""Settings on trial: what becomes of those that broke the link, over restarts too.

Settings read anew by command are on trial until the broker and a receipt are reached with them. From then until they
are found good, ``edge-trial.json`` in the state folder has them and the last good ones, and says whether they were
taken back. The next start that finds the same settings in its file runs the good ones; others are tried in their
place. Settings hold paths and numbers, no secret.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from keng_contracts.errors import Problem
from keng_edge.settings import EdgeSettings
from keng_runtime.files import write_atomically

log = logging.getLogger(__name__)

_FILE = "edge-trial.json"


@dataclass(frozen=True, slots=True)
class Trial:
    """``tried`` against ``good``. ``why`` they were taken back; empty: they were not, or not yet."""

    tried: EdgeSettings
    good: EdgeSettings
    why: str = ""

    @property
    def problem(self) -> str:
        """For log, status and ``keng edge check``."""
        return f"these settings were taken back, and the last good ones run: {self.why}" if self.why else ""

    def save(self) -> None:
        """Keep it where the next start with these settings looks."""
        document = {name: one.model_dump(mode="json", by_alias=True) for name, one in self._both()} | {"why": self.why}
        path = self.tried.state / _FILE
        try:
            write_atomically(path, json.dumps(document).encode(), 0o600)
        except OSError as error:
            text = f"a trial of settings can't be kept ({os.strerror(error.errno or 0)}): it is forgotten at a restart"
            log.warning("%s", Problem(text, where=str(path), todo="make room on the disk"))

    def _both(self) -> tuple[tuple[str, EdgeSettings], ...]:
        return ("tried", self.tried), ("good", self.good)


def read(state: Path) -> Trial | None:
    """The trial that did not end well; None: there is none, or it can't be read."""
    try:
        document = json.loads((state / _FILE).read_bytes())
        tried, good = (EdgeSettings.model_validate(document[name]) for name in ("tried", "good"))
        return Trial(tried, good, str(document["why"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s", Problem(f"can't be read ({error})", where=str(state / _FILE), todo="nothing: it is left"))
        return None


def forget(state: Path) -> None:
    """The settings are good."""
    try:
        (state / _FILE).unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s", Problem(f"can't be removed ({error.strerror})", where=str(state / _FILE)))
