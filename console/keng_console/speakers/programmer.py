"""Keeps what was planned and gives each loudspeaker its signed programme, retained: when a person publishes a plan, at
every connect, and anew each day, for a programme reaches seven days ahead only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from keng_console.speakers.programme import Plan, programmes
from keng_contracts.errors import Problem
from keng_contracts.programme import Programme
from keng_contracts.registry import Registry
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.files import write_atomically
from keng_runtime.mqtt import Link, Refused
from keng_runtime.settings import explain
from keng_runtime.signing import SigningKey

log = logging.getLogger(__name__)

#: A programme is made anew after this time.
ANEW_MS = 86_400_000
LOOK_S = 5.0


class Kept(BaseModel):
    """The plan in force, who published it, and when, and of which registry, programmes were last made from it."""

    plan: Plan
    by: str
    made_ms: int
    registry: int


class Programmer:
    """``file`` keeps the plan over a restart."""

    def __init__(self, file: Path, link: Link, key: SigningKey) -> None:
        self._file = file
        self._link = link
        self._key = key
        self._kept: Kept | None = None
        self._sent = False
        try:
            self._kept = Kept.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            log.error("%s: the kept plan can't be read (%s): publish it again", file, error)

    async def publish(self, plan: Plan, registry: Registry | None, by: str) -> list[Programme]:
        """Put a plan in force; returns the programmes made from it. Raises :class:`Problem`."""
        if registry is None:
            raise Problem("there is no registry yet", where="console", todo="give it one, then publish again")
        # Never older than what the loudspeakers have, even if this clock was set back meanwhile.
        made_ms = max(now_ms(), self._kept.made_ms + 1 if self._kept else 0)
        made = _made(plan, registry, made_ms)
        kept = Kept(plan=plan, by=by, made_ms=made_ms, registry=registry.version)
        try:
            await asyncio.to_thread(write_atomically, self._file, kept.model_dump_json().encode())
        except OSError as error:
            raise Problem(f"can't be kept ({error.strerror})", where=str(self._file), todo="free the disk") from None
        self._kept, self._sent = kept, True
        log.info("programme published by %s: %d entries", by, len(plan.entries))
        self._send(made)
        return made

    async def keep(self, registry: Callable[[], Registry | None]) -> None:
        """Make and send what is due, for ever."""
        self._link.at_every_connect(self._forget)
        while True:
            self.look(registry())
            await asyncio.sleep(LOOK_S)

    def look(self, registry: Registry | None) -> None:
        """Make and send what is due now."""
        kept = self._kept
        if kept is None or registry is None or not self._link.connected:
            return
        now = now_ms()
        if now - kept.made_ms >= ANEW_MS or kept.registry != registry.version:
            self._sent = False
            made_ms = max(now, kept.made_ms + 1)
            kept = self._kept = kept.model_copy(update={"made_ms": made_ms, "registry": registry.version})
            try:
                write_atomically(self._file, kept.model_dump_json().encode())
            except OSError as error:
                log.error("%s: the plan can't be kept (%s)", self._file, error.strerror)
        if self._sent:
            return
        self._sent = True
        try:
            self._send(_made(kept.plan, registry, kept.made_ms))
        except Problem as problem:  # the registry has changed under it
            log.error("the programme can't be made any more, the loudspeakers keep the one they have: %s", problem)

    def _forget(self) -> None:
        """A new connection: a broker that lost its memory gets everything again."""
        self._sent = False

    def _send(self, made: list[Programme]) -> None:
        for programme in made:
            topic = str(Topic(programme.commune, Kind.SPEAKER, programme.speaker, Channel.PROGRAMME))
            sent = self._link.send(
                topic, self._key.sign(programme.model_dump_json(by_alias=True).encode()), retain=True
            )
            sent.add_done_callback(_told)


def _made(plan: Plan, registry: Registry, made_ms: int) -> list[Programme]:
    try:
        return programmes(plan, registry, made_ms)
    except ValidationError as error:
        raise Problem(explain(error), where="plan", todo="mend the plan") from None


def _told(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and isinstance(error := sent.exception(), Refused):
        log.error("a programme could not be published: %s; check the broker's access list", error)
