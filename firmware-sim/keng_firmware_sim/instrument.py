"""One sensor that is no Modbus slave, with its faults: what it reads, and what becomes of what it says. Pure.

>>> gauge = Instrument("logger", "text", ("level",))
>>> gauge.order(Order(kind=Kind.SPIKE, add=2.0), 0.0, {"level": 1.5}.__getitem__)
>>> [gauge.say(0.0, {"level": 1.5}.__getitem__, lambda read: b"%.1f" % read("level")).data for _ in range(2)]
[b'3.5', b'1.5']
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from keng_firmware_sim.faults import Faulty, Kind, Order, Read


class Said(NamedTuple):
    """What it says, nothing while it is silent; and which faults had a hand in it."""

    data: bytes
    faults: tuple[Kind, ...] = ()


def _flipped(data: bytes) -> bytes:
    """One bit in the middle, which a check sum finds."""
    at = len(data) // 2
    return data[:at] + bytes((data[at] ^ 0x01,)) + data[at + 1 :]


def _sdi12(data: bytes) -> bytes:
    """Noise in the values: without a check sum, too, it is seen. Other answers have nothing by which it would be."""
    return data[:1] + b"~" + data[2:] if data[1:2] in (b"+", b"-") else data


#: How a message of each kind of line is damaged. A gateway drops a LoRaWAN frame whose check is wrong: what comes
#: through damaged is what a device cut off.
_DAMAGE: Mapping[str, Callable[[bytes], bytes]] = {
    "text": _flipped,
    "e22": _flipped,
    "rak3172": _flipped,
    "sdi12": _sdi12,
    "lorawan": lambda data: data[:-1],
}


class Instrument(Faulty):
    """``kind`` is that of its line. ``rebooted`` is called when its power is cut. Without ``measured`` it is a radio
    module, which can be silent and rebooted."""

    def __init__(
        self,
        name: str,
        kind: str,
        measured: Sequence[str],
        *,
        counters: Collection[str] = ("rain",),
        missing: bool = True,
        model: str = "",
        seed: int = 0,
    ) -> None:
        own = [quantity for quantity in measured if quantity in counters]
        super().__init__(name, model or kind, measured, own, missing=missing and bool(measured), seed=seed)
        self._damage = _DAMAGE[kind]
        self.rebooted: Callable[[], object] = lambda: None

    def order(self, order: Order, now_s: float, read: Read) -> None:
        super().order(order, now_s, read)
        if order.kind is Kind.REBOOT:
            self.rebooted()

    def say(self, now_s: float, read: Read, speak: Callable[[Read], bytes]) -> Said:
        """What it says when ``speak`` makes words of what it reads; ``read`` gives the true values. A value that it has
        not is NaN."""
        faults = self.faults(now_s)
        if self._is_silent(faults, read):
            return Said(b"")
        asked: list[str] = []

        def reads(quantity: str) -> float:
            asked.append(quantity)
            if Kind.MISSING in faults:
                return math.nan
            value = read(quantity) - self._counted_before.get(quantity, 0.0) + self._spiked(quantity, faults)
            return faults[Kind.STUCK].values.setdefault(quantity, value) if Kind.STUCK in faults else value

        data = speak(reads)
        if not data:
            return Said(data)
        applied: list[Kind] = [kind for kind in (Kind.STUCK, Kind.SPIKE, Kind.MISSING) if asked and kind in faults]
        if self._is_damaged(faults) and (damaged := self._damage(data)) != data:
            applied.append(Kind.CRC)
            data = damaged
        elif asked and (spike := faults.get(Kind.SPIKE)) is not None:
            spike.answers_left -= 1
        self.answered += 1
        return Said(data, tuple(applied))
