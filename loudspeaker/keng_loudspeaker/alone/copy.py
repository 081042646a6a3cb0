"""The programme as the node has it: verified, meant for this node, never older than what it had, kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import ValidationError

from keng_contracts.programme import Programme
from keng_runtime.files import write_atomically
from keng_runtime.settings import explain
from keng_runtime.signing import NotTrusted, TrustStore

log = logging.getLogger(__name__)

#: What a key must be allowed to sign a programme.
MAY = "programme"


class ProgrammeCopy:
    """The last valid programme of ``speaker``. ``current`` is None until the first has come.

    As of the registry (:class:`keng_runtime.registry.RegistryCopy`), one whose key has been revoked since holds on
    until another comes, whatever version that has.
    """

    def __init__(self, trust: TrustStore, file: Path, commune: str, speaker: str) -> None:
        self._trust = trust
        self._file = file
        self._whose = (commune, speaker)
        self.current: Programme | None = None
        self._kept = b""
        self._kid = ""
        try:
            self._kept = file.read_bytes()
            payload, key = trust.kept(self._kept)
            self._kid = key.kid
            self.current = Programme.model_validate_json(payload)
        except FileNotFoundError:
            pass
        except (NotTrusted, ValidationError) as error:
            log.warning("%s: the kept programme can't be used (%s); waiting for the console's", file, error)
        except OSError as error:
            log.warning("%s: the kept programme can't be read (%s); waiting for the console's", file, error.strerror)

    def offer(self, token: bytes) -> str | None:
        """Take a signed programme if it is valid and newer. Returns why not; None if it was taken, and an empty text
        for one that is known already."""
        try:
            payload, key = self._trust.verify(token)
            programme = Programme.model_validate_json(payload)
        except NotTrusted as error:
            return str(error)
        except ValidationError as error:
            return f"unreadable: {explain(error)[:200]}"
        if MAY not in key.may:
            return f"not-allowed: {key.kid} may sign no programme"
        if (programme.commune, programme.speaker) != self._whose:
            return f"not-for-me: it is that of {programme.speaker} in {programme.commune}"
        known = self.current if self._kid in self._trust.keys else None
        if known is not None and programme.version <= known.version and programme != known:
            return f"replayed: version {programme.version} is not new"
        if token != self._kept:  # also one that is known: its key is another, or the disk did not take it
            try:
                write_atomically(self._file, token)
                self._kept = token
            except OSError as error:
                log.error("%s: the programme can't be kept (%s); it holds until the node ends", self._file, error)
        self._kid = key.kid
        if programme == self.current:
            return ""
        self.current = programme
        log.info("programme of version %d, %d occurrences", programme.version, len(programme.occurrences))
        return None
