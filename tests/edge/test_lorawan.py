"""LoRaWAN: golden payloads of every device, ChirpStack's events, and what holds for any bytes."""

from __future__ import annotations

import json
import math
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_edge.plan import SHIPPED, load_profile, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.chirpstack import Uplinks
from keng_edge.sources.lorawan import BadEvent, LorawanProfile, read_uplink
from keng_edge.sources.payloads import Payload, decode
from keng_edge.sources.source import Sensor
from tests.support.feeds import event

GOLDEN = [
    tomllib.loads(file.read_text(encoding="utf-8"))
    for file in sorted(Path(__file__).parent.glob("golden_lorawan/*.toml"))
]
CASES = [(model, case) for model in GOLDEN for case in model["cases"]]
PROFILES = sorted(file.stem for file in SHIPPED.glob("lora-*.toml"))
EUI = "a84041f15612c0de"
NOON_MS = 1_794_808_800_250


def settings(profile: str) -> EdgeSettings:
    one = {"id": "one", "profile": profile, "address": EUI.upper(), "station": "phu-oc"}
    return EdgeSettings(buses=[{"id": "lora", "kind": "lorawan", "port": "mqtt://localhost", "slaves": [one]}])


def profile_of(name: str) -> LorawanProfile:
    profile = load_profile(name)
    assert isinstance(profile, LorawanProfile)
    return profile


def test_every_shipped_lorawan_profile_has_golden_payloads() -> None:
    assert {model["profile"] for model in GOLDEN} == set(PROFILES)


@pytest.mark.parametrize(("model", "case"), CASES, ids=[f"{m['profile']}: {c['name']}" for m, c in CASES])
def test_an_uplink_becomes_readings(model: dict[str, Any], case: dict[str, Any]) -> None:
    planned = plan(settings(model["profile"]))
    sensor = planned.lines[0].slaves[0]
    uplink = read_uplink(event(EUI, bytes.fromhex(case["data"]), NOON_MS, fPort=case["port"]))
    decoded = sensor.profile.decode(uplink)
    said = {name: planned.channels["one", name].measure(raw)[0] for name, raw in decoded.values.items()}
    assert (said.pop("rssi"), said.pop("snr")) == (-97.0, 7.5)
    assert said == case["readings"]
    assert decoded.faults == case.get("faults", [])


@pytest.mark.parametrize("kind", sorted({profile_of(name).payload for name in PROFILES}))
@given(data=st.binary(max_size=64))
def test_whatever_the_bytes_a_decoder_gives_finite_numbers(kind: Payload, data: bytes) -> None:
    decoded = decode(kind, data)
    assert decoded.values or decoded.faults or kind.startswith(("em500", "wts"))
    assert all(math.isfinite(raw.number) for raw in decoded.values.values())


@pytest.mark.parametrize("name", PROFILES)
@given(data=st.binary(max_size=64), port=st.integers(0, 255), rssi=st.integers(-999, 999))
def test_nothing_out_of_range_passes(name: str, data: bytes, port: int, rssi: int) -> None:
    profile = profile_of(name)
    uplink = read_uplink(event(EUI, data, NOON_MS, fPort=port, rxInfo=[{"rssi": rssi}]))
    for quantity, raw in profile.decode(uplink).values.items():
        told = profile.quantities[quantity]
        value = raw.number * told.scale / 10**raw.decimals + told.offset
        assert (told.low is None or value >= told.low) and (told.high is None or value <= told.high)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_uplink_or_a_bad_event(payload: bytes) -> None:
    with suppress(BadEvent):
        read_uplink(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional={key: JSON for key in ("time", "fPort", "data", "object", "rxInfo")}))
def test_whatever_an_event_of_a_device_says_nothing_is_raised(fields: dict[str, Any]) -> None:
    payload = json.dumps({"deviceInfo": {"devEui": EUI}, **fields}).encode()
    for name in ("lora-ldds75", "lora-cayenne-level"):
        Uplinks([Sensor("one", EUI, 60.0, profile_of(name))]).outcome(payload, NOON_MS)
    by_codec = LorawanProfile(model="x", payload="object", quantities={"a": {"field": "a.b", "unit": "1"}})
    Uplinks([Sensor("one", EUI, 60.0, by_codec)]).outcome(payload, NOON_MS)


def one(profile: LorawanProfile | None = None) -> Uplinks:
    return Uplinks([Sensor("one", EUI, 60.0, profile or profile_of("lora-em500-udl"))])


def test_the_time_is_the_events_and_without_it_that_of_arrival() -> None:
    uplinks = one()
    first = uplinks.outcome(event(EUI, b"\x03\x82\x1e\x00", NOON_MS), NOON_MS + 900)
    assert first is not None and first.sample is not None and first.sample.time_ms == NOON_MS
    second = uplinks.outcome(event(EUI, b"\x03\x82\x1e\x00", NOON_MS + 1, time=None), NOON_MS + 900)
    assert second is not None and second.sample is not None and second.sample.time_ms == NOON_MS + 900


def test_an_uplink_that_comes_twice_is_one_sample() -> None:
    uplinks = one()
    assert uplinks.outcome(event(EUI, b"\x03\x82\x1e\x00", NOON_MS), NOON_MS) is not None
    assert uplinks.outcome(event(EUI, b"\x03\x82\x1e\x00", NOON_MS), NOON_MS + 5) is None


def test_the_best_gateway_counts_and_a_default_may_be_absent() -> None:
    heard = [{"rssi": -118, "snr": -4}, {"rssi": -88}, {"gatewayId": "x"}]
    uplink = read_uplink(event(EUI, b"\x03\x82\x1e\x00", NOON_MS, rxInfo=heard))
    assert (uplink.rssi, uplink.snr) == (-88.0, 0.0)
    bare = read_uplink(b'{"deviceInfo": {"devEui": "%s"}}' % EUI.encode())
    assert (bare.port, bare.data, bare.rssi, bare.time_ms) == (0, b"", None, None)


def test_a_decoded_object_is_read_by_its_fields() -> None:
    quantities = {
        "distance": {"field": "Distance", "unit": "m", "scale": 0.001, "low": 0.28},
        "soil-moisture": {"field": "soil.moisture", "unit": "%"},
    }
    profile = LorawanProfile(model="x", payload="object", quantities=quantities)
    said = {"Distance": "1652 mm", "soil": {"moisture": 34.3}, "Node_type": "LDDS75"}
    outcome = one(profile).outcome(event(EUI, b"", NOON_MS, object=said), NOON_MS)
    assert outcome is not None and outcome.failure is None and outcome.sample is not None
    assert {name: raw.number for name, raw in outcome.sample.values.items()} == {
        "distance": 1652,
        "soil-moisture": 34.3,
    }
    without = one(profile).outcome(event(EUI, b"\1", NOON_MS), NOON_MS)
    assert without is not None and "needs a codec" in str(without.failure)


def test_a_stranger_is_passed_over_and_damage_is_told_of_the_device_in_the_topic() -> None:
    uplinks = one()
    assert uplinks.outcome(event("24e124713b456789", b"\1", NOON_MS), NOON_MS) is None
    assert uplinks.strangers == {"24e124713b456789"}
    outcome = uplinks.outcome(b"\x0a\x10protobuf", NOON_MS, EUI)
    assert outcome is not None and outcome.sample is None and outcome.failure is not None
    assert "not protobuf" in outcome.failure.todo
