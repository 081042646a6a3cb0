"""The commune's key document: which keys loudspeakers obey beside those that were pinned into them, and which no more.

It travels as one signed, versioned, retained document and takes the place of the one before. A node takes it under
these rules, in this order (:func:`change`):

1. It is newer than what the node has: who holds the broker can't bring an old key back.
2. Its signer's key is in force here and may sign ``keys``.
3. Only a pinned key may give or take the right ``keys``: a stolen key of a service can't lock its owners out.
4. A key that has a pinned one's name changes nothing about that one, and somebody is left who may sign ``keys``.
5. What was once revoked stays so, whatever a later document says.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.names import Slug

#: The right to sign a key document.
RIGHT = "keys"
#: A key's id.
KID = r"^[A-Za-z0-9._-]{1,80}$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublicJwk(_Strict):
    """An Ed25519 public key (RFC 8037)."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    x: str = Field(pattern=r"^[A-Za-z0-9_-]{43}$")


class Key(_Strict):
    """A key, whose it is, and what it may order."""

    kid: str = Field(pattern=KID)
    iss: Slug
    may: frozenset[str] = Field(max_length=40)
    jwk: PublicJwk


class KeyDocument(_Strict):
    """The whole: ``version`` grows with every change."""

    schema_: Literal["keng.keys/1"] = Field("keng.keys/1", alias="schema")
    commune: Slug
    version: int = Field(ge=1, lt=1 << 53)
    keys: list[Key] = Field([], max_length=100)
    revoked: list[str] = Field([], max_length=1000, description="ids of keys that are obeyed no more")

    def to_bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


@dataclass(frozen=True, slots=True)
class State:
    """What a node has taken so far."""

    version: int = 0
    keys: tuple[Key, ...] = ()
    revoked: frozenset[str] = frozenset()


def change(
    state: State, document: KeyDocument, *, signer: str, commune: str, pinned: Mapping[str, Set[str]]
) -> State | str:
    """The state after a document whose signature holds, or why it is not taken. Pure.

    ``signer`` is the id of the key that signed it, one in force; ``pinned`` has the rights of pinned keys by their id.
    """
    if document.commune != commune:
        return "another-commune"
    if document.version <= state.version:
        return "not-newer"
    rights = {key.kid: key.may for key in state.keys} | {kid: frozenset(may) for kid, may in pinned.items()}
    if signer in state.revoked or RIGHT not in rights.get(signer, frozenset()):
        return "not-allowed"
    revoked = state.revoked | frozenset(document.revoked)
    given = {key.kid for key in document.keys if RIGHT in key.may} - set(pinned)
    had = {key.kid for key in state.keys if RIGHT in key.may} - set(pinned)
    owners = {kid for kid, may in pinned.items() if RIGHT in may}
    if signer not in pinned and (given != had or (owners | had) & (revoked - state.revoked)):
        return "only-a-pinned-key-may-give-or-take-this-right"
    if len({key.kid for key in document.keys}) < len(document.keys):
        return "a-key-twice"
    if not (owners | given) - revoked:
        return "nobody-left"
    return State(document.version, tuple(document.keys), revoked)
