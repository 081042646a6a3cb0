"""Telemetry packs: the same after the way, and whatever the bytes, a pack or BadPack."""

from __future__ import annotations

import doctest
import json
import math
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keng_contracts import telemetry
from keng_contracts.telemetry import (
    EARLIEST_MS,
    LATEST_MS,
    MAX_PACK_BYTES,
    MAX_RECORDS,
    BadPack,
    Clock,
    Flag,
    Pack,
    Reading,
    decode,
    encode,
    is_series,
)

BOOT = "6f1c2a90d3e4b7a1"
NOW = 1_763_258_400
names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,12}", fullmatch=True)
times = st.integers(EARLIEST_MS, LATEST_MS - 1)


@st.composite
def packs(draw: st.DrawFn) -> Pack:
    commune = draw(names)
    reading = st.builds(
        Reading,
        st.builds(lambda station, quantity: f"{commune}/{station}/{quantity}", names, names),
        times,
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["m", "mm", "Cel", "%RH", "ug/m3", ""]),
        st.sampled_from(Flag),
    )
    return Pack(
        draw(st.from_regex(r"[0-9a-f]{8,32}", fullmatch=True)),
        draw(st.integers(0, (1 << 53) - 1)),
        draw(st.sampled_from(Clock)),
        draw(times),
        tuple(draw(st.lists(reading, min_size=1, max_size=8))),
    )


def record(**fields: Any) -> dict[str, Any]:
    head = {"bn": "quang-tho/", "bt": NOW, "boot": BOOT, "seq": 17, "n": "phu-oc/level", "u": "m", "v": 1.65}
    return {key: value for key, value in {**head, **fields}.items() if value is not ...}


def decoded(*records: Any) -> Pack:
    return decode(json.dumps(records).encode())


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(telemetry).failed == 0


@given(packs())
def test_decoding_is_the_inverse_of_encoding(pack: Pack) -> None:
    assert decode(encode(pack)) == pack


@given(st.binary(max_size=300))
@example(b"\xff")
@example(b"[" * 100_000)
@example(b'[{"boot":"6f1c2a90d3e4b7a1","seq":1,"clock":[1' + b"0" * 4290 + b"]}]")
def test_any_bytes_are_a_bad_pack(payload: bytes) -> None:
    with pytest.raises(BadPack):
        decode(payload)


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**310),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["quang-tho/", "phu-oc/level", "+", "#", 1e999, -1e999, 1e308]),
    st.lists(st.just(1), max_size=1),
    st.dictionaries(st.just("v"), st.just(1)),
)
labels = st.sampled_from(["bn", "bt", "bu", "bv", "boot", "seq", "clock", "made", "n", "u", "v", "vs", "t", "q", "x_"])


@given(packs(), st.data())
def test_a_pack_in_which_anything_was_changed_is_read_or_is_a_bad_pack(pack: Pack, data: st.DataObject) -> None:
    """Each record is either a reading or rejected with its reason, and none disappears."""
    records = json.loads(encode(pack))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(records) - 1))
        if data.draw(st.integers(0, 9)) == 0 or not isinstance(records[place], dict):
            records[place] = deepcopy(data.draw(odd))
        else:
            records[place][data.draw(labels)] = deepcopy(data.draw(odd))
    try:
        read = decode(json.dumps(records).encode())
    except BadPack as bad:
        assert bad.reason
        return
    assert len(read.readings) + len(read.rejected) == len(records)
    for reading in read.readings:
        assert is_series(reading.series)
        assert EARLIEST_MS <= reading.time_ms < LATEST_MS
        assert math.isfinite(reading.value)
    assert all(rejected.reason for rejected in read.rejected)


@given(packs(), st.data())
def test_a_pack_of_which_bytes_were_changed_or_lost_is_read_or_is_a_bad_pack(pack: Pack, data: st.DataObject) -> None:
    payload = bytearray(encode(pack))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(payload) - 1))
        payload[place] = data.draw(st.integers(0, 255))
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    for damaged in (bytes(payload), cut):
        try:
            decode(damaged)
        except BadPack as bad:
            assert bad.reason


