"""LoRa nodes: frames and payloads, keys, replay, two radios that hear one node, and the two forms of a RAK3172."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Flag
from keng_edge.pipeline.pipeline import Pipeline, Sample
from keng_edge.plan import Plan, load_profile, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.radio import BEHIND, Node, Receiver, Sequences, Verdict
from keng_edge.sources.radioframes import MAX_PAYLOAD, OVERHEAD, Frame, RadioProfile, Splitter, build, payload_of
from keng_edge.sources.rak3172 import Event, Rak3172Bus, event
from keng_edge.sources.serialport import SerialPort
from keng_edge.sources.source import Health, Outcome, Sensor
from tests.support.processes import until
from tests.support.radio import KEY, OTHER_KEY, frame, payload, rak
from tests.support.twin import Twin

NOW_MS = 1_763_258_400_250
NOW_S = NOW_MS // 1000
GOLDEN = tomllib.loads((Path(__file__).parent / "frames/keng-node.toml").read_text(encoding="utf-8"))
NODE = load_profile("keng-node")
assert isinstance(NODE, RadioProfile)


def receiver(memory: Sequences, key: bytes = KEY) -> Receiver:
    assert isinstance(NODE, RadioProfile)
    return Receiver([Node(Sensor("nut-17", 17, 60.0, NODE), key)], memory)


def heard_by(one: Receiver, data: bytes, rssi: int | None = -90, snr: int | None = 5) -> list[Outcome]:
    return [outcome for heard in Splitter().feed(data).frames for outcome in one.take(heard, NOW_MS, rssi, snr)]


@pytest.fixture
def memory(tmp_path: Path) -> Sequences:
    return Sequences(tmp_path / "sequences.json")


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=[case["name"] for case in GOLDEN["cases"]])
def test_a_frame_becomes_readings(case: dict[str, Any], memory: Sequences) -> None:
    (outcome,) = heard_by(receiver(memory), bytes.fromhex(case["heard"]))
    assert (outcome.failure.what if outcome.failure else "") == case.get("fault", "")
    sample = outcome.sample or Sample("nut-17", 0, {})
    assert sample.time_ms == case.get("time_ms", NOW_MS if outcome.sample else 0)
    readings = Pipeline(planned("lora-a", "e22").channels).readings(sample)
    said = {reading.series.split("/")[2]: reading for reading in readings}
    assert {name: reading.value for name, reading in said.items()} == case.get("readings", {})
    assert [name for name, reading in said.items() if reading.flag is Flag.MISSING] == case.get("missing", [])


def planned(*lines: str) -> Plan:
    """Lines by name and kind, each with node 17."""
    buses = [
        {
            "id": id_,
            "kind": kind,
            "port": f"/dev/{id_}",
            "slaves": [
                {"id": f"nut-17-{id_}".replace("nut-17-lora-a", "nut-17"), "profile": "keng-node"}
                | {"address": 17, "station": "phu-oc"}
            ],
        }
        for id_, kind in zip(lines[::2], lines[1::2], strict=True)
    ]
    return plan(EdgeSettings(buses=buses))


def test_our_frames_are_those_of_the_documents() -> None:
    assert build(Frame(17, 65537, payload(1652)), KEY) == frame(17, 65537, payload(1652))
    assert payload_of(NOW_S, {1: 1652}) == payload(1652, time_s=NOW_S)


@given(st.dictionaries(st.integers(0, 63), st.integers(-(2**31) + 1, 2**31 - 1), max_size=30))
def test_what_a_node_puts_in_comes_out(numbers: dict[int, int]) -> None:
    profile = RadioProfile.model_validate(
        {"kind": "radio", "model": "x", "quantities": {f"c{n}": {"channel": n, "unit": "1"} for n in range(64)}}
    )
    decoded = profile.decode(payload_of(0, numbers)[4:])
    assert {int(name[1:]): raw.number for name, raw in decoded.values.items()} == numbers and not decoded.faults


@given(st.binary(max_size=60))
def test_whatever_a_payload_holds_its_values_are_sound(data: bytes) -> None:
    assert isinstance(NODE, RadioProfile)
    decoded = NODE.decode(data)
    assert all(NODE.quantities[name].fault(raw) == "" for name, raw in decoded.values.items())


@given(st.lists(st.binary(max_size=40), max_size=12), st.booleans())
def test_any_bytes_from_a_radio_give_no_reading(pieces: list[bytes], rssi: bool) -> None:
    one = receiver(Sequences(Path("/nonexistent/sequences.json")))
    splitter = Splitter(rssi)
    for piece in pieces:
        for fed in (splitter.feed(piece), splitter.pause() if not piece else splitter.feed(b"")):
            assert all(outcome.sample is None for heard in fed.frames for outcome in one.take(heard, NOW_MS))
        assert len(splitter._rest) <= OVERHEAD + MAX_PAYLOAD + 1


@given(st.binary(max_size=30), st.integers(0, 25), st.integers(0, 7), st.binary(max_size=20))
def test_a_frame_is_found_in_noise_and_one_wrong_bit_is_never_a_reading(
    noise: bytes, at: int, bit: int, more: bytes
) -> None:
    sent = frame(17, 65537, payload(1652))
    splitter = Splitter()
    found = splitter.feed(noise + sent + more).frames + splitter.pause().frames
    assert [heard.frame.payload for heard in found] == [payload(1652)]
    damaged = bytearray(sent)
    damaged[at] ^= 1 << bit
    one = receiver(Sequences(Path("/nonexistent/sequences.json")))
    splitter = Splitter()
    assert all(
        outcome.sample is None
        for fed in (splitter.feed(bytes(damaged)), splitter.pause())
        for heard in fed.frames
        for outcome in one.take(heard, NOW_MS)
    )


def test_an_rssi_byte_behind_each_frame_is_taken_off() -> None:
    splitter = Splitter(rssi=True)
    fed = [
        splitter.feed(bytes([byte])) for byte in frame(17, 1, payload(1)) + b"\xa6" + frame(17, 2, payload(2)) + b"\xa5"
    ]
    assert [(heard.frame.sequence, heard.rssi) for one in fed for heard in one.frames] == [(1, -90), (2, -91)]


def test_a_neighbour_s_frame_is_refused(memory: Sequences) -> None:
    (outcome,) = heard_by(receiver(memory), frame(17, 65537, payload(9999), OTHER_KEY))
    assert outcome.sample is None and "not signed with its key" in str(outcome.failure)
    (outcome,) = heard_by(receiver(memory), frame(17, 65537, payload(1652)))
    assert outcome.sample is not None, "and it did not use the number up"
    assert heard_by(receiver(memory), frame(99, 1, payload(1))) == [], "another's node is not our affair"


def test_a_frame_that_is_sent_again_is_no_second_reading_and_later_refused(memory: Sequences) -> None:
    one = receiver(memory)
    first = frame(17, 65537, payload(1652))
    assert heard_by(one, first)[0].sample
    assert heard_by(one, first) == [Outcome("nut-17", None, None)]
    heard_by(one, frame(17, 65537 + BEHIND, payload(1653)))
    assert "from long ago" in str(heard_by(one, first)[0].failure)


def test_a_replay_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    memory = Sequences(tmp_path / "s.json")
    heard_by(receiver(memory), frame(17, 65537 + BEHIND, payload(1652)))
    memory.save(at_once=True)
    assert heard_by(receiver(Sequences(tmp_path / "s.json")), frame(17, 65537, payload(1)))[0].sample is None
    other = receiver(Sequences(tmp_path / "s.json"), OTHER_KEY)
    assert heard_by(other, frame(17, 1, payload(1), OTHER_KEY))[0].sample, "a new key begins a new count"


@given(st.lists(st.integers(0, 200), max_size=60))
def test_no_sequence_is_new_twice(sequences: list[int]) -> None:
    memory = Sequences(Path("/nonexistent/sequences.json"))
    new = [sequence for sequence in sequences if memory.judge("17", sequence) is Verdict.NEW]
    assert len(set(new)) == len(new) and new == sorted(new)


def test_a_memory_that_can_not_be_read_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"17": []}')
    assert Sequences(tmp_path / "s.json").judge("17", 1) is Verdict.NEW


def test_two_radios_hear_one_node_as_one_reading_with_the_signal_of_each(memory: Sequences) -> None:
    """On one agent by its memory, on two agents by the node's time."""
    sent = frame(17, 65537, payload(1652, time_s=NOW_S))
    a, b = receiver(memory), receiver(memory)
    (first,), (second,) = heard_by(a, sent, -90), heard_by(b, sent, -101)
    both = planned("lora-a", "e22", "lora-b", "rak3172")
    pipeline = Pipeline(both.channels)
    assert first.sample and second.sample
    readings = pipeline.readings(first.sample)
    readings += pipeline.readings(second.sample._replace(source="nut-17-lora-b"))
    assert [(reading.series.split("/")[2], reading.value) for reading in readings] == [
        ("level", 1.652),
        ("rssi-lora-a", -90),
        ("snr-lora-a", 5),
        ("rssi-lora-b", -101),
        ("snr-lora-b", 5),
    ]
    far = Pipeline(planned("lora-a", "e22").channels)
    (third,) = heard_by(receiver(Sequences(Path("/nonexistent/x"))), sent)
    assert third.sample and far.readings(third.sample)[0] == readings[0], "the same row in the store"


