"""What the commune says of an alert in CAP, and when. Pure.

What a level means (the reason: CAP's severity speaks of the threat to life, and the commune moves people at level 3):

=====  =========  ============================================  ==========================================  ============
level  severity   urgency                                       certainty                                   responseType
=====  =========  ============================================  ==========================================  ============
1      Moderate   Expected; Immediate if the next level is      Observed; Likely while nobody sees the      Monitor
                  foretold within the hour                      gauge: it was observed and is not now
2      Severe     the same                                      the same                                    Prepare
3, 4   Extreme    Immediate: the water is there                 the same                                    Evacuate
=====  =========  ============================================  ==========================================  ============

What an alarm by a rule means is the table of ``alarms``. What is issued when:

=========================================================  ============================================================
the alert                                                  then
=========================================================  ============================================================
is raised, and nothing that holds was issued of it         Alert
is raised, and its words of the table are others           Update; if only the forecast moved them, not within 10 min
is raised, and half of the time until ``expires`` is over  Update: what still holds must not run out
is not raised, and something that holds was issued of it   Cancel, with AllClear
=========================================================  ============================================================

Update and Cancel refer to every message of the alert that could still be held for true, so that whoever has any of
them lets it go. An alarm that another alert says already (``muted_by``) begins nothing; what was issued of it goes on,
for a Cancel would say that all is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from keng_console.cap.alarms import gauges, public, severity, words_of
from keng_console.cap.message import (
    Area,
    Certainty,
    Circle,
    Info,
    Message,
    MsgType,
    Reference,
    Scope,
    Severity,
    Status,
    Urgency,
    to_text,
)
from keng_console.words import words
from keng_contracts.alerts import FLOOD, AlertDocument, Hazard
from keng_contracts.registry import Registry, Sensor, Station

HOUR_MS = 3_600_000
#: A forecast that comes and goes is told anew no more often than this.
CALM_MS = 600_000
#: How far around its mast a loudspeaker's hamlet is taken to reach, where the registry knows no border.
HAMLET_KM = 1.0
#: References in one message at most: a flood of days that is renewed again and again.
MAX_REFERENCES = 20

_SEVERITY = {1: Severity.MODERATE, 2: Severity.SEVERE, 3: Severity.EXTREME, 4: Severity.EXTREME}
_RESPONSE = {1: "Monitor", 2: "Prepare", 3: "Evacuate", 4: "Evacuate"}


@dataclass(frozen=True, slots=True)
class Issued:
    """A message that was issued of an alert. ``meaning`` is what it said by the table, to tell news from renewal."""

    alert: str
    reference: Reference
    msg_type: MsgType
    level: int
    meaning: str
    sent_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Sender:
    """In whose name: the CAP sender, and for how long a message holds."""

    name: str
    valid_ms: int


def meaning(document: AlertDocument, now_ms: int) -> tuple[Urgency, Severity, Certainty]:
    """The table's words for an alert at a level from 1 on, or for an alarm."""
    if document.kind != FLOOD:
        row = words_of(document)
        return row.urgency, severity(document), row.certainty
    ahead = document.forecast
    soon = ahead is not None and ahead.expected_ms - now_ms <= HOUR_MS
    urgency = Urgency.IMMEDIATE if document.level >= 3 or soon else Urgency.EXPECTED
    certainty = Certainty.LIKELY if document.unwatched else Certainty.OBSERVED
    return urgency, _SEVERITY[document.level], certainty


