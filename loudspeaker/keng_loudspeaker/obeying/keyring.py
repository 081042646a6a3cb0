"""The keys in force on this node: those pinned into it, and what the commune's key document has changed since.

The rules are in :mod:`keng_contracts.keys`. What was taken is on disk before it is in force and survives restarts; it
changes nothing of ``trust.json``, so a node that is provisioned anew begins with the keys of that day, and what was
revoked stays revoked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from keng_contracts.keys import Key, KeyDocument, State, change
from keng_runtime.files import write_atomically
from keng_runtime.settings import explain
from keng_runtime.signing import NotTrusted, TrustedKey, TrustStore

log = logging.getLogger(__name__)


class Keyring:
    """``trust`` holds the keys in force, and follows: whoever has it needs no word of a change."""

    def __init__(self, pinned: TrustStore, commune: str, file: Path) -> None:
        self._pinned = dict(pinned.keys)
        self._commune = commune
        self._file = file
        self._state = State()
        self._former: dict[str, Key] = {}  # given once, and no more
        self.trust = TrustStore(dict(pinned.keys))
        self._read()

    @property
    def version(self) -> int:
        """Of the document that is in force, 0 if none is."""
        return self._state.version

    def offer(self, token: bytes) -> str | None:
        """Take a signed key document; None if it is taken, "" if it is the one in force, else why it is not."""
        try:
            payload, key = self.trust.verify(token)
            document = KeyDocument.model_validate_json(payload)
        except NotTrusted as error:
            return error.refusal.value
        except ValidationError as error:
            log.warning("a key document can't be read (%s)", explain(error)[:200])
            return "unreadable"
        if document.version == self.version:
            return ""
        rights = {kid: pinned.may for kid, pinned in self._pinned.items()}
        state = change(self._state, document, signer=key.kid, commune=self._commune, pinned=rights)
        if isinstance(state, str):
            return state
        given = {key.kid for key in state.keys} - state.revoked
        self._former |= {key.kid: key for key in self._state.keys if key.kid not in given}
        self._state = state
        try:
            write_atomically(self._file, _document(state, self._former.values()), 0o600)
        except OSError as error:
            log.error("the keys can't be written down (%s): they hold until the node ends; free the disk", error)
        self._apply()
        return None

    def _apply(self) -> None:
        given = {key.kid: _trusted(key) for key in self._state.keys}
        in_force = {**given, **self._pinned}
        self.trust.keys.clear()
        self.trust.keys.update({kid: key for kid, key in in_force.items() if kid not in self._state.revoked})
        once = {kid: _trusted(key) for kid, key in self._former.items()} | in_force
        self.trust.former.clear()
        self.trust.former.update({kid: key for kid, key in once.items() if kid not in self.trust.keys})

    def _read(self) -> None:
        try:
            read = json.loads(self._file.read_bytes())
            keys = tuple(Key.model_validate(key) for key in read["keys"])
            self._former = {key.kid: key for key in map(Key.model_validate, read.get("former", []))}
            self._state = State(int(read["version"]), keys, frozenset(map(str, read["revoked"])))
            self._apply()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._state = State()
            log.error("%s can't be read (%s): only pinned keys are obeyed until the next document", self._file, error)


def _trusted(key: Key) -> TrustedKey:
    row = {"kid": key.kid, "iss": key.iss, "may": sorted(key.may), "jwk": key.jwk.model_dump()}
    return TrustStore.read([row]).keys[key.kid]


def _document(state: State, former: Iterable[Key]) -> bytes:
    keys, once = ([key.model_dump(mode="json") for key in some] for some in (state.keys, former))
    rows = {"version": state.version, "keys": keys, "revoked": sorted(state.revoked), "former": once}
    return json.dumps(rows).encode()
