"""Signatures: what a node's pinned keys accept, and that nothing else passes, whatever the bytes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from keng_contracts.errors import Problem
from keng_contracts.judging import Refusal
from keng_runtime.signing import MAX_TOKEN_BYTES, NotTrusted, SigningKey, TrustStore

ALERTS = SigningKey.generate("alerts")
STRANGER = SigningKey.generate("alerts")
TRUST = TrustStore({ALERTS.kid: ALERTS.trusted(frozenset({"play", "stop"}))})
TOKEN = ALERTS.sign(b"sound the siren")


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def refusal(token: bytes) -> Refusal:
    with pytest.raises(NotTrusted) as refused:
        TRUST.verify(token)
    return refused.value.refusal


def test_what_a_pinned_key_signed_is_read_with_the_key_that_signed_it() -> None:
    payload, key = TRUST.verify(TOKEN)
    assert payload == b"sound the siren"
    assert (key.kid, key.issuer, sorted(key.may)) == (ALERTS.kid, "alerts", ["play", "stop"])


@given(st.binary(max_size=500))
def test_any_payload_comes_back_as_it_was(payload: bytes) -> None:
    assert TRUST.verify(ALERTS.sign(payload))[0] == payload


def test_a_key_that_is_not_pinned_is_unknown() -> None:
    assert refusal(STRANGER.sign(b"sound the siren")) is Refusal.UNKNOWN_KEY


def test_a_pinned_keys_name_does_not_make_another_key_trusted() -> None:
    posing = SigningKey(ALERTS.kid, "alerts", STRANGER._key)
    assert refusal(posing.sign(b"sound the siren")) is Refusal.BAD_SIGNATURE


def test_a_key_that_the_message_brings_along_is_not_used() -> None:
    key = OKPKey.generate_key("Ed25519")
    header = {"alg": "Ed25519", "kid": ALERTS.kid, "jwk": key.as_dict(private=False)}
    token = jws.serialize_compact(header, b"sound the siren", key, algorithms=["Ed25519"])
    assert refusal(token.encode()) is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "EdDSA", "ES256", ""])
def test_no_other_algorithm_passes(algorithm: str) -> None:
    header = encoded(json.dumps({"alg": algorithm, "kid": ALERTS.kid}).encode())
    for signature in (b"", TOKEN.split(b".")[2]):
        assert refusal(b".".join([header, encoded(b"sound the siren"), signature])) is Refusal.BAD_SIGNATURE


def test_the_public_key_is_no_shared_secret() -> None:
    """The confusion of algorithms: a MAC whose secret is the public key that everybody has."""
    public = json.dumps(TRUST.keys[ALERTS.kid].key.as_dict(private=False)).encode()
    token = jws.serialize_compact({"alg": "HS256", "kid": ALERTS.kid}, b"x", OctKey.import_key(public))
    assert refusal(token.encode()) is Refusal.BAD_SIGNATURE


@given(st.data())
def test_one_changed_character_is_enough(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TOKEN) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != TOKEN[place]))
    forged = TOKEN[:place] + bytes([other]) + TOKEN[place + 1 :]
    try:
        payload, _ = TRUST.verify(forged)
    except NotTrusted:
        return
    # The last character of the signature has bits that mean nothing (RFC 4648, 3.5): the same signature, spelled anew.
    assert (payload, place) == (b"sound the siren", len(TOKEN) - 1)


@given(st.binary(max_size=300) | st.builds(lambda *parts: b".".join(parts), *[st.binary(max_size=60)] * 3))
def test_any_bytes_are_refused_and_raise_nothing_else(token: bytes) -> None:
    assert refusal(token) in {Refusal.UNREADABLE, Refusal.UNKNOWN_KEY, Refusal.BAD_SIGNATURE}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk", "x5c", "jku", "zip"]), JSON)
    | st.fixed_dictionaries({"alg": st.just("Ed25519"), "kid": st.just(ALERTS.kid), "crit": JSON, "b64": JSON}),
    st.binary(max_size=64),
)
def test_any_header_is_refused_and_raises_nothing_else(header: object, signature: bytes) -> None:
    token = b".".join([encoded(json.dumps(header).encode()), encoded(b"x"), encoded(signature)])
    assert refusal(token) in {Refusal.UNREADABLE, Refusal.UNKNOWN_KEY, Refusal.BAD_SIGNATURE}


def test_a_header_nested_deeply_is_refused() -> None:
    assert refusal(encoded(b'{"kid":' + b"[" * 100_000) + b".eA.eA") is Refusal.UNREADABLE


def test_a_header_that_is_no_object_is_refused() -> None:
    for header in (b"[]", b'"text"', b"7", b"null"):
        assert refusal(encoded(header) + b".eA.eA") is Refusal.UNREADABLE


def test_too_large_a_document_is_not_looked_at() -> None:
    assert refusal(ALERTS.sign(bytes(MAX_TOKEN_BYTES))) is Refusal.UNREADABLE


def test_a_signing_key_is_the_same_after_it_was_written_and_read(tmp_path: Path) -> None:
    file = tmp_path / "signing.jwk"
    file.write_bytes(ALERTS.private_document())
    read = SigningKey.load(file)
    assert (read.kid, read.issuer) == (ALERTS.kid, "alerts")
    assert TRUST.verify(read.sign(b"x"))[0] == b"x"


def test_trusted_keys_are_the_same_after_they_were_written_and_read_and_hold_nothing_private(tmp_path: Path) -> None:
    file = tmp_path / "trust.json"
    file.write_bytes(TrustStore.document(list(TRUST.keys.values())))
    payload, key = TrustStore.load(file).verify(TOKEN)
    assert (payload, sorted(key.may)) == (b"sound the siren", ["play", "stop"])
    assert all("d" not in row["jwk"] for row in json.loads(file.read_text())["keys"])


def test_a_private_key_is_not_shown() -> None:
    secret = json.loads(ALERTS.private_document())["jwk"]["d"]
    assert secret not in repr(ALERTS)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"keys": 7}', b'{"keys": [{}]}', b"\xff\xfe", b"null"])
def test_a_broken_key_file_is_a_problem_that_says_what_to_do(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(Problem, match="keng provision"):
        SigningKey.load(file)
    with pytest.raises(Problem, match="keng provision"):
        TrustStore.load(file)


def test_a_missing_key_file_is_a_problem_that_says_what_to_do(tmp_path: Path) -> None:
    for load in (SigningKey.load, TrustStore.load):
        with pytest.raises(Problem, match="missing; make it with 'keng provision'"):
            load(tmp_path / "file")
