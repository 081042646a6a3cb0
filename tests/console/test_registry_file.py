"""commune.toml: every mistake is told by the name of the thing."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner

from keng_console.cli import cli
from keng_console.registry_file import parse, read
from keng_contracts.errors import Problem
from tests.support.registry import SAMPLE

TEXT = SAMPLE.read_text(encoding="utf-8")


def mistakes(text: str) -> str:
    with pytest.raises(Problem) as caught:
        parse(text.encode(), "commune.toml")
    line = str(caught.value)
    assert line.startswith("commune.toml: ") and "\n" not in line and "pydantic" not in line
    return line


def test_the_sample_is_right() -> None:
    assert read(SAMPLE).commune.name == "Xã Quảng Thọ"


def test_text_that_was_typed_in_pieces_is_made_whole() -> None:
    assert parse(unicodedata.normalize("NFD", TEXT).encode(), "x") == read(SAMPLE)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"commune\.toml: the registry is not there; write it after the sample"):
        read(tmp_path / "commune.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('unit = "mm"\n', "", "sensors phu-oc/rain: unit: is missing"),
        ('unit = "mm"', 'unit = "mm"\ncolour = "red"', "sensors phu-oc/rain: colour: is no such key"),
        ("lat = 16.5250", "lat = 165.250", "stations phu-oc: lat: should be less than or equal to 90"),
        ('id = "toan-xa"', 'id = "Toàn xã"', "zones Toàn xã: id: may only have lower-case letters"),
        ("version = 1", "version = 0", "version: should be greater than or equal to 1"),
        ('id = "phuoc-yen/soil-n"', 'id = "dong-nao/soil-n"', "sensor dong-nao/soil-n: there is no station 'dong-nao'"),
        ("value = 3.0", "value = 1.2", "level 2 (1.2 m) is not above level 1 (1.5 m)"),
        ("value = 4.5", "value = 45.0", "threshold 3 of phu-oc/level: 45 is outside the sensor's range"),
        ("range = [-2.0, 12.0]", "range = [12.0, -2.0]", "sensor phu-oc/level: range must run from low to high"),
        (
            'province = "Thành phố Huế"',
            'timezone = "Asia/Hue"',
            "commune.timezone: 'Asia/Hue' is no time zone (e.g. Asia/Ho_Chi_Minh)",
        ),
        (
            'zones = ["toan-xa", "ven-song"]',
            'zones = ["toan-xa", "dong"]',
            "speaker loa-phuoc-yen: there is no zone 'dong'",
        ),
        ("value = 3.0", "value = ", "is not TOML"),
    ],
)
def test_a_mistake_is_named(old: str, new: str, said: str) -> None:
    assert old in TEXT
    assert said in mistakes(TEXT.replace(old, new, 1))


def test_all_mistakes_are_told_at_once() -> None:
    text = TEXT.replace('unit = "mm"\n', "").replace("version = 1", 'version = "x"').replace("level = 2", "level = 7")
    line = mistakes(text)
    for said in ("version: ", "sensors phu-oc/rain: unit: is missing", "thresholds phu-oc/level level 7: level: "):
        assert said in line


def test_an_order_that_nobody_would_hear_is_a_mistake() -> None:
    silent = TEXT.replace('zones = ["toan-xa", "ven-song"]', "zones = []").replace(
        'zones = ["toan-xa"]\nlat = 16.5466', "zones = []\nlat = 16.5466"
    )
    assert "authority for phu-oc/level level 2: no loudspeaker is in zone toan-xa" in mistakes(silent)
    nowhere = TEXT.replace('mode = "auto"\nzones = ["toan-xa"]', 'mode = "auto"')
    assert "auto without zones: nobody would hear it" in mistakes(nowhere)


def test_a_siren_without_an_end_is_a_mistake() -> None:
    """Dallas, 2017: some fifteen cycles."""
    long = TEXT.replace("blasts = 5", "blasts = 15")
    assert "siren lu-tren-bd3 sounds for 26 minutes: the message comes after it, so at most 15" in mistakes(long)


def test_who_decides_for_a_level_that_the_gauge_does_not_have_is_a_mistake() -> None:
    fourth = TEXT + '\n[[authority]]\nsensor = "phu-oc/level"\nlevel = 4\n'
    assert "authority for phu-oc/level level 4: the gauge has no threshold of that level" in mistakes(fourth)


def test_no_bytes_end_in_a_stack_trace() -> None:
    for raw in (b"\xff\xfe", b"", b"\x00" * 10, b"[[[", b"version = 1\n", b"sensors = 3\n[commune]\n"):
        with pytest.raises(Problem):
            parse(raw, "commune.toml")


def test_check_says_what_holds_and_which_sirens_start_by_themselves() -> None:
    result = CliRunner().invoke(cli, ["check", str(SAMPLE)])
    assert result.exit_code == 0
    assert "Xã Quảng Thọ, version 1, is right: 3 stations, 11 sensors, 3 thresholds, 2 loudspeakers" in result.output
    assert "sirens start by themselves: phu-oc/level level 3 in toan-xa" in result.output


def test_check_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    file = tmp_path / "commune.toml"
    file.write_text(TEXT.replace('unit = "mm"\n', ""), encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", str(file)])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1 and "unit: is missing" in result.output