def due(
    document: AlertDocument, registry: Registry, issued: Sequence[Issued], sender: Sender, now_ms: int
) -> tuple[Message, Issued] | None:
    """The message that has to be issued of an alert now. ``issued`` is what was issued of it, the oldest first."""
    last = issued[-1] if issued else None
    holds = last is not None and last.msg_type is not MsgType.CANCEL and last.expires_ms > now_ms
    raised = document.hazard is Hazard.RAISED and (document.level > 0 or document.kind != FLOOD)
    exercise = document.exercise or bool(document.drill_of)
    if not raised:
        if not holds or last is None:
            return None
        msg_type, says = MsgType.CANCEL, last.meaning
    else:
        says = "/".join([*meaning(document, now_ms), str(document.level), "drill" if exercise else "real"])
        if not holds or last is None:
            if document.muted_by:
                return None
            msg_type = MsgType.ALERT
        else:
            msg_type = MsgType.UPDATE
            same_level = last.level == document.level and last.meaning.endswith("drill") == exercise
            news = says != last.meaning and not (same_level and now_ms - last.sent_ms < CALM_MS)
            if not news and last.expires_ms - now_ms > sender.valid_ms // 2:
                return None
    references = tuple(i.reference for i in issued if i.expires_ms > now_ms and i.msg_type is not MsgType.CANCEL)
    zone = ZoneInfo(registry.commune.timezone)
    expires_ms = now_ms + sender.valid_ms
    station = next((s for s in registry.stations if s.id == document.station), None)
    message = Message(
        identifier=f"{document.commune}-{document.id}-{document.episode}-{now_ms}",
        sender=sender.name,
        sent=to_text(now_ms, zone),
        status=Status.EXERCISE if exercise else Status.ACTUAL if public(document) else Status.SYSTEM,
        msg_type=msg_type,
        scope=Scope.PUBLIC if public(document) else Scope.RESTRICTED,
        restriction="" if public(document) else "Cho người trực của xã (for the commune's own people on duty)",
        source=f"{registry.commune.name}: {station.name if station else document.station or document.thing}",
        note="Diễn tập, không có nguy hiểm thật (a drill, there is no real danger)" if exercise else "",
        references=references[-MAX_REFERENCES:] if msg_type is not MsgType.ALERT else (),
        infos=tuple(
            _info(document, registry, station, language, msg_type, now_ms, expires_ms) for language in ("vi", "en")
        ),
    )
    level = document.level if raised or last is None else last.level
    return message, Issued(document.id, message.reference, msg_type, level, says, now_ms, expires_ms)


def _info(
    d: AlertDocument,
    registry: Registry,
    station: Station | None,
    language: str,
    msg_type: MsgType,
    now_ms: int,
    expires_ms: int,
) -> Info:
    vi = language == "vi"
    over = msg_type is MsgType.CANCEL
    row = None if d.kind == FLOOD else words_of(d)
    urgency, severity, certainty = (Urgency.PAST, Severity.MINOR, Certainty.OBSERVED) if over else meaning(d, now_ms)
    sensor = next((s for s in registry.sensors if s.id == d.sensor), None)
    headline = (d.headline if vi else d.headline_en) or d.headline
    river = station.river if station else ""
    exercise = d.exercise or bool(d.drill_of)
    mark = "DIỄN TẬP" if vi else "EXERCISE"
    if exercise and not headline.startswith(mark):
        headline = f"{mark}: {headline}"
    return Info(
        language="vi-VN" if vi else "en-US",
        categories=("Met",) if row is None else row.categories,
        event=_event(d, river, vi) if row is None else row.event[0 if vi else 1],
        responses=("AllClear",) if over else (_RESPONSE[d.level] if row is None else row.response,),
        urgency=urgency,
        severity=severity,
        certainty=certainty,
        effective_ms=now_ms,
        onset_ms=None if over else d.raised_ms,
        expires_ms=expires_ms,
        sender_name=", ".join(filter(None, (registry.commune.name, registry.commune.province))),
        headline=headline[:160],
        description=" ".join(_description(d, sensor, ZoneInfo(registry.commune.timezone), vi, over)),
        instruction=""
        if over
        else (_INSTRUCTIONS[min(d.level, 3)] if row is None else row.instruction)[0 if vi else 1],
        parameters=tuple(_parameters(d)),
        areas=tuple(_areas(d, registry)),
    )


