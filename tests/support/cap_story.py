"""What the commune itself says in CAP of an alert as it changes."""

from __future__ import annotations

from typing import Any

from keng_console.cap.compose import Issued, Sender, due
from keng_console.cap.message import Message
from keng_contracts.alerts import AlertDocument, Forecast, Hazard
from tests.support.console import alert
from tests.support.registry import sample

NOON = 1_763_269_200_000
HOUR = 3_600_000
OURS = Sender("ubnd@quangtho.example", 6 * HOUR)


class Story:
    """What is issued of an alert as it changes."""

    def __init__(self) -> None:
        self.issued: list[Issued] = []
        self.messages: list[Message] = []

    def at(self, hour: float, document: AlertDocument) -> Message | None:
        found = due(document, sample(), self.issued, OURS, NOON + round(hour * HOUR))
        if found is None:
            return None
        self.messages.append(found[0])
        self.issued.append(found[1])
        return found[0]


def raised(level: int, **changes: Any) -> AlertDocument:
    words = {"headline": f"Báo động {level} tại Phú Ốc", "headline_en": f"Flood alarm level {level} at Phú Ốc"}
    return alert(level, NOON, **{**words, **changes})


def foretold(hours: float) -> Forecast:
    at = NOON + round(hours * HOUR)
    return Forecast(level=3, made_ms=NOON, expected_ms=at, earliest_ms=at, latest_ms=None, rate_per_h=0.3)


def alarm(kind: str, version: int = 1, **changes: Any) -> AlertDocument:
    words = {"headline": "Mưa to tại Phú Ốc: 62 mm trong 1 giờ", "headline_en": "Heavy rain at Phú Ốc: 62 mm in 1 h"}
    fields = {
        "id": "mua-to",
        "value": 62.0,
        "rule": "mua-to",
        "thing": "phu-oc/rain",
        "sensor": "phu-oc/rain",
        "unit": "mm",
    }
    grave = {"severity": "moderate", "official": False, "hazard": Hazard.RAISED, "raised_ms": NOON, "threshold": 50.0}
    return alert(0, NOON, version=version, kind=kind, **{**words, **fields, **grave, **changes})
