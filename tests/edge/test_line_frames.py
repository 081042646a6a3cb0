"""Lines of text and SDI-12 answers: golden frames of every profile, and what holds for any bytes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.telemetry import Flag
from keng_edge.pipeline.pipeline import Pipeline, Raw, Sample
from keng_edge.plan import SHIPPED, load_profile, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.profiles import Decoded
from keng_edge.sources.sdi12frames import Sdi12Profile, answer, crc, numbers, promise
from keng_edge.sources.textlines import MAX_LINE, Lines, TextProfile, TextQuantity
from tests.support.twin import sdi12_crc

GOLDEN = [tomllib.loads(file.read_text(encoding="utf-8")) for file in Path(__file__).parent.glob("frames/*.toml")]
CASES = [(one["profile"], case) for one in GOLDEN for case in one["cases"]]
KINDS = {
    file.stem: tomllib.loads(file.read_text(encoding="utf-8")).get("kind", "modbus") for file in SHIPPED.glob("*.toml")
}


def profiles(kind: str) -> list[str]:
    return sorted(name for name, own in KINDS.items() if own == kind)


def test_every_shipped_profile_has_golden_frames() -> None:
    assert {one["profile"] for one in GOLDEN} >= {*profiles("text"), *profiles("sdi12")}


def decoded_of(name: str, case: dict[str, Any]) -> Decoded | None:
    profile = load_profile(name)
    if isinstance(profile, TextProfile):
        return profile.decode(case["heard"].encode())
    assert isinstance(profile, Sdi12Profile)
    values: list[Raw] = []
    for said in case["answers"]:
        heard = said.encode() + sdi12_crc(said.encode()) + b"\r\n"
        text = answer(heard, said[0], checked=profile.checked)
        assert text is not None and answer(heard.replace(b".", b"1"), said[0], checked=True) is None
        values += numbers(text) or []
    return profile.decode(values)


SPOKEN = [(name, case) for name, case in CASES if KINDS[name] in ("text", "sdi12")]


@pytest.mark.parametrize(("name", "case"), SPOKEN, ids=[f"{name}: {case['name']}" for name, case in SPOKEN])
def test_a_frame_becomes_readings(name: str, case: dict[str, Any]) -> None:
    decoded = decoded_of(name, case)
    if case.get("other"):
        assert decoded is None
        return
    assert decoded is not None
    one: dict[str, Any] = {"id": "one", "profile": name, "station": "phu-oc"}
    if KINDS[name] == "sdi12":
        one["address"] = "0"
    planned = plan(EdgeSettings(buses=[{"id": "bus", "kind": KINDS[name], "port": "/dev/x", "slaves": [one]}]))
    readings = Pipeline(planned.channels).readings(Sample("one", 1_763_258_400_250, decoded.values))
    said = {reading.series.split("/")[2]: reading for reading in readings}
    assert {quantity: reading.value for quantity, reading in said.items()} == case.get("readings", {})
    assert [quantity for quantity, r in said.items() if r.flag is Flag.MISSING] == case.get("missing", [])
    assert decoded.faults == case.get("faults", [])


def is_sound(profile: TextProfile | Sdi12Profile, decoded: Decoded) -> bool:
    """No value that the sensor could not have measured."""
    return all(profile.quantities[name].fault(raw) == "" for name, raw in decoded.values.items())


@pytest.mark.parametrize("name", profiles("text"))
@given(data=st.data())
def test_any_line_is_sound_values_or_faults_or_another_s(name: str, data: st.DataObject) -> None:
    profile = load_profile(name)
    assert isinstance(profile, TextProfile)
    start = profile.begins.encode()
    line = data.draw(
        st.binary(max_size=80) | st.from_regex(r"[RA-Z0-9,.;=*+-]{0,60}").map(str.encode).map(start.__add__)
    )
    decoded = profile.decode(line)
    assert decoded is None or is_sound(profile, decoded)


@pytest.mark.parametrize("name", profiles("sdi12"))
@given(heard=st.binary(max_size=60) | st.from_regex(r"\A0[+.0-9-]{1,60}\r\n\Z").map(str.encode))
def test_any_answer_is_sound_values_or_faults(name: str, heard: bytes) -> None:
    profile = load_profile(name)
    assert isinstance(profile, Sdi12Profile)
    said = answer(heard, "0")
    decoded = profile.decode((numbers(said) if said else None) or [])
    assert is_sound(profile, decoded)
    assert promise(said or "", concurrent=True) is None or said is not None


@given(st.binary(max_size=75), st.integers(0, 599))
def test_one_wrong_bit_of_an_answer_is_noticed(body: bytes, bit: int) -> None:
    body = bytes(byte & 0x7F for byte in body)
    damaged = bytearray(body)
    if bit // 8 < len(body) and bit % 8 != 7:
        damaged[bit // 8] ^= 1 << bit % 8
        assert crc(bytes(damaged)) != crc(body)
    assert crc(body) == sdi12_crc(body)


@pytest.mark.parametrize("text", ["1e5", "0x10", "nan", "1_000", "١", "1234567890", "--1", "", "1.1234567", "."])
def test_only_plain_decimal_numbers_are_numbers(text: str) -> None:
    profile = TextProfile(kind="text", model="x", form="csv", quantities={"a": TextQuantity(field=0, unit="1")})
    decoded = profile.decode(text.encode())
    assert decoded is not None and decoded.values == {}


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_lines_are_the_same_in_whatever_pieces_they_come(pieces: list[bytes]) -> None:
    whole, torn = Lines(), Lines()
    at_once, _ = whole.feed(b"".join(pieces))
    assert [line for piece in pieces for line in torn.feed(piece)[0]] == at_once
    assert all(len(line) <= MAX_LINE for line in at_once)


def test_a_line_without_end_costs_no_memory_and_is_counted() -> None:
    lines = Lines()
    lines.feed(b"\n")
    assert sum(lines.feed(b"x" * 1000)[1] for _ in range(1000)) == 1
    assert lines.feed(b"tail\nR1234\r\n") == ([b"R1234"], 0)


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        (b"0+1\r\n", "+1"),
        (b"\x000D0!0+1\r\n", "+1"),
        (b"\x7f0D0!\r\n0+1\r\n", "+1"),
        (bytes((0x30, 0x2B, 0xB1, 0x8D, 0x0A)), "+1"),  # even parity passed on as bit 7
        (b"1+1\r\n", None),
        (b"0+1", None),
        (b"0\r\n", ""),
    ],
)
def test_an_answer_is_found_behind_break_echo_and_parity(heard: bytes, said: str | None) -> None:
    assert answer(heard, "0") == said
