"""What an alert says that a person must know. Pure.

=================================================  ==========  ======================================================
the alert                                          kind        severity
=================================================  ==========  ======================================================
says already what another alert says (muted)       none
is an alarm under a silence                        none
is a level that was reached                        LEVEL       by its highest level: 1 moderate, 2 severe, 3 and 4
                                                               extreme
has no fresh data while raised                     UNWATCHED   that of the level, at least severe
has a siren that waits for a person                CONFIRM     that of the level, at least severe
has loudspeakers that did not confirm              SILENT      that of the level, at least severe; one for each
was not acknowledged in time                       ESCALATED   one above that of the level, at most extreme
is an alarm by a rule                              ALARM       the rule's
was raised and is not                              OVER        minor; for those only who were told of it
can't be read                                      ALARM       severe: people have to look for themselves
=================================================  ==========  ======================================================

An occasion's key names it for ever: the highest level of an episode is one occasion however often its document changes,
and falling from level 3 to 2 opens none. What was acknowledged before it began is not acknowledged by that.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from keng_alerts.notify.settings import Kind, Severity
from keng_contracts.alerts import FLOOD, AlertDocument, Hazard, Stage
from keng_contracts.registry import Registry

DEFAULT_ZONE = "Asia/Ho_Chi_Minh"


@dataclass(frozen=True, slots=True)
class Occasion:
    """``about`` begins the keys of all occasions of one episode. ``vi`` and ``en`` are one line each, without a time;
    ``item`` is what several of a kind differ in: the name of a loudspeaker."""

    key: str
    about: str
    kind: Kind
    severity: Severity
    alert: str
    exercise: bool
    acknowledged: bool
    at_ms: int
    vi: str
    en: str
    item: str = ""


_OF_LEVEL = {1: Severity.MODERATE, 2: Severity.SEVERE, 3: Severity.EXTREME, 4: Severity.EXTREME}


def occasions(document: AlertDocument, registry: Registry | None) -> list[Occasion]:
    """The occasions that are open by this state of an alert. ``registry`` gives names to stations, if there is one."""
    return [] if document.untold else list(_Reader(document, registry).all())


def unreadable(alert: str, at_ms: int) -> Occasion:
    """An alert that can't be read may be the gravest of all, so that people are told to look for themselves."""
    return Occasion(
        key=f"{alert}/unreadable/{at_ms}",
        about=f"{alert}/unreadable/",
        kind=Kind.ALARM,
        severity=Severity.SEVERE,
        alert=alert,
        exercise=False,
        acknowledged=False,
        at_ms=at_ms,
        vi=f"Không đọc được cảnh báo {alert}: cần xem trang Kẻng",
        en=f"The alert {alert} can't be read: look at the page of Kẻng",
    )


class _Reader:
    def __init__(self, document: AlertDocument, registry: Registry | None) -> None:
        self.d = document
        self.about = f"{document.id}/{document.episode}/"
        self.zone = ZoneInfo(registry.commune.timezone if registry else DEFAULT_ZONE)
        names = {station.id: station.name for station in registry.stations} if registry else {}
        self.station = names.get(document.station, document.station)

    def all(self) -> Iterator[Occasion]:
        d = self.d
        if d.hazard is not Hazard.RAISED:
            over_ms = d.cleared_ms or d.updated_ms
            yield self._one("over", Kind.OVER, Severity.MINOR, over_ms, d.headline, d.headline_en)
            return
        if d.kind != FLOOD:
            grave = Severity[d.severity.name] if d.severity else Severity.MODERATE
            # The end of a silence raises it anew, for those too who were told before.
            since_ms = d.stage_ms if d.stage is Stage.RAISED and d.stage_ms else d.raised_ms
            yield self._one(f"alarm-{since_ms}", Kind.ALARM, grave, d.raised_ms, d.headline, d.headline_en)
        else:
            grave = _OF_LEVEL.get(max(d.level, d.peak_level), Severity.MODERATE)
            yield self._one(f"level-{d.peak_level}", Kind.LEVEL, grave, d.updated_ms, d.headline, d.headline_en)
            yield from self._of_level(max(grave, Severity.SEVERE))
        if d.stage is Stage.ESCALATED:
            yield self._one(
                f"escalated-{d.escalations}",
                Kind.ESCALATED,
                min(Severity.EXTREME, Severity(grave + 1)) if grave < Severity.EXTREME else grave,
                d.stage_ms or d.updated_ms,
                f"Chưa ai xác nhận: {d.headline}",
                f"Nobody has acknowledged: {d.headline_en}",
            )

    def _of_level(self, grave: Severity) -> Iterator[Occasion]:
        d = self.d
        for question in d.questions:
            at = f" lúc {self._clock(question.sounds_ms)}" if question.sounds_ms else ""
            at_en = f" at {self._clock(question.sounds_ms)}" if question.sounds_ms else ""
            yield self._one(
                f"confirm-{question.level}-{question.since_ms}",
                Kind.CONFIRM,
                grave,
                question.since_ms,
                f"Còi chờ xác nhận, mức {question.level} {self.station}"
                + (f"; tự hú{at} nếu không từ chối" if at else ""),
                f"A siren waits for you, level {question.level} {self.station}"
                + (f"; it sounds{at_en} unless declined" if at_en else ""),
            )
        for name in d.silent.values():
            yield self._one(
                f"silent-{d.play}-{name}",
                Kind.SILENT,
                grave,
                d.updated_ms,
                f"Loa không trả lời, cần người đến báo: {name}",
                f"Loudspeakers in silence, people have to go there: {name}",
                item=name,
            )
        if d.unwatched:
            since_ms = d.data_since_ms or d.updated_ms
            yield self._one(
                f"unwatched-{since_ms}",
                Kind.UNWATCHED,
                grave,
                since_ms,
                f"Mất số liệu {self.station} khi đang báo động: cần ra xem nước",
                f"No data from {self.station} during an alert: somebody has to look",
            )

    def _one(self, key: str, kind: Kind, severity: Severity, at_ms: int, vi: str, en: str, item: str = "") -> Occasion:
        d = self.d
        seen = d.acknowledged if d.stage in (None, Stage.ACKNOWLEDGED) else None  # a higher level raises it anew
        seen_ms = seen.at_ms if seen and kind not in (Kind.CONFIRM, Kind.SILENT) else 0
        begun_ms = d.data_since_ms or 0 if kind is Kind.UNWATCHED else 0
        return Occasion(
            key=self.about + key,
            about=self.about,
            kind=kind,
            severity=severity,
            alert=d.id,
            exercise=d.exercise or bool(d.drill_of),
            acknowledged=seen_ms > begun_ms,
            at_ms=at_ms,
            vi=unicodedata.normalize("NFC", vi),
            en=unicodedata.normalize("NFC", en),
            item=item,
        )

    def _clock(self, at_ms: int) -> str:
        return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.zone):%H:%M}"
