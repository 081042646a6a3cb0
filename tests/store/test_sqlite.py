"""What can happen to a file: locks, a full disk, damage, a kill, being moved away."""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_store import sqlite as store_module
from keng_store.maintenance import Maintenance
from keng_store.protocol import Row, StoreUnavailable, extremes
from keng_store.settings import RollupSettings
from keng_store.sqlite import SCHEMA, SqliteStore
from keng_store.writing import write_all
from tests.support.processes import Process, eventually

LEVEL = "quang-tho/phu-oc/level"
NOON = 1_763_258_400_000


def levels(count: int, start_ms: int = NOON) -> list[Row]:
    return [Row(LEVEL, start_ms + i, 1.0 + i / 100, Flag.GOOD) for i in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "readings.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path, busy_timeout_s=0.05)) as opened:
        yield opened


def test_a_locked_file_is_unavailable_until_it_is_released(store: SqliteStore, path: Path) -> None:
    store.write(levels(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            write_all(store, levels(5))
        assert store.counts("quang-tho") == {LEVEL: 1}, "readers are not held up by another's lock"
        other.execute("ROLLBACK")
    assert write_all(store, levels(5)) == []
    assert store.counts("quang-tho") == {LEVEL: 5}


def test_a_store_opens_while_the_file_is_locked_and_writes_later(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        store = SqliteStore(path, busy_timeout_s=0.05)
        with closing(store), pytest.raises(StoreUnavailable):
            store.write(levels(1))
        other.execute("ROLLBACK")
        with closing(store):
            store.write(levels(1))
            assert store.counts("quang-tho") == {LEVEL: 1}


def test_a_reader_in_the_middle_of_reading_does_not_hold_up_the_writer(store: SqliteStore, path: Path) -> None:
    store.write(levels(100))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM reading").fetchone() == (100,)
        store.write(levels(200))
        assert reader.execute("SELECT count(*) FROM reading").fetchone() == (100,), "it sees one moment"
    assert store.counts("quang-tho") == {LEVEL: 200}


def test_a_full_disk_is_unavailable_and_loses_nothing_of_before(store: SqliteStore, path: Path) -> None:
    store.write(levels(1000))
    assert store._db is not None
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        write_all(store, levels(50_000, start_ms=NOON + 1000))
    assert store.counts("quang-tho") == {LEVEL: 1000}, "nothing of the batch is there"
    store.write(levels(50_000))  # there is room again
    assert store.counts("quang-tho") == {LEVEL: 50_000}


def test_a_damaged_file_is_told_at_the_start(store: SqliteStore, path: Path) -> None:
    store.write(levels(20_000))
    store.close()
    torn = bytearray(path.read_bytes())
    torn[len(torn) // 2 : len(torn) // 2 + 8192] = bytes(8192)
    path.write_bytes(torn)
    with pytest.raises(Problem, match=r"damaged.*move it aside") as told:
        SqliteStore(path)
    assert told.value.where == str(path)


def test_a_file_damaged_while_it_is_open_is_told_at_the_next_use(store: SqliteStore, path: Path) -> None:
    store.write(levels(20_000))
    store.close()
    with closing(SqliteStore(path, read_only=True)) as reader:
        reader.latest("quang-tho")
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(b"\xff" * 8192)
        with pytest.raises(Problem, match="damaged"):
            reader.range(LEVEL, 0, 1 << 42)


@pytest.mark.parametrize("content", [b"not a database, but as long as one " * 300, b"SQLite format 3\0" + bytes(4080)])
def test_what_is_no_database_is_told(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(Problem, match="damaged"):
            SqliteStore(path, read_only=read_only)


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(Problem, match="not one of readings"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_file_of_a_newer_version_is_left_alone(store: SqliteStore, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {len(SCHEMA) + 1}")
    with pytest.raises(Problem, match="newer version"):
        SqliteStore(path)


def test_a_folder_where_the_file_should_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is a folder"):
        SqliteStore(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(Problem, match="folder can't be made"):
        SqliteStore(tmp_path / "file" / "readings.sqlite")


def test_a_reader_makes_no_file_and_changes_none(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "absent.sqlite", read_only=True)) as reader:
        with pytest.raises(StoreUnavailable, match="not there yet"):
            reader.counts("quang-tho")
        assert not (tmp_path / "absent.sqlite").exists()
    store.write(levels(1))
    with closing(SqliteStore(path, read_only=True)) as reader:
        with pytest.raises(StoreUnavailable, match="readonly"):
            reader.write(levels(5))
        assert reader.counts("quang-tho") == {LEVEL: 1}


def test_a_file_moved_away_under_the_writer_is_noticed_before_rows_go_nowhere(store: SqliteStore, path: Path) -> None:
    store.write(levels(10))
    path.rename(path.with_suffix(".old"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).rename(path.with_suffix(f".old{suffix}"))
    store.write(levels(3, start_ms=NOON + 100))
    with closing(SqliteStore(path, read_only=True)) as reader:
        assert reader.counts("quang-tho") == {LEVEL: 3}


def test_a_large_file_is_checked_once_a_boot(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store.write(levels(100))
    monkeypatch.setattr(store_module, "ALWAYS_CHECK_BYTES", 0)
    for boot, checks in (("first", 1), ("first", 1), ("second", 2), ("second", 2)):
        monkeypatch.setattr(store_module, "_machine_boot", lambda boot=boot: boot)
        SqliteStore(path).close()
        assert caplog.text.count("checking") == checks


def test_a_year_of_a_commune_fits_in_4_gigabytes(store: SqliteStore, path: Path) -> None:
    year = 200 * 365 * 1440
    for minute in range(0, 1000, 50):  # as it comes: all series side by side
        store.write(
            [
                Row(f"quang-tho/s/q-{series}", NOON + m * 60_000 + series, (series * m % 997) / 100, Flag.GOOD)
                for m in range(minute, minute + 50)
                for series in range(200)
            ]
        )
    store.close()
    assert path.stat().st_size / (200 * 1000) * year < 4e9


def test_two_writers_share_a_file(store: SqliteStore, path: Path) -> None:
    with closing(SqliteStore(path)) as other:
        for i in range(20):
            writer = (store, other)[i % 2]
            writer.write([Row(f"quang-tho/station/q-{i // 2}", NOON + i, float(i), Flag.GOOD)])
        assert other.counts("quang-tho") == {f"quang-tho/station/q-{i}": 2 for i in range(10)}


_REGISTRAR = """
import random, sys
from pathlib import Path
from keng_contracts.telemetry import Flag
from keng_store.protocol import Row
from keng_store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]), busy_timeout_s=20)
print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    pass
for number in random.sample(range(200), 200):
    store.write([Row(f"quang-tho/station/q-{number}", 1, 0.0, Flag.GOOD)])
"""


def test_series_that_processes_meet_first_at_the_same_time_are_made_once(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _REGISTRAR, path, tmp_path / "go"]
    with Process(command, log=tmp_path / "one") as one, Process(command, log=tmp_path / "two") as two:
        one.says("ready")
        two.says("ready")
        (tmp_path / "go").touch()
        assert (one.wait(), two.wait()) == (0, 0)
    with closing(SqliteStore(path)) as store:
        assert store.counts("quang-tho") == {f"quang-tho/station/q-{n}": 1 for n in range(200)}
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM reading").fetchone() == (200,)


_WRITER = """
import sys
from pathlib import Path
from keng_contracts.telemetry import Flag
from keng_store.protocol import Row
from keng_store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
for batch in range(1_000_000):
    store.write([Row("quang-tho/phu-oc/level", batch * 50 + i, float(batch), Flag.GOOD) for i in range(50)])
    print(batch, flush=True)
"""


def test_what_was_written_before_a_kill_is_there_and_nothing_twice(path: Path, tmp_path: Path) -> None:
    for _ in range(3):
        log = tmp_path / "written"
        log.unlink(missing_ok=True)
        with Process([sys.executable, "-c", _WRITER, path], log=log) as writer:
            eventually(lambda log=log: log.read_text().count("\n") > 20)
            writer.kill()
        acknowledged = log.read_text().count("\n")
        with closing(SqliteStore(path)) as store:
            rows = store.range(LEVEL, 0, 1 << 42)
        assert [row.time_ms for row in rows[: acknowledged * 50]] == list(range(acknowledged * 50))
        assert len(rows) % 50 == 0, "a batch is there as a whole or not at all"


@pytest.mark.parametrize("seed", range(6))
def test_roll_ups_find_the_very_rows_that_reading_all_would(store: SqliteStore, seed: int) -> None:
    chance = random.Random(seed)
    flags = [Flag.GOOD] * 300 + [Flag.BAD, Flag.SUSPECT] if seed % 2 else [Flag.GOOD]
    rows = [
        Row(LEVEL, NOON + minute * 60_000 + chance.randrange(60_000), chance.randrange(40) / 4, chance.choice(flags))
        for minute in range(20 * 1440)
        if not 5000 < minute < 7000
    ]
    store.write(rows)
    maintenance = Maintenance(store, RollupSettings(raw_days=15 if seed > 3 else 0))
    while maintenance.step(NOON + 20 * 86_400_000).more:
        pass
    late = [row._replace(time_ms=row.time_ms // 60_000 * 60_000 + 7, value=11.0) for row in rows[9000 : 9000 + seed]]
    store.write(late)  # marked, and not rolled up yet
    start, end = NOON + 12_345, NOON + 20 * 86_400_000 - 54_321
    now = store.range(LEVEL, start, end)
    for max_points in (2, 17, 100, 231):
        assert store.range(LEVEL, start, end, max_points) == extremes(now, start, end, max_points)
