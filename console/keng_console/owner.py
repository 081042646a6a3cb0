"""The owner of the registry: takes what people wrote once it is right, and never lets a mistake replace what holds.

What happens to a file is one table, :func:`judge`:

==========================================  =============  ============================================
the file                                    verdict        what is in force then
==========================================  =============  ============================================
can't be read or has mistakes               (Problem)      the last valid version; the page says so
same version, same content                  UNCHANGED      the same
same version, other content                 NOT_RAISED     the last valid version; the page says so
lower version                               OLDER          the last valid version; the page says so
another commune                             OTHER_COMMUNE  the last valid version; the page says so
higher version                              TAKEN          the file, after the database has it
==========================================  =============  ============================================
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from keng_console import registry_file
from keng_console.database import Database, DatabaseUnavailable
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_contracts.topics import Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Refused
from keng_runtime.signing import SigningKey

log = logging.getLogger(__name__)

POLL_S = 1.0


class Verdict(StrEnum):
    TAKEN = "taken"
    UNCHANGED = "unchanged"
    NOT_RAISED = "not-raised"
    OLDER = "older"
    OTHER_COMMUNE = "other-commune"


def judge(in_force: Registry | None, offered: Registry) -> Verdict:
    """What becomes of an offered registry that is valid in itself."""
    if in_force is None:
        return Verdict.TAKEN
    if offered.commune.id != in_force.commune.id:
        return Verdict.OTHER_COMMUNE
    if offered.version > in_force.version:
        return Verdict.TAKEN
    if offered.version < in_force.version:
        return Verdict.OLDER
    return Verdict.UNCHANGED if offered == in_force else Verdict.NOT_RAISED


def objection(verdict: Verdict, in_force: Registry, offered: Registry, where: str) -> Problem | None:
    """Why a file is not taken, for the person who wrote it; None when nothing is wrong."""
    if verdict is Verdict.NOT_RAISED:
        return Problem(
            f"was changed, but its version is still {offered.version}",
            where=where,
            todo=f"set version to {in_force.version + 1}",
        )
    if verdict is Verdict.OLDER:
        return Problem(
            f"has version {offered.version}, and version {in_force.version} is in force already",
            where=where,
            todo=f"set version to {in_force.version + 1} if it shall hold",
        )
    if verdict is Verdict.OTHER_COMMUNE:
        return Problem(
            f"is the registry of {offered.commune.id!r}, and this console serves {in_force.commune.id!r}",
            where=where,
            todo="give another commune its own console, or start with an empty state folder",
        )
    return None


class Owner:
    """Holds the registry in force and offers it, signed and retained, at every connect.

    ``current`` is None until the first valid file; ``fault`` is why the file on disk is not what holds.
    """

    def __init__(self, file: Path, database: Database, key: SigningKey, changed: Callable[[], None]) -> None:
        self._file = file
        self._database = database
        self._key = key
        self._changed = changed
        self._seen: tuple[int, int, int] | str | None = "nothing yet"
        self.current: Registry | None = None
        self.taken_ms = 0
        self.fault: Problem | None = None
        self.ready = asyncio.Event()
        kept = database.registry_in_force()
        if kept is not None:
            self._put_in_force(Registry.model_validate_json(kept.document), kept.taken_ms)

    def look(self) -> bool:
        """Read the file if it has changed since the last look; whether a new version was taken. Blocks for the disk."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        before, taken = self.fault, False
        try:
            taken = self._offer(registry_file.read(self._file))
            self._seen = stamp
        except Problem as problem:
            self.fault = problem
            self._seen = stamp
        except DatabaseUnavailable as error:  # looked at again at the next turn
            self.fault = Problem(f"can't be kept ({error})", where="operational database", retried=True)
        if self.fault is not None and str(self.fault) != str(before):
            held = f"; version {self.current.version} stays in force" if self.current else "; there is none in force"
            log.warning("%s%s", self.fault, held)
        return taken

    def _offer(self, offered: Registry) -> bool:
        verdict = judge(self.current, offered)
        if verdict is Verdict.TAKEN:
            taken_ms = now_ms()
            self._database.keep_registry(offered.version, document(offered), taken_ms)
            self.fault = None
            self._put_in_force(offered, taken_ms)
            return True
        assert self.current is not None  # judge takes the first one
        self.fault = objection(verdict, self.current, offered, str(self._file))
        return False

    def _put_in_force(self, registry: Registry, taken_ms: int) -> None:
        self.current, self.taken_ms = registry, taken_ms
        log.info("registry of %s, version %d, is in force", registry.commune.name, registry.version)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self._file.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    async def watch(self, link: Link) -> None:
        """Look at the file again and again, and publish: at every connect, and when a version was taken."""
        if self.current is not None:
            self.ready.set()
        link.at_every_connect(lambda: self.publish(link))
        while True:
            before = self.fault
            taken = await asyncio.to_thread(self.look)
            if taken:
                self.ready.set()
                if link.connected:
                    self.publish(link)
            if taken or self.fault is not before:
                self._changed()
            await asyncio.sleep(POLL_S)

    def publish(self, link: Link) -> None:
        """Hand the signed registry to the broker, to keep for everyone who comes later."""
        if self.current is None:
            return
        topic = str(Topic(self.current.commune.id, Kind.REGISTRY))
        sent = link.send(topic, self._key.sign(document(self.current).encode()), retain=True)
        sent.add_done_callback(_told)


def document(registry: Registry) -> str:
    """The registry as it is signed: JSON under the names that ``commune.toml`` uses."""
    return registry.model_dump_json(by_alias=True)


def _told(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and isinstance(error := sent.exception(), Refused):
        log.error("the registry could not be published: %s; check the broker's access list", error)
