"""Who says it: enveloped XML signatures, the one kind that CAP 1.2 allows (section 3.3.4.1).

A message that comes in is believed for what its signature covers and for nothing else: :func:`verify` gives back the
element that was signed, and only that is read. The certificate inside a message proves nothing; the key must be one
that the operators have pinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lxml import etree
from signxml.algorithms import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureConstructionMethod,
    SignatureMethod,
)
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from keng_console.cap.xml import is_alert
from keng_contracts.errors import Problem

_DS = "http://www.w3.org/2000/09/xmldsig#"
_METHODS = frozenset(
    {
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
        SignatureMethod.ECDSA_SHA256,
        SignatureMethod.ECDSA_SHA384,
        SignatureMethod.ECDSA_SHA512,
    }
)
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
#: One reference to the whole, and the signature a child of the root: nothing else can pose as what was signed.
_CONFIGURATION = SignatureConfiguration(
    location="./", expect_references=1, signature_methods=_METHODS, digest_algorithms=_DIGESTS
)


class NotSigned(ValueError):
    """The message has no signature."""


class NotTrusted(ValueError):
    """It has one, and it is nobody's whom we know, or does not hold."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody whose messages are believed. ``senders`` are the CAP senders in whose name this key may speak."""

    name: str
    certificate: x509.Certificate
    senders: frozenset[str]


@dataclass(frozen=True, slots=True)
class SigningPair:
    """Our own key and certificate, PEM."""

    key: bytes
    certificate: bytes

    @classmethod
    def load(cls, folder: Path) -> SigningPair | None:
        """From a credentials folder; None where it has none. Raises :class:`Problem` for files that are wrong."""
        key, certificate = folder / "cap.key", folder / "cap.crt"
        try:
            pair = cls(key.read_bytes(), certificate.read_bytes())
            load_pem_private_key(pair.key, password=None)
            x509.load_pem_x509_certificate(pair.certificate)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            todo = "make it again with 'keng provision'"
            raise Problem("can't be used to sign CAP messages", where=str(key), todo=todo) from None
        return pair


def load_signer(name: str, file: Path, senders: Sequence[str]) -> Signer:
    """A pinned certificate; raises :class:`Problem`."""
    try:
        return Signer(name, x509.load_pem_x509_certificate(file.read_bytes()), frozenset(senders))
    except OSError as error:
        raise Problem(f"can't be read ({error.strerror})", where=str(file), todo="check owner and mode") from None
    except ValueError:
        todo = "ask the sender for it in PEM form (-----BEGIN CERTIFICATE-----)"
        raise Problem("is not a certificate", where=str(file), todo=todo) from None


def sign(alert: Any, pair: SigningPair) -> bytes:
    """The document with its signature, as it is published."""
    signer = XMLSigner(
        method=SignatureConstructionMethod.enveloped,
        signature_algorithm=SignatureMethod.ECDSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    signed = signer.sign(alert, key=pair.key, cert=pair.certificate.decode())
    return bytes(etree.tostring(signed, xml_declaration=True, encoding="UTF-8"))


def verify(root: Any, signers: Sequence[Signer], now: datetime) -> tuple[Any, Signer]:
    """The signed ``alert`` and whose it is; raises :class:`NotSigned` or :class:`NotTrusted`.

    ``now`` decides whether a certificate still holds: one that has ended proves nothing.
    """
    if root.find(f"{{{_DS}}}Signature") is None:
        raise NotSigned("has no signature")
    reason = "no sender is known to the console"
    for signer in signers:
        if not signer.certificate.not_valid_before_utc <= now <= signer.certificate.not_valid_after_utc:
            reason = f"the certificate of {signer.name} has ended"
            continue
        try:
            result = XMLVerifier().verify(root, x509_cert=signer.certificate, expect_config=_CONFIGURATION)
        except Exception as error:  # whatever the bytes make of the verifier's innards, they are not believed
            reason = f"is not signed by {signer.name} ({type(error).__name__})"
            continue
        signed = result[0].signed_xml if isinstance(result, list) else result.signed_xml
        if signed is not None and is_alert(signed):
            return signed, signer
        reason = "what is signed is not the alert"
    raise NotTrusted(reason)