def _event(d: AlertDocument, river: str, vi: bool) -> str:
    if vi:
        what = "Lũ" if d.official else "Lũ (cảnh báo tại chỗ)"
        return f"{what} trên {river[0].lower()}{river[1:]}" if river else what
    what = "Flood" if d.official else "Flood (local warning)"
    return f"{what}, {river}" if river else what


def _description(d: AlertDocument, sensor: Sensor | None, zone: ZoneInfo, vi: bool, over: bool) -> list[str]:
    number = words("vi" if vi else "en").number
    decimals = sensor.decimals if sensor else 2
    said = [f"{d.headline if vi else d.headline_en or d.headline}."]
    if d.exercise or d.drill_of:
        said.append("Đây là diễn tập, không có nguy hiểm thật." if vi else "This is a drill; there is no real danger.")
    if d.unwatched and not over:
        said.append("Hiện mất số liệu của trạm." if vi else "The gauge sends no data now.")
    if d.forecast is not None and d.kind == FLOOD and not over:  # the headline of an alarm that foretells says it
        at = to_text(d.forecast.expected_ms, zone)
        when, rate = f"{at[11:16]} {at[8:10]}/{at[5:7]}", f"{number(d.forecast.rate_per_h, decimals)} {d.unit}/h"
        said.append(
            f"Nếu nước tiếp tục lên {rate}, mức {d.forecast.level} vào khoảng {when}."
            if vi
            else f"If the water goes on rising by {rate}, level {d.forecast.level} is reached at about {when}."
        )
    return said


def _parameters(d: AlertDocument) -> list[tuple[str, str]]:
    if d.kind == FLOOD:
        rows = [("gauge", d.sensor), ("level", str(d.level))]
    else:
        rows = [("kind", d.kind), ("rule", d.rule), ("thing", d.thing)]
    rows += [("value", f"{d.value:g}"), ("unit", d.unit)]
    if d.threshold is not None:
        rows.append(("threshold", f"{d.threshold:g}"))
    return [*rows, ("official", "true" if d.official else "false"), ("episode", str(d.episode))]


def _areas(d: AlertDocument, registry: Registry) -> list[Area]:
    """The zones that its gauge speaks to, all where it has none, by their border or by circles around their
    loudspeakers; without any, the commune by its name. Official codes are those of the zone, or of the commune."""
    sensors = {d.sensor} if d.kind == FLOOD else gauges(d, registry)
    named = {zone for rule in registry.authority if rule.sensor in sensors for zone in rule.zones}
    zones = [zone for zone in registry.zones if zone.id in named] or list(registry.zones)
    of_commune = tuple(sorted(registry.commune.codes.items()))
    areas = []
    for zone in zones:
        masts = [(s.lat, s.lon) for s in registry.speakers if zone.id in s.zones]
        circles = tuple(Circle((lat, lon), HAMLET_KM) for lat, lon in masts if lat is not None and lon is not None)
        areas.append(
            Area(
                desc=f"{zone.name}, {registry.commune.name}",
                polygons=(tuple(zone.polygon),) if zone.polygon else (),
                circles=() if zone.polygon else circles,
                codes=tuple(sorted(zone.codes.items())) or of_commune,
            )
        )
    return areas or [Area(desc=registry.commune.name, codes=of_commune)]


_INSTRUCTIONS = {
    1: (
        "Theo dõi mực nước và chuẩn bị phòng tránh.",
        "Watch the water level and get ready.",
    ),
    2: (
        "Vùng trũng thấp, ven sông: kê cao tài sản, đưa gia súc lên chỗ cao, sẵn sàng di dời.",
        "Low ground and river banks: raise belongings, take livestock to high ground, be ready to leave.",
    ),
    3: (
        "Vùng trũng thấp, ven sông: khẩn trương di dời đến nơi an toàn, cắt điện ở nơi ngập, không qua lại đường ngập, "
        "làm theo hướng dẫn của chính quyền.",
        "Low ground and river banks: leave for a safe place now, cut the power where water stands, keep off flooded "
        "roads, follow the authorities.",
    ),
}
