"""The month of the loudspeakers, from their evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keng_console.cli import cli
from keng_console.database import Database, Evidence
from keng_console.report import Line, last_month, lines, month
from keng_contracts.commands import Priority
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.telemetry import Clock

LOA = "loa-phuoc-yen"
NOVEMBER, DECEMBER = month("2025-11", "Asia/Ho_Chi_Minh")


@pytest.fixture
def numbers() -> Iterator[int]:
    return iter(range(10_000))


def event(number: int, what: What, play: str = "", at_ms: int = NOVEMBER, **more: Any) -> PlaybackEvent:
    fields = {"priority": Priority.SCHEDULED, **more} if play else more
    return PlaybackEvent(
        boot="0123456789abcdef", seq=number, at_ms=at_ms, clock=Clock.SYNCED, what=what, play=play, **fields
    )


def test_only_what_was_heard_was_played_and_minutes_are_those_of_the_meter(numbers: Iterator[int]) -> None:
    def said(what: What, play: str = "", **more: Any) -> tuple[str, PlaybackEvent]:
        return LOA, event(next(numbers), what, play, **more)

    month_ = [
        said(What.ACCEPTED, kind="programme", reason="7 occurrences"),
        *(said(w, "sang", sounded_s=90.0 if w is What.FINISHED else None) for w in (What.ACCEPTED, What.STARTED)),
        said(What.FINISHED, "sang", sounded_s=90.0),
        said(What.ACCEPTED, "trua", reason="late: 40 s"),
        said(What.STARTED, "trua"),
        said(What.CUT, "trua", reason="interrupted: coi", sounded_s=30.0),
        said(What.ACCEPTED, "coi", priority=Priority.EMERGENCY),
        said(What.STARTED, "coi", priority=Priority.EMERGENCY),
        said(What.FINISHED, "coi", priority=Priority.EMERGENCY, sounded_s=60.0),
        said(What.ACCEPTED, "coi", priority=Priority.EMERGENCY, reason="already"),
        said(What.SKIPPED, "chieu", reason="too-late"),
        said(What.ACCEPTED, "toi"),
        said(What.SILENT, "toi", reason="nothing-heard (tried again)"),
        said(What.SILENT, "toi", reason="nothing-heard"),
        said(What.ACCEPTED, "tap", exercise=True),
        said(What.STARTED, "tap", exercise=True),
        said(What.FINISHED, "tap", exercise=True, sounded_s=6.0),
        said(What.REFUSED, reason="expired"),
    ]
    assert lines(month_, ["loa-niem-pho"]) == [
        Line("loa-niem-pho"),
        Line(
            LOA,
            plays={"scheduled": 2, "emergency": 1, "drill": 1},
            minutes={"scheduled": pytest.approx(2.0), "emergency": 1.0, "drill": pytest.approx(0.1)},  # type: ignore[dict-item]
            cut=1,
            missed=2,
            late=1,
            silent=2,
            refused=1,
        ),
    ]


def test_a_month_begins_at_midnight_in_the_commune() -> None:
    assert NOVEMBER == 1_761_930_000_000  # 2025-10-31T17:00Z
    assert month("2025-12", "Asia/Ho_Chi_Minh")[0] == DECEMBER
    assert last_month(NOVEMBER, "Asia/Ho_Chi_Minh") == "2025-10"
    assert last_month(NOVEMBER - 1, "Asia/Ho_Chi_Minh") == "2025-09"
    assert last_month(1_767_225_600_000, "Asia/Ho_Chi_Minh") == "2025-12"  # 2026-01-01T07:00


def test_the_report_counts_what_the_database_keeps_of_that_month_alone(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'console.sqlite'}")
    rows = []
    for number, at_ms in enumerate((NOVEMBER - 1, NOVEMBER, DECEMBER - 1, DECEMBER)):
        for step, what in enumerate((What.STARTED, What.FINISHED)):
            one = event(2 * number + step, what, f"tin-{number}", at_ms, sounded_s=60.0 * step or None)
            rows.append(Evidence(LOA, one.boot, one.seq, one, one.to_bytes(), at_ms))
    database.keep_playback(rows)
    database.close()
    file = tmp_path / "console.toml"
    file.write_text(f'state = "{tmp_path}"\n')
    done = CliRunner().invoke(cli, ["report", "--month", "2025-11", "--json", "--settings", str(file)])
    assert done.exit_code == 0, done.output
    [line] = json.loads(done.output)["speakers"]
    assert (line["speaker"], line["played"], line["minutes"]) == (LOA, 2, {"scheduled": 2.0})
    told = CliRunner().invoke(cli, ["report", "--month", "2025-11", "--settings", str(file)])
    nowhere = CliRunner(env={"KENG_CONSOLE_STATE": str(tmp_path / "x")}).invoke(cli, ["report"])
    assert nowhere.exit_code == 2 and "no console has kept anything there" in nowhere.output + nowhere.stderr
    assert not (tmp_path / "x").exists()
    assert "thông thường (scheduled): 2 lần (times), 2.0 phút (min)" in told.output
