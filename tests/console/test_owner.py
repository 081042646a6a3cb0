"""The registry in force: a right and newer file takes its place, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from keng_console.database import Database
from keng_console.owner import Owner, Verdict, document, judge
from keng_contracts.registry import Registry
from keng_runtime.signing import SigningKey
from tests.support.registry import SAMPLE, sample

TEXT = SAMPLE.read_text(encoding="utf-8")
RENAMED = TEXT.replace("Xã Quảng Thọ", "Xã Quảng Thọ mới", 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "commune.toml"


@pytest.fixture
def owner(file: Path, tmp_path: Path) -> Owner:
    return new_owner(file, tmp_path)


def new_owner(file: Path, folder: Path) -> Owner:
    database = Database(f"sqlite:///{folder / 'console.sqlite'}")
    return Owner(file, database, SigningKey.generate("console"), lambda: None)


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("in_force", "offered", "verdict"),
    [
        (None, sample(), Verdict.TAKEN),
        (sample(), sample(), Verdict.UNCHANGED),
        (sample(), sample(version=2), Verdict.TAKEN),
        (sample(version=2), sample(version=1), Verdict.OLDER),
        (sample(), sample(speakers=[], authority=[]), Verdict.NOT_RAISED),
        (sample(), sample(version=9, commune={"id": "quang-vinh", "name": "Xã Quảng Vinh"}), Verdict.OTHER_COMMUNE),
    ],
)
def test_judging(in_force: Registry | None, offered: Registry, verdict: Verdict) -> None:
    assert judge(in_force, offered) is verdict


def test_the_first_right_file_is_taken_and_survives_a_restart_without_it(
    owner: Owner, file: Path, tmp_path: Path
) -> None:
    assert not owner.look() and owner.current is None
    assert "the registry is not there" in str(owner.fault)
    write(file, TEXT)
    assert owner.look() and owner.fault is None
    file.unlink()
    again = new_owner(file, tmp_path)
    assert again.current == owner.current and again.taken_ms == owner.taken_ms
    assert not again.look() and "the registry is not there" in str(again.fault)
    assert again.current == sample()


def test_a_change_without_a_raised_version_is_told_and_not_taken(owner: Owner, file: Path) -> None:
    write(file, TEXT)
    owner.look()
    write(file, RENAMED)
    assert not owner.look()
    assert str(owner.fault).endswith("was changed, but its version is still 1; set version to 2")
    assert owner.current == sample()
    write(file, RENAMED.replace("version = 1", "version = 2", 1))
    assert owner.look() and owner.fault is None
    assert owner.current is not None and owner.current.commune.name == "Xã Quảng Thọ mới"


def test_mistakes_leave_the_last_valid_version_in_force_until_they_are_mended(owner: Owner, file: Path) -> None:
    write(file, TEXT)
    owner.look()
    write(file, TEXT.replace("version = 1", "version = 2", 1).replace('unit = "mm"\n', ""))
    assert not owner.look()
    assert "sensors phu-oc/rain: unit: is missing" in str(owner.fault)
    assert owner.current is not None and owner.current.version == 1
    write(file, TEXT)
    assert not owner.look() and owner.fault is None


def test_an_older_file_put_back_is_told(owner: Owner, file: Path) -> None:
    write(file, TEXT.replace("version = 1", "version = 5", 1))
    owner.look()
    write(file, TEXT)
    assert not owner.look()
    assert "has version 1, and version 5 is in force already; set version to 6" in str(owner.fault)


def test_every_version_that_held_is_kept(owner: Owner, file: Path, tmp_path: Path) -> None:
    for version in (1, 2, 7):
        write(file, TEXT.replace("version = 1", f"version = {version}", 1))
        assert owner.look()
    kept = Database(f"sqlite:///{tmp_path / 'console.sqlite'}").registry_in_force()
    assert kept is not None and kept.version == 7
    assert Registry.model_validate_json(kept.document) == sample(version=7)
    assert document(sample(version=7)) == kept.document
