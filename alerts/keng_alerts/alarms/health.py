"""What an alarm sees of an edge node or a loudspeaker: its retained status turned into a value. Pure.

A status holds until the next one: the last will says offline when its sender vanishes, so that time may pass on it.
What a node said before it went offline holds no longer and shows nothing. Nothing is seen before the first status of a
run has come, for the node may have come back while nobody listened.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from keng_alerts.alarms.alarms import Seen
from keng_alerts.alarms.measures import Measure
from keng_contracts.status import EdgeStatus, SpeakerStatus
from keng_contracts.telemetry import Reading
from keng_signals.quality import Verdict


class Status(Measure):
    """A measure of a status document."""

    def __init__(self) -> None:
        self._value: float | None = None
        #: What the document says in words, for the alarm's text.
        self.words = ""

    def hear(self, status: EdgeStatus | SpeakerStatus, heard_ms: int) -> Seen | None:
        """Take a status document."""
        self._value = self._read(status)
        return self.tick(heard_ms, 0)

    def tick(self, now_ms: int, listening_ms: int) -> Seen | None:
        return None if self._value is None else Seen(now_ms, self._value)

    def take(self, reading: Reading, verdict: Verdict, heard_ms: int) -> Seen | None:
        return None

    def dump(self) -> Any:
        return None

    def load(self, dumped: Any) -> None:
        pass

    @abstractmethod
    def _read(self, status: EdgeStatus | SpeakerStatus) -> float | None:
        """The value in a status document; None where it has none."""


class Offline(Status):
    """1 while offline, 0 while online."""

    def _read(self, status: EdgeStatus | SpeakerStatus) -> float | None:
        return float(status.state == "offline")


class Backlog(Status):
    """The age of the oldest reading that is not receipted, in s."""

    def _read(self, status: EdgeStatus | SpeakerStatus) -> float | None:
        return status.outbox_age_s if isinstance(status, EdgeStatus) and status.state == "online" else None


class Problems(Status):
    """How many problems a node tells, sources that fail among them."""

    def _read(self, status: EdgeStatus | SpeakerStatus) -> float | None:
        if not isinstance(status, EdgeStatus) or status.state != "online":
            return None
        failing = [f"{source.id}: {source.error}" for source in status.sources if not source.ok]
        told = [*status.problems, *failing]
        self.words = "; ".join(told)[:300]
        return float(len(told))


class Dropped(Status):
    """Readings that a node dropped since the status before; nought for as long as it tells nothing new."""

    def __init__(self) -> None:
        super().__init__()
        self._known: int | None = None

    def hear(self, status: EdgeStatus | SpeakerStatus, heard_ms: int) -> Seen | None:
        seen = super().hear(status, heard_ms)
        if seen is not None:
            self._value = 0.0
        return seen

    def _read(self, status: EdgeStatus | SpeakerStatus) -> float | None:
        if not isinstance(status, EdgeStatus) or status.state != "online":
            return None
        grown = 0 if self._known is None else max(status.dropped - self._known, 0)
        self._known = status.dropped
        return float(grown)

    def dump(self) -> Any:
        return self._known

    def load(self, dumped: Any) -> None:
        self._known = None if dumped is None else int(dumped)
