"""What of the programme is to be done now. Pure: the programme, what was done, and the time are arguments.

==========================================================  ====================================================
an occurrence that has not begun                            what becomes of it
==========================================================  ====================================================
begins in more than :data:`AHEAD_MS`                        nothing yet
begins now, or began no longer ago than it may be late      played; after :data:`LATE_MS` its evidence says how late
began longer ago                                            skipped, and said
would sound in quiet hours, and nobody agreed to that       skipped, and said
==========================================================  ====================================================

What has begun is on disk before it sounds and never begins again. What was skipped is said once, but is played after
all if its time comes again: a clock that ran ahead must not cost a slot.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from keng_contracts.programme import Entry, Occurrence, Programme
from keng_loudspeaker.hours import Hours

#: So long before its time an occurrence is handed over, so that it is ready and all loudspeakers begin together.
AHEAD_MS = 2500
#: What begins later than that is late.
LATE_MS = 1000


@dataclass(frozen=True, slots=True)
class Begin:
    """Play it. ``late_ms`` is 0 if it is in time."""

    occurrence: Occurrence
    entry: Entry
    late_ms: int


@dataclass(frozen=True, slots=True)
class Skip:
    """Don't, and say why."""

    occurrence: Occurrence
    entry: Entry
    reason: str


def decide(
    programme: Programme,
    begun: Collection[str],
    skipped: Collection[str],
    now_ms: int,
    hours: Hours,
    ahead_ms: int = AHEAD_MS,
    left: Collection[tuple[Occurrence, Entry]] = (),
) -> list[Begin | Skip]:
    """What is to be done at ``now_ms``, the earliest first. ``begun`` and ``skipped`` are names of occurrences, and
    ``left`` are those of earlier programmes that are neither."""
    steps: list[Begin | Skip] = []
    entries = {occurrence.play: entry for occurrence, entry in left}
    due = {occurrence.play: occurrence for occurrence in [*(o for o, _ in left), *programme.occurrences]}
    for occurrence in sorted(due.values(), key=lambda o: (o.at_ms, o.play)):
        late_ms = now_ms - occurrence.at_ms
        if occurrence.play in begun or late_ms < -ahead_ms:
            continue
        entry = entries.get(occurrence.play) or programme.entry(occurrence)
        reason = ""
        if late_ms > max(LATE_MS, entry.late_within_s * 1000):
            reason = "too-late"
        elif entry.night is None and hours.is_quiet((occurrence.at_ms + max(0, late_ms)) / 1000):
            reason = "quiet-hours"
        if not reason:
            steps.append(Begin(occurrence, entry, late_ms if late_ms > LATE_MS else 0))
        elif occurrence.play not in skipped:
            steps.append(Skip(occurrence, entry, reason))
    return steps


def next_ms(programme: Programme, begun: Collection[str], now_ms: int) -> int | None:
    """When the next occurrence begins, None after the last."""
    to_come = (o.at_ms for o in programme.occurrences if o.at_ms > now_ms and o.play not in begun)
    return min(to_come, default=None)
