"""One setting chooses the store; what is wrong with it is told in one line."""

from __future__ import annotations

import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from keng_contracts.errors import Problem
from keng_runtime.settings import ServiceSettings, load, sample_toml
from keng_store.influx import InfluxStore
from keng_store.settings import StoreSettings, open_store
from keng_store.sqlite import SqliteStore


class _Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="KENG_TEST_")
    store: StoreSettings = StoreSettings()


def test_the_default_is_sqlite_under_var_lib() -> None:
    assert StoreSettings().url == "sqlite:////var/lib/keng/readings.sqlite"


def test_sqlite_with_an_absolute_a_relative_and_an_escaped_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url, file in (
        (f"sqlite:///{tmp_path}/absolute.sqlite", "absolute.sqlite"),
        ("sqlite:///below/relative.sqlite", "below/relative.sqlite"),
        ("sqlite:///m%E1%BB%B1c n%C6%B0%E1%BB%9Bc?#.sqlite", "mực nước?#.sqlite"),
    ):
        with closing(open_store(StoreSettings(url=url))) as store:
            assert isinstance(store, SqliteStore)
        assert (tmp_path / file).is_file()


def test_one_variable_of_the_environment_switches_to_influx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("KENG_TEST_STORE__URL", "http://influxdb:8086/keng")
    monkeypatch.setenv("KENG_TEST_STORE__TOKEN_FILE", str(tmp_path / "token"))
    with closing(open_store(load(_Settings, None).store)) as store:  # asks the server nothing yet
        assert isinstance(store, InfluxStore)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "neither"),
        ("readings.sqlite", "neither"),
        ("sqlite:///", "neither"),
        ("postgresql://localhost/keng", "neither"),
        ("http:///keng", "neither"),
        ("http://localhost:8086", "names no database"),
        ("http://localhost:8086/", "names no database"),
        ("https://chi:secret@localhost:8086/keng", "carries a password"),
    ],
)
def test_an_address_that_names_no_store_is_told(url: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        StoreSettings(url=url)


def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "ingest.toml"
    file.write_text('[store]\nurl = "oracle://x"\npassword = "x"\n')
    with pytest.raises(Problem) as told:
        load(_Settings, file)
    assert "store.url: is neither" in str(told.value) and "store.password: is no setting" in str(told.value)


def test_a_missing_or_empty_secret_says_how_to_make_it(tmp_path: Path) -> None:
    token = tmp_path / "influx.token"
    settings = StoreSettings(url="http://localhost:8086/keng", token_file=token)
    with pytest.raises(Problem, match=r"token .* is not there; make it with: install -m 600 /dev/null .*influx.token"):
        open_store(settings)
    token.write_text(" \n")
    with pytest.raises(Problem, match="is empty"):
        open_store(settings)
    token.write_bytes(b"\xff\xfe")
    with pytest.raises(Problem, match="can't be read"):
        open_store(settings)


def test_a_user_needs_a_password() -> None:
    with pytest.raises(Problem, match=r"password_file: has a user but no password"):
        open_store(StoreSettings(url="http://localhost:8086/keng", user="chi"))


def test_the_sample_shows_every_setting_and_can_be_read_back(tmp_path: Path) -> None:
    sample = sample_toml(_Settings, "A service with a store")
    assert tomllib.loads(sample)["store"] == {"url": StoreSettings().url, "user": "", "org": ""}
    assert all(name in sample for name in StoreSettings.model_fields)