def test_one_node_on_two_lines_must_be_the_same_model() -> None:
    slave = {"profile": "keng-node", "station": "phu-oc"}
    buses = [
        {"id": id_, "kind": "e22", "port": f"/dev/{id_}", "slaves": [slave | {"id": f"s-{id_}", "address": node}]}
        for id_, node in (("a", 17), ("b", 18))
    ]
    with pytest.raises(Problem, match="quang-tho/phu-oc/level is already the series of s-a"):
        plan(EdgeSettings(buses=buses))


def test_a_missing_or_wrong_key_is_said_with_what_to_do(tmp_path: Path) -> None:
    from keng_edge.agent import sources_of

    settings = planned("lora-a", "e22").lines[0].edge.model_copy(deep=True)
    settings.broker.credentials = tmp_path
    with pytest.raises(Problem, match=r"radio/17.key: the key of this radio node is not here; make it with 'keng prov"):
        sources_of(plan(settings), Health(["nut-17"]))
    (tmp_path / "radio").mkdir()
    (tmp_path / "radio/17.key").write_text("00")
    with pytest.raises(Problem, match="is no key: 32 hexadecimal digits are"):
        sources_of(plan(settings), Health(["nut-17"]))


@given(st.text(max_size=80), st.none() | st.just(Event(-1, 2, b"")))
def test_any_line_of_a_radio_is_an_event_or_none(line: str, before: Event | None) -> None:
    assert event(line, before) is None or line.startswith("+EVT:")


