"""Damaged outboxes that were moved aside for someone to look at: the newest few, that they may not fill the card."""

from __future__ import annotations

import logging
from pathlib import Path

from keng_edge.outbox.file import OutboxUnavailable

log = logging.getLogger(__name__)

#: So many are kept.
KEPT = 3
_JOURNALS = ("-wal", "-shm")


def move_aside(path: Path, stamp: str, why: str, max_bytes: int) -> Path:
    """Move a damaged outbox to ``<path>.damaged-<stamp>`` with its journal; where it is now.

    It is kept, and the newest of those before it as long as there are no more than :data:`KEPT`, in ``max_bytes``.
    Raises :class:`OutboxUnavailable` where the disk does not allow it.
    """
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 2
    try:
        while aside.exists():
            aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
            number += 1
        for suffix in ("", *_JOURNALS):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(aside.with_name(aside.name + suffix))
        log.error("the outbox was damaged (%s); it is kept as %s, and a new one begun", why, aside)
        _forget(aside, [file for file in reversed(damaged(path)) if file != aside], max_bytes)
    except OSError as error:
        raise OutboxUnavailable(f"the outbox is damaged and can't be moved aside ({error.strerror})") from None
    return aside


def damaged(path: Path) -> list[Path]:
    """The outboxes that were moved aside and still lie there, by the time in their names; none of a dead disk."""
    try:
        return sorted(file for file in path.parent.glob(f"{path.name}.damaged-*") if not file.name.endswith(_JOURNALS))
    except OSError:
        return []


def _forget(newest: Path, before: list[Path], max_bytes: int) -> None:
    """Remove what is one too many. The clock may be wrong now: ``newest`` is the one that was just made."""
    total = _bytes(newest)
    for place, file in enumerate(before, 2):
        total += _bytes(file)
        if place > KEPT or total > max_bytes:
            log.warning("%s is removed: newer damaged outboxes are kept", file)
            for part in _parts(file):
                part.unlink(missing_ok=True)


def _bytes(file: Path) -> int:
    return sum(part.stat().st_size for part in _parts(file) if part.exists())


def _parts(file: Path) -> list[Path]:
    return [file.with_name(file.name + suffix) for suffix in ("", *_JOURNALS)]
