"""A backup is one whole moment, taken while readings are written; a restore touches nothing before it is sure."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_store.maintenance import Maintenance
from keng_store.protocol import Resolution, Row
from keng_store.settings import RollupSettings
from keng_store.sqlite import SqliteStore
from keng_store.sqlite_backup import Contents, backup, restore
from tests.support.processes import Process, eventually

LEVEL = "quang-tho/phu-oc/level"
NOON = 1_763_258_400_000


def levels(count: int, start_ms: int = NOON) -> list[Row]:
    return [Row(LEVEL, start_ms + i * 60_000, 1.0 + i / 100, Flag.GOOD) for i in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of 2,000 readings, rolled up."""
    path = tmp_path / "readings.sqlite"
    with closing(SqliteStore(path)) as store:
        store.write(levels(2000))
        Maintenance(store, RollupSettings(raw_days=0)).step(NOON * 2)
    return path


_WRITER = """
import sys
from pathlib import Path
from keng_contracts.telemetry import Flag
from keng_store.protocol import Row
from keng_store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
for batch in range(1_000_000):
    store.write([Row("quang-tho/phu-oc/rain", batch * 50 + i, float(batch), Flag.GOOD) for i in range(50)])
    print(batch, flush=True)
"""


def test_a_backup_under_a_writer_is_one_moment_and_does_not_stop_it(path: Path, tmp_path: Path) -> None:
    log = tmp_path / "written"
    with Process([sys.executable, "-c", _WRITER, path], log=log) as writer:
        eventually(lambda: log.read_text().count("\n") > 20)
        for number in range(3):
            before = log.read_text().count("\n")
            held = backup(path, tmp_path / f"{number}.sqlite")
            after = log.read_text().count("\n")
            assert before * 50 <= held.readings - 2000 <= (after + 1) * 50
            assert (held.readings - 2000) % 50 == 0, "no half of a write"
            eventually(lambda after=after: log.read_text().count("\n") > after)
        assert writer.running
    with closing(SqliteStore(tmp_path / "2.sqlite")) as copy:
        assert copy.range(LEVEL, 0, 1 << 42) == levels(2000)


def test_a_backup_is_one_file_with_roll_ups_and_all(path: Path, tmp_path: Path) -> None:
    assert backup(path, tmp_path / "usb" / "backup.sqlite") == Contents(1, 2000, 200 + 2)
    assert [file.name for file in (tmp_path / "usb").iterdir()] == ["backup.sqlite"]


def test_a_backup_never_overwrites(path: Path, tmp_path: Path) -> None:
    (tmp_path / "backup.sqlite").write_text("the only one of 2024")
    with pytest.raises(Problem, match="is there already"):
        backup(path, tmp_path / "backup.sqlite")
    assert (tmp_path / "backup.sqlite").read_text() == "the only one of 2024"


@pytest.mark.parametrize("content", [b"", b"not a database, but as long as one " * 300])
def test_what_is_no_database_of_readings_is_neither_backed_up_nor_restored(
    path: Path, tmp_path: Path, content: bytes
) -> None:
    other = tmp_path / "other.sqlite"
    other.write_bytes(content)
    with pytest.raises(Problem):
        backup(other, tmp_path / "backup.sqlite")
    assert not (tmp_path / "backup.sqlite").exists()
    with pytest.raises(Problem):
        restore(other, path)
    with closing(SqliteStore(path)) as store:
        assert store.counts("quang-tho") == {LEVEL: 2000}