async def test_a_radio_that_was_reset_is_armed_again(tmp_path: Path, memory: Sequences) -> None:
    commands: list[str] = []
    assert isinstance(NODE, RadioProfile)
    health = Health(["nut-17"])
    with Twin(tmp_path / "rak", hear=rak(commands.append, mode="1")) as twin:
        port = SerialPort(str(twin.port), 115200)
        bus = Rak3172Bus(port, [Sensor("nut-17", 17, 60.0, NODE)], health, receiver(memory), memory)
        bus.p2p = "923200000:9:125:0:8:14"
        samples: list[Sample] = []
        task = asyncio.create_task(bus.run(samples.append))
        armed = "AT+PRECV=65534"
        await until(lambda: armed in commands)
        assert commands == ["AT+NWM=?", "AT+NWM=0", "AT+PRECV=0", "AT+P2P=923200000:9:125:0:8:14", armed]
        await until(lambda: twin.say(b"RAKwireless RAK3172-E\r\n") or commands.count(armed) == 2)
        sent = iter(range(1, 1000))
        await until(
            lambda: twin.say(f"+EVT:RXP2P:-28:5:{frame(17, next(sent), payload(1652)).hex()}\r\n".encode()) or samples
        )
        task.cancel()
        await asyncio.wait([task])
    assert samples[0].values["level"].number == 1652 and samples[0].values["rssi"].number == -28
