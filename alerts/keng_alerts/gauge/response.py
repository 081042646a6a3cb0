"""What has been done about an alert, and what is to be done next. Pure data; it is kept on disk as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from keng_alerts.gauge.delivery import Track
from keng_alerts.gauge.gauges import Gauge
from keng_alerts.gauge.life import Life
from keng_contracts.alerts import Answer, Question, Silence
from keng_contracts.authority import SecondSource
from keng_contracts.commands import Play, Stop
from keng_contracts.registry import ResponseRule


@dataclass(frozen=True, slots=True)
class Evidence:
    """The reading that brought a change about, and when it passed each place (ms since 1970 UTC)."""

    measured_ms: int
    made_ms: int
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Ordered:
    """A play that was ordered in this episode: where, when, and who let it sound."""

    play: Play
    zones: tuple[str, ...]
    authority: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Response:
    """The state of one alert beside its hazard. ``plays`` are those of this episode by name, ``tracks`` the last order
    to each loudspeaker. ``played`` is when each level sounded last (ms), over all episodes. ``drill_level``
    is the level that is being exercised, 0 for none and for what really is."""

    episode: int = 0
    drill_level: int = 0
    life: Life = field(default_factory=Life)
    evidence: Evidence | None = None
    questions: tuple[Question, ...] = ()
    plays: Mapping[str, Ordered] = field(default_factory=dict)
    tracks: Mapping[str, Track] = field(default_factory=dict)
    silence: Silence | None = None
    played: Mapping[int, int] = field(default_factory=dict)
    stopped_ms: int | None = None
    corrected_ms: int | None = None
    corrections: int = 0
    answer: Answer | None = None


class Send(NamedTuple):
    """What is to be signed and sent to whom: ``zone/<id>`` or ``speaker/<id>``."""

    aud: str
    action: Play | Stop


class Note(NamedTuple):
    """A line of the timeline: what happened when (ms since 1970 UTC), by whom if it was a person, on what ground."""

    at_ms: int
    what: str
    by: str
    detail: dict[str, Any]


class Next(NamedTuple):
    """What follows from something that happened."""

    response: Response
    sends: tuple[Send, ...] = ()
    notes: tuple[Note, ...] = ()

    def then(self, more: Next) -> Next:
        """This, and what follows from it."""
        return Next(more.response, self.sends + more.sends, self.notes + more.notes)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and when something is decided: the gauge, the level in force, the newest good sample (``good_ms``, as level
    ``value``), and whether a second source agrees."""

    id: str
    gauge: Gauge
    level: int
    now_ms: int
    value: float
    good_ms: int
    agrees: Callable[[SecondSource], bool]
    drill: bool = False

    @property
    def rule(self) -> ResponseRule:
        return self.gauge.registry.response_rule_of(self.gauge.sensor.id)

    def note(self, what: str, by: str = "", /, **detail: Any) -> Note:
        return Note(self.now_ms, what, by, detail)
