"""The words of a page. Pure. The first line says it all in at most 70 characters, which is one SMS with Vietnamese
letters (UCS-2, 3GPP TS 23.038); the lines below it say the rest, each language for itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from keng_alerts.alarms.grouping import Notice, group
from keng_alerts.notify.occasions import Occasion
from keng_alerts.notify.plan import Page
from keng_alerts.notify.settings import Kind
from keng_contracts.alerts import AlertDocument
from keng_contracts.registry import Registry

FIRST_LINE = 70
#: Occasions named in one page; the rest are counted.
NAMED = 8
_GROUPED = frozenset({Kind.LEVEL, Kind.ALARM})

_WORDS = {
    "vi": {
        "exercise": "DIỄN TẬP: ",
        "drill": "Đây là diễn tập, không có nguy hiểm thật.",
        "many": "{n} việc, nặng nhất: ",
        "more": "… và {n} việc khác.",
        "again": "Nhắc lại lần {n}: chưa có ai xác nhận.",
        "test": "Tin thử từ Kẻng. Không cần làm gì.",
    },
    "en": {
        "exercise": "EXERCISE: ",
        "drill": "This is an exercise; there is no real danger.",
        "many": "{n} things, the gravest: ",
        "more": "… and {n} more.",
        "again": "Told again ({n}): nobody has acknowledged.",
        "test": "A test message from Kẻng. Nothing needs to be done.",
    },
}


def compose(
    page: Page,
    languages: Sequence[str],
    registry: Registry | None,
    zone: ZoneInfo,
    documents: Mapping[str, AlertDocument] = MappingProxyType({}),
) -> tuple[str, str]:
    """Title (the first line) and body of a page. With the alerts' documents, by id, those that belong together by
    :mod:`keng_alerts.alarms.grouping` are one line."""
    alerts = dict.fromkeys(o.alert for o in page.occasions if o.kind in _GROUPED)
    known = [documents[alert] for alert in alerts if alert in documents]
    notices = {alert: notice for notice in (group(known, registry) if registry else []) for alert in notice.alerts}
    parts = [_lines(page, language, zone, notices) for language in languages]
    commune = registry.commune.name if registry else ""
    foot = f"Kẻng, {commune}" if commune else "Kẻng"
    body = "\n\n".join("\n".join(lines) for _, lines in parts) + f"\n\n{foot}"
    return _nfc(shorten(parts[0][0], FIRST_LINE)), _nfc(body)


def compose_test(languages: Sequence[str], registry: Registry | None = None) -> tuple[str, str]:
    """Title and body of a test message."""
    lines = [_WORDS[language]["test"] for language in languages]
    return _nfc(lines[0]), _nfc("\n".join([*lines, f"Kẻng, {registry.commune.name}" if registry else "Kẻng"]))


def shorten(text: str, most: int) -> str:
    """Cut at a word, with an ellipsis, to ``most`` characters.

    >>> shorten("Báo động 3 tại Phú Ốc", 14)
    'Báo động 3…'
    """
    if len(text) <= most:
        return text
    head, space, _ = text[:most].rpartition(" ")
    return (head if space else text[: most - 1]).rstrip(" ,:;") + "…"


def _lines(page: Page, language: str, zone: ZoneInfo, notices: Mapping[str, Notice]) -> tuple[str, list[str]]:
    words = _WORDS[language]
    told = _merged(page.occasions, notices)
    first = getattr(told[0], language)
    count = len(told)
    head = (words["many"].format(n=count) if count > 1 else "") + first
    if page.exercise and not head.startswith(words["exercise"]):
        head = words["exercise"] + head
    lines = [words["drill"]] if page.exercise else []
    for occasion in told[:NAMED]:
        at = datetime.fromtimestamp(occasion.at_ms / 1000, UTC).astimezone(zone)
        lines.append(f"{at:%H:%M %d/%m}: {getattr(occasion, language)}")
    if count > NAMED:
        lines.append(words["more"].format(n=count - NAMED))
    if page.step > 1:
        lines.append(words["again"].format(n=page.step))
    return head, lines


def _merged(occasions: Sequence[Occasion], notices: Mapping[str, Notice]) -> list[Occasion]:
    """One row for what belongs together: alerts of one notice, and the silent loudspeakers of an alert."""
    rows: dict[str, Occasion] = {}
    for occasion in occasions:
        notice = notices.get(occasion.alert) if occasion.kind in _GROUPED else None
        if occasion.item:
            key = f"{occasion.about}{occasion.kind}"
            known = rows.get(key)
            if known is not None:
                occasion = replace(known, vi=f"{known.vi}, {occasion.item}", en=f"{known.en}, {occasion.item}")
        elif notice is not None and len(notice.alerts) > 1:
            key = "notice/" + "/".join(notice.alerts)
            occasion = rows.get(key) or replace(occasion, vi=notice.headline, en=notice.headline_en)
        else:
            key = occasion.key
        rows[key] = occasion
    return list(rows.values())


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
