"""The registry as its consumers have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from keng_runtime import registry
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

    monkeypatch.setattr(registry, "write_atomically", full)
    copy = RegistryCopy(TRUST, tmp_path / "registry.jws")
    assert copy.offer(CONSOLE.sign(sample().model_dump_json(by_alias=True).encode()))
    assert copy.current == sample()
    assert "can't be kept" in caplog.text
