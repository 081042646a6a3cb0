"""A storm over twenty gauges is one page, and what another alert says already is none."""

from itertools import permutations
from typing import Any

from keng_alerts.alarms.grouping import group, muted
from keng_contracts.alerts import AlertDocument, Forecast, Hazard
from keng_contracts.registry import Registry
from keng_contracts.rules import Severity
from tests.support.registry import sample

START = 1_763_323_200_000
MINUTE = 60_000


def alert(id_: str, kind: str, station: str = "", **changes: Any) -> AlertDocument:
    fields: dict[str, Any] = {
        "id": id_,
        "version": 1,
        "commune": "quang-tho",
        "sensor": "",
        "station": station,
        "episode": 1,
        "level": 0,
        "official": False,
        "hazard": Hazard.RAISED,
        "value": 1.0,
        "unit": "1",
        "raised_ms": START,
        "updated_ms": START,
        "kind": kind,
        "thing": changes.get("sensor", station or id_),
        "headline": f"Tin {id_}",
        "headline_en": f"News of {id_}",
    }
    return AlertDocument.model_validate({**fields, **changes})


def storm(gauges: int) -> tuple[Registry, list[AlertDocument]]:
    stations = [{"id": f"t{i}", "name": f"Trạm {i}", "river": "Sông Bồ"} for i in range(gauges)]
    registry = Registry.model_validate(
        {
            "schema": "keng.registry/1",
            "version": 1,
            "commune": {"id": "quang-tho", "name": "Xã Quảng Thọ"},
            "stations": stations,
        }
    )
    documents = [
        alert(f"t{i}-level", "flood", f"t{i}", level=1 + (i == 7), raised_ms=START + i * 30_000, thing="")
        for i in range(gauges)
    ]
    return registry, documents


def test_a_storm_over_twenty_gauges_is_one_notice_led_by_the_gravest() -> None:
    registry, documents = storm(20)
    [notice] = group(documents, registry)
    assert len(notice.alerts) == 20
    assert (notice.alerts[0], notice.severity, notice.area) == ("t7-level", Severity.SEVERE, "Sông Bồ")
    assert notice.headline == "Tin t7-level; cùng lúc ở Trạm 0, Trạm 1, Trạm 2 và 16 nơi khác"
    assert notice.headline_en == "News of t7-level; also at Trạm 0, Trạm 1, Trạm 2 and 16 other places"


def test_another_river_another_time_and_another_kind_are_notices_of_their_own() -> None:
    registry = sample()
    together = [alert("a", "rain", "phu-oc", severity="minor"), alert("b", "rain", "phu-oc", severity="minor")]
    late = alert("c", "rain", "phu-oc", severity="minor", raised_ms=START + 16 * MINUTE)
    elsewhere = alert("d", "rain", "uy-ban", severity="minor")
    node = alert("e", "node-offline", severity="severe")
    drill = alert("f", "flood", "phu-oc", level=1, drill_of="phu-oc-level")
    over = alert("g", "rain", "phu-oc", severity="minor", hazard="cleared")
    real = alert("h", "flood", "phu-oc", level=1)
    quiet = alert("i", "rain", "phu-oc", severity="minor", silence={"level": 4, "until_ms": START, "by": "An"})
    notices = group([*together, late, elsewhere, node, drill, over, real, quiet], registry)
    assert [n.alerts for n in notices] == [("e",), ("f",), ("h",), ("a", "b"), ("d",), ("c",)]


def test_the_order_in_which_alerts_came_makes_no_difference() -> None:
    registry, documents = storm(4)
    assert len({str(group(order, registry)) for order in permutations(documents)}) == 1
    assert len({str(sorted(muted(order, registry).items())) for order in permutations(documents)}) == 1


def test_what_another_alert_says_already_is_muted() -> None:
    registry = sample()
    offline = alert("tram", "node-offline", thing="tram-phu-oc", severity="severe")
    silent = alert("im", "silent", "phu-oc", sensor="phu-oc/rain", severity="moderate")
    backlog = alert("cham", "node-backlog", thing="tram-phu-oc", severity="moderate")
    heavy = alert("mua-1h", "rain", "phu-oc", sensor="phu-oc/rain", severity="moderate")
    heavier = alert("mua-24h", "rain", "phu-oc", sensor="phu-oc/rain", severity="severe")
    ahead = Forecast(level=2, made_ms=START, expected_ms=START, earliest_ms=START, rate_per_h=0.2)
    rise = alert("len", "rise", "phu-oc", sensor="phu-oc/level", severity="severe", forecast=ahead)
    flood = alert("phu-oc-level", "flood", "phu-oc", sensor="phu-oc/level", level=2)
    assert muted([offline, silent, backlog, heavy, heavier, rise, flood], registry) == {
        "im": "tram",
        "cham": "tram",
        "mua-1h": "mua-24h",
        "len": "phu-oc-level",
    }
    lower = flood.model_copy(update={"level": 1})
    over = offline.model_copy(update={"hazard": Hazard.CLEARED})
    assert muted([over, silent, backlog, heavy, rise, lower], registry) == {}


def test_a_gauge_that_nobody_watches_is_told_by_its_flood_alert_alone() -> None:
    silent = alert("im", "silent", "phu-oc", sensor="phu-oc/level", severity="moderate")
    flood = alert("phu-oc-level", "flood", "phu-oc", sensor="phu-oc/level", level=2, unwatched=True)
    assert muted([silent, flood], sample()) == {"im": "phu-oc-level"}
    assert muted([silent, flood.model_copy(update={"unwatched": False})], sample()) == {}