def test_a_damaged_backup_is_not_restored(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.sqlite"
    backup(path, copy)
    torn = bytearray(copy.read_bytes())
    torn[len(torn) // 2 : len(torn) // 2 + 8192] = bytes(8192)
    copy.write_bytes(torn)
    before = path.read_bytes()
    with pytest.raises(Problem, match=r"damaged|copied|holds"):
        restore(copy, path)
    assert path.read_bytes() == before
    assert not [file for file in tmp_path.iterdir() if "partial" in file.name]


def test_a_restore_gives_back_that_moment_and_keeps_what_was_there(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.sqlite"
    backup(path, copy)
    for number in (1, 2):
        with closing(SqliteStore(path)) as store:
            store.write(levels(number, start_ms=NOON * 2))
        assert restore(copy, path).readings == 2000
        with closing(SqliteStore(path)) as store:
            assert store.range(LEVEL, 0, 1 << 43) == levels(2000)
            assert len(store.rollups(LEVEL, Resolution.DAY, 0, 1 << 43)) == 2
    for name, count in (("readings.sqlite.before-restore", 2001), ("readings.sqlite.before-restore-2", 2002)):
        with closing(SqliteStore(tmp_path / name)) as aside:
            assert aside.counts("quang-tho") == {LEVEL: count}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", range(12))
def test_a_restore_that_is_killed_at_any_moment_leaves_a_whole_database_and_can_be_done_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    copy = tmp_path / "backup.sqlite"
    backup(path, copy)
    with closing(SqliteStore(path)) as store:
        store.write(levels(1, start_ms=NOON * 2))
    steps = iter(range(1 << 30))

    def mortal(done: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            if next(steps) == moment:
                raise Killed
            return done(*arguments, **named)

        return step

    with monkeypatch.context() as killing:
        for name in ("replace", "unlink", "hardlink_to"):
            killing.setattr(Path, name, mortal(getattr(Path, name)))
        with contextlib.suppress(Killed):
            restore(copy, path)
    with closing(SqliteStore(path)) as store:
        assert store.counts("quang-tho") in ({LEVEL: 2000}, {LEVEL: 2001})
    assert restore(copy, path).readings == 2000
    assert 2001 in {
        backup(file, tmp_path / "x" / file.name).readings
        for file in tmp_path.iterdir()
        if "before-restore" in file.name and not file.name.endswith(("-wal", "-shm"))
    }


def test_a_restore_onto_a_new_machine_needs_nothing_there(path: Path, tmp_path: Path) -> None:
    assert restore(path, tmp_path / "new" / "readings.sqlite").readings == 2000


def test_a_database_in_use_is_not_replaced(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keng_store.sqlite_backup.BUSY_TIMEOUT_S", 0.1)
    copy = tmp_path / "backup.sqlite"
    backup(path, copy)
    with closing(SqliteStore(path)) as store:
        store.write(levels(1, start_ms=NOON * 2))
        with pytest.raises(Problem, match=r"in use.*stop the services"):
            restore(copy, path)
        store.write(levels(2, start_ms=NOON * 2))
        assert store.counts("quang-tho") == {LEVEL: 2002}


def test_a_damaged_database_is_put_aside_for_the_backup(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.sqlite"
    backup(path, copy)
    path.write_bytes(b"\xff" * 100_000)
    left = [path.with_name(f"readings.sqlite-{suffix}") for suffix in ("wal", "journal")]
    for file in left:
        file.write_bytes(b"what a crash left")
    assert restore(copy, path).readings == 2000
    assert not [file for file in left if file.exists()], "it would be taken for the new file's own"
    with closing(SqliteStore(path)) as store:
        assert store.counts("quang-tho") == {LEVEL: 2000}


def test_a_database_of_the_first_schema_is_backed_up_and_its_history_rolled_up_once_it_is_opened(
    tmp_path: Path,
) -> None:
    old = tmp_path / "old.sqlite"
    from keng_store.sqlite_schema import APPLICATION_ID, SCHEMA

    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        db.executescript(SCHEMA[0])
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO series VALUES (1, ?)", (LEVEL,))
        db.executemany("INSERT INTO reading VALUES (1, ?, ?, 1)", [(row.time_ms, row.value) for row in levels(100)])
    assert backup(old, tmp_path / "backup.sqlite") == Contents(1, 100, 0)
    with closing(SqliteStore(old)) as store:
        Maintenance(store, RollupSettings(raw_days=0)).step(NOON * 2)
        assert sum(one.count for one in store.rollups(LEVEL, Resolution.TEN_MINUTES, 0, 1 << 42)) == 100
