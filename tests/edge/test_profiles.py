"""Profiles: golden answers of every model, byte for byte, and what holds for any registers."""

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_edge.pipeline.pipeline import Pipeline, Sample
from keng_edge.plan import SHIPPED, load_profile, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.modbus import find_answer
from keng_edge.sources.profiles import Block, Profile, Quantity, Type

GOLDEN = [
    tomllib.loads(file.read_text(encoding="utf-8")) for file in sorted(Path(__file__).parent.glob("golden/*.toml"))
]
MODBUS = sorted(
    file.stem
    for file in SHIPPED.glob("*.toml")
    if tomllib.loads(file.read_text(encoding="utf-8")).get("kind", "modbus") == "modbus"
)
CASES = [(model, case) for model in GOLDEN for case in model["cases"]]


def test_every_shipped_modbus_profile_has_golden_answers() -> None:
    assert {model["profile"] for model in GOLDEN} == set(MODBUS)


@pytest.mark.parametrize(("model", "case"), CASES, ids=[f"{m['profile']}: {c['name']}" for m, c in CASES])
def test_an_answer_becomes_readings(model: dict[str, Any], case: dict[str, Any]) -> None:
    address = case.get("address", model["address"])
    one = {"id": "one", "profile": model["profile"], "address": address, "station": "phu-oc"}
    settings = EdgeSettings(buses=[{"id": "bus", "port": "/dev/x", "slaves": [one]}])
    planned = plan(settings)
    profile = planned.lines[0].slaves[0].profile
    frames = {int(register): bytes.fromhex(answer) for register, answer in case["answers"].items()}
    assert [block.register for block in profile.blocks()] == sorted(frames), "the blocks that are asked for"
    words: dict[int, int] = {}
    for block in profile.blocks():
        pdu = find_answer(frames[block.register], address, profile.function)
        assert pdu is not None, "the frame is whole and its check sum right"
        assert len(pdu.registers) == block.length
        words |= dict(enumerate(pdu.registers, block.register))
    decoded = profile.decode(words)
    readings = Pipeline(planned.channels).readings(Sample("one", 1_763_258_400_250, decoded.values))
    said = {reading.series.split("/")[2]: reading for reading in readings}
    assert {name: reading.value for name, reading in said.items()} == case["readings"]
    assert [name for name, reading in said.items() if reading.flag is Flag.MISSING] == case.get("missing", [])
    assert decoded.faults == case.get("faults", [])


def profile(max_gap: int = 0, **quantities: Quantity) -> Profile:
    return Profile(model="x", function=3, baud=9600, max_gap=max_gap, quantities=quantities)


def quantity(register: int, type: Type = "u16", **more: Any) -> Quantity:
    return Quantity(register=register, type=type, unit="1", **more)


def test_adjacent_registers_are_read_in_one_request() -> None:
    assert profile(a=quantity(7), b=quantity(5, "f32"), c=quantity(9)).blocks() == [Block(5, 3), Block(9, 1)]


def test_a_gap_is_read_along_where_the_profile_allows_it() -> None:
    assert profile(1, a=quantity(7), b=quantity(5, "f32"), c=quantity(9)).blocks() == [Block(5, 5)]


def test_a_block_never_has_more_registers_than_a_request_may_ask_for() -> None:
    many = profile(0, **{f"q{i}": quantity(i) for i in range(300)})
    assert many.blocks() == [Block(0, 125), Block(125, 125), Block(250, 50)]


@pytest.mark.parametrize(
    ("type_", "order", "words", "number"),
    [
        ("i16", "big", [0xFFFE], -2),
        ("u16", "big", [0xFFFE], 65534),
        ("i32", "big", [0xFFFF, 0xFFFE], -2),
        ("u32", "big", [0x0001, 0x0002], 65538),
        ("u32", "little", [0x0002, 0x0001], 65538),
        ("f32", "big", [0x41B4, 0x0000], 22.5),
        ("f32", "little", [0xCCCD, 0x3DCC], 0.1),
    ],
)
def test_number_types(type_: Type, order: str, words: list[int], number: float) -> None:
    one = quantity(10, type_, word_order=order)
    assert one.number(dict(enumerate(words, 10))) == number


def test_a_float_that_is_no_number_is_a_fault_and_its_neighbour_is_kept() -> None:
    decoded = profile(a=quantity(0, "f32"), b=quantity(2)).decode({0: 0x7FC0, 1: 0, 2: 7})
    assert decoded.faults == ["a is not a number"]
    assert decoded.values["b"].number == 7
    assert "a" not in decoded.values


@pytest.mark.parametrize("name", MODBUS)
@given(data=st.data())
def test_whatever_the_registers_hold_decoding_gives_finite_numbers_or_faults(name: str, data: st.DataObject) -> None:
    model = load_profile(name)
    addresses = [block.register + i for block in model.blocks() for i in range(block.length)]
    words = {address: data.draw(st.integers(0, 0xFFFF)) for address in addresses}
    decoded = model.decode(words)
    assert len(decoded.values) + len(decoded.faults) == len(model.quantities)
    assert all(math.isfinite(raw.number) and 0 <= raw.decimals <= 4 for raw in decoded.values.values())


def test_a_profile_of_ones_own_comes_before_the_shipped_one(tmp_path: Path) -> None:
    text = (SHIPPED / "qdy30a.toml").read_text(encoding="utf-8").replace('unit = "m"', 'unit = "m"\nscale = 0.01')
    (tmp_path / "qdy30a.toml").write_text(text, encoding="utf-8")
    assert load_profile("qdy30a", tmp_path).quantities["level"].scale == 0.01
    assert load_profile("xm9505", tmp_path).model.startswith("XM9505")


def test_a_wrong_profile_is_explained(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'model = "x"\nfunction = 5\nbaud = 9600\n[quantities.a]\nregister = 1\nunit = "m"\n'
    )
    with pytest.raises(Problem, match=r"mine\.toml: function: .*3 or 4"):
        load_profile("mine", tmp_path)
    with pytest.raises(Problem, match=r"there is no profile 'qdy30b'; take one of .*qdy30a, "):
        load_profile("qdy30b")
