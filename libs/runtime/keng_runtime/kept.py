"""A signed document as its consumers have it: verified, never older than what they had, kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from pydantic import ValidationError

from keng_runtime.files import write_atomically
from keng_runtime.settings import explain
from keng_runtime.signing import NotTrusted, TrustStore

log = logging.getLogger(__name__)


class Document(Protocol):
    """A model of pydantic with a version that only grows."""

    @property
    def version(self) -> int: ...

    @classmethod
    def model_validate_json(cls, json_data: bytes) -> Self: ...


D = TypeVar("D", bound=Document)


class Kept(Generic[D]):
    """The last valid one. ``current`` is None until the first has come, in this run or an earlier one.

    What was signed with a key that has been revoked since holds on, over restarts too, until another one comes,
    whatever version that has: whoever had the key must not lock the commune out by a high one.
    """

    def __init__(self, trust: TrustStore, file: Path, model: type[D], what: str) -> None:
        """``what`` it is: in what is said of it, and the right that its signer's key must have."""
        self._trust = trust
        self._file = file
        self._model = model
        self._what = what
        self.current: D | None = None
        self._kept = b""
        self._kid = ""
        try:
            self._kept = file.read_bytes()
            payload, key = trust.kept(self._kept)
            self._kid = key.kid
            self.current = model.model_validate_json(payload)
        except FileNotFoundError:
            pass
        except (NotTrusted, ValidationError) as error:
            log.warning("%s: the kept %s can't be used (%s); waiting for the console's", file, what, error)
        except OSError as error:
            log.warning("%s: the kept %s can't be read (%s); waiting for the console's", file, what, error.strerror)

    def take(self, token: bytes) -> str | None:
        """Take a document if it is valid and newer. Returns why not; None if it was taken, and an empty text for one
        that is known already."""
        try:
            payload, key = self._trust.verify(token)
            document = self._model.model_validate_json(payload)
        except NotTrusted as error:
            return str(error)
        except ValidationError as error:
            return f"unreadable: {explain(error)[:200]}"
        if self._what not in key.may:
            return f"not-allowed: {key.kid} may sign no {self._what}"
        if objection := self._objection(document):
            return objection
        known = self.current if self._kid in self._trust.keys else None
        if known is not None and document.version <= known.version and document != known:
            return f"replayed: version {document.version} is not new"
        if token != self._kept:  # also one that is known: its key is another, or the disk did not take it
            try:
                write_atomically(self._file, token)
                self._kept = token
            except OSError as error:
                text = "%s: the %s can't be kept (%s); it holds until this run ends"
                log.error(text, self._file, self._what, error.strerror)
        self._kid = key.kid
        if document == self.current:
            return ""
        self.current = document
        return None

    def _objection(self, document: D) -> str:
        """Why a document that is valid is not for us; empty if it is."""
        return ""
