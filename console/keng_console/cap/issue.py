"""Issues CAP messages: looks at the alerts again and again, keeps what has to be said, and only then shows it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from zoneinfo import ZoneInfo

from keng_console.cap import xml
from keng_console.cap.alarms import public
from keng_console.cap.compose import Issued, Sender, due
from keng_console.cap.message import Message
from keng_console.cap.records import Records
from keng_console.cap.signature import SigningPair, sign
from keng_console.database import DatabaseUnavailable
from keng_console.live import Live
from keng_contracts.registry import Registry
from keng_runtime.clock import now_ms

log = logging.getLogger(__name__)

PERIOD_S = 1.0


class Issuer:
    """``changed`` is called when something was issued."""

    def __init__(
        self,
        live: Live,
        records: Records,
        pair: SigningPair,
        sender: Callable[[], str],
        valid_ms: int,
        changed: Callable[[], None],
    ) -> None:
        self._live = live
        self._records = records
        self._pair = pair
        self._sender = sender
        self._valid_ms = valid_ms
        self._changed = changed
        self._issued: dict[str, list[Issued]] | None = None
        self._complaint = ""
        self._odd: set[str] = set()

    async def run(self) -> None:
        """For ever. A database that does not answer is asked again: nothing is published that is not kept."""
        while True:
            try:
                await self._turn()
                self._complaint = ""
            except DatabaseUnavailable as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    log.warning("no CAP message can be issued: the database does not answer (%s)", error)
            await asyncio.sleep(PERIOD_S)

    async def _turn(self) -> None:
        registry, now = self._live.registry, now_ms()
        if registry is None:
            return
        if self._issued is None:
            self._issued = await asyncio.to_thread(self._records.issued_since, now)
        sender = Sender(self._sender(), self._valid_ms)
        for id_, document in list(self._live.alerts.items()):
            if not public(document):
                continue
            before = self._issued[id_] = [one for one in self._issued.get(id_, []) if one.expires_ms > now]
            try:
                found = due(document, registry, before, sender, now)
                text = await asyncio.to_thread(self._write, found[0], registry) if found else ""
            except Exception:  # a fault of ours over one alert must not end what the console does for the others
                if id_ not in self._odd:
                    self._odd.add(id_)
                    log.exception("%s: no CAP message can be made of it", id_)
                continue
            if found is None:
                continue
            message, issued = found
            await asyncio.to_thread(self._records.keep_issued, issued, message.infos[0].headline, text)
            self._issued[id_] = [*before, issued]
            log.info("CAP %s %s: %s", message.msg_type, message.identifier, message.infos[0].headline)
            self._changed()

    def _write(self, message: Message, registry: Registry) -> str:
        return sign(xml.write(message, ZoneInfo(registry.commune.timezone)), self._pair).decode()
