"""The overview's plain data: what the page shows and ``/api/overview`` gives, without words or markup."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from keng_console.cap.judge import Bulletin, Verdict
from keng_console.orders import Told
from keng_contracts.alerts import Delivery, Forecast
from keng_contracts.playback import What
from keng_contracts.registry import AuthorityMode
from keng_contracts.rules import Severity
from keng_contracts.status import SourceHealth
from keng_contracts.telemetry import Flag


class Freshness(StrEnum):
    """How old the newest usable reading of a sensor is, counted in its own interval."""

    FRESH = "fresh"
    STALE = "stale"
    DEAD = "dead"
    NONE = "none"  # there has never been one


class Situation(StrEnum):
    NO_REGISTRY = "no-registry"
    ALERT = "alert"
    BLIND = "blind"
    ABOVE = "above"
    CALM = "calm"


@dataclass(frozen=True, slots=True)
class Measured:
    """A reading as shown: value in the sensor's unit, ms since 1970 UTC."""

    value: float
    time_ms: int
    flag: Flag


@dataclass(frozen=True, slots=True)
class SensorView:
    """``reading`` is the newest usable one; ``rejected`` a newer one that quality control has thrown out."""

    id: str
    name: str
    unit: str
    decimals: int
    interval_s: float
    freshness: Freshness
    reading: Measured | None
    rejected: Measured | None


@dataclass(frozen=True, slots=True)
class ThresholdView:
    level: int
    value: float
    datum: str
    source: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows between ``start_ms`` and ``end_ms``; two rows further apart than ``gap_ms`` have a gap between them.

    ``highest`` leaves suspect readings out.
    """

    start_ms: int
    end_ms: int
    gap_ms: int
    rows: list[Measured]
    highest: Measured | None


@dataclass(frozen=True, slots=True)
class GaugeView:
    """A level and its thresholds. ``rate`` is in units an hour (of the story, in a time-lapse), None when unknown.

    ``forecast`` is alerts' estimate of when the next level is reached, while it can still be meant; its rate is as
    ``rate``. ``above`` is the highest threshold at or below the level, 0 for none; ``official`` says whether its levels
    are báo động or a local warning. ``chart`` is None for a gauge that is not among the most endangered.
    """

    slug: str
    sensor: SensorView
    station: str
    river: str
    official: bool
    thresholds: list[ThresholdView]
    above: int
    next: ThresholdView | None
    rate: float | None
    forecast: Forecast | None
    chart: Chart | None


@dataclass(frozen=True, slots=True)
class StationView:
    """A station's sensors that have no thresholds."""

    id: str
    name: str
    river: str
    sensors: list[SensorView]


@dataclass(frozen=True, slots=True)
class DeliveryView:
    speaker: str
    name: str
    state: Delivery


@dataclass(frozen=True, slots=True)
class AlarmView:
    """What is raised by a rule of the registry: it tells people something, and nothing plays for it."""

    id: str
    severity: Severity
    exercise: bool
    raised_ms: int
    headline: str
    headline_en: str


@dataclass(frozen=True, slots=True)
class AlertView:
    """``raised_ms`` is when the episode began, ``updated_ms`` when its present level was reached.

    ``data`` is how fresh the gauge's readings are, by our own look and by alerts', the worse of both: old ones freeze
    the alert, they do not end it. ``suspect`` when those that come are doubted; ``unwatched`` when a person has to look
    at the river; ``reading`` is the gauge's newest usable one.
    """

    id: str
    raised: bool
    level: int
    peak_level: int
    official: bool
    exercise: bool
    station: str
    mode: AuthorityMode
    value: float
    unit: str
    decimals: int
    threshold: float | None
    raised_ms: int
    updated_ms: int
    cleared_ms: int | None
    play: str
    deliveries: list[DeliveryView]
    data: Freshness
    suspect: bool
    unwatched: bool
    reading: Measured | None


@dataclass(frozen=True, slots=True)
class Sound:
    """What a loudspeaker last did for a job: the step, and the level measured on the audio that left the player."""

    play: str
    what: What
    kind: str
    at_ms: int
    level_dbfs: float | None
    sounded_s: float | None
    reason: str
    exercise: bool
    alert: str = ""


@dataclass(frozen=True, slots=True)
class SpeakerView:
    """``state`` is online, offline, or unknown when it has never been heard. ``playing`` is empty when silent."""

    id: str
    name: str
    zones: list[str]
    known: bool
    state: str
    heard_ms: int | None
    device: str
    clock: str
    refused: int
    playing: str
    problems: list[str]
    temperature_c: float | None
    sound: Sound | None


@dataclass(frozen=True, slots=True)
class NodeView:
    """Outbox, drops, refused commands, problems and sources are by the node's own last word, so of an offline node they
    are old."""

    id: str
    known: bool
    state: str
    heard_ms: int | None
    clock: str
    outbox_readings: int
    outbox_age_s: float
    dropped: int
    problems: list[str]
    sources: int
    failing: list[SourceHealth]
    more_failing: int
    order: Told | None
    refused: int


@dataclass(frozen=True, slots=True)
class Headline:
    """The situation in one breath. ``blind`` names further stations that give no usable data."""

    situation: Situation
    level: int = 0
    official: bool = False
    station: str = ""
    others: int = 0
    since_ms: int | None = None
    gauge: str = ""
    data: Freshness = Freshness.FRESH
    unwatched: bool = False
    blind: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BulletinView:
    """A CAP message of somebody whom the console knows; ``detail`` is the reason of the verdict, ``decided`` whether a
    person has let it be played."""

    received_ms: int
    sender: str
    headline: str
    bulletin: Bulletin
    verdict: Verdict
    zones: list[str]
    detail: str
    decided: bool


@dataclass(frozen=True, slots=True)
class NotifierView:
    """How telling people goes: messages that wait, and what a person should look at."""

    online: bool
    waiting: int
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Overview:
    now_ms: int
    commune: str
    province: str
    timezone: str
    exercise: bool
    time_lapse: float
    chart_hours: float
    registry_version: int | None
    registry_taken_ms: int | None
    registry_fault: str
    broker_connected: bool
    store_readable: bool
    headline: Headline
    alerts: list[AlertView]
    alarms: list[AlarmView]
    gauges: list[GaugeView]
    stations: list[StationView]
    speakers: list[SpeakerView]
    nodes: list[NodeView]
    bulletins: list[BulletinView]
    unproven: int = 0
    notifier: NotifierView | None = None
