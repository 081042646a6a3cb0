"""One agent a state folder: two would count and send each other's packs."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keng_contracts.errors import Problem

log = logging.getLogger(__name__)


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the state folder for this process alone; raises :class:`Problem` if another agent does.

    The folder itself is locked, no file in it: a disk that is full or read-only has it too. One that can't even
    be opened has no outbox that two could share, and the agent runs without it.
    """
    try:
        descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        log.warning(
            "%s",
            Problem(f"can't be opened ({error.strerror}): the agent runs without it", where=str(state), retried=True),
        )
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(
                "another agent uses this outbox", where=str(state), todo="stop it, or set another 'state' folder"
            ) from None
        except OSError as error:
            log.warning("%s", Problem(f"can't be locked ({error.strerror})", where=str(state)))
        yield
    finally:
        os.close(descriptor)
