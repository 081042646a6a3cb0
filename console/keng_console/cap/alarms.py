"""What the commune says in CAP of an alarm by a rule, by the rule's kind. Pure.

Public is what people who live there can act on. Severity is that of the rule, in CAP's own words. No alarm is ever
Immediate: a receiver that plays what is Immediate, grave and likely (as Kẻng does, see ``judge``) would sound sirens
for what never sounds ours.

========  ============  ========  =========  ========  ======  ========================================================
kind      category      urgency   certainty  response  public  because
========  ============  ========  =========  ========  ======  ========================================================
rain      Met           Expected  Observed   Monitor   yes     streams and slopes answer within the hour
rise      Met           Expected  Likely     Prepare   yes     a level is foretold: time to raise belongings
upstream  Met           Expected  Likely     Prepare   yes     the flood is on its way: the same
salinity  Env           Expected  Observed   Avoid     yes     sluices are shut and no water is taken
air       Env, Health   Expected  Observed   Avoid     yes     who is ill, old or a child stays inside
dry-soil  Met           Future    Observed   Monitor   yes     it is irrigated within days
others    Infra         Unknown   Observed   Assess    no      the health of sensors, nodes and loudspeakers, and bounds
                                                               whose meaning the commune alone knows
========  ============  ========  =========  ========  ======  ========================================================

What is not public can be written too, with status System and scope Restricted; the console issues none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from keng_console.cap.message import Certainty, Severity, Urgency
from keng_contracts.alerts import FLOOD, AlertDocument
from keng_contracts.registry import Registry
from keng_contracts.rules import RuleKind


@dataclass(frozen=True, slots=True)
class Words:
    """A row of the table. ``event`` and ``instruction`` are in Vietnamese and English."""

    categories: tuple[str, ...]
    urgency: Urgency
    certainty: Certainty
    response: str
    event: tuple[str, str]
    instruction: tuple[str, str]


_RAISE = (
    "Vùng trũng thấp, ven sông: kê cao tài sản, đưa gia súc lên chỗ cao, theo dõi mực nước và thông báo của xã.",
    "Low ground and river banks: raise belongings, take livestock to high ground, watch the water, heed the commune.",
)
_EXPECTED, _LIKELY, _OBSERVED = Urgency.EXPECTED, Certainty.LIKELY, Certainty.OBSERVED

_PUBLIC: Mapping[str, Words] = MappingProxyType(
    {
        RuleKind.RAIN: Words(
            ("Met",), _EXPECTED, _OBSERVED, "Monitor",
            ("Mưa lớn (cảnh báo tại chỗ)", "Heavy rain (local warning)"),
            (
                "Không qua ngầm tràn, suối khi nước lên; tránh xa sườn dốc có vết nứt; theo dõi thông báo của xã.",
                "Do not cross fords and streams while the water rises; keep away from cracked slopes; follow the "
                "commune's word.",
            ),
        ),
        RuleKind.RISE: Words(
            ("Met",), _EXPECTED, _LIKELY, "Prepare",
            ("Nước sông đang lên (cảnh báo tại chỗ)", "Rising river (local warning)"), _RAISE,
        ),
        RuleKind.UPSTREAM: Words(
            ("Met",), _EXPECTED, _LIKELY, "Prepare",
            ("Lũ ở thượng nguồn (cảnh báo tại chỗ)", "Flood upstream (local warning)"), _RAISE,
        ),
        RuleKind.SALINITY: Words(
            ("Env",), _EXPECTED, _OBSERVED, "Avoid",
            ("Xâm nhập mặn (cảnh báo tại chỗ)", "Salt water (local warning)"),
            (
                "Không lấy nước này tưới lúa, cho gia súc uống; đóng cống ngăn mặn, trữ nước ngọt.",
                "Do not irrigate with this water or give it to livestock; shut the sluices, store fresh water.",
            ),
        ),
        RuleKind.AIR: Words(
            ("Env", "Health"), _EXPECTED, _OBSERVED, "Avoid",
            ("Không khí ô nhiễm (cảnh báo tại chỗ)", "Polluted air (local warning)"),
            (
                "Người già, trẻ em, người có bệnh hô hấp, tim mạch: hạn chế ra ngoài; đeo khẩu trang khi ra ngoài.",
                "The old, children and people with lung or heart disease: stay inside if you can; wear a mask outside.",
            ),
        ),
        RuleKind.DRY_SOIL: Words(
            ("Met",), Urgency.FUTURE, _OBSERVED, "Monitor",
            ("Đất khô (cảnh báo tại chỗ)", "Dry soil (local warning)"),
            ("Kiểm tra ruộng, tưới khi cần, tiết kiệm nước.", "Look at the fields, irrigate if needed, save water."),
        ),
    }
)  # fmt: skip
_OWN = Words(
    ("Infra",), Urgency.UNKNOWN, _OBSERVED, "Assess",
    ("Việc cần xem lại của hệ thống cảnh báo", "Something to look at in the warning system"),
    ("Dành cho người trực của xã.", "For the commune's own people on duty."),
)  # fmt: skip


def public(document: AlertDocument) -> bool:
    """Whether an alert concerns those who live there."""
    return document.kind == FLOOD or document.kind in _PUBLIC


def words_of(document: AlertDocument) -> Words:
    return _PUBLIC.get(document.kind, _OWN)


def severity(document: AlertDocument) -> Severity:
    return Severity(document.severity.value.title()) if document.severity else Severity.UNKNOWN


def gauges(document: AlertDocument, registry: Registry) -> set[str]:
    """The sensors whose zones an alarm is about: for a flood upstream those where it will be, else its own."""
    rule = next((rule for rule in registry.rules if rule.id == document.rule), None)
    if rule is not None and rule.to is not None:
        return {sensor.id for sensor in registry.sensors if sensor.id.split("/")[0] == rule.to}
    return {document.sensor}
