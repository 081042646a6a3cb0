"""The credentials folder: whose it is, and one clear line for each way in which it can be wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keng_contracts.errors import Problem
from keng_runtime.credentials import Credentials
from tests.support.broker import credentials


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(credentials() / "alerts", tmp_path / "alerts"))


@contextmanager
def without_roots_rights() -> Iterator[None]:
    """As root no file is unreadable; as nobody it is."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_the_identity_is_the_certificates_common_name(folder: Path) -> None:
    opened = Credentials.open(folder)
    assert opened.identity == "alerts"
    assert opened.signing_key().issuer == "alerts"
    may = {key.issuer: key.may for key in opened.trust().keys.values()}
    assert set(may) == {"alerts", "console", "root"}
    assert may["alerts"] == {"play", "stop"} and may["root"] == {"keys"} and "registry" in may["console"]


@pytest.mark.parametrize("name", ["ca.crt", "node.crt", "node.key"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(Problem) as problem:
        Credentials.open(folder)
    assert str(problem.value) == f"{folder / name}: is missing; make it with 'keng provision' and copy it here"


def test_a_certificate_that_is_none_is_told(folder: Path) -> None:
    (folder / "node.crt").write_text("hello")
    with pytest.raises(Problem, match=r"node\.crt: is not a certificate"):
        Credentials.open(folder)


def test_the_key_of_another_is_told(folder: Path) -> None:
    shutil.copy(credentials() / "console" / "node.key", folder / "node.key")
    with pytest.raises(Problem, match=r"can't be used together .*; make them again with 'keng provision'"):
        Credentials.open(folder).tls()


def test_an_authority_that_is_none_is_told(folder: Path) -> None:
    (folder / "ca.crt").write_text("hello")
    with pytest.raises(Problem, match="keng provision"):
        Credentials.open(folder).tls()


def test_a_folder_of_another_user_is_told(folder: Path) -> None:
    folder.chmod(0o000)
    try:
        with without_roots_rights(), pytest.raises(Problem, match=r"can't be read .*; check owner and mode"):
            Credentials.open(folder)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["signing.jwk", "trust.json"])
def test_keys_of_another_user_are_told(folder: Path, name: str) -> None:
    opened = Credentials.open(folder)
    (folder / name).chmod(0o000)
    with without_roots_rights(), pytest.raises(Problem, match=r"can't be read .*; check owner and mode"):
        opened.signing_key() if name == "signing.jwk" else opened.trust()
