"""One simulated sensor on a line: its registers at this moment, its faults, its answers. Pure: time is an argument."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from keng_contracts.errors import Problem
from keng_firmware_sim import modbus
from keng_firmware_sim.faults import Fault, Kind, Order
from keng_firmware_sim.installation import Model, Register, SlaveSpec

#: The value of a quantity now, e.g. ``{"level": 1.652}.get``.
Read = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a slave says, and which faults had a hand in it."""

    response: modbus.Response
    faults: tuple[Kind, ...] = ()

    @property
    def data(self) -> bytes:
        if Kind.CRC not in self.faults:
            return self.response.data
        return self.response.data[:-1] + bytes((self.response.data[-1] ^ 0x01,))


class Slave:
    def __init__(self, spec: SlaveSpec, model: Model, baud: int, seed: int = 0) -> None:
        self.name = spec.name
        self.address = spec.address
        self.model = model
        self.baud = baud
        self.answered = 0
        self._baud_code = model.baud_codes.index(baud) if baud in model.baud_codes else 0
        self._faults: dict[Kind, Fault] = {}
        self._chance = random.Random(f"{seed}/{spec.name}/crc")
        self._count = 0
        self._counted_before: dict[int, float] = {}  # what a counter had counted when the power was cut

    def answer(self, frame: bytes, now_s: float, read: Read) -> Answer | None:
        """The answer to an intact request to this slave, or None when it keeps silent."""
        faults = self.faults(now_s)
        for kind in (Kind.SILENCE, Kind.REBOOT):
            if kind in faults:
                if kind is Kind.REBOOT:  # what is counted while the power is off is not counted
                    self._cut_power(read)
                return None
        bank = {register.at: self._word(register, faults, read) for register in self.model.registers}
        response = modbus.respond(frame, {self.model.function: bank})
        measured = any(register.at in response.registers for register in self.model.measured)
        applied: list[Kind] = [kind for kind in (Kind.STUCK, Kind.SPIKE, Kind.MISSING) if measured and kind in faults]
        if (crc := faults.get(Kind.CRC)) is not None and self._chance.random() < crc.order.rate:
            applied.append(Kind.CRC)
        else:
            self._spend(response, faults)
        self.answered += 1
        return Answer(response, tuple(applied))

    def order(self, order: Order, now_s: float, read: Read) -> None:
        """Begin a fault; one of the same kind is replaced. Raises :class:`Problem` where it has no meaning here."""
        measured = [register.quantity for register in self.model.measured]
        if order.kind is Kind.MISSING and self.model.missing is None:
            raise Problem(f"{self.model.model} has no word for 'no value'", where=self.name)
        if order.kind in (Kind.SPIKE, Kind.STUCK) and not measured:
            raise Problem(f"{self.model.model} measures nothing that could {order.kind}", where=self.name)
        if order.kind is Kind.SPIKE and order.quantity not in ("", *measured):
            known = ", ".join(str(quantity) for quantity in measured)
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

    def values(self, registers: dict[int, int]) -> dict[str, float]:
        """The measured quantities among ``registers``, in their units, as whoever reads them understands them."""
        found = {}
        for register in self.model.measured:
            if register.quantity is not None and register.at in registers and register.type != "u32-high":
                word = registers[register.at]
                if register.type == "u32-low":
                    word += registers.get(register.at + 1, 0) << 16
                found[register.quantity] = register.decode(word)
        return found

    def _word(self, register: Register, faults: dict[Kind, Fault], read: Read) -> int:
        match register.word:
            case "address":
                return self.address
            case "baud-code":
                return self._baud_code
            case "count":
                return self._count % 0x10000
            case int(word):
                return word
        if Kind.MISSING in faults and self.model.missing is not None:
            return self.model.missing
        if (stuck := faults.get(Kind.STUCK)) is not None and register.at in stuck.words:
            return stuck.words[register.at]
        quantity = register.quantity or ""
        value = read(quantity) - self._counted_before.get(register.at, 0.0)
        spike = faults.get(Kind.SPIKE)
        if spike is not None and quantity == (spike.order.quantity or self.model.measured[0].quantity):
            value += spike.order.add
        word = register.encode(value)
        if stuck is not None:
            stuck.words[register.at] = word
        return word

    def _spend(self, response: modbus.Response, faults: dict[Kind, Fault]) -> None:
        """What an intact answer uses up: one count of a counter, one answer of a spike."""
        if any(register.word == "count" and register.at in response.registers for register in self.model.registers):
            self._count += 1
        spike = faults.get(Kind.SPIKE)
        if spike is not None and any(register.at in response.registers for register in self.model.measured):
            spike.answers_left -= 1

    def _cut_power(self, read: Read) -> None:
        for register in self.model.measured:
            if register.counter and register.quantity is not None:
                self._counted_before[register.at] = read(register.quantity)