def test_a_bad_record_leaves_its_neighbours_alone() -> None:
    pack = decoded(record(), {"n": "phu-oc/rain", "v": "wet"}, {"n": "phu-oc/rain", "u": "mm", "v": 53.6, "t": 0.8})
    assert [reading.value for reading in pack.readings] == [1.65, 53.6]
    assert [(rejected.record, rejected.reason) for rejected in pack.rejected] == [(1, "v is not a number")]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"v": ...}, "v is not a number"),
        ({"v": True}, "v is not a number"),
        ({"v": 1 << 53}, "v is not a number"),
        ({"v": 1e999}, "v is not"),
        ({"n": 7}, "n is not text"),
        ({"n": "level"}, "is not a series"),
        ({"n": "phu-oc/level/x"}, "is not a series"),
        ({"n": "+/level"}, "is not a series"),
        ({"n": "Phú Ốc/level"}, "is not a series"),
        ({"bn": 7}, "bn has the wrong type"),
        ({"bt": True}, "bt has the wrong type"),
        ({"bt": "now"}, "bt has the wrong type"),
        ({"t": "now"}, "t is not a number"),
        ({"bt": 0}, "the time 0 s is impossible"),
        ({"bt": ...}, "the time 0 s is impossible"),
        ({"t": -10 * NOW}, "is impossible"),
        ({"bt": 10**400}, "the time is impossible"),
        ({"bt": 10**400, "t": 0.5}, "the time is impossible"),
        ({"t": 10**400}, "the time is impossible"),
        ({"bt": LATEST_MS / 1000}, "is impossible"),
        ({"u": 7}, "u is not a unit"),
        ({"u": "m" * 17}, "u is not a unit"),
        ({"q": 5}, "q 5 is not a quality flag"),
        ({"q": []}, "q [] is not a quality flag"),
        ({"must_": 1}, "a label that must be understood is unknown"),
    ],
)
def test_a_record_that_makes_no_sense_is_rejected_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    text = json.dumps([record(**fields), record(boot=..., seq=..., bt=NOW, bn="quang-tho/")])
    pack = decode(text.replace("Infinity", "1e999").encode())
    assert [rejected.record for rejected in pack.rejected] == [0]
    assert reason in pack.rejected[0].reason
    assert len(pack.readings) == 1


@pytest.mark.parametrize(
    ("payload", "reason", "boot", "seq"),
    [
        (b"", "not JSON", None, None),
        (b"\xff\xfe", "not JSON", None, None),
        (b"[{}", "not JSON", None, None),
        (b'[{"v": NaN}]', "not JSON", None, None),
        (b"{}", "a list of records is expected", None, None),
        (b"[]", "a list of records is expected", None, None),
        (b"[7]", "a list of records is expected", None, None),
        (json.dumps([record(boot=...)]).encode(), "no boot id", None, None),
        (json.dumps([record(boot="xyz")]).encode(), "no boot id", None, None),
        (json.dumps([record(boot=BOOT + "\n")]).encode(), "no boot id", None, None),
        (json.dumps([record(seq=-1)]).encode(), "no sequence number", BOOT, None),
        (json.dumps([record(seq=1 << 53)]).encode(), "no sequence number", BOOT, None),
        (json.dumps([record(seq=1.0)]).encode(), "no sequence number", BOOT, None),
        (json.dumps([record(seq=True)]).encode(), "no sequence number", BOOT, None),
        (json.dumps([record(clock="sundial")]).encode(), "clock state 'sundial' is unknown", BOOT, 17),
        (json.dumps([record(), *([{}] * MAX_RECORDS)]).encode(), "more than 10000 records", BOOT, 17),
        (b" " * (MAX_PACK_BYTES + 1), "larger than", None, None),
    ],
)
def test_a_pack_that_can_not_be_read_says_why_and_who_sent_it_if_that_can_be_told(
    payload: bytes, reason: str, boot: str | None, seq: int | None
) -> None:
    with pytest.raises(BadPack) as bad:
        decode(payload)
    assert reason in bad.value.reason
    assert (bad.value.boot, bad.value.seq) == (boot, seq)


