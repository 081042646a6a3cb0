"""The programme as the node has it."""

from __future__ import annotations

import logging
from pathlib import Path

from keng_contracts.programme import Programme
from keng_runtime.kept import Kept
from keng_runtime.signing import TrustStore

log = logging.getLogger(__name__)


class ProgrammeCopy(Kept[Programme]):
    """The last valid programme of ``speaker``: see :class:`keng_runtime.kept.Kept`."""

    def __init__(self, trust: TrustStore, file: Path, commune: str, speaker: str) -> None:
        self._whose = (commune, speaker)
        super().__init__(trust, file, Programme, "programme")

    def offer(self, token: bytes) -> str | None:
        """Take a signed programme if it is valid, newer and for this loudspeaker. Returns why not; None if it was
        taken, and an empty text for one that is known already."""
        objection = self.take(token)
        if objection is None and self.current is not None:
            log.info("programme of version %d, %d occurrences", self.current.version, len(self.current.occurrences))
        return objection

    def _objection(self, document: Programme) -> str:
        mine = (document.commune, document.speaker) == self._whose
        return "" if mine else f"not-for-me: it is that of {document.speaker} in {document.commune}"
