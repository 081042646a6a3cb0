"""What becomes of a batch of telemetry messages: rows for the store, dead letters, receipts. Pure.

A pack of which nothing can be read is dead-lettered whole. In a pack that can be read each record stands for itself:
what is wrong with one leaves its neighbours alone.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from keng_contracts.receipts import DeadLettered, Receipt, to_ranges
from keng_contracts.registry import Registry
from keng_contracts.telemetry import BadPack, Reading, decode
from keng_contracts.topics import BadTopic, Channel, Kind, Topic
from keng_signals.quality import Limits, Window, judge, limits_of
from keng_store.protocol import Row


class DeadLetter(NamedTuple):
    """Something that can't be stored as it is. ``readings`` is how many of its records that concerns."""

    topic: str
    payload: bytes
    reason: str
    readings: int

    @property
    def kind(self) -> str:
        """The reason without its particulars: a few words, for counting."""
        return kind_of(self.reason)


#: How the reasons begin, and what they are counted as; anything else is that of one record.
_KINDS = {
    "topic:": "topic",
    "unknown node": "unknown node",
    "store:": "refused by the store",
    "record ": "bad record",
    "not JSON": "not a pack",
    "not a SenML": "not a pack",
    "the first record": "not a pack",
    "clock state": "not a pack",
    "larger than": "too large",
    "more than": "too large",
}


def kind_of(reason: str) -> str:
    """What a reason is counted as.

    >>> kind_of("record 3: v is not a number"), kind_of("a/b/c belongs to node x, not to y")
    ('bad record', 'foreign series')
    """
    return next((kind for start, kind in _KINDS.items() if reason.startswith(start)), "foreign series")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the registry says, arranged for looking up. Without a registry everything is taken, not evaluated."""

    limits: dict[str, Limits] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)
    nodes: frozenset[tuple[str, str]] | None = None

    @classmethod
    def of(cls, registry: Registry | None) -> Rules:
        if registry is None:
            return cls()
        commune = registry.commune.id
        return cls(
            limits_of(registry),
            {registry.series(s): s.node for s in registry.sensors},
            frozenset((commune, s.node) for s in registry.sensors),
        )


@dataclass(slots=True)
class Sorted:
    """The outcome of a batch: what to commit, and what may be said once that is done."""

    rows: list[Row] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    stored: dict[tuple[Topic, str], list[int]] = field(default_factory=dict)
    dead_packs: dict[tuple[Topic, str], list[DeadLettered]] = field(default_factory=dict)
    duplicates: int = 0

    def receipts(self) -> list[tuple[Topic, Receipt]]:
        """One receipt for each sender and boot, addressed to the sender's receipt topic."""
        made = []
        for key in self.stored.keys() | self.dead_packs.keys():
            sender, boot = key
            receipt = Receipt(boot=boot, stored=to_ranges(self.stored.get(key, ())), dead=self.dead_packs.get(key, []))
            made.append((Topic(sender.commune, Kind.EDGE, sender.id, Channel.RECEIPT), receipt))
        return made

    def bury(self, topic: Topic | None, boot: str | None, seq: int | None, letter: DeadLetter) -> None:
        """Dead-letter something, and tell its sender if it can be told."""
        self.dead.append(letter)
        if topic is not None and boot is not None and seq is not None:
            self.dead_packs.setdefault((topic, boot), []).append(DeadLettered(seq=seq, reason=letter.reason[:200]))


def sort(
    batch: Iterable[tuple[str, bytes]],
    rules: Rules,
    windows: MutableMapping[str, Window],
    now_ms: int,
    out: Sorted | None = None,
) -> Sorted:
    """Sort ``(topic, payload)`` messages, adding to ``out`` if it is given. ``windows`` is quality control's memory by
    series, updated in place; it holds only series that the registry knows."""
    out = Sorted() if out is None else out
    owners, limits_by, rows = rules.owner, rules.limits, out.rows
    for topic_text, payload in batch:
        try:
            topic = _topic(topic_text)
        except BadTopic as error:
            out.bury(None, None, None, DeadLetter(topic_text, payload, f"topic: {error}", 0))
            continue
        try:
            pack = decode(payload)
        except BadPack as error:
            out.bury(topic, error.boot, error.seq, DeadLetter(topic_text, payload, error.reason, 0))
            continue
        if rules.nodes is not None and (topic.commune, topic.id) not in rules.nodes:
            reason = f"unknown node: the registry has no sensor of node {topic.id}"
            letter = DeadLetter(topic_text, payload, reason, len(pack.readings))
            out.bury(topic, pack.boot, pack.seq, letter)
            continue
        refused = [f"record {r.record}: {r.reason}" for r in pack.rejected]
        taken = False
        for reading in pack.readings:
            series, time_ms, value, _, flag = reading
            if owners.get(series) != topic.id:  # most are the node's own
                fault = _misplaced(reading, topic, rules)
                if fault:
                    refused.append(fault)
                    continue
            limits = limits_by.get(series)
            if limits is not None:
                window = windows.get(series)
                if window is None:
                    window = windows[series] = Window()
                elif window.times and window.times[-1] == time_ms:
                    out.duplicates += 1
                flag = judge(reading, limits, window, now_ms).flag
            rows.append(_new(Row, (series, time_ms, value, flag)))
            taken = True
        if taken:
            out.stored.setdefault((topic, pack.boot), []).append(pack.seq)
        if refused:
            reason = refused[0] if len(refused) == 1 else f"{refused[0]} (and {len(refused) - 1} more)"
            out.bury(topic, pack.boot, pack.seq, DeadLetter(topic_text, payload, reason, len(refused)))
    return out


#: Half the price of calling a named tuple's class.
_new = tuple.__new__
#: The topics of a commune are few, and each comes with every message.
_topic = lru_cache(4096)(Topic.parse)


def _misplaced(reading: Reading, topic: Topic, rules: Rules) -> str:
    """Why this node may not report this series; empty if it may."""
    if not reading.series.startswith(topic.commune + "/"):
        return f"{reading.series} is not a series of commune {topic.commune}"
    owner = rules.owner.get(reading.series)
    if owner is not None and owner != topic.id:
        return f"{reading.series} belongs to node {owner}, not to {topic.id}"
    return ""
