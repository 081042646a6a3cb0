"""What follows from a CAP message that came in. Pure.

In this order; the first line that fits decides:

====================================================================  =============  ==================================
the message                                                           verdict        then
====================================================================  =============  ==================================
can't be read                                                         UNREADABLE     recorded
has no signature                                                      UNSIGNED       recorded, shown
is signed by nobody we know, or the signature does not hold           UNTRUSTED      recorded, shown
is signed by somebody who may not speak for its sender                UNTRUSTED      recorded, shown
came before, and was proven then                                      DUPLICATE      nothing
is no Actual one, or not Public, or an Ack or Error                   NOT_ACTUAL     recorded, shown
has expired, or says of no end and was sent more than 6 h ago         EXPIRED        recorded
was sent in the future (10 min allowed), or is not effective yet      NOT_YET        recorded, shown
is a Cancel of what we played                                         CANCELLED      that is stopped, and of *khẩn cấp*
                                                                                     it is said so
is a Cancel of anything else                                          RECORDED       recorded, shown
touches none of our zones                                             ELSEWHERE      recorded, shown
is *khẩn cấp*                                                         PLAYED         played at once
is anything else                                                      RECORDED       recorded, shown: a person decides
====================================================================  =============  ==================================

An Update first stops what it supersedes if that was played. Both Update and Cancel reach only messages of their own
sender that the same key had proven.

The class of a bulletin, from the three words of the message (the highest of its blocks counts):

==============  =====================  ==============================  ====================
class           urgency                severity                        certainty
==============  =====================  ==============================  ====================
khẩn cấp        Immediate              Extreme, Severe                 Observed, Likely
ưu tiên         Immediate, Expected    Extreme, Severe, Moderate       all but Unlikely
thông thường    anything else
==============  =====================  ==============================  ====================

The reason of the first line: it is what other countries send to every telephone, and what wakes a village must be there
already or be all but certain. What might come leaves time for a person.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from keng_console.cap.message import Certainty, Info, Message, MsgType, Reference, Scope, Severity, Status, Urgency
from keng_console.cap.zones import touched
from keng_console.speakers.orders import Order
from keng_contracts.commands import Play, Priority, Speech, Stop
from keng_contracts.registry import Registry

FUTURE_MS = 600_000
NO_END_MS = 6 * 3_600_000
#: Characters of one spoken text; a Speech takes 2000.
MOST_SPOKEN = 1500


class Verdict(StrEnum):
    UNREADABLE = "unreadable"
    UNSIGNED = "unsigned"
    UNTRUSTED = "untrusted"
    DUPLICATE = "duplicate"
    NOT_ACTUAL = "not-actual"
    EXPIRED = "expired"
    NOT_YET = "not-yet"
    CANCELLED = "cancelled"
    ELSEWHERE = "elsewhere"
    PLAYED = "played"
    RECORDED = "recorded"


#: Verdicts of messages that nobody has proven to be anybody's.
UNPROVEN = frozenset({Verdict.UNREADABLE, Verdict.UNSIGNED, Verdict.UNTRUSTED})
#: Verdicts that leave it to a person whether it is played.
OPEN = frozenset({Verdict.RECORDED, Verdict.NOT_YET})


class Bulletin(StrEnum):
    """The three classes of the provincial source system."""

    NORMAL = "thong-thuong"
    PRIORITY = "uu-tien"
    URGENT = "khan-cap"


@dataclass(frozen=True, slots=True)
class Known:
    """A proven message that came before. ``play`` is the job that was ordered for it in ``zones``, empty for none."""

    signer: str
    play: str = ""
    zones: tuple[str, ...] = ()
    bulletin: Bulletin = Bulletin.URGENT


@dataclass(frozen=True, slots=True)
class Ruling:
    """What follows: the verdict with its reason, the class, the zones, and the orders in the order in which they go
    out. ``play`` names the job that sounds for the message itself, so that a later one can stop it."""

    verdict: Verdict
    detail: str = ""
    bulletin: Bulletin = Bulletin.NORMAL
    zones: tuple[str, ...] = ()
    play: str = ""
    orders: tuple[Order, ...] = field(default=())


class Received(NamedTuple):
    """A message that came in, as it is recorded; ``zones`` are separated by commas, ``signer`` is empty if unproven."""

    received_ms: int
    source: str
    signer: str
    sender: str
    identifier: str
    sent: str
    msg_type: str
    verdict: str
    detail: str
    bulletin: str
    zones: str
    play: str
    headline: str
    document: str


def bulletin_of(info: Info) -> Bulletin:
    """The table's class of one block."""
    if (
        info.urgency is Urgency.IMMEDIATE
        and info.severity in (Severity.EXTREME, Severity.SEVERE)
        and info.certainty in (Certainty.OBSERVED, Certainty.LIKELY)
    ):
        return Bulletin.URGENT
    if (
        info.urgency in (Urgency.IMMEDIATE, Urgency.EXPECTED)
        and info.severity in (Severity.EXTREME, Severity.SEVERE, Severity.MODERATE)
        and info.certainty is not Certainty.UNLIKELY
    ):
        return Bulletin.PRIORITY
    return Bulletin.NORMAL


