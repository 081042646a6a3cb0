"""The kinds of line: which module reads them, and how an address on them is written.

A kind is one module with ``PROFILE`` (the model of its profiles' files) and ``source(line, health)``, and one row in
:data:`KINDS`. The module is imported when a line of its kind is there, and not before: memory is short on a Pi.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

Address = int | str | None
#: A device, or one behind a serial device server.
SERIAL = r"/.+|socket://[^/:]+:\d+"


class Kind(NamedTuple):
    """``address`` returns it as the source wants it, or raises :class:`ValueError` with what it may be."""

    module: str
    address: Callable[[Address], Address]
    title: str
    port: str = SERIAL  # pattern of the setting 'port'

    def load(self) -> ModuleType:
        return import_module(self.module)


def _modbus(address: Address) -> Address:
    if not isinstance(address, int) or not 1 <= address <= 247:
        raise ValueError("address: a Modbus address is a number from 1 to 247")
    return address


KINDS: Mapping[str, Kind] = {
    "modbus": Kind("keng_edge.modbus", _modbus, "Modbus RTU"),
}


def is_port(kind: str, port: str) -> bool:
    return re.fullmatch(KINDS[kind].port, port) is not None
