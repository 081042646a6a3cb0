"""What alerts remembers: files of the former version, the bound of the timeline, all or nothing."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from keng_alerts import memory
from keng_alerts.gauge.documents import adopted
from keng_alerts.gauge.hazard import State
from keng_alerts.memory import Changes, Entry, Memory, Outgoing, read_timeline
from keng_contracts.alert_commands import AlertAcknowledge
from keng_contracts.alerts import Stage
from keng_contracts.errors import Problem
from tests.support.watching import OneGauge

#: The tables as the first version made them, with what stood in them in the middle of a flood.
FORMER = """
CREATE TABLE gauge (series TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE quality (series TEXT PRIMARY KEY, window TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE data (series TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE alert (id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE outgoing (
    counter INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, expires_ms INTEGER NOT NULL,
    sent INTEGER NOT NULL
);
CREATE TABLE journal (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, sensor TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL
);
INSERT INTO gauge VALUES ('quang-tho/phu-oc/level',
    '{"level":2,"episode":4,"peak_level":2,"last_ms":1763323200000,"rising":{},"falling_since_ms":null}');
INSERT INTO alert VALUES ('phu-oc-level', '{"id":"phu-oc-level","version":3,"commune":"quang-tho",
    "sensor":"phu-oc/level","station":"phu-oc","episode":4,"level":2,"peak_level":2,"official":true,"hazard":"raised",
    "mode":"auto","value":3.1,"unit":"m","threshold":3.0,"raised_ms":1763320000000,"updated_ms":1763323200000,
    "headline":"Báo động 2","play":"phu-oc-level-4-2","deliveries":{"loa-niem-pho":"confirmed"}}');
INSERT INTO outgoing VALUES (1763323200001, 'keng/v1/quang-tho/zone/toan-xa/command', x'61', 1763324100000, 0);
INSERT INTO journal (at_ms, sensor, what, detail) VALUES
    (1763323200000, 'phu-oc/level', 'raised 0 to 2', 'Báo động 2'),
    (1763323200001, 'phu-oc/level', 'ordered', 'phu-oc-level-4-2 for zone toan-xa');
"""


@pytest.fixture
def former(tmp_path: Path) -> Path:
    path = tmp_path / "alerts.sqlite"
    database = sqlite3.connect(path)
    database.executescript(FORMER)
    database.close()
    return path


def test_a_file_of_the_former_version_still_opens_in_the_middle_of_a_flood(former: Path) -> None:
    for _ in range(2):  # and once more after it was brought over
        kept = Memory(former)
        assert kept.states()["quang-tho/phu-oc/level"].level == 2
        assert kept.alerts()["phu-oc-level"].play == "phu-oc-level-4-2"
        assert [command.counter for command in kept.outgoing()] == [kept.counter()] == [1763323200001]
        assert kept.responses() == {} and kept.obeyed() == {}
        lines = [(e.alert, e.what, e.detail) for e in kept.timeline()]
        kept.close()
    assert lines == [
        ("phu-oc-level", "raised 0 to 2", {"note": "Báo động 2"}),
        ("phu-oc-level", "ordered", {"note": "phu-oc-level-4-2 for zone toan-xa"}),
    ]


def test_people_can_acknowledge_an_alert_of_the_former_version(former: Path) -> None:
    kept = Memory(former)
    gauge = OneGauge()
    gauge.watch.state = kept.states()["quang-tho/phu-oc/level"]
    desk = gauge.watch.desk
    desk.document = kept.alerts()["phu-oc-level"]
    desk.response = adopted(desk.document)
    kept.close()
    assert gauge.order(AlertAcknowledge(by="Nguyễn Văn An")).ok
    assert (gauge.document.stage, gauge.document.level) == (Stage.ACKNOWLEDGED, 2)


def test_a_flood_that_began_under_the_former_version_is_not_announced_again_but_its_next_level_is() -> None:
    gauge = OneGauge()
    state = State(level=2, episode=4, peak_level=2, last_ms=gauge.now_ms - 60_000)
    gauge.watch.state = state
    gauge.levels(3.2, 3.2, 3.2)
    assert gauge.sent == []
    gauge.levels(4.6, 4.6, 4.6)
    assert gauge.plays == ["phu-oc-level-4-3"]


def test_what_was_done_comes_back_as_it_was(tmp_path: Path) -> None:
    gauge = OneGauge().levels(4.6, 4.6, 4.6).wait(130)
    response = gauge.watch.desk.response
    kept = Memory(tmp_path / "alerts.sqlite")
    entry = Entry(1, "phu-oc-level", 1, "raised", "", {"samples": [[1, 4.6]], "ghi chú": "đê"})
    kept.keep(
        Changes(
            responses={"phu-oc-level": response},
            commands=[Outgoing(7, "a", b"x", 9), Outgoing(8, "a", b"y", 9)],
            timeline=[entry],
            obeyed={"console": 3},
        )
    )
    kept.keep(Changes(revoked=[7], obeyed={"console": 4}))
    kept.close()
    again = Memory(tmp_path / "alerts.sqlite")
    assert again.responses() == {"phu-oc-level": response}
    assert [command.counter for command in again.outgoing()] == [8]
    assert again.obeyed() == {"console": 4}
    assert again.timeline("phu-oc-level") == [entry]
    assert again.timeline("cho-level") == []
    again.close()


def test_all_of_it_is_kept_or_nothing(tmp_path: Path) -> None:
    kept = Memory(tmp_path / "alerts.sqlite")
    kept.keep(Changes(commands=[Outgoing(7, "a", b"x", 9)]))
    with pytest.raises(sqlite3.Error):
        kept.keep(Changes(obeyed={"console": 4}, commands=[Outgoing(7, "a", b"x", 9)]))
    assert kept.obeyed() == {}
    kept.close()


def test_commands_that_were_sent_long_ago_are_forgotten_and_the_counter_is_not(tmp_path: Path) -> None:
    kept = Memory(tmp_path / "alerts.sqlite")
    kept.keep(Changes(commands=[Outgoing(7, "a", b"x", 9), Outgoing(8, "a", b"y", 9)]))
    kept.sent([7])
    kept.keep(Changes(commands=[Outgoing(9, "a", b"z", 10 + memory.KEPT_MS)]))
    kept.sent([8])
    assert [command.counter for command in kept.outgoing()] == [9]
    assert kept.counter() == 9
    kept.close()
    rows = sqlite3.connect(tmp_path / "alerts.sqlite").execute("SELECT counter FROM outgoing ORDER BY counter")
    assert rows.fetchall() == [(8,), (9,)]


def test_the_timeline_is_bounded_by_its_oldest_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_TIMELINE", 10)
    kept = Memory(tmp_path / "alerts.sqlite")
    for number in range(25):
        kept.keep(Changes(timeline=[Entry(number, "phu-oc-level", 1, "data ok", "", {})]))
    assert [entry.at_ms for entry in kept.timeline()] == list(range(15, 25))
    kept.close()


def test_reading_the_timeline_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    """Whoever reads it is often root, and the service is not."""
    file = tmp_path / "alerts.sqlite"
    kept = Memory(file)
    kept.keep(Changes(timeline=[Entry(1, "phu-oc-level", 1, "data ok", "", {})]))
    assert len(read_timeline(file, "phu-oc-level")) == 1  # while the service runs
    kept.close()
    before = sorted(tmp_path.iterdir())
    assert len(read_timeline(file)) == 1
    assert sorted(tmp_path.iterdir()) == before == [file]


def test_there_is_no_timeline_where_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="the timeline can't be read"):
        read_timeline(tmp_path / "alerts.sqlite")


def test_a_timeline_is_json(tmp_path: Path) -> None:
    gauge = OneGauge().levels(4.6, 4.6, 4.6).wait(700)
    for *_, detail in gauge.notes:
        assert json.loads(detail) is not None
