"""CAP as a part of the console: what it needs put together, and what runs of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter

from keng_console.cap.bulletins import Bulletins
from keng_console.cap.intake import Intake
from keng_console.cap.issue import Issuer
from keng_console.cap.poll import Poller
from keng_console.cap.records import Records
from keng_console.cap.settings import CapSettings
from keng_console.cap.signature import Signer, SigningPair, load_signer
from keng_console.cap.web import router
from keng_console.database import Database
from keng_console.live import Live
from keng_console.speakers.sender import Speakers
from keng_contracts.errors import Problem
from keng_runtime.credentials import Credentials

log = logging.getLogger(__name__)


class Exchange:
    """``changed`` is called when a page should show something new."""

    def __init__(
        self,
        settings: CapSettings,
        credentials: Credentials,
        speakers: Speakers,
        live: Live,
        database: Database,
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        records = Records(database.engine)

        def sender() -> str:
            return settings.sender or f"keng.{live.registry.commune.id if live.registry else 'unknown'}"

        signers = _signers(settings)
        self._intake = Intake(speakers, records, live, signers, changed)
        self.bulletins = Bulletins(records, signers)
        self.routes: APIRouter = router(settings, sender, live, records, self._intake)
        pair = _pair(credentials) if settings.issue else None
        valid_ms = round(settings.valid_h * 3_600_000)
        self._issuer = Issuer(live, records, pair, sender, valid_ms, changed) if pair else None

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """What runs as long as the console does."""
        threads = ThreadPoolExecutor(2, "cap-poll")
        jobs = [Poller(feed, self._intake, threads).run() for feed in self._settings.feeds]
        return [*jobs, self._issuer.run()] if self._issuer else jobs


def _signers(settings: CapSettings) -> list[Signer]:
    """Those whose certificate can be read. One that can't must not keep the console from what else it does."""
    found = []
    for sender in settings.senders:
        try:
            found.append(load_signer(sender.name, sender.certificate, sender.senders))
        except Problem as problem:
            log.error("messages of %s are not believed: %s", sender.name, problem)
    return found


def _pair(credentials: Credentials) -> SigningPair | None:
    pair = SigningPair.load(credentials.folder)
    if pair is None:
        todo = "run 'keng provision' again and copy the console's folder here"
        problem = Problem(
            "is missing, so no CAP message is issued", where=str(credentials.folder / "cap.key"), todo=todo
        )
        log.warning("%s", problem)
    return pair
