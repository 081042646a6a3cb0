"""Quality control's memory between two runs of ingest: worth keeping, and no reason to stop."""

from pathlib import Path

import pytest

from keng_contracts.telemetry import Reading
from keng_ingest.memory import SAVE_AFTER_MS, Windows
from keng_signals.quality import Limits, Window, judge
from tests.support.registry import LEVEL

NOW = 1_763_323_200_000


def remembering(file: Path) -> Windows:
    windows = Windows(file, NOW)
    for minute in range(4):
        window = windows.setdefault(LEVEL, Window())
        judge(Reading(LEVEL, NOW + minute * 60_000, 1.6, "m"), Limits(spike=0.3), window, NOW + 600_000)
    return windows


def test_what_was_known_of_a_series_is_known_after_a_restart(tmp_path: Path) -> None:
    before = remembering(tmp_path / "quality.json")
    before.save(NOW)
    after = Windows(tmp_path / "quality.json", NOW)
    assert after == before
    outlier = Reading(LEVEL, NOW + 240_000, 4.9, "m")
    assert judge(outlier, Limits(spike=0.3), after[LEVEL], NOW + 600_000).test == "spike"


def test_it_is_written_when_it_is_due_and_not_with_every_batch(tmp_path: Path) -> None:
    windows = remembering(tmp_path / "quality.json")
    windows.save_if_due(NOW + SAVE_AFTER_MS - 1)
    assert not (tmp_path / "quality.json").exists()
    windows.save_if_due(NOW + SAVE_AFTER_MS)
    assert (tmp_path / "quality.json").exists()


def test_series_that_the_registry_gave_up_are_forgotten(tmp_path: Path) -> None:
    windows = remembering(tmp_path / "quality.json")
    windows.keep_only({LEVEL})
    assert LEVEL in windows
    windows.keep_only(set())
    assert not windows


@pytest.mark.parametrize("torn", [b"", b"\xff", b"[]", b'{"quang-tho/phu-oc/level": [1, 2]}'])
def test_a_file_that_cannot_be_read_stops_nothing(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "quality.json").write_bytes(torn)
    windows = Windows(tmp_path / "quality.json", NOW)
    assert all(not window.times for window in windows.values())


def test_a_disk_that_takes_nothing_is_told_of_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "nowhere").write_text("a file where a folder should be")
    remembering(tmp_path / "nowhere" / "quality.json").save(NOW)
    assert "can't be written" in caplog.text
