"""What the edge around the alarms keeps over a restart, and what it does not take for news."""

from pathlib import Path
from typing import Any

from keng_alerts.alarms.guard import KEEP_MS, Guard
from keng_alerts.gauge.engine import Watch
from keng_alerts.gauge.gauges import gauges
from keng_alerts.memory import Changes, Memory
from keng_contracts.alert_commands import AlertSilence
from keng_contracts.alerts import AlertDocument, Hazard
from keng_contracts.telemetry import Reading
from keng_contracts.topics import Topic
from keng_signals.quality import limits_of
from tests.support.registry import LEVEL, sample

START = 1_763_323_200_000
MINUTE = 60_000
RULES: list[dict[str, Any]] = [
    {"id": "len", "kind": "rise", "watch": ["*"]},
    {"id": "mua", "kind": "rain", "watch": ["*"], "window_s": 3600, "raise_at": 5},
]


class Service:
    """The part of the service that concerns alarms, with a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.memory = Memory(folder / "alerts.sqlite")
        self.now = START
        self.alerts: dict[str, AlertDocument] = self.memory.alerts()
        self.guard = Guard(self.alerts, self.memory, lambda: self.now)
        registry = sample(rules=RULES)
        self.guard.follow(registry)
        self.watch = Watch(gauges(registry)[LEVEL], limits_of(registry)[LEVEL])
        self.topic = Topic.parse("keng/v1/quang-tho/edge/tram-phu-oc/telemetry")

    def level(self, minute: int, value: float) -> Changes:
        self.now = START + minute * MINUTE
        self.watch.take(Reading(LEVEL, self.now, value, "m"), self.now, self.now)
        self.guard.foretold(self.watch, self.now, self.now)
        return self.settle()

    def rain(self, minute: float, value: float) -> Changes:
        self.now = START + round(minute * MINUTE)
        self.guard.take(self.topic, Reading("quang-tho/phu-oc/rain", self.now, value, "mm"), self.now)
        return self.settle()

    def settle(self) -> Changes:
        changes = Changes()
        self.guard.settle(changes)
        if changes:
            self.memory.keep(changes)
        return changes


def test_after_a_restart_a_level_that_was_foretold_is_not_over_because_nothing_is_known_yet(tmp_path: Path) -> None:
    service = Service(tmp_path)
    for minute in range(0, 61, 5):
        service.level(minute, 2.0 + minute * 0.01)
    alarm = service.alerts["len-phu-oc-level"]
    assert alarm.hazard is Hazard.RAISED
    again = Service(tmp_path)
    for minute in range(65, 95, 5):
        assert again.level(minute, 2.0 + minute * 0.01).documents == {}
    assert again.alerts["len-phu-oc-level"].episode == 1
    for minute in range(95, 320, 5):
        again.level(minute, 2.94)
    assert again.alerts["len-phu-oc-level"].hazard is Hazard.CLEARED


def test_sums_that_only_grew_are_written_once_a_minute_and_decisions_at_once(tmp_path: Path) -> None:
    service = Service(tmp_path)
    written = [bool(service.rain(second / 60, 0.0)) for second in range(0, 130, 10)]
    assert written == [second % (KEEP_MS // 1000) == 0 for second in range(0, 130, 10)]
    assert not service.rain(2.5, 4.0)
    assert service.rain(2.9, 7.0).alarms.keys() == {"mua-phu-oc-rain"}


def test_the_window_of_a_gauge_is_left_to_its_watch(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.level(0, 1.2)
    service.memory.keep(Changes(windows={LEVEL: service.watch.window}))
    again = Service(tmp_path)
    again.watch.take(Reading(LEVEL, START + MINUTE, 1.3, "m"), START + MINUTE, START + MINUTE)
    again.memory.keep(Changes(windows={LEVEL: again.watch.window}))
    again.rain(5, 1.0)
    assert again.memory.windows()[LEVEL].values == [1.3]
    assert again.memory.windows()["quang-tho/phu-oc/rain"].values == [1.0]


def test_a_status_or_a_reading_of_another_commune_is_not_ours(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.topic = Topic.parse("keng/v1/quang-dien/edge/tram-phu-oc/telemetry")
    for minute in range(10):
        service.rain(minute, minute * 9.0)
    service.guard.status(Topic.parse("keng/v1/quang-tho/edge/tram-phu-oc/status"), b"\xff", START)
    service.guard.status(Topic.parse("keng/v1/quang-tho/edge/tram-phu-oc/status"), b"", START)
    assert service.alerts == {}


def test_a_silence_outlasts_a_restart_and_an_episode_and_its_end_is_written_down(tmp_path: Path) -> None:
    alarm = "mua-phu-oc-rain"
    service = Service(tmp_path)
    service.rain(0, 0.0)
    service.rain(5, 20.0)
    changes = Changes()
    order = AlertSilence(by="An", until_ms=START + 600 * MINUTE)
    answer = service.guard.operate(alarm, order, service.now, "0a1b2c3d", changes)
    service.memory.keep(changes)
    assert answer is not None and answer.ok and changes.documents[alarm].answer == answer
    again = Service(tmp_path)
    for minute in range(10, 300, 5):
        again.rain(minute, 20.0)
    assert again.alerts[alarm].hazard is Hazard.CLEARED
    again.rain(305, 40.0)
    raised = again.alerts[alarm]
    assert (raised.hazard, raised.episode, raised.untold) == (Hazard.RAISED, 2, True)
    again.now = START + 600 * MINUTE - 1
    assert again.settle().documents == {}
    again.now += 1
    ended = again.settle().documents[alarm]
    assert (ended.untold, ended.hazard, ended.version) == (False, Hazard.RAISED, raised.version + 1)
    lines = [(line.what, line.by, line.detail.get("until_ms")) for line in again.memory.timeline(alarm)]
    assert [line for line in lines if "silence" in line[0]] == [
        ("silenced", "An", order.until_ms),
        ("silence ended", "", None),
    ]


def test_an_order_that_is_refused_changes_nothing_but_is_answered_and_written_down(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.rain(0, 0.0)
    service.rain(5, 20.0)
    before, changes = service.alerts["mua-phu-oc-rain"], Changes()
    order = AlertSilence(by="An", until_ms=START + 30 * 24 * 60 * MINUTE)
    answer = service.guard.operate(before.id, order, service.now, "0a1b2c3d", changes)
    assert answer is not None and not answer.ok and "within 7 days" in answer.detail
    only = {"answer": answer, "version": before.version + 1}
    assert changes.documents == {before.id: before.model_copy(update=only)}
    assert [entry.what for entry in changes.timeline] == ["refused"]
    assert service.guard.operate("phu-oc-level", order, service.now, "", changes) is None
