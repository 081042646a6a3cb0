"""The orders that a running simulator takes over its control socket: one JSON object a line, one JSON reply a line.

``{"do": "fault", "slave": "river-level", "kind": "silence", "for_s": 5}`` is answered by ``{"ok": true}``, and what
can't be done by ``{"ok": false, "error": "…"}``.

>>> read(b'{"do": "off", "slave": "rain"}')
Off(do='off', slave='rain', kind=None)
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from keng_contracts.errors import Problem
from keng_firmware_sim import faults
from keng_runtime.settings import explain


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Fault(faults.Order):
    """Begin a fault on one slave, see :mod:`keng_firmware_sim.faults`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    do: Literal["fault"] = "fault"
    slave: str

    def fault(self) -> faults.Order:
        return faults.Order.model_validate(self.model_dump(exclude={"do", "slave"}))


class Off(_Strict):
    """End the faults of one slave, or of all; of one kind, or of all."""

    do: Literal["off"] = "off"
    slave: str = ""
    kind: faults.Kind | None = None


class Hold(_Strict):
    """Hold one quantity of the world at a value, without noise, whatever the scenario says."""

    do: Literal["hold"] = "hold"
    quantity: str
    value: float
    for_s: float | None = Field(None, gt=0)


class LetGo(_Strict):
    """Give a held quantity back to the scenario."""

    do: Literal["let-go"] = "let-go"
    quantity: str


class Begin(_Strict):
    """Begin the scenario, where it waits."""

    do: Literal["begin"] = "begin"


class Faults(_Strict):
    """List what is at work: ``faults`` and ``held``."""

    do: Literal["faults"] = "faults"


class State(_Strict):
    """Scenario time, true values, and how many requests each slave has answered."""

    do: Literal["state"] = "state"


Order = Annotated[Fault | Off | Hold | LetGo | Begin | Faults | State, Field(discriminator="do")]

_READER: TypeAdapter[Order] = TypeAdapter(Order)


def read(line: bytes) -> Order:
    """One line as an order; raises :class:`Problem` for anything else."""
    try:
        return _READER.validate_json(line)
    except ValidationError as error:
        raise Problem(f"no order: {explain(error)}") from None
