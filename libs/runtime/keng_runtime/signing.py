"""Signed documents: JWS in compact form (RFC 7515) with Ed25519 (RFC 8037, named by RFC 9864).

A node pins the public keys that it obeys in ``trust.json``, each with what it may order; the key id in
the header only chooses among those. Nothing that a message says can widen what its key may do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from keng_contracts.errors import Problem
from keng_contracts.judging import Refusal

_ALGORITHM = "Ed25519"
#: Largest signed document that is looked at, in bytes: a registry of a large commune is some tens of kilobytes.
MAX_TOKEN_BYTES = 1 << 20


class NotTrusted(Exception):
    """A document whose signature does not hold. ``refusal`` says in which way."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal}: {detail}" if detail else str(refusal))
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private signing key. Its repr never shows it."""

    kid: str
    issuer: str
    _key: OKPKey

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, issuer={self.issuer!r})"

    @classmethod
    def generate(cls, issuer: str) -> SigningKey:
        key = OKPKey.generate_key("Ed25519")
        return cls(f"{issuer}-{key.thumbprint()[:8]}", issuer, key)

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        todo = "make it with 'keng provision'"
        try:
            document = json.loads(path.read_text())
            return cls(document["kid"], document["iss"], OKPKey.import_key(document["jwk"]))
        except FileNotFoundError:
            raise Problem("the signing key is missing", where=str(path), todo=todo) from None
        except OSError as error:
            raise Problem(f"can't be read ({error.strerror})", where=str(path), todo="check owner and mode") from None
        except (ValueError, KeyError, TypeError, JoseError):
            raise Problem("is not a signing key", where=str(path), todo=todo) from None

    def private_document(self) -> bytes:
        """What belongs into ``signing.jwk``, mode 0600."""
        document = {"kid": self.kid, "iss": self.issuer, "jwk": self._key.as_dict(private=True)}
        return json.dumps(document, indent=1).encode() + b"\n"

    def trusted(self, may: frozenset[str]) -> TrustedKey:
        """The public half, as nodes pin it."""
        return TrustedKey(self.kid, self.issuer, may, OKPKey.import_key(self._key.as_dict(private=False)))

    def sign(self, payload: bytes) -> bytes:
        header = {"alg": _ALGORITHM, "kid": self.kid}
        return jws.serialize_compact(header, payload, self._key, algorithms=[_ALGORITHM]).encode()


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key that a node obeys: whose it is, and what it may order (``play``, ``stop``, ``registry``)."""

    kid: str
    issuer: str
    may: frozenset[str]
    key: OKPKey


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The pinned keys of a node, by key id; ``former`` are those that were in force once and are no more."""

    keys: dict[str, TrustedKey]
    former: dict[str, TrustedKey] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> TrustStore:
        todo = "make it with 'keng provision'"
        try:
            return cls.read(json.loads(path.read_text())["keys"])
        except FileNotFoundError:
            raise Problem("the trusted keys are missing", where=str(path), todo=todo) from None
        except OSError as error:
            raise Problem(f"can't be read ({error.strerror})", where=str(path), todo="check owner and mode") from None
        except (ValueError, KeyError, TypeError, JoseError):
            raise Problem("is not a list of trusted keys", where=str(path), todo=todo) from None

    @classmethod
    def read(cls, rows: list[dict[str, Any]]) -> TrustStore:
        """From rows as :meth:`document` writes them; raises ValueError, KeyError, TypeError or JoseError."""
        keys = [TrustedKey(r["kid"], r["iss"], frozenset(r["may"]), OKPKey.import_key(r["jwk"])) for r in rows]
        return cls({key.kid: key for key in keys})

    @staticmethod
    def document(keys: list[TrustedKey]) -> bytes:
        """What belongs into ``trust.json``."""
        rows = [
            {"kid": k.kid, "iss": k.issuer, "may": sorted(k.may), "jwk": k.key.as_dict(private=False)} for k in keys
        ]
        return json.dumps({"keys": rows}, indent=1).encode() + b"\n"

    def kept(self, token: bytes) -> tuple[bytes, TrustedKey]:
        """As :meth:`verify`, of a document that we wrote to our own disk: its key may be a former one."""
        return TrustStore({**self.former, **self.keys}).verify(token)

    def verify(self, token: bytes) -> tuple[bytes, TrustedKey]:
        """The payload and the key that signed it; raises :class:`NotTrusted`, and nothing else, for any bytes."""
        if len(token) > MAX_TOKEN_BYTES:
            raise NotTrusted(Refusal.UNREADABLE, "too large")
        try:
            envelope = jws.extract_compact(token)
            kid = envelope.headers().get("kid")
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise NotTrusted(Refusal.UNREADABLE, type(error).__name__) from None
        trusted = self.keys.get(kid) if isinstance(kid, str) else None
        if trusted is None:
            raise NotTrusted(Refusal.UNKNOWN_KEY, repr(kid)[:60])
        try:
            verified = jws.deserialize_compact(token, trusted.key, algorithms=[_ALGORITHM])
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise NotTrusted(Refusal.BAD_SIGNATURE, type(error).__name__) from None
        return bytes(verified.payload or b""), trusted
