"""``keng store``: what a person types, and what is told."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keng_contracts.telemetry import Flag
from keng_store.cli import cli
from keng_store.protocol import Row
from keng_store.settings import StoreSettings, open_store

LEVEL = "quang-tho/phu-oc/level"
RAIN = "quang-tho/phu-oc/rain"
NOON = 1_763_258_400_000  # 2025-11-16T02:00Z
Run = Callable[..., Result]


@pytest.fixture
def run(settings: StoreSettings) -> Run:
    """The command on a store with three days of two series."""
    with closing(open_store(settings)) as store:
        for series in (LEVEL, RAIN):
            store.write([Row(series, NOON + i * 600_000, i / 4, Flag.GOOD) for i in range(3 * 144)])

    def call(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(
            cli, [str(argument) for argument in arguments], env={"KENG_STORE": settings.url}, catch_exceptions=False
        )
        return result

    return call


def test_series_are_listed(run: Run) -> None:
    lines = run("series").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [[LEVEL, "432", "2025-11-16"], [RAIN, "432", "2025-11-16"]]


def test_a_store_that_nobody_made_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["series", "--store", f"sqlite:///{tmp_path}/no.sqlite"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no.sqlite is not there yet" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "there is no such settings file; say where the store is with --store"),
        ("[store", "can't be read"),
        ('[store]\nurl = "oracle://x"\n', "store: url: is neither"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "ingest.toml"
    if content is not None:
        file.write_text(content)
    result = CliRunner().invoke(cli, ["series", "--store", str(file)])
    assert result.exit_code == 2 and why in result.stderr and result.stderr.count("\n") == 1


def test_a_settings_file_of_a_service_names_the_store(run: Run, settings: StoreSettings, tmp_path: Path) -> None:
    file = tmp_path / "ingest.toml"
    file.write_text(f'batch = 7\n[store]\nurl = "{settings.url}"\n')
    assert LEVEL in run("series", "--settings", file).stdout


def test_csv_has_a_line_a_reading_in_utc(run: Run, tmp_path: Path) -> None:
    told = run("export", "--series", LEVEL, "--from", "2025-11-16", "--to", "2025-11-16T09:30")
    assert list(csv.reader(io.StringIO(told.stdout))) == [
        ["series", "time", "value", "flag"],
        [LEVEL, "2025-11-16T02:00:00.000Z", "0.0", "1"],
        [LEVEL, "2025-11-16T02:10:00.000Z", "0.25", "1"],
        [LEVEL, "2025-11-16T02:20:00.000Z", "0.5", "1"],
    ]
    run("export", "--output", tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + 2 * 432


def test_roll_ups_are_exported_too(run: Run) -> None:
    run("rollup", "--raw-days", "0", "--again")
    told = run("export", "--resolution", "1d", "--series", LEVEL)
    lines = list(csv.DictReader(io.StringIO(told.stdout)))
    assert sum(int(line["count"]) for line in lines) == 432
    assert lines[0]["start"] == "2025-11-15T17:00:00.000Z" and lines[0]["max_time"] == "2025-11-16T16:50:00.000Z"


def test_parquet_holds_the_same_with_types(run: Run, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'keng-store[parquet]'")
    result = run("export", "--format", "parquet", "--output", tmp_path / "all.parquet")
    assert result.exit_code == 0
    table = parquet.read_table(tmp_path / "all.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "series": "string",
        "time": "timestamp[ms, tz=UTC]",
        "value": "double",
        "flag": "int8",
    }
    assert table.num_rows == 864
    assert table.column("value").to_pylist()[:4] == [0.0, 0.25, 0.5, 0.75]
    run("rollup", "--raw-days", "0", "--again")
    run("export", "--format", "parquet", "--resolution", "10m", "--output", tmp_path / "10m.parquet")
    assert parquet.read_table(tmp_path / "10m.parquet").num_rows == 864


def test_without_pyarrow_it_says_how_to_get_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("export", "--format", "parquet", "--output", tmp_path / "all.parquet")
    assert result.exit_code == 2 and "pip install 'keng-store[parquet]'" in result.stderr
    assert list(tmp_path.glob("*.parquet")) == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--series", "quang-tho/phu-oc/wind"], "wind: has no readings; there are: quang-tho/phu-oc/level"),
        (["--resolution", "1d", "--series", LEVEL], "has no roll-ups"),
        (["--from", "yesterday"], "'yesterday' is no date or time"),
        (["--timezone", "Asia/Hue"], "'Asia/Hue' is no time zone"),
        (["--format", "parquet"], "name a file with --output"),
        (["--output", "/proc/no/such"], "can't be written"),
    ],
)
def test_what_can_not_be_exported_is_told(run: Run, arguments: list[str], why: str) -> None:
    result = run("export", *arguments)
    assert result.exit_code == 2 and why in result.stderr


def test_old_readings_go_when_the_roll_ups_are_there(run: Run, settings: StoreSettings) -> None:
    assert "rolled up; old raw readings of 0 series removed" in run("rollup", "--raw-days", "0", "--again").stdout
    told = run("rollup", "--raw-days", "1")
    if settings.url.startswith("sqlite"):  # a server of 1.x does it by itself, weeks at a time
        assert told.stdout == "0 ten-minute buckets rolled up; old raw readings of 2 series removed\n"
        assert run("series").stdout == "No readings.\n"


def test_backup_and_restore_of_sqlite_and_a_hint_for_influx(run: Run, settings: StoreSettings, tmp_path: Path) -> None:
    told = run("backup", tmp_path / "b.sqlite")
    if not settings.url.startswith("sqlite"):
        assert told.exit_code == 2 and "is an InfluxDB, which has its own backup" in told.stderr
        return
    assert "864 readings and 0 roll-ups of 2 series, whole" in told.stdout
    told = run("restore", tmp_path / "b.sqlite")
    assert told.exit_code == 0 and "864 readings" in told.stdout
    assert run("series").stdout.count("432") == 2


def test_copy_tells_what_it_did_and_that_it_is_verified(run: Run, settings: StoreSettings, tmp_path: Path) -> None:
    told = run("copy", settings.url, f"sqlite:///{tmp_path}/copy.sqlite")
    assert told.stdout.splitlines() == [
        "2 of 2 series: 864 readings, 864 of them written, and 0 roll-ups; sum of values 46548",
        "Verified: counts and sums are the same.",
    ]
    assert "864 readings, 0 of them written" in run("copy", settings.url, f"sqlite:///{tmp_path}/copy.sqlite").stdout
