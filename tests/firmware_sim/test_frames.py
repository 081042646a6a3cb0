"""Documented frames, one file each in ``frames/``: request in, response out, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pymodbus.framer import FramerRTU

from keng_firmware_sim.installation import SlaveSpec, models
from keng_firmware_sim.modbus import Framer, crc16
from keng_firmware_sim.slave import Slave

FRAMES = sorted((Path(__file__).parent / "frames").glob("*.json"))


@pytest.mark.parametrize("file", FRAMES, ids=lambda file: file.stem)
def test_a_slave_answers_as_documented(file: Path) -> None:
    case: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    spec = SlaveSpec(address=case["address"], name="sensor", model=case["model"])
    slave = Slave(spec, models()[case["model"]], case["baud"])

    [frame] = Framer(0.01).feed(bytes.fromhex(case["request"]), 0.0)
    answer = slave.answer(frame, 0.0, lambda quantity: case["values"].get(quantity, 0.0))

    assert answer is not None
    assert answer.data.hex(" ").upper() == case["response"]


@pytest.mark.parametrize("file", FRAMES, ids=lambda file: file.stem)
def test_our_crc_is_that_of_another_implementation(file: Path) -> None:
    case = json.loads(file.read_text(encoding="utf-8"))
    for frame in (bytes.fromhex(case["request"]), bytes.fromhex(case["response"])):
        assert crc16(frame[:-2]) == frame[-2:] == FramerRTU.compute_CRC(frame[:-2]).to_bytes(2, "big")


def test_every_model_says_where_its_table_comes_from() -> None:
    for model in models().values():
        assert model.source
        assert len({register.at for register in model.registers}) == len(model.registers)
