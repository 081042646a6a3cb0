"""Signing keys that are renewed or revoked without a visit to the loudspeakers.

The root key, kept as the commune's authority is, signs a new key document; loudspeakers take it from the broker under
the rules of :mod:`keng_contracts.keys`. What was said before stands in ``root/keys.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from keng_broker.provision import MAY, ROOT
from keng_contracts.errors import Problem
from keng_contracts.keys import Key, KeyDocument, PublicJwk
from keng_runtime.files import write_atomically
from keng_runtime.settings import explain
from keng_runtime.signing import SigningKey

DOCUMENT = f"{ROOT}/keys.json"


def change_keys(folder: Path, commune: str, *, renew: Sequence[str] = (), revoke: Sequence[str] = ()) -> bytes:
    """Make and sign the next key document of a provisioned folder: a new key for each issuer in ``renew`` in place of
    its old one, which is revoked, and no more of the keys whose ids are in ``revoke``. Returns the signed document;
    without anything to change, the last one. Raises :class:`Problem`.
    """
    root = SigningKey.load(folder / ROOT / "signing.jwk")
    last = _last(folder, commune)
    for issuer in renew:
        if issuer not in MAY:
            raise Problem(f"{issuer!r} has no signing key", todo=f"choose {' or '.join(MAY)}")
    keys = {key.kid: key for key in last.keys} if last else {}
    revoked = [*(last.revoked if last else ()), *revoke]
    fresh = []
    for issuer in dict.fromkeys(renew):
        revoked.append(SigningKey.load(folder / issuer / "signing.jwk").kid)
        new = SigningKey.generate(issuer)
        fresh.append(new)
        public = new.trusted(MAY[issuer]).key.as_dict(private=False)
        keys[new.kid] = Key(kid=new.kid, iss=issuer, may=MAY[issuer], jwk=PublicJwk(x=str(public["x"])))
    if root.kid in revoked:
        raise Problem("the root key can't revoke itself", todo="provision the commune anew")
    document = last
    if document is None or renew or revoke:
        gone = list(dict.fromkeys(revoked))
        left = [key for kid, key in keys.items() if kid not in gone]
        document = KeyDocument(commune=commune, version=last.version + 1 if last else 1, keys=left, revoked=gone)
    write_atomically(folder / DOCUMENT, document.to_bytes(), 0o600)  # before a key it revokes is lost
    for new in fresh:
        write_atomically(folder / new.issuer / "signing.jwk", new.private_document(), 0o600)
    return root.sign(document.to_bytes())


def _last(folder: Path, commune: str) -> KeyDocument | None:
    path = folder / DOCUMENT
    try:
        return KeyDocument.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise Problem(explain(error), where=str(path), todo="bring back a good copy") from None
    except (OSError, ValueError) as error:
        raise Problem(f"can't be read ({error})", where=str(path), todo="bring back a good copy") from None
