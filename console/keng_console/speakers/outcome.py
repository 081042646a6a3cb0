"""What became of a job on one loudspeaker, by its own evidence. Pure.

The events of a job, in their order, decide (:func:`outcome`):

===========  ===============================================================================================  ==========
stands       when                                                                                             more comes
===========  ===============================================================================================  ==========
AWAY         it was not online when it was ordered, and nothing was heard since                               no
ASKED        nothing was heard of it yet                                                                      yes
REFUSED      its rules forbid it; nothing sounded                                                             no
WAITING      it was accepted, and waits for its turn, its files or its moment                                 yes
SOUNDING     a first sample has left its output                                                               yes
INTERRUPTED  something that stands higher has cut it, and it goes on after that                               yes
FINISHED     every item has come to its end, and sound was measured                                           no
CUT          it was cut, or dropped before its turn                                                           no
FAILED       every item has come to its end or failed, and no sound was measured of one of them at least      no
===========  ===============================================================================================  ==========

A refusal of what was accepted before is that of a copy, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from keng_contracts.commands import Play
from keng_contracts.playback import PlaybackEvent, What


class Stands(StrEnum):
    AWAY = "away"
    ASKED = "asked"
    REFUSED = "refused"
    WAITING = "waiting"
    SOUNDING = "sounding"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    CUT = "cut"
    FAILED = "failed"


OPEN = frozenset({Stands.ASKED, Stands.WAITING, Stands.SOUNDING, Stands.INTERRUPTED})
_AGAIN = "(tried again)"
_NO_SOUND = "nothing-heard"
_OUTRANKED = "interrupted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``started_ms`` is when the first sample left it, by its clock; ``level_dbfs`` the level measured at its output,
    ``sounded_s`` for how long in all; ``heard`` whether a microphone outside has heard it, None without one."""

    speaker: str
    stands: Stands
    reason: str = ""
    started_ms: int | None = None
    level_dbfs: float | None = None
    sounded_s: float = 0.0
    heard: bool | None = None

    @property
    def started(self) -> bool:
        return self.started_ms is not None

    @property
    def open(self) -> bool:
        """Whether more is to come of it."""
        return self.stands in OPEN


#: For what crosses the desk.
OUTCOME = TypeAdapter(Outcome)


def outcome(speaker: str, events: Iterable[PlaybackEvent], play: Play, *, online: bool = True) -> Outcome:
    """How a job stands on a loudspeaker; ``events`` are those about it, in any order."""
    stands, reason = Stands.ASKED if online else Stands.AWAY, ""
    started: int | None = None
    level: float | None = None
    sounded, ended, missed = 0.0, 0, False
    heard: bool | None = None
    for event in sorted(events, key=lambda e: (e.at_ms, e.seq)):
        match event.what:
            case What.ACCEPTED if event.reason not in ("already", "stop"):
                stands, reason = Stands.WAITING, event.reason
            case What.REFUSED | What.SKIPPED if stands in (Stands.ASKED, Stands.AWAY):
                stands, reason = Stands.REFUSED, event.reason
            case What.STARTED:
                stands, reason = Stands.SOUNDING, event.reason
                started = started or event.first_sample_ms or event.at_ms
                level = event.level_dbfs if level is None else level
            case What.CUT:
                goes_on = play.resume and event.item is not None and event.reason.startswith(_OUTRANKED)
                stands, reason = Stands.INTERRUPTED if goes_on else Stands.CUT, event.reason
            case What.FAILED if not event.reason.endswith(_AGAIN):
                ended, missed, reason = ended + 1, True, event.reason
                if event.item is None:
                    stands = Stands.FAILED
            case What.SILENT if event.reason == _NO_SOUND:
                ended, missed, reason = ended + 1, True, event.reason
            case What.FINISHED:
                ended += 1
            case What.HEARD | What.UNHEARD:
                heard = event.what is What.HEARD and heard is not False
        if event.what in (What.FINISHED, What.CUT, What.FAILED):
            level = event.level_dbfs if event.level_dbfs is not None else level
            sounded += event.sounded_s or 0.0
        if ended >= len(play.items) * play.repeats and stands in (Stands.WAITING, Stands.SOUNDING):
            stands = Stands.FAILED if missed or started is None else Stands.FINISHED
    return Outcome(speaker, stands, reason, started, level, round(sounded, 1), heard)
