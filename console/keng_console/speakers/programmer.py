"""Keeps what was planned and gives each loudspeaker its signed programme, retained: once a plan is in force, at every
connect, and anew each day, for a programme reaches seven days ahead only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from keng_console.database import DatabaseUnavailable
from keng_console.speakers.approval import ProgrammeSettings, Shelf, Version, approve, in_force, publish
from keng_console.speakers.plans import Plans
from keng_console.speakers.preview import showing
from keng_console.speakers.programme import Plan, programmes
from keng_console.speakers.quota import faults, length
from keng_contracts.errors import Problem
from keng_contracts.programme import SPAN_MS, Programme
from keng_contracts.registry import Registry
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Refused
from keng_runtime.settings import explain
from keng_runtime.signing import SigningKey

log = logging.getLogger(__name__)

#: A programme is made anew after this time.
ANEW_MS = 86_400_000
LOOK_S = 5.0
#: So many weeks are looked at before a plan is taken: what comes once a month comes in one of them.
WEEKS = 5
#: Faults of the quota that are told at once.
MOST_FAULTS = 5


class Programmer:
    """``registry`` gives the one in force."""

    def __init__(
        self,
        plans: Plans,
        link: Link,
        key: SigningKey,
        rule: ProgrammeSettings,
        registry: Callable[[], Registry | None],
    ) -> None:
        self._plans = plans
        self._link = link
        self._key = key
        self._rule = rule
        self._registry = registry
        self._one = asyncio.Lock()
        self._shelf, self._made_ms, self._made_of = plans.shelf()
        self._sent = False

    # -- what people do -----------------------------------------------------------------------------------------

    async def publish(self, plan: Plan, by: str, why: str) -> dict[str, Any]:
        """A plan is published, as a draft or in force as the rule says. ``why`` lets it be more than the quota allows.
        Returns what :meth:`show` does; raises :class:`Problem`."""
        registry = self._there()
        async with self._one:
            made_ms = self._next_ms()
            await asyncio.to_thread(self._check, plan, registry, by, why)
            version = publish(Version(plan, by, now_ms(), why), self._rule)
            shelf = Shelf(self._shelf.in_force, version) if version.approved_ms is None else Shelf(version)
            await self._take(shelf, registry, made_ms, lambda: self._plans.keep(version, made_ms, registry.version))
            log.info("programme %s published by %s: %d entries", version.name, by, len(plan.entries))
        return self.show()

    async def approve(self, name: str, by: str) -> dict[str, Any]:
        """The draft of that name is put in force; the same."""
        registry = self._there()
        async with self._one:
            made_ms = self._next_ms()
            version = approve(self._shelf, name, by, now_ms(), self._rule)
            await asyncio.to_thread(self._check, version.plan, registry, version.by, version.why)
            keep = self._plans.keep_approved
            await self._take(Shelf(version), registry, made_ms, lambda: keep(version, made_ms, registry.version))
            log.info("programme %s of %s approved by %s", version.name, version.by, by)
        return self.show()

    def show(self) -> dict[str, Any]:
        """What is in force, what waits for approval, and what comes of both; raises :class:`Problem`."""
        return showing(self._shelf, self._rule, self._there(), now_ms())

    def _there(self) -> Registry:
        if (registry := self._registry()) is None:
            raise Problem("there is no registry yet", where="console", todo="give it one, then try again")
        return registry

    def _check(self, plan: Plan, registry: Registry, by: str, why: str) -> None:
        """Raise :class:`Problem` for what must not be on air, this week or one of the next. They are looked at from
        midnight on, so that each day is whole."""
        for entry in plan.entries:
            if entry.night is not None and entry.night.strip().casefold() == by.casefold():
                what = "phải là người thứ hai đồng ý (who agrees to the night must be another person)"
                raise Problem(what, where=f"entry {entry.id}", todo="name the second person in 'night'")
        today = datetime.fromtimestamp(now_ms() / 1000, ZoneInfo(registry.commune.timezone))
        midnight_ms = round(today.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
        weeks = (midnight_ms + week * SPAN_MS for week in range(WEEKS))
        made = [programme for from_ms in weeks for programme in _made(plan, registry, from_ms)]
        lengths = {entry.id: length(entry, entry.lasts_min) for entry in plan.entries}
        found = [] if why else faults(made, lengths, self._rule.quota)
        if found:
            more = f"; … {len(found) - MOST_FAULTS}" if len(found) > MOST_FAULTS else ""
            what = f"vượt quy định phát (more than the quota allows): {'; '.join(found[:MOST_FAULTS])}{more}"
            raise Problem(what, where="plan", todo="mend the plan, or say why it must be: --override REASON")

    async def _take(self, shelf: Shelf, registry: Registry, made_ms: int, keep: Callable[[], None]) -> None:
        """Another shelf: kept first, then what has changed by it goes to the loudspeakers."""
        try:
            await asyncio.to_thread(keep)
        except DatabaseUnavailable as error:
            what = f"can't be kept ({error}): nothing was changed"
            raise Problem(what, where="operational database", todo="mend that, then try again") from None
        before, self._shelf = in_force(self._shelf), shelf
        self._made_ms, self._made_of = made_ms, registry.version
        if in_force(shelf) != before:
            self._sent = False
            await self._look()

    # -- what the loudspeakers have -----------------------------------------------------------------------------

    async def keep(self) -> None:
        """Make and send what is due, for ever."""
        self._link.at_every_connect(self._forget)
        while True:
            async with self._one:
                await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        """Make and send what is due now."""
        registry, plan = self._registry(), in_force(self._shelf)
        if plan is None or registry is None or not self._link.connected:
            return
        if now_ms() - self._made_ms >= ANEW_MS or self._made_of != registry.version:
            self._sent = False
            self._made_ms, self._made_of = self._next_ms(), registry.version
            try:
                await asyncio.to_thread(self._plans.keep_made, self._made_ms, self._made_of)
            except DatabaseUnavailable as error:
                log.error("that programmes were made anew can't be kept (%s)", error)
        if self._sent:
            return
        self._sent = True
        try:
            self._send(_made(plan, registry, self._made_ms))
        except Problem as problem:  # the registry has changed under it
            log.error("the programme can't be made any more, the loudspeakers keep the one they have: %s", problem)

    def _next_ms(self) -> int:
        """Never older than what the loudspeakers have, even if this clock was set back meanwhile."""
        return max(now_ms(), self._made_ms + 1)

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
