"""The registry as its consumers have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from keng_runtime import kept
from keng_runtime.registry import RegistryCopy
from keng_runtime.signing import SigningKey, TrustStore
from tests.support.registry import sample

CONSOLE = SigningKey.generate("console")
TRUST = TrustStore({CONSOLE.kid: CONSOLE.trusted(frozenset({"registry"}))})


def test_a_registry_that_the_disk_does_not_take_holds_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "write_atomically", full)
    copy = RegistryCopy(TRUST, tmp_path / "registry.jws")
    assert copy.offer(CONSOLE.sign(sample().model_dump_json(by_alias=True).encode()))
    assert copy.current == sample()
    assert "can't be kept" in caplog.text


def test_a_kept_registry_outlives_its_key_until_any_other_comes(tmp_path: Path) -> None:
    new = SigningKey.generate("console")
    after = TrustStore({new.kid: new.trusted(frozenset({"registry"}))}, former=TRUST.keys)
    file = tmp_path / "registry.jws"

    def signed(version: int, key: SigningKey) -> bytes:
        return key.sign(sample(version=version).model_dump_json(by_alias=True).encode())

    assert RegistryCopy(TRUST, file).offer(signed(9, CONSOLE))
    copy = RegistryCopy(after, file)  # the key was revoked, and the link is down
    assert copy.current == sample(version=9)
    assert not copy.offer(signed(10, CONSOLE))
    assert copy.offer(signed(3, new)), "who had the key must not lock others out by a high version"
    assert not copy.offer(signed(2, new))
    again = RegistryCopy(after, file)
    assert again.current == sample(version=3)
    file.write_bytes(signed(4, SigningKey.generate("console")))
    assert RegistryCopy(after, file).current is None, "a key that was never in force"


def test_a_registry_that_is_signed_anew_is_kept_with_the_new_signature_and_is_no_news(tmp_path: Path) -> None:
    new = SigningKey.generate("console")
    trust = TrustStore({**TRUST.keys, new.kid: new.trusted(frozenset({"registry"}))})
    document = sample().model_dump_json(by_alias=True).encode()
    copy = RegistryCopy(trust, tmp_path / "registry.jws")
    assert copy.offer(CONSOLE.sign(document))
    assert not copy.offer(new.sign(document))
    assert (tmp_path / "registry.jws").read_bytes() == new.sign(document)
