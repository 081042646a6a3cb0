"""Settings: the sample that is generated, the environment over the file, and mistakes told in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, Field
from pydantic_settings import SettingsConfigDict

from keng_contracts.errors import Problem
from keng_runtime.settings import ServiceSettings, load, sample_toml


class Line(BaseModel):
    port: str = Field(description="serial port", examples=["/dev/ttyUSB0"])
    baud: int = Field(9600, description="bits a second")


class Limits(BaseModel):
    """How much is kept."""

    days: float = Field(30.0, gt=0, description="days that the outbox holds")


class GaugeSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="KENG_GAUGE_")

    commune: str = Field(description="id of the commune", examples=["quang-tho"])
    token: str | None = Field(None, description="token of the store")
    names: list[str] = Field(["Phú Ốc"], description="names")
    limits: Limits = Limits()
    lines: list[Line] = Field([], description="serial lines")


def write(folder: Path, text: str) -> Path:
    file = folder / "gauge.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_sample_is_toml_that_can_be_loaded_and_holds_the_defaults(tmp_path: Path) -> None:
    sample = sample_toml(GaugeSettings, "Settings of a gauge")
    loaded = load(GaugeSettings, write(tmp_path, sample))
    written = load(GaugeSettings, write(tmp_path, 'commune = "quang-tho"\n[[lines]]\nport = "/dev/ttyUSB0"\n'))
    assert loaded == written


def test_the_sample_has_every_setting_with_its_description() -> None:
    sample = sample_toml(GaugeSettings, "Settings of a gauge")
    assert sample.startswith("# Settings of a gauge\n")
    assert '# id of the commune\ncommune = "quang-tho"\n' in sample
    assert "# token of the store\n# token =\n" in sample
    assert 'names = ["Phú Ốc"]\n' in sample
    assert "# How much is kept.\n[limits]\n# days that the outbox holds\ndays = 30.0\n" in sample
    assert '[[lines]]\n# serial port\nport = "/dev/ttyUSB0"\n# bits a second\nbaud = 9600\n' in sample
    assert tomllib.loads(sample)["broker"]["port"] == 8883


def test_a_text_with_quotes_backslashes_and_line_ends_stays_what_it_is_in_the_sample() -> None:
    class Odd(BaseModel):
        text: str = 'a "b" \\ c\n\t đ'

    assert tomllib.loads(sample_toml(Odd, "odd"))["text"] == 'a "b" \\ c\n\t đ'


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, 'commune = "quang-tho"\n[broker]\nhost = "from-file"\nport = 1234\n')
    monkeypatch.setenv("KENG_GAUGE_BROKER__HOST", "from-environment")
    monkeypatch.setenv("KENG_GAUGE_LIMITS__DAYS", "7")
    settings = load(GaugeSettings, file)
    assert (settings.broker.host, settings.broker.port, settings.limits.days) == ("from-environment", 1234, 7)


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KENG_GAUGE_COMMUNE", "quang-tho")
    assert load(GaugeSettings, None).commune == "quang-tho"


def test_without_a_file_it_is_the_installed_one_if_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keng_runtime.settings.FOLDER", tmp_path)
    with pytest.raises(Problem, match=r"^settings: commune: Field required"):
        load(GaugeSettings, None)
    write(tmp_path, 'commune = "quang-tho"')
    assert load(GaugeSettings, None).commune == "quang-tho"
    write(tmp_path, "commune = 1")
    with pytest.raises(Problem, match=rf"^{tmp_path / 'gauge.toml'}: line 1, commune: "):
        load(GaugeSettings, None)


def test_every_mistake_is_told_at_once_by_the_name_of_its_setting(tmp_path: Path) -> None:
    file = write(tmp_path, 'comune = "quang-tho"\nlog_level = "LOUD"\n[broker]\nport = 0\nhots = "x"\n')
    with pytest.raises(Problem) as problem:
        load(GaugeSettings, file)
    text = str(problem.value)
    assert text.startswith(f"{file}: ")
    assert "comune: is no setting" in text
    assert "commune: Field required" in text
    assert "broker.hots: is no setting" in text
    assert "broker.port: Input should be greater than or equal to 1" in text
    assert "log_level: " in text
    assert "\n" not in text and "pydantic" not in text


def test_a_file_that_is_not_there_or_not_toml_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"no such settings file; start from the sample\.toml"):
        load(GaugeSettings, tmp_path / "none.toml")
    with pytest.raises(Problem, match=r"is not TOML: .*line 2"):
        load(GaugeSettings, write(tmp_path, 'commune = "quang-tho"\nport 12\n'))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'commune = "qu\xe3ng"')
    with pytest.raises(Problem, match="is not TOML"):
        load(GaugeSettings, latin)
    with pytest.raises(Problem, match="can't be read"):
        load(GaugeSettings, tmp_path)
