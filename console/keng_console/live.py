"""What the console knows now: the newest readings, what nodes say of themselves, alerts, and what was played.

Filled from MQTT and from the store, read by the overview. No I/O, time is an argument, and everything is bounded:
series are those of the registry, each with a bounded track; unknown nodes and old alerts fall out first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from keng_console.cap.judge import Received
from keng_console.orders import Told
from keng_contracts.alerts import AlertDocument, Hazard
from keng_contracts.playback import PlaybackEvent
from keng_contracts.registry import Registry, Sensor, Threshold
from keng_contracts.status import EdgeStatus, NotifyStatus, SpeakerStatus
from keng_contracts.telemetry import Flag, Pack
from keng_signals.quality import FUTURE_MS, Last, Limits, assess, limits_of
from keng_store.protocol import Row, extremes

#: Rows of a level series that a chart may have; more are thinned to the extremes of equal spans.
CHART_ROWS = 480
#: Rows kept of a series without a chart: enough to look past rejected readings.
SHORT_ROWS = 12
#: Nodes that the registry does not know, alerts, and playback events a node, that are remembered at most.
MAX_NODES, MAX_ALERTS, MAX_PLAYBACK = 200, 500, 40

T = TypeVar("T")
V = TypeVar("V")

_UNUSABLE = frozenset({Flag.BAD, Flag.MISSING})


def usable(row: Row) -> bool:
    """Whether a row's value may stand for the quantity: what is bad or missing may not."""
    return row.flag not in _UNUSABLE


