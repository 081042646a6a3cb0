"""What proves who a service is: the folder that ``keng provision`` made for it.

==============  ==================================================================
``ca.crt``      the commune's certificate authority
``node.crt``    this identity's certificate; its common name is the identity
``node.key``    its private key
``trust.json``  public signing keys that this identity obeys, and what each may order
``signing.jwk`` its own private signing key (alerts and console only)
==============  ==================================================================
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keng_contracts.errors import Problem

if TYPE_CHECKING:  # JOSE and its cryptography cost 10 MiB, which an edge agent need not spend to read its name
    from keng_runtime.signing import SigningKey, TrustStore


@dataclass(frozen=True, slots=True)
class Credentials:
    """An opened credentials folder. ``identity`` is the certificate's common name."""

    folder: Path
    identity: str

    @classmethod
    def open(cls, folder: Path) -> Credentials:
        """Check that the folder is complete; raises :class:`Problem` that says how to make it."""
        todo = "make it with 'keng provision' and copy it here"
        try:
            if not folder.is_dir():
                raise Problem("the credentials folder is not there", where=str(folder), todo=todo)
            for name in ("ca.crt", "node.crt", "node.key"):
                if not (folder / name).is_file():
                    raise Problem("is missing", where=str(folder / name), todo=todo)
            identity = _common_name(folder / "node.crt")
        except (ValueError, ssl.SSLError) as error:
            raise Problem(f"is not a certificate ({error})", where=str(folder / "node.crt"), todo=todo) from None
        except OSError as error:
            raise Problem(f"can't be read ({error.strerror})", where=str(folder), todo="check owner and mode") from None
        return cls(folder, identity)

    def tls(self) -> ssl.SSLContext:
        """A client context: our certificate out, only the commune's CA trusted, TLS 1.2 or newer."""
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.folder / "ca.crt"))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.folder / "node.crt", self.folder / "node.key")
        except OSError as error:  # ssl.SSLError is one
            raise Problem(
                f"certificate and key can't be used together ({error})",
                where=str(self.folder),
                todo="make them again with 'keng provision'",
            ) from None
        return context

    def trust(self) -> TrustStore:
        from keng_runtime.signing import TrustStore

        return TrustStore.load(self.folder / "trust.json")

    def signing_key(self) -> SigningKey:
        from keng_runtime.signing import SigningKey

        return SigningKey.load(self.folder / "signing.jwk")


def _common_name(certificate: Path) -> str:
    """The subject's common name; raises ValueError or ssl.SSLError for what is no certificate.

    The decoder is the one behind :meth:`ssl.SSLSocket.getpeercert`; the module has no public name for it. Where a
    Python lacks it, cryptography reads the same.
    """
    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if decode is None:
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
        names = [str(name.value) for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    else:
        fields = dict(pair for part in decode(str(certificate)).get("subject", ()) for pair in part)
        names = [fields["commonName"]] if "commonName" in fields else []
    if not names:
        raise ValueError("it has no common name")
    return names[0]
