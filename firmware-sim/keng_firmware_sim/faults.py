"""What can go wrong with a sensor on its line, and the orders by which it is made to. Pure.

=========  ======================================================================================================
silence    no answer at all
crc        the CRC of a ``rate`` of the answers is wrong
stuck      the measured registers keep the words of the first answer under the fault
spike      ``add`` is added to one quantity for the next ``answers`` answers, then the fault is over
missing    the measured registers hold the model's word for 'no value' (a rain gauge's 0x8000)
reboot     a power cut: no answer for a while (2 s unless said), and counters start again from 0
=========  ======================================================================================================

A fault ends when its time is over, when its answers are used up, or when it is switched off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

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
    """An order at work on one slave. ``until_s`` is by the clock that the slave is given."""

    order: Order
    until_s: float
    answers_left: int = 0
    words: dict[int, int] = field(default_factory=dict)  # stuck: what it is stuck at

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
