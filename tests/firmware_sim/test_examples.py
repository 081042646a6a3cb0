"""The examples in the simulator's docstrings are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from keng_firmware_sim import curves, gateway, installation, lorawan, modbus, orders


@pytest.mark.parametrize(
    "module", [curves, gateway, installation, lorawan, modbus, orders], ids=lambda module: module.__name__
)
def test_examples_are_true(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed
