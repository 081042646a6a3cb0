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
    """The last valid registry. ``current`` is None until the first has come, in this run or an earlier one.

    What was signed with a key that has been revoked since holds on, over restarts too, until another one comes,
    whatever version that has: whoever had the key must not lock the commune out by a high one.
    """

    def __init__(self, trust: TrustStore, file: Path) -> None:
        self._trust = trust
        self._file = file
        self.current: Registry | None = None
        self._kept = b""
        self._kid = ""
        try:
            self._kept = file.read_bytes()
            payload, key = trust.kept(self._kept)
            self._kid = key.kid
            self.current = Registry.model_validate_json(payload)
        except FileNotFoundError:
            pass
        except (NotTrusted, ValidationError) as error:
            log.warning("%s: the kept registry can't be used (%s); waiting for the console's", file, error)
        except OSError as error:
            log.warning("%s: the kept registry can't be read (%s); waiting for the console's", file, error.strerror)

    def offer(self, token: bytes) -> bool:
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
        known = self.current if self._kid in self._trust.keys else None
        if known is not None and registry.version <= known.version and registry != known:
            return False
        if token != self._kept:  # also one that is known: its key is another, or the disk did not take it
            try:
                write_atomically(self._file, token)
                self._kept = token
            except OSError as error:
                log.error(
                    "%s: the registry can't be kept (%s); it holds until this run ends", self._file, error.strerror
                )
        self._kid = key.kid
        if registry == self.current:
            return False
        self.current = registry
        log.info("registry of %s, version %d", registry.commune.name, registry.version)
        return True
