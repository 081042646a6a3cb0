"""Bulletins that were recorded, for a person to decide: *thông thường* and *ưu tiên* play when the commune says so.

A bulletin may be played if its signature holds still, it is in force now, and no later message of its sender has
updated or cancelled it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keng_console.cap import xml
from keng_console.cap.judge import NO_END_MS, OPEN, Bulletin, Received, Verdict, play_id, spoken
from keng_console.cap.message import Message
from keng_console.cap.records import SHOWN, Records
from keng_console.cap.signature import NotSigned, NotTrusted, Signer, verify
from keng_contracts.commands import Priority, Recorded
from keng_contracts.errors import Problem

#: What a recorded bulletin is played as.
PRIORITIES = {
    Bulletin.URGENT: Priority.URGENT,
    Bulletin.PRIORITY: Priority.PRIORITY,
    Bulletin.NORMAL: Priority.SCHEDULED,
}
_URGENT_FIRST = list(Bulletin)[::-1]


@dataclass(frozen=True, slots=True)
class Listed:
    """A bulletin as a person chooses from it; ``why_not`` is empty if it may be played, ``play`` is its last job."""

    number: int
    received_ms: int
    signer: str
    bulletin: Bulletin
    headline: str
    zones: list[str]
    play: str
    why_not: str


@dataclass(frozen=True, slots=True)
class Playable:
    """What is said of a bulletin, how high it stands, and the zones that it touches."""

    name: str
    items: list[Recorded]
    priority: Priority
    zones: list[str]


class Bulletins:
    """Blocking calls."""

    def __init__(self, records: Records, signers: Sequence[Signer]) -> None:
        self.records = records
        self._signers = signers

    def newest(self) -> list[Received]:
        """Those that the page shows."""
        return self.records.received(SHOWN, proven=True)

    def listed(self, limit: int, now_ms: int) -> list[Listed]:
        """Those that a person decides about: *ưu tiên* first, among equals the newest."""
        found = []
        for number, row in self.records.recorded(limit):
            if Verdict(row.verdict) not in OPEN or row.msg_type not in ("Alert", "Update"):
                continue
            why_not = ""
            try:
                self._message(number, row, now_ms)
            except Problem as problem:
                why_not = problem.what
            bulletin = Bulletin(row.bulletin)
            zones = [zone for zone in row.zones.split(",") if zone]
            found.append(Listed(number, row.received_ms, row.signer, bulletin, row.headline, zones, row.play, why_not))
        return sorted(found, key=lambda one: (bool(one.why_not), _URGENT_FIRST.index(one.bulletin), -one.received_ms))

    def read(self, number: int, now_ms: int) -> Playable:
        """What is played of it; raises :class:`Problem` for one that may not be."""
        rows = self.records.recorded(1, number)
        if not rows or Verdict(rows[0][1].verdict) not in OPEN:
            what = "không có bản tin này để phát (there is no such bulletin to be played)"
            raise Problem(what, where=f"bulletin {number}", todo="see 'keng console bulletins'")
        _, row = rows[0]
        message = self._message(number, row, now_ms)
        bulletin = Bulletin(row.bulletin)
        zones = [zone for zone in row.zones.split(",") if zone]
        return Playable(play_id(message), [*spoken(message, bulletin)], PRIORITIES[bulletin], zones)

    def _message(self, number: int, row: Received, now_ms: int) -> Message:
        where, todo = f"bulletin {number}", "see 'keng console bulletins'"
        try:
            believed = datetime.fromtimestamp(row.received_ms / 1000, UTC)
            message = xml.read(verify(xml.parse(row.document.encode()), self._signers, believed)[0])
        except (xml.BadCap, NotSigned, NotTrusted) as error:
            what = f"chữ ký không còn được tin (it is not believed any more: {error})"
            raise Problem(what, where=where, todo="check cap.senders in the console's settings") from None
        end_ms = message.expires_ms
        if now_ms >= (message.sent_ms + NO_END_MS if end_ms is None else end_ms):
            raise Problem("đã hết hạn (it has expired)", where=where, todo=todo)
        begins = [info.effective_ms for info in message.infos if info.effective_ms is not None]
        if begins and min(begins) > now_ms:
            raise Problem("chưa có hiệu lực (it is not effective yet)", where=where, todo=todo)
        for document in self.records.followers(row.signer, number):
            later = xml.read(xml.parse(document.encode()))
            if message.reference in later.references and later.sender == message.sender:
                what = "đã được thay thế hoặc hủy bỏ (it was updated or cancelled)"
                raise Problem(what, where=where, todo=todo)
        return message
