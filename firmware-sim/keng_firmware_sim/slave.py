"""One simulated sensor on a line: its registers at this moment, its faults, its answers. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from keng_firmware_sim import modbus
from keng_firmware_sim.faults import Fault, Faulty, Kind, Read
from keng_firmware_sim.installation import Model, Register, SlaveSpec


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


class Slave(Faulty):
    def __init__(self, spec: SlaveSpec, model: Model, baud: int, seed: int = 0) -> None:
        measured = dict.fromkeys(register.quantity for register in model.measured if register.quantity)
        counters = {register.quantity for register in model.measured if register.quantity and register.counter}
        missing = model.missing is not None
        super().__init__(spec.name, model.model, list(measured), counters, missing=missing, seed=seed)
        self.address = spec.address
        self.model = model
        self.baud = baud
        self._baud_code = model.baud_codes.index(baud) if baud in model.baud_codes else 0
        self._count = 0

    def answer(self, frame: bytes, now_s: float, read: Read) -> Answer | None:
        """The answer to an intact request to this slave, or None when it keeps silent."""
        faults = self.faults(now_s)
        if self._is_silent(faults, read):
            return None
        bank = {register.at: self._word(register, faults, read) for register in self.model.registers}
        response = modbus.respond(frame, {self.model.function: bank})
        measured = any(register.at in response.registers for register in self.model.measured)
        applied: list[Kind] = [kind for kind in (Kind.STUCK, Kind.SPIKE, Kind.MISSING) if measured and kind in faults]
        if self._is_damaged(faults):
            applied.append(Kind.CRC)
        else:
            self._spend(response, faults)
        self.answered += 1
        return Answer(response, tuple(applied))

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
        value = read(quantity) - self._counted_before.get(quantity, 0.0) + self._spiked(quantity, faults)
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
