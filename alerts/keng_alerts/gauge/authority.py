"""Under whose authority a siren sounds when a level is reached. Pure: the registry's rows and the time are arguments.

For every zone that a row of this gauge and level names, the row whose ``hours`` hold now goes before one without hours.
What it rules, first match wins:

==================================================================================  =======  =====================
when                                                                                ruling   why
==================================================================================  =======  =====================
mode manual                                                                         LEAVE
mode confirm                                                                        ASK      ``confirm``
the delegation is not in force on this day                                          ASK      ``delegation``
a silence up to this level or a higher one has not ended                            ASK      ``silenced``
this level or a higher one of this gauge sounded less than ``cooldown_s`` ago       ASK      ``cooldown``
the crossing was old when it was heard                                              ASK      ``late``
the second source does not agree                                                    ASK      ``second-source``
mode auto-after-timeout, and people have had less than ``confirm_within_s``         ASK      ``timeout``
otherwise                                                                           SOUND
==================================================================================  =======  =====================

A person who confirms is an authority of their own: it then sounds whatever the row says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from keng_alerts.gauge.gauges import local_day, local_time
from keng_contracts.alerts import Silence, Why
from keng_contracts.authority import BY_ITSELF, SecondSource
from keng_contracts.registry import Authority, AuthorityMode, Registry


class Verdict(Enum):
    """What follows for some zones."""

    SOUND = auto()
    ASK = auto()
    LEAVE = auto()


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one row rules for the zones in which it holds. ``authority`` names who let it sound; ``sounds_ms`` is when
    it does by itself unless somebody declines."""

    row: Authority
    zones: tuple[str, ...]
    verdict: Verdict
    why: Why | None = None
    authority: str = ""
    sounds_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a ruling depends on beside the registry. ``asked_ms`` is since when people have been asked; None: not yet.
    ``played`` is when each level of this gauge sounded last. ``late``: the crossing was old when it was heard."""

    now_ms: int
    agrees: Callable[[SecondSource], bool]
    silence: Silence | None = None
    played: Mapping[int, int] = field(default_factory=dict)
    late: bool = False
    asked_ms: int | None = None


def rows_in_force(registry: Registry, sensor: str, level: int, now_ms: int) -> list[tuple[Authority, tuple[str, ...]]]:
    """The rows that hold now for a gauge's level, each with the zones for which it is the one."""
    at = local_time(now_ms, registry)
    rows = [a for a in registry.authority if a.sensor == sensor and a.level == level and a.holds(at)]
    rows.sort(key=lambda row: row.hours is None)
    taken: set[str] = set()
    found = []
    for row in rows:
        zones = tuple(zone for zone in dict.fromkeys(row.zones) if zone not in taken)
        taken.update(zones)
        if zones or not row.zones:
            found.append((row, zones))
    return found


def mode_of(registry: Registry, sensor: str, level: int, now_ms: int) -> AuthorityMode:
    """The mode of a level, as one word: of several zones' the one that needs a person least."""
    modes = [row.mode for row, _ in rows_in_force(registry, sensor, level, now_ms)]
    return max(modes, key=list(AuthorityMode).index, default=AuthorityMode.MANUAL)


def delegation_lapsed(registry: Registry, now_ms: int) -> list[Authority]:
    """The rows that would let a siren sound by itself, were their delegation in force."""
    return [row for row in registry.authority if row.mode in BY_ITSELF and _authority(registry, row, now_ms) is None]


def rulings(registry: Registry, sensor: str, level: int, around: Circumstances) -> list[Ruling]:
    """What the rows in force rule for a level that is reached."""
    rows = rows_in_force(registry, sensor, level, around.now_ms)
    return [rule(registry, row, zones, around) for row, zones in rows]


def rule(registry: Registry, row: Authority, zones: Iterable[str], around: Circumstances) -> Ruling:
    """What one row rules."""
    zones, now_ms = tuple(zones), around.now_ms
    if row.mode is AuthorityMode.MANUAL or not zones:
        return Ruling(row, zones, Verdict.LEAVE)
    if row.mode is AuthorityMode.CONFIRM:
        return Ruling(row, zones, Verdict.ASK, Why.CONFIRM)
    authority = _authority(registry, row, now_ms)
    if authority is None:
        return Ruling(row, zones, Verdict.ASK, Why.DELEGATION)
    silence = around.silence
    if silence is not None and row.level <= silence.level and now_ms < silence.until_ms:
        return Ruling(row, zones, Verdict.ASK, Why.SILENCED)
    played_ms = max((at for level, at in around.played.items() if level >= row.level), default=None)
    if played_ms is not None and now_ms - played_ms < row.cooldown_s * 1000:
        return Ruling(row, zones, Verdict.ASK, Why.COOLDOWN)
    if around.late:
        return Ruling(row, zones, Verdict.ASK, Why.LATE)
    if row.second is not None and not around.agrees(row.second):
        return Ruling(row, zones, Verdict.ASK, Why.SECOND_SOURCE)
    if row.mode is AuthorityMode.TIMEOUT:
        sounds_ms = (now_ms if around.asked_ms is None else around.asked_ms) + round(row.confirm_within_s * 1000)
        if now_ms < sounds_ms:
            return Ruling(row, zones, Verdict.ASK, Why.TIMEOUT, authority, sounds_ms)
    return Ruling(row, zones, Verdict.SOUND, None, authority)


def _authority(registry: Registry, row: Authority, now_ms: int) -> str | None:
    """Who let this row's siren sound by itself; None where nobody's word is in force."""
    if row.delegation is None:
        return row.delegated_by or None
    found = next((d for d in registry.delegations if d.id == row.delegation), None)
    if found is None or not found.holds(local_day(now_ms, registry)) or row.level not in found.levels:
        return None
    return found.words() if not found.sensors or row.sensor in found.sensors else None
