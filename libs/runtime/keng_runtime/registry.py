"""The registry as its consumers have it."""

from __future__ import annotations

import logging
from pathlib import Path

from keng_contracts.registry import Registry
from keng_runtime.kept import Kept
from keng_runtime.signing import TrustStore

log = logging.getLogger(__name__)


class RegistryCopy(Kept[Registry]):
    """See :class:`keng_runtime.kept.Kept`."""

    def __init__(self, trust: TrustStore, file: Path) -> None:
        super().__init__(trust, file, Registry, "registry")

    def offer(self, token: bytes) -> bool:
        """Take a signed registry if it is valid and newer; whether it was taken. An invalid one is logged and left."""
        objection = self.take(token)
        if objection:
            log.warning("a registry is not taken: %s; the last valid one stays in force", objection)
        if objection is not None or self.current is None:
            return False
        log.info("registry of %s, version %d", self.current.commune.name, self.current.version)
        return True
