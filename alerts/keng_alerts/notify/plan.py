"""Whom it is due to be told now. Pure: occasions, chains, what was told before, and the time as an argument.

==========================================  =======================================================================
an occasion that is open                    then
==========================================  =======================================================================
fits no chain                               nobody is told
is acknowledged                             nobody else is told
is new                                      step 1 of the first chain that fits it
is ``after_min`` old since then             that step; earlier, if nobody of the steps before it is on duty
has had its last step                       that step again each ``repeat_min``, at most ``repeats`` times
is not open any more (over)                 no step; OVER is an occasion of its own, for those who were told before
==========================================  =======================================================================

Nobody is told of one step twice: a duty is (occasion, step, person), and one that is in ``done`` is done. Who is
off duty is told when the hours begin, if the occasion is still open then.

What is due to one person goes together as one page, drills apart from real ones. A page waits ``gather_s`` for
company, ``pause_s`` after the one before it, and while the hour is full; something more severe than all that the person
was told in the last hour waits for none of the latter two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from keng_alerts.notify.occasions import Occasion
from keng_alerts.notify.settings import Chain, Kind, NotifySettings, Person

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Open:
    """An occasion that is open, and when it was first heard of (ms since 1970 UTC): its chain counts from then."""

    occasion: Occasion
    first_ms: int


class Duty(NamedTuple):
    """To tell one person at one step. Steps count from 1; repeats of the last one count on."""

    occasion: str
    step: int
    person: str


class Told(NamedTuple):
    """A page that was made for a person."""

    made_ms: int
    severity: int


@dataclass(frozen=True, slots=True)
class Page:
    """What one person is to be told now: the occasions, the most severe first, and the duties that it fulfils."""

    person: str
    exercise: bool
    occasions: tuple[Occasion, ...]
    duties: tuple[Duty, ...]

    @property
    def severity(self) -> int:
        return self.occasions[0].severity

    @property
    def step(self) -> int:
        """The furthest step among the duties."""
        return max(duty.step for duty in self.duties)


def plan(
    opens: Collection[Open],
    done: Collection[Duty],
    told: Mapping[str, Sequence[Told]],
    settings: NotifySettings,
    now_ms: int,
    zone: ZoneInfo,
) -> list[Page]:
    """The pages that are to be made now. ``done`` must answer ``in`` quickly: a set."""
    people = {person.name: person for person in settings.people}
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    minute = local.hour * 60 + local.minute
    due: dict[tuple[str, bool], dict[str, tuple[Open, list[Duty]]]] = {}
    for open_ in opens:
        for duty in _duties(open_, done, settings.chains, people, now_ms, minute):
            rows = due.setdefault((duty.person, open_.occasion.exercise), {})
            rows.setdefault(open_.occasion.key, (open_, []))[1].append(duty)
    pages = []
    for (name, exercise), rows in due.items():
        ranked = sorted((open_ for open_, _ in rows.values()), key=lambda o: (-o.occasion.severity, o.first_ms))
        duties = tuple(duty for _, duties in rows.values() for duty in duties)
        page = Page(name, exercise, tuple(open_.occasion for open_ in ranked), duties)
        oldest_ms = min(open_.first_ms for open_ in ranked)
        if _may_go(page, oldest_ms, told.get(name, ()), settings, now_ms):
            pages.append(page)
    return pages


def chain_of(occasion: Occasion, chains: Sequence[Chain]) -> Chain | None:
    """The first chain that fits."""
    fits = (c for c in chains if occasion.severity >= c.severity and (not c.kinds or occasion.kind in c.kinds))
    return next(fits, None)


def on_duty(person: Person, severity: int, minute: int) -> bool:
    """Whether a person is told at this minute of the local day; hours may run over midnight."""
    if severity >= person.wake:
        return True
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in person.hours.split("-"))
    return start <= minute < end if start < end else minute >= start or minute < end


def _duties(
    open_: Open,
    done: Collection[Duty],
    chains: Sequence[Chain],
    people: Mapping[str, Person],
    now_ms: int,
    minute: int,
) -> Iterator[Duty]:
    occasion = open_.occasion
    if occasion.kind is Kind.OVER:
        heard = {duty.person for duty in done if duty.occasion.startswith(occasion.about)}
        duties = (Duty(occasion.key, 1, name) for name in sorted(heard & people.keys()))
        yield from (d for d in duties if d not in done and on_duty(people[d.person], occasion.severity, minute))
        return
    chain = chain_of(occasion, chains)
    if chain is None or occasion.acknowledged:
        return
    awake = [[name for name in step.to if on_duty(people[name], occasion.severity, minute)] for step in chain.steps]
    last_ms = open_.first_ms
    nobody_yet = True
    for number, (step, names) in enumerate(zip(chain.steps, awake, strict=True), start=1):
        last_ms = open_.first_ms + round(step.after_min * MINUTE_MS)
        if now_ms >= last_ms or nobody_yet:
            yield from (d for d in (Duty(occasion.key, number, name) for name in names) if d not in done)
        nobody_yet = nobody_yet and not names
    for repeat in range(1, chain.repeats + 1):
        if now_ms < last_ms + round(repeat * chain.repeat_min * MINUTE_MS):
            return
        number = len(chain.steps) + repeat
        yield from (d for d in (Duty(occasion.key, number, name) for name in awake[-1]) if d not in done)


def _may_go(page: Page, oldest_ms: int, told: Sequence[Told], settings: NotifySettings, now_ms: int) -> bool:
    if now_ms - oldest_ms < settings.gather_s * 1000:
        return False
    recent = [row for row in told if now_ms - row.made_ms < HOUR_MS]
    if not recent or page.severity > max(row.severity for row in recent):
        return True
    rested = now_ms - max(row.made_ms for row in recent) >= settings.pause_s * 1000
    return rested and len(recent) < settings.per_hour
