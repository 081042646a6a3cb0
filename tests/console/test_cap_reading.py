"""CAP from others: no bytes make the reader fall, and none are believed that were not signed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod

from keng_console.cap import xml
from keng_console.cap.poll import entries
from keng_console.cap.signature import NotSigned, NotTrusted, Signer, verify
from tests.support.cap import SENDER, bulletin, certificate_of, pair, signed, unsigned

NOON = 1_763_269_200_000


def outcome(data: bytes) -> str:
    """Everything that may happen to bytes before it is decided what follows from them."""
    try:
        root = xml.parse(data)
        xml.read(root)
        verify(root, [SIGNER], datetime.now(UTC))
    except (xml.BadCap, NotSigned, NotTrusted) as error:
        return type(error).__name__
    return "believed"


_XMLSEC = {
    SignatureMethod.RSA_SHA1: xmlsec.Transform.RSA_SHA1,
    SignatureMethod.RSA_SHA256: xmlsec.Transform.RSA_SHA256,
    SignatureMethod.RSA_SHA512: xmlsec.Transform.RSA_SHA512,
    DigestAlgorithm.SHA1: xmlsec.Transform.SHA1,
    DigestAlgorithm.SHA256: xmlsec.Transform.SHA256,
    DigestAlgorithm.SHA512: xmlsec.Transform.SHA512,
}
PROVINCE = pair()
SIGNER = Signer("tinh", x509.load_pem_x509_certificate(PROVINCE.certificate), frozenset({SENDER}))
GOOD = signed(bulletin("t-1", NOON), PROVINCE)


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fall(data: bytes) -> None:
    assert outcome(data) == "BadCap"


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_message_with_changed_bytes_is_never_believed_for_what_was_not_signed(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, byte in changes:
        data[place] = byte
    if outcome(bytes(data)) == "believed":
        signed_root, _ = verify(xml.parse(bytes(data)), [SIGNER], datetime.now(UTC))
        assert xml.read(signed_root) == xml.read(xml.parse(GOOD))


@pytest.mark.parametrize(
    ("method", "digest", "believed"),
    [
        (SignatureMethod.RSA_SHA256, DigestAlgorithm.SHA256, True),
        (SignatureMethod.RSA_SHA512, DigestAlgorithm.SHA512, True),
        (SignatureMethod.RSA_SHA1, DigestAlgorithm.SHA256, False),
        (SignatureMethod.RSA_SHA256, DigestAlgorithm.SHA1, False),
    ],
)
def test_rsa_is_believed_too_and_sha_1_is_not(method: SignatureMethod, digest: DigestAlgorithm, believed: bool) -> None:
    key = rsa.generate_private_key(65537, 2048)
    signer = Signer("tinh", certificate_of(key), frozenset({SENDER}))
    root = etree.fromstring(unsigned(bulletin("t-1", NOON)))
    node = xmlsec.template.create(root, xmlsec.Transform.EXCL_C14N, _XMLSEC[method])
    root.append(node)
    reference = xmlsec.template.add_reference(node, _XMLSEC[digest], uri="")
    xmlsec.template.add_transform(reference, xmlsec.Transform.ENVELOPED)
    context = xmlsec.SignatureContext()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    context.key = xmlsec.Key.from_memory(pem, xmlsec.KeyFormat.PEM)
    context.sign(node)
    data = etree.tostring(root)
    if believed:
        assert xml.read(verify(xml.parse(data), [signer], datetime.now(UTC))[0]).identifier == "t-1"
    else:
        with pytest.raises(NotTrusted):
            verify(xml.parse(data), [signer], datetime.now(UTC))


_NAMES = st.sampled_from(["identifier", "sender", "sent", "status", "info", "area", "polygon", "circle", "references"])


@settings(max_examples=150)
@given(st.lists(st.tuples(_NAMES, st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30))))
def test_an_alert_with_any_words_in_its_elements_is_read_or_refused(rows: list[tuple[str, str]]) -> None:
    root = xml.parse(unsigned(bulletin("t-1", NOON)))
    for name, text in rows:
        for element in root.iter(f"{{{xml.NAMESPACE}}}{name}"):
            if len(element) == 0:
                element.text = text
    with suppress(xml.BadCap):
        xml.read(root)


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE alert [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE alert [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE alert SYSTEM "http://127.0.0.1:9/evil.dtd">',
        "<!DOCTYPE alert>",
    ],
)
def test_a_document_type_is_refused_so_that_no_entity_exists(head: str) -> None:
    body = unsigned(bulletin("t-1", NOON)).decode().replace("Lũ quét trên sông Bồ", "&a;" if "ENTITY" in head else "x")
    with pytest.raises(xml.BadCap):
        xml.parse((head + body).encode())
    with pytest.raises(xml.BadCap):
        xml.parse(("<?xml version='1.0' encoding='UTF-16'?>" + head + body).encode("utf-16"))


def test_what_is_too_large_or_too_much_is_refused() -> None:
    with pytest.raises(xml.BadCap, match="larger"):
        xml.parse(b" " * (xml.MAX_BYTES + 1))
    with pytest.raises(xml.BadCap, match="elements"):
        xml.parse(b"<a>" + b"<b/>" * (xml.MAX_ELEMENTS + 1) + b"</a>")
    deep = b"<a>" * 5000 + b"</a>" * 5000
    with pytest.raises(xml.BadCap):
        xml.read(xml.parse(deep))


def test_a_feed_leads_to_its_own_host_only() -> None:
    atom = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><entry><updated>1</updated><link href="/cap/a.xml"/></entry>'
        '<entry><link href="http://169.254.169.254/secret"/></entry><entry><link href="file:///etc/passwd"/></entry></feed>'
    )
    assert [entry.url for entry in entries(xml.parse(atom.encode()), "https://tinh.example/f")] == [
        "https://tinh.example/cap/a.xml"
    ]
    rss = "<rss><channel><item><link>b.xml</link><pubDate>x</pubDate></item></channel></rss>"
    assert [entry.url for entry in entries(xml.parse(rss.encode()), "https://tinh.example/x/f")] == [
        "https://tinh.example/x/b.xml"
    ]
