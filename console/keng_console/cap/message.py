"""A CAP 1.2 message as plain data. Names and values are those of the standard's element table (section 3.2).

Times are ms since 1970 UTC; CAP has whole seconds. Positions are (latitude, longitude) in degrees, WGS 84.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"

Position = tuple[float, float]


class Status(StrEnum):
    ACTUAL = "Actual"
    EXERCISE = "Exercise"
    SYSTEM = "System"
    TEST = "Test"
    DRAFT = "Draft"


class MsgType(StrEnum):
    ALERT = "Alert"
    UPDATE = "Update"
    CANCEL = "Cancel"
    ACK = "Ack"
    ERROR = "Error"


class Scope(StrEnum):
    PUBLIC = "Public"
    RESTRICTED = "Restricted"
    PRIVATE = "Private"


class Urgency(StrEnum):
    IMMEDIATE = "Immediate"
    EXPECTED = "Expected"
    FUTURE = "Future"
    PAST = "Past"
    UNKNOWN = "Unknown"


class Severity(StrEnum):
    EXTREME = "Extreme"
    SEVERE = "Severe"
    MODERATE = "Moderate"
    MINOR = "Minor"
    UNKNOWN = "Unknown"


class Certainty(StrEnum):
    OBSERVED = "Observed"
    LIKELY = "Likely"
    POSSIBLE = "Possible"
    UNLIKELY = "Unlikely"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Reference:
    """An earlier message, by the three words that name it; ``sent`` as it was written there."""

    sender: str
    identifier: str
    sent: str

    def __str__(self) -> str:
        return f"{self.sender},{self.identifier},{self.sent}"


@dataclass(frozen=True, slots=True)
class Circle:
    centre: Position
    radius_km: float


@dataclass(frozen=True, slots=True)
class Area:
    desc: str
    polygons: tuple[tuple[Position, ...], ...] = ()
    circles: tuple[Circle, ...] = ()
    codes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Info:
    language: str
    categories: tuple[str, ...]
    event: str
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    responses: tuple[str, ...] = ()
    effective_ms: int | None = None
    onset_ms: int | None = None
    expires_ms: int | None = None
    sender_name: str = ""
    headline: str = ""
    description: str = ""
    instruction: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    areas: tuple[Area, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    identifier: str
    sender: str
    sent: str
    status: Status
    msg_type: MsgType
    scope: Scope
    source: str = ""
    restriction: str = ""
    note: str = ""
    references: tuple[Reference, ...] = ()
    infos: tuple[Info, ...] = ()

    @property
    def reference(self) -> Reference:
        """How later messages refer to this one."""
        return Reference(self.sender, self.identifier, self.sent)

    @property
    def sent_ms(self) -> int:
        return from_text(self.sent)

    @property
    def expires_ms(self) -> int | None:
        """When the last of its information ends; None if one of it says nothing of that, or there is none."""
        ends = [info.expires_ms for info in self.infos]
        return None if not ends or None in ends else max(end for end in ends if end is not None)

    def info(self, language: str) -> Info | None:
        """The block in a language (``vi`` finds ``vi-VN``), else the first one."""
        of = (info for info in self.infos if info.language.lower().split("-")[0] == language)
        return next(of, self.infos[0] if self.infos else None)


def to_text(at_ms: int, zone: ZoneInfo) -> str:
    """CAP's form of a time (section 3.3.2): whole seconds, an offset in figures and never ``Z``.

    >>> to_text(1_763_323_200_999, ZoneInfo("Asia/Ho_Chi_Minh"))
    '2025-11-17T03:00:00+07:00'
    """
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone).isoformat()


def from_text(text: str) -> int:
    """The inverse; raises ValueError for a time without an offset, or one that no clock of ours can mean."""
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    if not 2000 <= moment.year < 2100:
        raise ValueError(f"{text!r} is no time of ours")
    return round(moment.timestamp() * 1000)
