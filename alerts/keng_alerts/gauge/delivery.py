"""The delivery state machine: how far an order has come on one loudspeaker. Pure; time is an argument.

======================================  ==========================================================  ============
in state                                when                                                        then
======================================  ==========================================================  ============
pending, failed                         the loudspeaker has taken the order                         ORDERED
pending, ordered, failed                it says that it plays, without a measured level             PLAYING
any but confirmed                       sound was measured at its output                            CONFIRMED
pending                                 it refuses the order, but not as a copy of one that it has  FAILED
pending, ordered, playing               it is silent, broken, or was cut before it was heard        FAILED
pending, ordered, playing               nothing was confirmed for ``silent_after_s``                FAILED, and it is
                                                                                                    named to people
pending, failed                         the pause is over and repeats are left: the order is        PENDING
                                        repeated to this loudspeaker alone
confirmed                               anything                                                    CONFIRMED
======================================  ==========================================================  ============

Confirmed means measured: the sound's own level at the loudspeaker's output, not the player's word. A repeated order has
the name of the first, so a loudspeaker that had it plays nothing twice; the pauses double.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from keng_contracts.alerts import Delivery
from keng_contracts.judging import Refusal
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.registry import ResponseRule

#: A sound softer than this, in dBFS, is no proof that anybody heard it.
AUDIBLE_DBFS = -50.0


class Event(Enum):
    """What can happen to an order."""

    TAKEN = auto()
    STARTED = auto()
    HEARD = auto()
    REFUSED = auto()
    BROKEN = auto()
    OVERDUE = auto()
    REPEATED = auto()


_PENDING, _ORDERED, _PLAYING, _FAILED = Delivery.PENDING, Delivery.ORDERED, Delivery.PLAYING, Delivery.FAILED
#: The table; what it does not name changes nothing.
TABLE: dict[tuple[Delivery, Event], Delivery] = {
    (_PENDING, Event.TAKEN): _ORDERED,
    (_FAILED, Event.TAKEN): _ORDERED,
    (_PENDING, Event.STARTED): _PLAYING,
    (_ORDERED, Event.STARTED): _PLAYING,
    (_FAILED, Event.STARTED): _PLAYING,
    (_PENDING, Event.HEARD): Delivery.CONFIRMED,
    (_ORDERED, Event.HEARD): Delivery.CONFIRMED,
    (_PLAYING, Event.HEARD): Delivery.CONFIRMED,
    (_FAILED, Event.HEARD): Delivery.CONFIRMED,
    (_PENDING, Event.REFUSED): _FAILED,
    (_PENDING, Event.BROKEN): _FAILED,
    (_ORDERED, Event.BROKEN): _FAILED,
    (_PLAYING, Event.BROKEN): _FAILED,
    (_PENDING, Event.OVERDUE): _FAILED,
    (_ORDERED, Event.OVERDUE): _FAILED,
    (_PLAYING, Event.OVERDUE): _FAILED,
    (_FAILED, Event.REPEATED): _PENDING,
}


@dataclass(frozen=True, slots=True)
class Track:
    """One order to one loudspeaker. ``repeat_ms`` is when it is repeated next; ``silent`` once it was named to people;
    ``over`` once it is no longer wanted, so that nothing is repeated or missed."""

    play: str
    ordered_ms: int
    repeat_ms: int
    state: Delivery = Delivery.PENDING
    repeats: int = 0
    silent: bool = False
    over: bool = False


def begin(play: str, now_ms: int, rule: ResponseRule) -> Track:
    """An order that is given now."""
    return Track(play, now_ms, now_ms + round(rule.retry_after_s * 1000))


def event_of(event: PlaybackEvent) -> Event | None:
    """What an event of a loudspeaker says about the order that it names; None: nothing."""
    audible = event.level_dbfs is not None and event.level_dbfs > AUDIBLE_DBFS
    match event.what:
        case What.ACCEPTED:
            # "already": it plays, waits or has ended there, which says nothing of how
            return None if event.reason in ("stop", "already") else Event.TAKEN
        case What.STARTED:
            return Event.HEARD if audible else Event.STARTED
        case What.FINISHED:
            return Event.HEARD if audible else None
        case What.REFUSED:
            return None if event.reason == Refusal.REPLAYED else Event.REFUSED
        case What.SILENT | What.FAILED | What.CUT:
            return Event.BROKEN
        case What.SKIPPED | What.FETCHED:
            return None  # an occurrence of the programme, a file: no order of ours
        case What.HEARD | What.UNHEARD:
            return None  # a microphone that fails is no siren that fails: people look


def take(track: Track, event: Event) -> Track:
    """The order after an event; the same object if it changes nothing."""
    after = TABLE.get((track.state, event), track.state)
    if after is Delivery.CONFIRMED and track.silent:
        return replace(track, state=after, silent=False)
    return track if after is track.state else replace(track, state=after)


def overdue(track: Track, now_ms: int, rule: ResponseRule) -> Track:
    """Let time pass: after ``silent_after_s`` without a confirmation the loudspeaker is named to people."""
    if track.over or track.silent or track.state is Delivery.CONFIRMED:
        return track
    if now_ms - track.ordered_ms < rule.silent_after_s * 1000:
        return track
    return replace(take(track, Event.OVERDUE), silent=True)


def repeat(track: Track, now_ms: int, rule: ResponseRule) -> Track | None:
    """The order once more, if its time has come; None if not.

    >>> from keng_contracts.registry import ResponseRule
    >>> rule, track, told = ResponseRule(sensor="phu-oc/level", retries=3, retry_after_s=20), None, []
    >>> track = begin("phu-oc-level-1-3", 0, rule)
    >>> for second in range(1000):
    ...     again = repeat(track, second * 1000, rule)
    ...     if again: track = again; told.append(second)
    >>> told
    [20, 60, 140]
    """
    if track.over or track.state not in (_PENDING, _FAILED) or track.repeats >= rule.retries:
        return None
    if now_ms < track.repeat_ms:
        return None
    pause_ms = round(rule.retry_after_s * 1000) << (track.repeats + 1)
    return replace(take(track, Event.REPEATED), repeats=track.repeats + 1, repeat_ms=now_ms + pause_ms)