def judge(message: Message, signer: str, known: Mapping[Reference, Known], registry: Registry, now_ms: int) -> Ruling:
    """What follows from a message whose signature holds. ``known`` is what came before, by its name, as far as the
    message is it or refers to it."""
    before = known.get(message.reference)
    if before is not None and before.signer == signer:
        return Ruling(Verdict.DUPLICATE)
    bulletin = max((bulletin_of(info) for info in message.infos), key=list(Bulletin).index, default=Bulletin.NORMAL)
    zones = tuple(touched((area for info in message.infos for area in info.areas), registry))
    if (
        message.status is not Status.ACTUAL
        or message.scope is not Scope.PUBLIC
        or message.msg_type in (MsgType.ACK, MsgType.ERROR)
    ):
        what = f"{message.status}, {message.scope}, {message.msg_type}"
        return Ruling(Verdict.NOT_ACTUAL, what, bulletin, zones)
    if message.sent_ms > now_ms + FUTURE_MS:
        return Ruling(Verdict.NOT_YET, f"was sent in the future, at {message.sent}", bulletin, zones)
    mine = [known[r] for r in message.references if r in known and r.sender == message.sender]
    stopped = [earlier for earlier in mine if earlier.signer == signer and earlier.play]
    stops = tuple(Order(f"zone/{zone}", Stop(play=earlier.play)) for earlier in stopped for zone in earlier.zones)
    if message.msg_type is MsgType.CANCEL:
        if not stopped:
            return Ruling(Verdict.RECORDED, "cancels nothing that was played", bulletin, zones)
        where = tuple(dict.fromkeys(zone for earlier in stopped for zone in earlier.zones))
        if all(earlier.bulletin is not Bulletin.URGENT for earlier in stopped):
            return Ruling(Verdict.CANCELLED, "", bulletin, where, "", stops)
        play = _play(message, _cancelled(message))
        said = tuple(Order(f"zone/{zone}", play) for zone in where)
        return Ruling(Verdict.CANCELLED, "", bulletin, where, "", stops + said)
    end_ms = message.expires_ms
    if now_ms >= (message.sent_ms + NO_END_MS if end_ms is None else end_ms):
        return Ruling(Verdict.EXPIRED, "", bulletin, zones, "", stops)
    begins = [info.effective_ms for info in message.infos if info.effective_ms is not None]
    if begins and min(begins) > now_ms:
        return Ruling(Verdict.NOT_YET, "is not effective yet", bulletin, zones, "", stops)
    if not zones:
        return Ruling(Verdict.ELSEWHERE, "touches no zone of the registry", bulletin, (), "", stops)
    if bulletin is not Bulletin.URGENT:
        return Ruling(Verdict.RECORDED, "", bulletin, zones, "", stops)
    play = _play(message, spoken(message, Bulletin.URGENT))
    orders = tuple(Order(f"zone/{zone}", play) for zone in zones)
    return Ruling(Verdict.PLAYED, "", bulletin, zones, play.play, stops + orders)


def play_id(message: Message) -> str:
    """The job's name: the same message has the same one, and a loudspeaker plays no name twice."""
    return f"cap-{hashlib.sha256(str(message.reference).encode()).hexdigest()[:24]}"


def _play(message: Message, speeches: list[Speech]) -> Play:
    return Play(play=play_id(message), priority=Priority.URGENT, items=[*speeches, *speeches])


def spoken(message: Message, bulletin: Bulletin) -> list[Speech]:
    """What is said, once: in Vietnamese where the message has it, else as it is."""
    info = message.info("vi")
    assert info is not None  # a message without a block has no class, and is not played
    vi = info.language.lower().startswith("vi")
    parts = [info.headline or info.event, info.description, info.instruction]
    if vi:
        name = info.sender_name or message.source
        lead = "Chú ý, chú ý! Bản tin khẩn cấp" if bulletin is Bulletin.URGENT else "Bản tin"
        parts.insert(0, f"{lead}{f' của {name}' if name else ''}")
    return [Speech(lang="vi" if vi else info.language[:12], text=_sentences(parts))]


def _cancelled(message: Message) -> list[Speech]:
    info = message.info("vi")
    parts = ["Chú ý! Bản tin khẩn cấp vừa phát đã được hủy bỏ"]
    if info is not None and info.language.lower().startswith("vi"):
        parts += [info.headline, info.description]
    elif message.note:
        parts.append(message.note)
    return [Speech(lang="vi", text=_sentences(parts))]


def _sentences(parts: list[str]) -> str:
    """Parts as sentences, each once, cut between words."""
    clean = [" ".join(unicodedata.normalize("NFC", part).split()) for part in parts]
    ended = [part if part[-1] in ".!?…" else part + "." for part in dict.fromkeys(clean) if part]
    text = " ".join(ended)
    return text if len(text) <= MOST_SPOKEN else text[:MOST_SPOKEN].rpartition(" ")[0] + "…"
