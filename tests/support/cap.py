"""CAP messages as a province would send them, and the standard's own schema."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import capvalidator
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree

from keng_console.cap import xml
from keng_console.cap.message import (
    Area,
    Certainty,
    Circle,
    Info,
    Message,
    MsgType,
    Scope,
    Severity,
    Status,
    Urgency,
    to_text,
)
from keng_console.cap.signature import SigningPair, sign

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
SENDER = "pctt@tinh.example"
#: Around both loudspeakers of the sample commune, and around that at Phước Yên alone.
BOTH, ONE = Circle((16.5500, 107.5240), 5.0), Circle((16.5531, 107.5189), 0.5)


@functools.cache
def schema() -> Any:
    """CAP 1.2 as OASIS published it, from a package that only the tests have."""
    file = Path(capvalidator.__file__).parent / "static" / "CAP-v1.2-schema.xsd"
    return etree.XMLSchema(etree.parse(str(file)))


def require_valid(document: bytes) -> Any:
    """The root of a document that the schema finds right."""
    root = etree.fromstring(document)
    schema().assertValid(root)
    return root


def certificate_of(key: Any, name: str = "tinh", ends_in: timedelta = timedelta(days=365)) -> x509.Certificate:
    """A certificate that a key gives to itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + ends_in)
        .sign(key, hashes.SHA256())
    )


def pair(name: str = "tinh", ends_in: timedelta = timedelta(days=365)) -> SigningPair:
    """A province's key with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certificate_of(key, name, ends_in)
    return SigningPair(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), certificate.public_bytes(Encoding.PEM)
    )


def bulletin(identifier: str, now_ms: int, **changes: Any) -> Message:
    """A flood bulletin of the province for both hamlets; ``changes`` go to the message or to its block."""
    info: dict[str, Any] = {
        "language": "vi-VN",
        "categories": ("Met",),
        "event": "Lũ quét",
        "urgency": Urgency.IMMEDIATE,
        "severity": Severity.EXTREME,
        "certainty": Certainty.OBSERVED,
        "expires_ms": now_ms + 3_600_000,
        "sender_name": "Ban Chỉ huy phòng thủ dân sự tỉnh",
        "headline": "Lũ quét trên sông Bồ",
        "description": "Nước lên rất nhanh.",
        "instruction": "Di dời ngay đến nơi cao.",
        "areas": (Area("Hạ lưu sông Bồ", circles=(BOTH,)),),
    }
    message: dict[str, Any] = {
        "identifier": identifier,
        "sender": SENDER,
        "sent": to_text(now_ms, ZONE),
        "status": Status.ACTUAL,
        "msg_type": MsgType.ALERT,
        "scope": Scope.PUBLIC,
    }
    for name, value in changes.items():
        (info if name in info or name in ("effective_ms",) else message)[name] = value
    return Message(infos=(Info(**info),), **message)


def signed(message: Message, by: SigningPair) -> bytes:
    return sign(xml.write(message, ZONE), by)


def unsigned(message: Message) -> bytes:
    return bytes(etree.tostring(xml.write(message, ZONE)))
