"""What the rules of a registry watch there, and what is wrong with them. Rules themselves are in :mod:`.rules`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from keng_contracts.rules import Rule, RuleKind, Watches

#: What a rule writes to watch all things of its kind.
ALL = "*"
#: What only some kinds of rule have.
_FIELDS = ("window_s", "to", "travel_s", "level")


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry has to watch: units by sensor's id, kind and unit by derived id, and the other names.
    ``distances`` are the sensors that a water level is made of."""

    sensors: Mapping[str, str]
    derived: Mapping[str, tuple[str, str]]
    gauges: frozenset[str]
    nodes: frozenset[str]
    speakers: frozenset[str]
    stations: frozenset[str]
    distances: frozenset[str]


def watched(rule: Rule, known: Known) -> dict[str, str]:
    """What a rule watches, with the unit of each; an unknown name is in no unit that any kind takes.

    ``"*"`` takes, of the sensors, those in a unit that the kind can take, and for rain no distance to the water. Where
    there is none yet it watches nothing.
    """
    spec = rule.spec
    of: Mapping[str, str]
    if spec.watches is Watches.NODE:
        of = dict.fromkeys(sorted(known.nodes), "")
    elif spec.watches is Watches.SPEAKER:
        of = dict.fromkeys(sorted(known.speakers), "")
    elif spec.watches is Watches.GAUGE:
        of = dict.fromkeys(sorted(known.gauges), "")
    else:
        made = {id_: unit for id_, (kind, unit) in known.derived.items() if kind in spec.derived}
        of = {**({} if rule.kind is RuleKind.AIR else known.sensors), **made}
    if ALL in rule.watch:
        left_out = known.distances if rule.kind is RuleKind.RAIN else frozenset[str]()
        return {id_: unit for id_, unit in of.items() if rule.scale(unit) is not None and id_ not in left_out}
    return {id_: of[id_] for id_ in rule.watch if id_ in of}


def faults(rules: Sequence[Rule], known: Known) -> Iterator[str]:
    """What is wrong with the rules of a registry, for a person to mend."""
    yield from _twice("rule", (rule.id for rule in rules))
    for rule in rules:
        yield from _faults(rule, known)
    gauges = (gauge.replace("/", "-") for gauge in known.gauges)
    yield from _twice("alert", (*gauges, *(alarm_id(rule.id, id_) for rule in rules for id_ in watched(rule, known))))


def _twice(what: str, ids: Iterable[str]) -> Iterator[str]:
    """What is wrong with names of which some are there more than once."""
    counts = Counter(ids)
    return (f"{what} {id_!r} is there twice" for id_, count in sorted(counts.items()) if count > 1)


def _faults(rule: Rule, known: Known) -> list[str]:
    spec = rule.spec
    where = f"rule {rule.id}"
    found: list[str] = []
    for name in _FIELDS:
        given = getattr(rule, name) is not None
        if name in spec.needs and not given:
            found.append(f"{where}: {rule.kind} needs {name}")
        if given and name not in (*spec.needs, *spec.may):
            found.append(f"{where}: {rule.kind} has no {name}")
    if rule.to is not None and rule.to not in known.stations:
        there = ", ".join(sorted(known.stations)) or "none"
        found.append(f"{where}: there is no station {rule.to!r} to be reached (there are: {there})")
    things = watched(rule, known)
    if ALL in rule.watch:
        if len(rule.watch) > 1:
            found.append(f'{where}: watch is "*" or names, not both')
    else:
        found += [f"{where}: {_unknown(rule, id_, known)}" for id_ in rule.watch if id_ not in things]
    for id_, unit in things.items():
        try:
            rule.bounds(unit)
        except ValueError as error:
            text = str(error)
            found.append(f"{where}: {id_} {text}" if text.startswith("is in") else f"{where}: {text}")
    return list(dict.fromkeys(found))


def alarm_id(rule: str, thing: str) -> str:
    """The id of the alarm that a rule raises over one thing: a slug, so that it can be a topic's level.

    >>> alarm_id("mua-lon-1h", "phu-oc/rain")
    'mua-lon-1h-phu-oc-rain'
    """
    whole = f"{rule}-{thing.replace('/', '-')}".rstrip("-")
    if len(whole) <= 63:
        return whole
    return f"{whole[:54]}{sha256(whole.encode()).hexdigest()[:9]}"


def _unknown(rule: Rule, id_: str, known: Known) -> str:
    """Why a name can't be watched."""
    spec = rule.spec
    if spec.watches is Watches.GAUGE and id_ in known.sensors:
        return f"{id_} has no thresholds, so that {rule.kind} has nothing to foretell"
    if spec.watches is Watches.SENSOR and (id_ in known.derived or (id_ in known.sensors and spec.derived)):
        kind = known.derived[id_][0] if id_ in known.derived else "a plain sensor"
        can = f"a derived {' or '.join(spec.derived)}" if spec.derived else "sensors themselves"
        return f"{id_} is {kind}; {rule.kind} watches {can}"
    of = {
        Watches.SENSOR: sorted({*known.sensors, *known.derived}),
        Watches.GAUGE: sorted(known.gauges),
        Watches.NODE: sorted(known.nodes),
        Watches.SPEAKER: sorted(known.speakers),
    }[spec.watches]
    return f"there is no {spec.watches} {id_!r} (there are: {', '.join(of) or 'none'})"
