"""What the loudspeakers did in a month, added up from their evidence: what a commune's monthly report asks for. Pure.

A play counts on every loudspeaker that it was meant for. It was *played* if a first sample was heard there; *missed* if
it was accepted or due and no sample was heard: skipped, failed, dropped before its turn. Minutes are of sound that was
measured at the output, not of what was planned. Drills are counted apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from keng_contracts.playback import PlaybackEvent, What

#: Priorities in the words of Thông tư 39/2020.
NAMES = {
    "emergency": "báo động (emergency)",
    "urgent": "khẩn cấp (urgent)",
    "live": "trực tiếp (live)",
    "priority": "ưu tiên (priority)",
    "scheduled": "thông thường (scheduled)",
    "relay": "tiếp sóng (relay)",
    "drill": "diễn tập (drill)",
}


@dataclass(slots=True)
class Line:
    """What one loudspeaker did. ``plays`` and ``minutes`` by priority, drills under ``drill``; ``silent`` counts alarms
    of silence that should have been sound."""

    speaker: str
    plays: dict[str, int] = field(default_factory=dict)
    minutes: dict[str, float] = field(default_factory=dict)
    cut: int = 0
    missed: int = 0
    late: int = 0
    silent: int = 0
    refused: int = 0

    def as_dict(self) -> dict[str, Any]:
        minutes = {name: round(value, 1) for name, value in self.minutes.items()}
        return {**asdict(self), "minutes": minutes, "played": sum(self.plays.values())}


@dataclass(slots=True)
class _Play:
    kind: str = ""
    heard: bool = False
    cut: bool = False
    meant: bool = False


def lines(events: Iterable[tuple[str, PlaybackEvent]], speakers: Iterable[str] = ()) -> list[Line]:
    """One line for every loudspeaker that said something, and for each of ``speakers``; in the order of their names."""
    made = {name: Line(name) for name in speakers}
    plays: dict[tuple[str, str], _Play] = defaultdict(_Play)
    for speaker, event in events:
        line = made.setdefault(speaker, Line(speaker))
        if event.what is What.REFUSED:
            line.refused += 1
        elif event.play and event.kind != "programme" and event.reason not in ("stop", "already"):
            _take(line, plays[speaker, event.play], event)
    for (speaker, _), play in plays.items():
        line = made[speaker]
        if play.heard:
            line.plays[play.kind] = line.plays.get(play.kind, 0) + 1
            line.cut += play.cut
        elif play.meant:
            line.missed += 1
    return [made[name] for name in sorted(made)]


def _take(line: Line, play: _Play, event: PlaybackEvent) -> None:
    play.meant = True
    if event.exercise or event.priority is not None:
        play.kind = "drill" if event.exercise else str(event.priority)
    match event.what:
        case What.ACCEPTED:
            line.late += event.reason.startswith("late")
        case What.STARTED:
            play.heard = True
        case What.SILENT | What.UNHEARD:
            line.silent += 1
        case What.CUT:
            play.cut = True
    if event.what in (What.FINISHED, What.CUT) and event.sounded_s:
        line.minutes[play.kind] = line.minutes.get(play.kind, 0.0) + event.sounded_s / 60


def month(text: str, zone: str) -> tuple[int, int]:
    """First and end of a month such as ``2025-11`` in ms since 1970 UTC, in local time; raises ValueError.

    >>> month("2025-11", "Asia/Ho_Chi_Minh")
    (1761930000000, 1764522000000)
    """
    first = datetime.strptime(text, "%Y-%m").replace(tzinfo=ZoneInfo(zone))
    end = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return round(first.timestamp() * 1000), round(end.timestamp() * 1000)


def last_month(now_ms: int, zone: str) -> str:
    """The month that is over, as ``2025-10``."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    return f"{now.year - (now.month == 1)}-{(now.month - 2) % 12 + 1:02d}"
