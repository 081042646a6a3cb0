"""What can go wrong with a sensor on its line, and the orders by which it is made to. Pure.

=========  ======================================================================================================
silence    no answer at all
crc        a ``rate`` of the answers is damaged so that a check of them finds it
stuck      what is measured stays what it was in the first answer under the fault
spike      ``add`` is added to one quantity for the next ``answers`` answers, then the fault is over
missing    what is measured is the model's word for 'no value' (a rain gauge's 0x8000)
reboot     a power cut: no answer for a while (2 s unless said), and counters start again from 0
=========  ======================================================================================================

A fault ends when its time is over, when its answers are used up, or when it is switched off.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from keng_contracts.errors import Problem

#: The value of a quantity now, e.g. ``{"level": 1.652}.get``.
Read = Callable[[str], float]
#: How long a reboot takes when the order does not say.
REBOOT_S = 2.0


class Kind(StrEnum):
    SILENCE = "silence"
    CRC = "crc"
    STUCK = "stuck"
    SPIKE = "spike"
    MISSING = "missing"
    REBOOT = "reboot"


class Order(BaseModel):
    """One fault as it is ordered. Durations are in seconds of the wall clock, not of the scenario."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    for_s: float | None = Field(None, gt=0)
    rate: float = Field(1.0, ge=0, le=1, description="crc: the part of the answers that is broken")
    add: float = Field(0.0, description="spike: what is added, in the quantity's unit")
    answers: int = Field(1, ge=1, description="spike: for how many answers")
    quantity: str = Field("", description="spike: which quantity; empty for the first one that the sensor measures")


@dataclass(slots=True)
class Fault:
    """An order at work on one sensor. ``until_s`` is by the clock that the sensor is given."""

    order: Order
    until_s: float
    answers_left: int = 0
    words: dict[int, int] = field(default_factory=dict)  # stuck: what a slave's registers are stuck at
    values: dict[str, float] = field(default_factory=dict)  # stuck: what other sensors are stuck at

    @classmethod
    def begin(cls, order: Order, now_s: float) -> Fault:
        for_s = order.for_s or (REBOOT_S if order.kind is Kind.REBOOT else math.inf)
        return cls(order, now_s + for_s, order.answers)

    def is_over(self, now_s: float) -> bool:
        return now_s >= self.until_s or (self.order.kind is Kind.SPIKE and self.answers_left <= 0)

    def describe(self, now_s: float) -> dict[str, str | float | int | None]:
        """For the list of faults, as JSON has it."""
        left_s = None if math.isinf(self.until_s) else round(self.until_s - now_s, 1)
        told: dict[str, str | float | int | None] = {"kind": self.order.kind.value, "left_s": left_s}
        if self.order.kind is Kind.CRC:
            told["rate"] = self.order.rate
        if self.order.kind is Kind.SPIKE:
            told |= {"add": self.order.add, "answers_left": self.answers_left}
        return told


class Faulty:
    """A sensor, as far as its faults go. ``measured`` are its quantities, of which ``counters`` start from 0 after a
    power cut; ``missing`` says whether it has a word for 'no value'."""

    def __init__(
        self, name: str, model: str, measured: Sequence[str], counters: Collection[str], *, missing: bool, seed: int
    ) -> None:
        self.name = name
        self.answered = 0
        self._title = model
        self._measured = measured
        self._counters = counters
        self._has_missing = missing
        self._faults: dict[Kind, Fault] = {}
        self._chance = random.Random(f"{seed}/{name}/crc")
        self._counted_before: dict[str, float] = {}  # what a counter had counted when the power was cut

    def order(self, order: Order, now_s: float, read: Read) -> None:
        """Begin a fault; one of the same kind is replaced. Raises :class:`Problem` where it has no meaning here."""
        if order.kind is Kind.MISSING and not self._has_missing:
            raise Problem(f"{self._title} has no word for 'no value'", where=self.name)
        if order.kind in (Kind.SPIKE, Kind.STUCK) and not self._measured:
            raise Problem(f"{self._title} measures nothing that could {order.kind}", where=self.name)
        if order.kind is Kind.SPIKE and order.quantity not in ("", *self._measured):
            known = ", ".join(self._measured)
            raise Problem(f"does not measure {order.quantity!r}", where=self.name, todo=f"take one of {known}")
        if order.kind is Kind.REBOOT:
            self._cut_power(read)
        self._faults[order.kind] = Fault.begin(order, now_s)

    def clear(self, kind: Kind | None = None) -> int:
        """End one fault, or all; how many there were."""
        gone = [kind] if kind in self._faults else [] if kind else list(self._faults)
        for each in gone:
            del self._faults[each]
        return len(gone)

    def faults(self, now_s: float) -> dict[Kind, Fault]:
        """The faults at work at ``now_s``; those that are over are forgotten."""
        for kind in [kind for kind, fault in self._faults.items() if fault.is_over(now_s)]:
            del self._faults[kind]
        return dict(self._faults)

    def _is_silent(self, faults: dict[Kind, Fault], read: Read) -> bool:
        if Kind.REBOOT in faults:  # what is counted while the power is off is not counted
            self._cut_power(read)
        return Kind.SILENCE in faults or Kind.REBOOT in faults

    def _is_damaged(self, faults: dict[Kind, Fault]) -> bool:
        return (crc := faults.get(Kind.CRC)) is not None and self._chance.random() < crc.order.rate

    def _spiked(self, quantity: str, faults: dict[Kind, Fault]) -> float:
        """What is added to a quantity."""
        spike = faults.get(Kind.SPIKE)
        return spike.order.add if spike and quantity == (spike.order.quantity or self._measured[0]) else 0.0

    def _cut_power(self, read: Read) -> None:
        self._counted_before = {quantity: read(quantity) for quantity in self._counters}
