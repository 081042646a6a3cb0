"""What was obeyed is remembered over every end, and a disk that fails silences nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from keng_contracts.errors import Problem
from keng_loudspeaker.obeying.memory import Memory
from keng_loudspeaker.playing.playlist import MAX_ENDED


def test_counters_ended_jobs_and_refusals_survive_without_a_clean_end(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "obeyed.sqlite")
    memory.obey("alerts", 8, ["bd2"])
    memory.obey("console", 3)
    memory.end(["bd3"])
    memory.refused = 5
    memory.keep_refused()
    again = Memory(tmp_path / "obeyed.sqlite")  # the first was never closed
    assert dict(again.counters) == {"alerts": 8, "console": 3}
    assert again.ended() == ["bd2", "bd3"]
    assert again.refused == 5


def test_a_counter_never_falls(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "obeyed.sqlite")
    memory.obey("alerts", 8)
    memory.obey("alerts", 7)
    assert memory.counters["alerts"] == 8
    memory.close()
    assert Memory(tmp_path / "obeyed.sqlite").counters["alerts"] == 8


def test_ended_jobs_are_bounded(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "obeyed.sqlite")
    memory.end(f"tin-{n}" for n in range(MAX_ENDED + 3))
    assert memory.ended() == [f"tin-{n}" for n in range(3, MAX_ENDED + 3)]


def test_a_damaged_file_is_moved_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "obeyed.sqlite"
    file.write_bytes(b"SQLite format 3\0" + b"\xa5" * 5000)
    memory = Memory(file)
    memory.obey("alerts", 1)
    assert "is damaged" in caplog.text and len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_a_disk_that_takes_nothing_is_said_and_the_number_still_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory(tmp_path / "obeyed.sqlite")
    blocker = sqlite3.connect(tmp_path / "obeyed.sqlite", isolation_level=None)
    memory._db.execute("PRAGMA busy_timeout=0")
    blocker.execute("BEGIN IMMEDIATE")
    memory.obey("alerts", 8)
    assert memory.counters["alerts"] == 8 and "can't be written down" in caplog.text
    blocker.close()
    memory.obey("alerts", 9)
    assert Memory(tmp_path / "obeyed.sqlite").counters["alerts"] == 9


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="check owner"):
        Memory(tmp_path / "nowhere" / "obeyed.sqlite")