class Track:
    """The newest rows of one series in rising order of time, at most ``limit``, from the wire and from the store.

    For one time the store's row wins: it has passed quality control with more knowledge than a single reading gives.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: list[Row] = []

    def hear(self, row: Row) -> None:
        """A row from the wire."""
        place = bisect_left(self._rows, row.time_ms, key=_time)
        if place < len(self._rows) and self._rows[place].time_ms == row.time_ms:
            return
        self._rows.insert(place, row)
        self._bound()

    def restore(self, rows: Sequence[Row]) -> None:
        """All that the store has of the span: it replaces what was known up to its newest row."""
        if not rows:
            return
        newest = rows[-1].time_ms
        later = self._rows[bisect_left(self._rows, newest + 1, key=_time) :]
        self._rows = [*rows, *later]
        self._bound()

    def correct(self, row: Row) -> None:
        """The store's newest row alone."""
        place = bisect_left(self._rows, row.time_ms, key=_time)
        if place < len(self._rows) and self._rows[place].time_ms == row.time_ms:
            self._rows[place] = row
        else:
            self.hear(row)

    def _bound(self) -> None:
        if len(self._rows) <= self._limit:
            return
        if self._limit <= SHORT_ROWS:
            del self._rows[: -self._limit]
            return
        start, end = self._rows[0].time_ms, self._rows[-1].time_ms
        thin = extremes(self._rows, start, end + 1, self._limit // 2)
        # The newest rows stay as they are: extremes would drop some of them, and the rate is read from them.
        tail = self._rows[-SHORT_ROWS:]
        self._rows = [row for row in thin if row.time_ms < tail[0].time_ms] + tail

    def since(self, start_ms: int) -> list[Row]:
        """Rows from ``start_ms`` on, and the one before it, where the line comes from."""
        place = bisect_left(self._rows, start_ms, key=_time)
        return self._rows[max(0, place - 1) :]

    @property
    def newest(self) -> Row | None:
        return self._rows[-1] if self._rows else None

    @property
    def newest_usable(self) -> Row | None:
        return next((row for row in reversed(self._rows) if usable(row)), None)


@dataclass(frozen=True)
class Heard(Generic[T]):
    """Somebody's last word, and when it was heard (ms since 1970 UTC)."""

    said: T
    heard_ms: int


class Live:
    """See the module. ``version`` grows with every change that a page could show."""

    def __init__(self) -> None:
        self.registry: Registry | None = None
        self.tracks: dict[str, Track] = {}
        self.edges: dict[str, Heard[EdgeStatus]] = {}
        self.own_words: dict[str, EdgeStatus] = {}
        self.orders: dict[str, Told] = {}
        self.speakers: dict[str, Heard[SpeakerStatus]] = {}
        self.alerts: dict[str, AlertDocument] = {}
        self.bulletins: list[Received] = []
        self.unproven: list[Received] = []
        self.notifier: Heard[NotifyStatus] | None = None
        self.playback: dict[str, list[PlaybackEvent]] = {}
        self.broker_connected = False
        self.store_readable = False
        self._day: date | None = None
        self._thresholds: dict[str, dict[int, Threshold]] = {}
        self._sensors: dict[str, Sensor] = {}
        self._limits: dict[str, Limits] = {}

    # -- registry -----------------------------------------------------------------------------------------------

    def adopt(self, registry: Registry) -> None:
        """A registry is in force: keep tracks of its series, forget all others."""
        self.registry = registry
        self._thresholds = {}
        self._sensors = {registry.series(sensor): sensor for sensor in registry.sensors}
        self._limits = limits_of(registry)
        charted = {registry.series(sensor) for sensor in gauges(registry)}
        old = self.tracks
        self.tracks = {}
        for series in self._sensors:
            limit = 2 * CHART_ROWS if series in charted else SHORT_ROWS
            track = Track(limit)
            if series in old:
                track.restore(old[series].since(0))
            self.tracks[series] = track

    def thresholds(self, sensor: str, day: date) -> dict[int, Threshold]:
        """The thresholds of a sensor that hold on a day, by level; asked of the registry once a day."""
        if day != self._day:
            self._day, self._thresholds = day, {}
        if sensor not in self._thresholds:
            self._thresholds[sensor] = self.registry.thresholds_of(sensor, day) if self.registry else {}
        return self._thresholds[sensor]

    # -- readings -----------------------------------------------------------------------------------------------

    def telemetry(self, node: str, pack: Pack, now_ms: int) -> int:
        """Take a pack's readings; how many were taken. Judged by the same rules as in ingest.

        Left out: series that the registry does not know or gives to another node, and times that lie in the future,
        which would hide every reading after them.
        """
        taken = 0
        for reading in pack.readings:
            sensor = self._sensors.get(reading.series)
            if sensor is None or sensor.node != node or reading.time_ms > now_ms + FUTURE_MS:
                continue
            track = self.tracks[reading.series]
            newest = track.newest
            last = Last(newest.time_ms, newest.value) if newest else None
            flag = assess(reading, self._limits[reading.series], last, now_ms).flag
            track.hear(Row(reading.series, reading.time_ms, reading.value, flag))
            taken += 1
        return taken

    def stored(self, latest: Iterable[Row], now_ms: int) -> None:
        """The newest rows as the store has them."""
        for row in latest:
            track = self.tracks.get(row.series)
            if track is not None and row.time_ms <= now_ms + FUTURE_MS:
                track.correct(row)

    def history(self, series: str, rows: Sequence[Row]) -> None:
        """The rows of a chart's span as the store has them."""
        track = self.tracks.get(series)
        if track is not None:
            track.restore(rows)

    # -- nodes, alerts, playback --------------------------------------------------------------------------------

    def edge_status(self, node: str, status: EdgeStatus, heard_ms: int) -> None:
        """A node's status. ``own_words`` keeps what it last said itself, for a last will knows of no outbox."""
        self.edges[node] = Heard(status, heard_ms)
        if status.state == "online" or status.sources:
            self.own_words[node] = status
        _bound(self.edges, MAX_NODES)
        _bound(self.own_words, MAX_NODES)

    def speaker_status(self, node: str, status: SpeakerStatus, heard_ms: int) -> None:
        self.speakers[node] = Heard(status, heard_ms)
        _bound(self.speakers, MAX_NODES)

    def is_online(self, speaker: str) -> bool:
        """Whether a loudspeaker was last heard to be there."""
        heard = self.speakers.get(speaker)
        return heard is not None and heard.said.state == "online"

    def alert(self, id_: str, document: AlertDocument | None) -> None:
        """An alert's state, or None when the broker was told to forget it.

        One that is older by version and by time changes nothing; a lower version with a newer time comes from an
        owner that began anew, and holds.
        """
        known = self.alerts.get(id_)
        if document is None:
            self.alerts.pop(id_, None)
        elif known is None or document.version >= known.version or document.updated_ms > known.updated_ms:
            self.alerts[id_] = document
            if len(self.alerts) > MAX_ALERTS:
                over = min(
                    self.alerts, key=lambda i: (self.alerts[i].hazard is Hazard.RAISED, self.alerts[i].updated_ms)
                )
                del self.alerts[over]

    def played(self, node: str, event: PlaybackEvent) -> None:
        """A step on a loudspeaker; one that is known already changes nothing."""
        events = self.playback.setdefault(node, [])
        if not any(known.boot == event.boot and known.seq == event.seq for known in events):
            events.append(event)
            events.sort(key=lambda known: (known.at_ms, known.seq))
            del events[:-MAX_PLAYBACK]
            _bound(self.playback, MAX_NODES)


def gauges(registry: Registry) -> list[Sensor]:
    """The sensors that have thresholds: those whose level is charted."""
    with_thresholds = {row.sensor for row in registry.thresholds}
    return [sensor for sensor in registry.sensors if sensor.id in with_thresholds]


def _time(row: Row) -> int:
    return row.time_ms


def _bound(known: dict[str, V], limit: int) -> None:
    while len(known) > limit:
        del known[next(iter(known))]