def test_base_values_hold_for_the_records_after_them() -> None:
    """RFC 8428, section 4.6."""
    pack = decoded(
        record(bu="m", u=...),
        {"n": "phu-oc/rain", "u": "mm", "v": 1, "t": 1},
        {"bn": "quang-tho/phuoc-yen/", "bt": NOW + 60, "n": "level", "v": 2},
        {"n": "level", "v": 3, "t": -0.25},
    )
    assert [(r.series, r.time_ms - NOW * 1000, r.value, r.unit) for r in pack.readings] == [
        ("quang-tho/phu-oc/level", 0, 1.65, "m"),
        ("quang-tho/phu-oc/rain", 1000, 1.0, "mm"),
        ("quang-tho/phuoc-yen/level", 60_000, 2.0, "m"),
        ("quang-tho/phuoc-yen/level", 59_750, 3.0, "m"),
    ]


#: Right and wrong values of every label, so that most records are nearly right.
odd_records = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.sampled_from(["phu-oc/level", "phu-oc/rain", "phu oc", "", None, ["level"], {}]),
            "v": st.sampled_from([1.65, -0.0, 2, True, "1", None, 1 << 60]),
            "u": st.sampled_from(["m", "", "m" * 17, 1, None, ["m"]]),
            "t": st.sampled_from([0.25, 1, -1.5e9, 1e300, 10**400, True, "0", None, [0]]),
            "q": st.sampled_from([1, 7, None]),
            "bn": st.sampled_from(["quang-tho/", "phong-dien/", "", 1]),
            "bt": st.sampled_from([NOW, NOW + 0.5, 0.0, 1e300, 10**400, None]),
        },
    ),
)


@given(st.lists(odd_records, max_size=6))
def test_a_label_that_means_nothing_changes_nothing(records: list[Any]) -> None:
    """Records with the common labels only are read in another way than those with more."""
    plain = decoded(record(), *records)
    noted = decoded(record(), *(None if entry is None else {**entry, "note": "x"} for entry in records))
    assert plain.readings == noted.readings
    assert plain.rejected == noted.rejected


def test_a_time_keeps_its_millisecond() -> None:
    for time_ms in (EARLIEST_MS, 1_763_258_400_001, 1_763_258_400_999, LATEST_MS - 1):
        one = Reading("quang-tho/phu-oc/level", time_ms, 1.0, "m")
        other = one._replace(time_ms=EARLIEST_MS + 7)
        assert decode(encode(Pack(BOOT, 1, Clock.SYNCED, time_ms, (other, one)))).readings == (other, one)


def test_what_is_not_said_is_not_known() -> None:
    pack = decoded(record(made=...))
    assert (pack.clock, pack.readings[0].flag, pack.made_ms) == (Clock.UNKNOWN, Flag.NOT_EVALUATED, NOW * 1000)
    assert decoded(record(made="x")).made_ms == 0
    assert decoded(record(made=10**400)).made_ms == 0


def test_what_can_not_be_a_pack_is_not_written() -> None:
    def pack(*readings: Reading) -> Pack:
        return Pack(BOOT, 1, Clock.SYNCED, NOW * 1000, readings)

    level = Reading("quang-tho/phu-oc/level", NOW * 1000, 1.65, "m")
    with pytest.raises(ValueError, match="at least one reading"):
        encode(pack())
    with pytest.raises(ValueError, match="not a series of quang-tho"):
        encode(pack(level, level._replace(series="phong-dien/an-lo/level")))
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON compliant"):
            encode(pack(level._replace(value=value)))
