"""All alarms of a commune: which rule watches what and says what; a restart or a late reading changes nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_alerts.alarms.alarmbook import Alarms, Told
from keng_contracts.alerts import AlertDocument, Forecast, Hazard
from keng_contracts.registry import Registry
from keng_contracts.rules import Severity
from keng_contracts.status import EdgeStatus, SourceHealth, SpeakerStatus
from keng_contracts.telemetry import Reading
from tests.support.registry import sample

START = 1_763_323_200_000
MINUTE, HOUR = 60_000, 3_600_000
NODE, RAIN = "tram-phu-oc", "quang-tho/phu-oc/rain"
RULES: list[dict[str, Any]] = [
    {"id": "mua-1h", "kind": "rain", "watch": ["phu-oc/rain"], "window_s": 3600, "raise_at": 40},
    {
        "id": "mua-10p",
        "kind": "rain",
        "watch": ["phu-oc/rain"],
        "window_s": 600,
        "raise_at": 20,
        "severity": "severe",
    },
    {"id": "len", "kind": "rise", "watch": ["*"], "level": 2},
    {"id": "im", "kind": "silent", "watch": ["*"]},
    {"id": "tram", "kind": "node-offline", "watch": ["*"]},
    {"id": "tram-bo", "kind": "node-dropped", "watch": ["*"]},
    {"id": "tram-cham", "kind": "node-backlog", "watch": ["*"]},
    {"id": "tram-loi", "kind": "node-problem", "watch": ["*"]},
    {"id": "loa", "kind": "speaker-off", "watch": ["*"]},
    {"id": "bui", "kind": "air", "watch": ["uy-ban/aqi"]},
    {"id": "kho", "kind": "dry-soil", "watch": ["phuoc-yen/soil-moisture"], "raise_at": 20},
    {
        "id": "thuong-nguon",
        "kind": "upstream",
        "watch": ["phu-oc/level"],
        "raise_at": 4.0,
        "to": "phuoc-yen",
        "travel_s": 10800,
    },
]
DERIVED = [{"id": "uy-ban/aqi", "name": "VN_AQI", "kind": "vn-aqi", "inputs": {"pm2-5": "uy-ban/pm2-5"}}]


def registry(rules: list[dict[str, Any]] = RULES) -> Registry:
    return sample(rules=rules, derived=DERIVED)


class Commune:
    """The alarms as the service drives them, with the documents that people would see."""

    def __init__(self, rules: list[dict[str, Any]] = RULES) -> None:
        self.documents: dict[str, AlertDocument] = {}
        self.registry = registry(rules)
        self.alarms = Alarms(self.registry, self.documents)

    def restart(self) -> None:
        kept = json.loads(json.dumps(self.alarms.dump()))
        windows = {s: type(w).load(json.loads(json.dumps(w.dump()))) for s, w in self.alarms.windows.items()}
        self.alarms = Alarms(self.registry, self.documents, kept, windows)

    def told(self, news: list[Told]) -> list[tuple[str, str]]:
        for document, _ in news:
            self.documents[document.id] = document
        for document in self.alarms.settled():
            self.documents[document.id] = document
        return [(told.document.id, str(told.change)) for told in news if told.change]

    def reads(self, series: str, minutes: float, value: float, late_s: float = 0.0) -> list[tuple[str, str]]:
        at = START + round(minutes * MINUTE)
        return self.told(self.alarms.take(Reading(series, at, value, ""), NODE, at + round(late_s * 1000)))

    def ticks(self, minutes: float) -> list[tuple[str, str]]:
        return self.told(self.alarms.tick(START + round(minutes * MINUTE), 0))

    def says(self, minutes: float, **status: Any) -> list[tuple[str, str]]:
        document = EdgeStatus(**{"state": "online", **status})
        return self.told(self.alarms.status(NODE, document, START + round(minutes * MINUTE)))


def test_a_cloudburst_is_raised_told_and_cleared() -> None:
    commune = Commune()
    told = [news for m in range(0, 121) for news in commune.reads(RAIN, m, min(m, 20) * 2.5)]
    assert told == [
        ("mua-10p-phu-oc-rain", "raised"),
        ("mua-1h-phu-oc-rain", "raised"),
        ("mua-10p-phu-oc-rain", "cleared"),
        ("mua-1h-phu-oc-rain", "cleared"),
    ]


def test_what_is_raised_is_an_alert_in_words_and_nothing_plays_for_it() -> None:
    commune = Commune()
    for m in range(0, 17):
        commune.reads(RAIN, m, m * 2.5)
    alert = commune.documents["mua-1h-phu-oc-rain"]
    assert alert.headline == "Mưa lớn tại Phú Ốc (Sông Bồ): 40,0 mm trong 1 giờ, ngưỡng 40 mm"
    assert alert.headline_en == "Heavy rain at Phú Ốc (Sông Bồ): 40.0 mm in 1 h, threshold 40 mm"
    assert (alert.kind, alert.severity, alert.hazard) == ("rain", Severity.MODERATE, Hazard.RAISED)
    assert (alert.level, alert.play, alert.deliveries, alert.sensor) == (0, "", {}, "phu-oc/rain")
    assert alert.muted_by == "mua-10p-phu-oc-rain"
    with pytest.raises(ValueError, match="nothing plays"):
        AlertDocument.model_validate({**alert.model_dump(), "play": "phu-oc-level-1-3"})


def test_a_node_that_goes_offline_is_told_once_and_mutes_the_silence_of_its_sensors() -> None:
    commune = Commune()
    commune.says(0)
    commune.reads(RAIN, 0, 1.0)
    commune.reads("quang-tho/uy-ban/pm10", 0, 1.0)
    assert commune.says(1, state="offline") == []
    told = [news for m in range(2, 12) for news in commune.ticks(m)]
    assert told == [
        ("tram-tram-phu-oc", "raised"),
        ("im-phu-oc-rain", "raised"),
        ("im-uy-ban-pm10", "raised"),
    ]
    assert commune.documents["tram-tram-phu-oc"].headline == "Trạm đo mất kết nối: tram-phu-oc"
    assert commune.documents["im-phu-oc-rain"].muted_by == "tram-tram-phu-oc"
    assert commune.documents["im-phu-oc-rain"].headline.startswith("Mất số liệu lượng mưa tích lũy tại Phú Ốc")
    # It is back, and its sensors are heard again.
    commune.says(12)
    for m in range(12, 20):
        commune.reads(RAIN, m, 1.0)
        commune.ticks(m)
    assert commune.documents["tram-tram-phu-oc"].hazard is Hazard.CLEARED
    assert commune.documents["im-phu-oc-rain"].hazard is Hazard.CLEARED
    assert commune.documents["im-uy-ban-pm10"].hazard is Hazard.RAISED
    assert commune.documents["im-uy-ban-pm10"].muted_by == ""


def test_what_a_node_tells_of_itself() -> None:
    commune = Commune()
    commune.says(0, dropped=7)
    assert commune.says(1, dropped=7) == []
    assert commune.says(2, dropped=9) == [("tram-bo-tram-phu-oc", "raised")]
    assert commune.documents["tram-bo-tram-phu-oc"].headline == "Trạm đo bỏ mất số liệu: tram-phu-oc: 2 số đo"
    assert commune.says(3, dropped=9, outbox_age_s=1000) == [("tram-cham-tram-phu-oc", "raised")]
    # The last will knows no counts; neither is their absence good news.
    assert commune.says(4, state="offline") == []
    assert commune.says(70, dropped=9, outbox_age_s=1000) == []
    failing = [SourceHealth(id="rs485", ok=False, error="no answer")]
    commune.says(71, dropped=9, sources=failing)
    told = [news for m in range(72, 80) for news in commune.ticks(m)]
    assert ("tram-loi-tram-phu-oc", "raised") in told
    assert commune.documents["tram-loi-tram-phu-oc"].headline.endswith("rs485: no answer")


def test_a_loudspeaker_that_is_off_is_told_by_its_name() -> None:
    commune = Commune()
    at = START
    commune.told(commune.alarms.status("loa-phuoc-yen", SpeakerStatus(state="offline"), at))
    told = [news for m in range(1, 7) for news in commune.ticks(m)]
    assert told == [("loa-loa-phuoc-yen", "raised")]
    assert commune.documents["loa-loa-phuoc-yen"].headline == "Loa mất kết nối: Loa thôn Phước Yên"


def test_a_level_that_is_foretold_is_told_with_its_uncertainty() -> None:
    commune = Commune()
    for m in (0, 5):
        at = START + m * MINUTE
        found = Forecast(
            level=3,
            made_ms=at,
            expected_ms=at + 2 * HOUR,
            earliest_ms=at + HOUR,
            latest_ms=at + 5 * HOUR,
            rate_per_h=0.31,
        )
        commune.told(commune.alarms.foretold("phu-oc/level", found, at, at))
    alert = commune.documents["len-phu-oc-level"]
    assert alert.headline == (
        "Nước lên nhanh tại Phú Ốc (Sông Bồ): 0,31 m/giờ, có thể đến Báo động 3 sau khoảng 2 giờ "
        "(khoảng 05:05; từ 04:05 đến 08:05)"
    )
    assert (alert.forecast, alert.expected_ms) == (found, found.expected_ms)
    told = []
    for m in range(10, 60, 5):
        told += commune.told(commune.alarms.foretold("phu-oc/level", None, START + m * MINUTE, START + m * MINUTE))
    assert told == [("len-phu-oc-level", "cleared")]
    # No all-clear: the level may have been reached.
    assert commune.documents["len-phu-oc-level"].headline_en == (
        "No higher level is foretold at present at Phú Ốc (Sông Bồ)"
    )


@pytest.mark.parametrize(("interval_s", "told"), [(60, False), (3600, True)])
def test_of_an_hourly_gauge_one_forecast_is_enough(interval_s: int, told: bool) -> None:
    commune = Commune()
    sensors = [{**s.model_dump(), "interval_s": interval_s} for s in commune.registry.sensors]
    alarms = Alarms(sample(rules=RULES, derived=DERIVED, sensors=sensors), commune.documents)
    soon = Forecast(level=2, made_ms=START, expected_ms=START + HOUR, earliest_ms=START, rate_per_h=0.3)
    assert bool(alarms.foretold("phu-oc/level", soon, START, START)) is told


def test_a_flood_upstream_says_when_it_arrives() -> None:
    commune = Commune()
    for m, level in enumerate([3.9, 4.0, 4.1]):
        commune.reads("quang-tho/phu-oc/level", m, level)
    alert = commune.documents["thuong-nguon-phu-oc-level"]
    assert alert.headline == (
        "Lũ từ thượng nguồn tại Phú Ốc (Sông Bồ): 4,10 m, đã vượt 4 m; "
        "dự kiến tới Đồng Phước Yên sau khoảng 3 giờ (khoảng 06:02)"
    )
    assert alert.expected_ms == START + 2 * MINUTE + 3 * HOUR
    for m in range(3, 40):
        commune.reads("quang-tho/phu-oc/level", m, 3.5)
    over = commune.documents["thuong-nguon-phu-oc-level"]
    assert over.headline == "Mực nước thượng nguồn tại Phú Ốc (Sông Bồ) đã xuống dưới ngưỡng"


def test_bad_air_is_told_when_its_hour_is_over() -> None:
    commune = Commune()
    told = [news for m in range(0, 240, 10) for news in commune.reads("quang-tho/uy-ban/pm2-5", m, 120.0)]
    assert told == [("bui-uy-ban-aqi", "raised")]
    assert commune.documents["bui-uy-ban-aqi"].headline == "Không khí xấu tại Ủy ban nhân dân xã: VN_AQI 179"


def test_what_is_outside_of_the_range_counts_for_nothing() -> None:
    commune = Commune()
    told = [n for m in range(0, 200, 10) for n in commune.reads("quang-tho/phuoc-yen/soil-moisture", m, -1.0)]
    assert told == []
    told = [n for m in range(200, 400, 10) for n in commune.reads("quang-tho/phuoc-yen/soil-moisture", m, 11.0)]
    assert told == [("kho-phuoc-yen-soil-moisture", "raised")]


def test_what_another_node_says_of_a_sensor_is_not_heard() -> None:
    commune = Commune()
    for m in range(60):
        assert commune.alarms.take(Reading(RAIN, START + m * MINUTE, m * 9.0, "mm"), "tram-khac", START) == []
    assert commune.documents == {}


def test_an_alarm_whose_rule_is_gone_does_not_stand_for_ever() -> None:
    commune = Commune()
    for m in range(0, 17):
        commune.reads(RAIN, m, m * 2.5)
    later = Alarms(registry(RULES[1:]), commune.documents, commune.alarms.dump())
    [gone] = later.withdrawn(START + HOUR)
    assert (gone.id, gone.hazard) == ("mua-1h-phu-oc-rain", Hazard.CLEARED)
    assert gone.headline.startswith("Không còn theo dõi: Mưa lớn")
    assert list(later.dump()) == [id_ for id_ in commune.alarms.dump() if id_ != "mua-1h-phu-oc-rain"]


def test_what_a_rule_of_another_kind_remembered_is_let_go() -> None:
    commune = Commune()
    for m in range(0, 17):
        commune.reads(RAIN, m, m * 2.5)
    changed = [{"id": "mua-1h", "kind": "silent", "watch": ["phu-oc/rain"]}]
    again = Alarms(registry(changed), commune.documents, json.loads(json.dumps(commune.alarms.dump())))
    # It is still raised, and the new rule clears it by what it sees itself.
    told = []
    for m in range(60, 70):
        at = START + m * MINUTE
        again.take(Reading(RAIN, at, 5.0, "mm"), NODE, at)
        told += again.tick(at, 0)
    assert [(t.document.id, t.change) for t in told if t.change] == [("mua-1h-phu-oc-rain", "cleared")]


def test_only_what_was_decided_must_be_on_disk_before_it_is_said() -> None:
    commune = Commune()
    commune.reads(RAIN, 0, 0.0)
    assert commune.alarms.unsaved() == {}
    assert "mua-1h-phu-oc-rain" in commune.alarms.unsaved(everything=True)
    for m in range(1, 17):
        commune.reads(RAIN, m, m * 2.5)
    assert set(commune.alarms.unsaved()) == {"mua-1h-phu-oc-rain", "mua-10p-phu-oc-rain"}


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("rain"),
            st.sampled_from([-120, 30, 60, 300, 4000]),
            st.sampled_from([0, 1, 9]),
            st.sampled_from([0, 0, 0, 2000]),
        ),
        st.tuples(st.just("moist"), st.sampled_from([60, 1800]), st.sampled_from([5, 50]), st.sampled_from([0, 2000])),
        st.tuples(st.just("tick"), st.sampled_from([5, 60, 600]), st.just(0), st.just(0)),
        st.tuples(st.just("node"), st.sampled_from([0, 60, 600]), st.sampled_from([0, 1, 2]), st.just(0)),
    ),
    max_size=60,
)


def drive(commune: Commune, feed: list[tuple[str, int, int, int]], restarts: bool) -> list[Any]:
    """Feed it; every change as (id, change, how late the reading was that brought it about, in s)."""
    seen: list[Any] = []
    now, total = 0.0, 0.0
    for what, seconds, value, late in feed:
        now = now + seconds / 60
        if what == "rain":
            total += value
            news = commune.reads(RAIN, now, total, late)
        elif what == "moist":
            news = commune.reads("quang-tho/phuoc-yen/soil-moisture", now, value, late)
        elif what == "tick":
            news = commune.ticks(now)
        else:
            news = commune.says(now, state="offline" if value == 2 else "online", dropped=value)
        seen += [(*row, late) for row in news]
        if restarts:
            commune.restart()
    return seen


@given(steps)
def test_no_alarm_comes_or_goes_by_late_data_and_replaying_gives_the_same(
    feed: list[tuple[str, int, int, int]],
) -> None:
    one, other = Commune(), Commune()
    seen = drive(one, feed, restarts=False)
    assert all(late <= 900 for _, _, late in seen)
    assert drive(other, feed, restarts=False) == seen
    assert other.documents == one.documents
    assert all(document.level == 0 and not document.play for document in one.documents.values())


@given(steps.filter(lambda feed: all(what != "node" for what, *_ in feed)))
def test_a_restart_between_any_two_is_none(feed: list[tuple[str, int, int, int]]) -> None:
    one, other = Commune(), Commune()
    assert drive(one, feed, restarts=False) == drive(other, feed, restarts=True)
    assert one.documents == other.documents
