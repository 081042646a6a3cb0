"""The registry as its consumers have it: verified, never older than what they had, kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import ValidationError

from keng_contracts.registry import Registry
from keng_runtime.files import write_atomically
from keng_runtime.settings import explain
from keng_runtime.signing import NotTrusted, TrustStore

log = logging.getLogger(__name__)


class RegistryCopy:
    """The last valid registry. ``current`` is None until the first has come, in this run or an earlier one."""

    def __init__(self, trust: TrustStore, file: Path) -> None:
        self._trust = trust
        self._file = file
        self.current: Registry | None = None
        try:
            self.offer(file.read_bytes(), keep=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s: the kept registry can't be read (%s); waiting for the console's", file, error.strerror)

    def offer(self, token: bytes, *, keep: bool = True) -> bool:
        """Take a signed registry if it is valid and newer; whether it was taken. An invalid one is logged and left."""
        try:
            payload, key = self._trust.verify(token)
            if "registry" not in key.may:
                log.warning("a registry signed by %s is not taken: that key may not sign it", key.kid)
                return False
            registry = Registry.model_validate_json(payload)
        except NotTrusted as error:
            log.warning("a registry is not taken: %s; the last valid one stays in force", error)
            return False
        except ValidationError as error:
            log.warning("a registry can't be read (%s); the last valid one stays in force", explain(error))
            return False
        if self.current is not None and registry.version <= self.current.version:
            return False
        if keep:
            try:
                write_atomically(self._file, token)
            except OSError as error:
                log.error(
                    "%s: the registry can't be kept (%s); it holds until this run ends", self._file, error.strerror
                )
        self.current = registry
        log.info("registry of %s, version %d", registry.commune.name, registry.version)
        return True
