"""Who is who: the commune's certificate authority, a certificate for each identity, and the signing keys.

::

    <folder>/ca/                ca.crt ca.key              the authority; stays off line
    <folder>/broker/            ca.crt server.crt server.key
    <folder>/<identity>/        ca.crt node.crt node.key trust.json
    <folder>/{alerts,console}/  also signing.jwk
    <folder>/console/           also cap.crt cap.key       what signs the CAP messages of the commune
    <folder>/<edge>/radio/      17.key …                   the keys of the LoRa nodes that it hears
    <folder>/<secret>           a random password, for what stands beside Kẻng (a database, Grafana)

Each folder is complete for the one machine that it goes to, and no private key is in two folders (a radio node's key is
one that it shares with every edge that is to hear it). Run again, it keeps
every key, adds who is new, and renews what runs out. Revocation is not covered: an identity whose key was stolen is
shut out by making the authority anew.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import secrets as random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keng_contracts.errors import Problem
from keng_contracts.keys import RIGHT
from keng_contracts.topics import is_slug
from keng_runtime.files import write_atomically
from keng_runtime.signing import SigningKey, TrustStore

#: The authority lives as long as the devices that pin it may hang on their poles. Its certificate is renewed with the
#: same key, so that what it signed before and after is good with either.
CA_VALID = timedelta(days=3650)
#: A certificate ends by itself two years after its device was last cared for: long enough for a yearly visit to be
#: missed once, short enough that a device stolen unnoticed does not speak for ever.
VALID = timedelta(days=730)
#: Renewed when less than this is left, so that a provisioning run before the flood season covers the whole of it.
RENEW_BEFORE = timedelta(days=60)
#: Certificates count from a day before any of them existed: a Raspberry Pi has no real-time clock and may start with
#: that of its image, and it needs the link to get the time. Nothing could be signed with a key that was not there.
NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)

#: What a signing key may order, by issuer.
MAY = {
    "alerts": frozenset({"play", "stop"}),
    "console": frozenset(
        {
            *("play", "stop", "prepare", "programme", "registry"),
            *("edge-identify", "edge-reload", "edge-interval", "edge-restart"),
            *("alert-confirm", "alert-decline", "alert-acknowledge", "alert-silence", "alert-stop", "alert-correct"),
            "alert-drill",
        }
    ),
}
#: Who vouches for keys to come, and revokes: its key is kept where the authority's is, away from every machine.
ROOT = "root"
#: The access list knows this many replicas of ingest.
MAX_REPLICAS = 4

#: id-kp-documentSigning (RFC 9336).
_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
_RESERVED = re.compile(r"ca|root|broker|alerts|console|notify|ingest(-\d+)?")
_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


def services(replicas: int = 1) -> list[str]:
    """The identities of the services, with ``replicas`` of ingest: ingest, ingest-2 …, alerts, notify, console."""
    if not 1 <= replicas <= MAX_REPLICAS:
        raise Problem(f"{replicas} replicas of ingest can't be had", todo=f"choose 1 to {MAX_REPLICAS}")
    return ["ingest", *(f"ingest-{n}" for n in range(2, replicas + 1)), "alerts", "notify", "console"]


def provision(
    folder: Path,
    *,
    commune: str,
    nodes: Sequence[str],
    server_names: Sequence[str] = (),
    replicas: int = 1,
    secrets: Sequence[str] = (),
    radio_nodes: Sequence[tuple[str, int]] = (),
    now: datetime | None = None,
) -> list[str]:
    """Bring ``folder`` up to date; returns the files that were made or renewed, relative to it.

    ``server_names`` are the names and addresses by which clients reach the broker: if none are given, those it had, at
    first localhost and 127.0.0.1. ``secrets`` are the names of passwords to make, ``radio_nodes`` each an edge and the
    number of a LoRa node that it hears. Raises Problem for a name that can't be one or is there twice, and for a folder
    that belongs to another commune or lacks the authority's key.
    """
    now = now or datetime.now(UTC)
    if not is_slug(commune):
        raise Problem(f"{commune!r} is not a commune's id", todo="use a-z, 0-9 and dashes, as in the registry")
    identities = [*services(replicas), ROOT, *_checked("node", nodes)]
    for node, count in Counter(nodes).items():
        if count > 1:  # an edge agent and a loudspeaker would throw each other off
            raise Problem(
                f"{node!r} is there twice, and the broker gives each name one connection",
                todo="give an edge node and a loudspeaker two names in the registry, on one machine too",
            )
    for secret in _checked("secret", secrets):
        if secret in identities:
            raise Problem(f"a secret can't be called {secret!r}: that is a node's name", todo="rename the secret")
    names = _alternative_names(server_names) if server_names else None

    maker = _Maker(folder, now)
    authority = maker.authority(commune)
    maker.server(authority, names)
    for identity in identities:
        maker.identity(authority, commune, identity)
    maker.document_signer(authority, commune)
    trusted = [maker.signing_key(issuer).trusted(may) for issuer, may in MAY.items()]
    trusted.append(maker.signing_key(ROOT).trusted(frozenset({RIGHT})))
    document = TrustStore.document(trusted)
    for identity in identities:
        maker.keep(f"{identity}/trust.json", document)
    for edge, number in radio_nodes:
        if edge not in nodes:
            raise Problem(f"a radio node can't be heard by {edge!r}: there is no such node", todo="name an edge node")
        if not 1 <= number <= 65_534:
            raise Problem(f"{number} can't be the number of a radio node", todo="choose 1 to 65534")
        maker.radio_key(edge, number)
    for secret in secrets:
        maker.secret(secret)
    return maker.made


def first_end(folder: Path) -> datetime:
    """When the first certificate in ``folder`` ends: by then provision must have been run again."""
    certificates = [x509.load_pem_x509_certificate(file.read_bytes()) for file in folder.glob("*/*.crt")]
    return min(certificate.not_valid_after_utc for certificate in certificates)


def _checked(what: str, names: Sequence[str]) -> Sequence[str]:
    for name in names:
        if not is_slug(name):
            raise Problem(f"{name!r} can't be the name of a {what}", todo="use a-z, 0-9 and dashes, at most 63")
        if _RESERVED.fullmatch(name):
            raise Problem(f"a {what} can't be called {name!r}: that is a service's name", todo=f"rename the {what}")
    return names


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if not _DNS_NAME.fullmatch(name):
                raise Problem(f"{name!r} is neither a host name nor an address", todo="mend --server-name") from None
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


class _Authority:
    """The authority as it signs: its certificate and its private key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key

    def issue(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        usage: x509.ObjectIdentifier,
        now: datetime,
        names: x509.SubjectAlternativeName | None = None,
    ) -> x509.Certificate:
        """A certificate for one use only: ``usage`` keeps a node from posing as the broker and vice versa."""
        ends = min(now + VALID, self.certificate.not_valid_after_utc)
        builder = (
            _builder(subject, self.certificate.subject, key, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issued(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


class _Maker:
    """Writes what is missing or has to be renewed, and remembers what that was."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.folder = folder
        self.now = now
        self.made: list[str] = []

    def keep(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Make sure that the file has this content; its folder is for its owner alone."""
        path = self.folder / name
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == data:
                return
        for parent in (self.folder, path.parent):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, data, mode)
        self.made.append(name)

    def authority(self, commune: str) -> _Authority:
        certificate = self._certificate("ca/ca.crt")
        if certificate is None:
            if (self.folder / "ca" / "ca.key").exists():
                raise Problem(
                    "is missing", where=str(self.folder / "ca/ca.crt"), todo="bring back the whole folder ca/"
                )
        else:
            owner = _name(certificate, NameOID.ORGANIZATION_NAME)
            if owner != commune:
                raise Problem(f"belongs to the commune {owner!r}", where=str(self.folder), todo="choose another folder")
            if not (self.folder / "ca" / "ca.key").exists():
                raise Problem(
                    "the authority's private key is not here",
                    where=str(self.folder / "ca/ca.key"),
                    todo="bring it from where it is kept",
                )
        key = self._key("ca/ca.key")
        # Renewed while every certificate can still be given its full time.
        if certificate is None or certificate.not_valid_after_utc - self.now < VALID + RENEW_BEFORE:
            subject = _subject(commune, "commune authority")  # not a slug: no node has that name
            certificate = (
                _builder(subject, subject, key, self.now + CA_VALID)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
                .sign(key, hashes.SHA256())
            )
            self.keep("ca/ca.crt", certificate.public_bytes(Encoding.PEM))
        return _Authority(certificate, key)

    def server(self, authority: _Authority, names: x509.SubjectAlternativeName | None) -> None:
        if names is None:
            old = self._certificate("broker/server.crt")
            names = (old and _names_of(old)) or _alternative_names(("localhost", "127.0.0.1"))
        owner = _name(authority.certificate, NameOID.ORGANIZATION_NAME)
        self._issue(authority, "broker", "server", _subject(owner, "broker"), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def identity(self, authority: _Authority, commune: str, identity: str) -> None:
        self._issue(authority, identity, "node", _subject(commune, identity), ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def document_signer(self, authority: _Authority, commune: str) -> None:
        """What signs XML that leaves the commune. Its name is no slug and its use neither side of TLS, so that it is
        nobody to the broker."""
        self._issue(authority, "console", "cap", _subject(commune, "CAP"), _DOCUMENT_SIGNING, None)

    def secret(self, name: str) -> None:
        if not (self.folder / name).exists():
            # Readable inside this closed folder: the user of a container into which it is mounted must be able to.
            self.keep(name, random.token_urlsafe(24).encode(), 0o644)

    def radio_key(self, edge: str, number: int) -> None:
        """16 random bytes as hexadecimal digits; another edge that hears the node has the same ones."""
        known = next(self.folder.glob(f"*/radio/{number}.key"), None)
        key = known.read_bytes() if known else random.token_hex(16).encode()
        self.keep(f"{edge}/radio/{number}.key", key, 0o600)

    def signing_key(self, issuer: str) -> SigningKey:
        name = f"{issuer}/signing.jwk"
        if not (self.folder / name).exists():
            self.keep(name, SigningKey.generate(issuer).private_document(), 0o600)
        return SigningKey.load(self.folder / name)

    def _issue(
        self,
        authority: _Authority,
        place: str,
        stem: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> None:
        self.keep(f"{place}/ca.crt", authority.certificate.public_bytes(Encoding.PEM))
        key = self._key(f"{place}/{stem}.key")
        old = self._certificate(f"{place}/{stem}.crt")
        if (
            old is None
            or not authority.issued(old)
            or old.public_key() != key.public_key()
            or old.subject != subject
            or _names_of(old) != names
            or old.not_valid_after_utc - self.now < RENEW_BEFORE
        ):
            certificate = authority.issue(subject, key, usage, self.now, names)
            self.keep(f"{place}/{stem}.crt", certificate.public_bytes(Encoding.PEM))

    def _key(self, name: str) -> ec.EllipticCurvePrivateKey:
        path = self.folder / name
        if not path.exists():
            new = ec.generate_private_key(ec.SECP256R1())
            self.keep(name, new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
            return new
        with contextlib.suppress(ValueError, TypeError):
            key = load_pem_private_key(path.read_bytes(), password=None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return key
        raise Problem("is not a private key of ours", where=str(path), todo="bring back a good copy, or remove it")

    def _certificate(self, name: str) -> x509.Certificate | None:
        path = self.folder / name
        try:
            return x509.load_pem_x509_certificate(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise Problem(
                "is not a certificate", where=str(path), todo="bring back a good copy, or remove it"
            ) from None


def _subject(commune: str, name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, commune), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _name(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def _names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ends: datetime
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
