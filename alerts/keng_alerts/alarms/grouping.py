"""A storm over twenty gauges is one page for a human: which alerts say nothing new, and which belong together. Pure.

An alert is muted by another that is raised and says it already:

=====================================================  =============================================================
the alert                                              is muted by
=====================================================  =============================================================
a sensor is silent                                     its node is offline; or the flood alert of that gauge, which
                                                       asks people to look at the river
anything of a node (backlog, problems, dropped)        that node is offline
a level is foretold                                    the gauge's flood alert, at that level or above
a rule about a thing                                   a graver rule of the same kind about the same thing
=====================================================  =============================================================

What is left belongs together if it is of one kind and one area and began within a time: the area of water is the river,
of all else the commune.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from keng_contracts.alerts import FLOOD, AlertDocument, Hazard
from keng_contracts.registry import Registry
from keng_contracts.rules import RuleKind, Severity

#: Alerts of one kind and area that begin within this time of the first are one notice.
TOGETHER_MS = 900_000
#: So many places are named, the others counted.
NAMED = 3
_ORDER = list(Severity)
_OF_LEVEL = (Severity.MINOR, Severity.MODERATE, Severity.SEVERE, Severity.EXTREME, Severity.EXTREME)
_WATER = frozenset({FLOOD, RuleKind.RISE, RuleKind.UPSTREAM, RuleKind.RAIN})
_NODE = frozenset({RuleKind.NODE_BACKLOG, RuleKind.NODE_DROPPED, RuleKind.NODE_PROBLEM})


class Notice(NamedTuple):
    """What people are told at once: the alerts in it, the gravest first."""

    kind: str
    area: str
    alerts: tuple[str, ...]
    severity: Severity
    raised_ms: int
    headline: str
    headline_en: str


def severity(document: AlertDocument) -> Severity:
    """How grave an alert is; that of a flood follows from its level."""
    return document.severity or _OF_LEVEL[document.level]


def muted(documents: Iterable[AlertDocument], registry: Registry) -> dict[str, str]:
    """The alarms that say nothing new, by id, with the alert that says it already."""
    up = {d.id: d for d in sorted(documents, key=lambda d: (d.raised_ms, d.id)) if d.hazard is Hazard.RAISED}
    offline = {d.thing: d.id for d in up.values() if d.kind == RuleKind.NODE_OFFLINE}
    floods = {d.sensor: d for d in up.values() if d.kind == FLOOD and not d.drill_of}
    nodes = {sensor.id: sensor.node for sensor in registry.sensors}
    gravest: dict[tuple[str, str], AlertDocument] = {}
    for d in up.values():
        best = gravest.get((d.kind, d.thing))
        if d.kind != FLOOD and (best is None or _rank(d) > _rank(best)):
            gravest[d.kind, d.thing] = d
    found: dict[str, str] = {}
    for d in up.values():
        flood = floods.get(d.thing)
        if d.kind == FLOOD:
            continue
        if d.kind == RuleKind.SILENT and nodes.get(d.thing) in offline:
            found[d.id] = offline[nodes[d.thing]]
        elif d.kind == RuleKind.SILENT and flood is not None and flood.unwatched:
            found[d.id] = flood.id
        elif d.kind in _NODE and d.thing in offline:
            found[d.id] = offline[d.thing]
        elif d.kind == RuleKind.RISE and flood is not None and d.forecast is not None:
            if flood.level >= d.forecast.level:
                found[d.id] = flood.id
        elif _rank(gravest[d.kind, d.thing]) > _rank(d):
            found[d.id] = gravest[d.kind, d.thing].id
    return found


def group(documents: Iterable[AlertDocument], registry: Registry, within_ms: int = TOGETHER_MS) -> list[Notice]:
    """What is raised and neither muted nor silenced, as people should be told of it: the gravest notice first."""
    rivers = {station.id: station.river for station in registry.stations}
    groups: dict[tuple[str, str, str], list[list[AlertDocument]]] = {}
    raised = (d for d in documents if d.hazard is Hazard.RAISED and not d.untold)
    for d in sorted(raised, key=lambda d: (d.raised_ms, d.id)):
        area = (rivers.get(d.station) if d.kind in _WATER else "") or registry.commune.name
        runs = groups.setdefault((d.kind, area, d.drill_of and "drill"), [])
        if not runs or d.raised_ms - runs[-1][0].raised_ms > within_ms:
            runs.append([])
        runs[-1].append(d)
    notices = [_notice(kind, area, run, registry) for (kind, area, _), runs in groups.items() for run in runs]
    return sorted(notices, key=lambda n: (-_ORDER.index(n.severity), n.raised_ms, n.alerts))


def _rank(document: AlertDocument) -> int:
    return _ORDER.index(severity(document))


def _notice(kind: str, area: str, run: list[AlertDocument], registry: Registry) -> Notice:
    first = min(d.raised_ms for d in run)
    ranked = sorted(run, key=lambda d: (-_rank(d), d.raised_ms, d.id))
    gravest = ranked[0]
    vi, en = gravest.headline, gravest.headline_en
    if len(ranked) > 1:
        names = {station.id: station.name for station in registry.stations}
        speakers = {speaker.id: speaker.name for speaker in registry.speakers}
        places = list(dict.fromkeys(names.get(d.station) or speakers.get(d.thing) or d.thing for d in ranked[1:]))
        named, more = ", ".join(places[:NAMED]), len(places) - NAMED
        vi += f"; cùng lúc ở {named}" + (f" và {more} nơi khác" if more > 0 else "")
        en += f"; also at {named}" + (f" and {more} other places" if more > 0 else "")
    return Notice(kind, area, tuple(d.id for d in ranked), severity(gravest), first, vi, en)


def unmuted(documents: Mapping[str, AlertDocument], registry: Registry) -> list[AlertDocument]:
    """The alarms whose ``muted_by`` has to change, as they then are."""
    now = muted(documents.values(), registry)
    return [
        d.model_copy(update={"muted_by": now.get(d.id, ""), "version": d.version + 1})
        for d in documents.values()
        if d.kind != FLOOD and d.muted_by != now.get(d.id, "")
    ]
