"""A signing key is renewed or revoked in the provisioned folder, and the document says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from keng_broker.keys import change_keys
from keng_broker.provision import provision
from keng_contracts.errors import Problem
from keng_contracts.keys import KeyDocument
from keng_runtime.signing import SigningKey, TrustStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    provision(tmp_path / "keng", commune="quang-tho", nodes=["loa-phuoc-yen"])
    return tmp_path / "keng"


def read(folder: Path, token: bytes) -> KeyDocument:
    payload, key = TrustStore.load(folder / "loa-phuoc-yen" / "trust.json").verify(token)
    assert key.may == {"keys"}
    return KeyDocument.model_validate_json(payload)


def test_a_renewed_key_takes_the_place_of_the_old_one(folder: Path) -> None:
    old = SigningKey.load(folder / "alerts" / "signing.jwk")
    document = read(folder, change_keys(folder, "quang-tho", renew=["alerts"]))
    new = SigningKey.load(folder / "alerts" / "signing.jwk")
    assert [(key.kid, sorted(key.may)) for key in document.keys] == [(new.kid, ["play", "stop"])]
    assert document.version == 1 and document.revoked == [old.kid] and new.kid != old.kid
    again = read(folder, change_keys(folder, "quang-tho", renew=["alerts"], revoke=["console-x"]))
    assert again.version == 2 and again.revoked == [old.kid, "console-x", new.kid] and len(again.keys) == 1


def test_without_a_change_the_last_document_is_said_again(folder: Path) -> None:
    first = read(folder, change_keys(folder, "quang-tho", revoke=["console-x"]))
    assert read(folder, change_keys(folder, "quang-tho")) == first


def test_the_root_key_and_what_has_no_key_are_no_choice(folder: Path) -> None:
    root = SigningKey.load(folder / "root" / "signing.jwk")
    with pytest.raises(Problem, match="root"):
        change_keys(folder, "quang-tho", revoke=[root.kid])
    with pytest.raises(Problem, match="ingest"):
        change_keys(folder, "quang-tho", renew=["ingest"])
