"""Deliveries taken from memory are what paho would have made of the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keng_runtime.paho import Delivery, deliveries

_topics = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0+#"), min_size=1, max_size=200)
_found = st.builds(
    Delivery, _topics, st.binary(max_size=20_000), st.integers(1, 65_535), st.integers(0, 1), st.booleans()
).map(lambda d: d if d.qos else d._replace(mid=0))


def packet(delivery: Delivery, expiry_s: int | None = None) -> bytes:
    """A PUBLISH packet, its properties packed by paho."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
        properties.UserProperty = [("a", "b" * 200)]
    topic = delivery.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic
    if delivery.qos:
        body += delivery.mid.to_bytes(2, "big")
    body += bytes(properties.pack()) + delivery.payload  # type: ignore[no-untyped-call]
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)
        length += bytes([digit | (128 if left else 0)])
        if not left:
            return bytes([0x30 | delivery.qos << 1 | delivery.retain]) + length + body


@given(st.lists(st.tuples(_found, st.none() | st.integers(1, 1000)), max_size=5), st.data())
def test_whole_deliveries_are_taken_and_what_is_cut_short_waits(
    sent: list[tuple[Delivery, int | None]], data: st.DataObject
) -> None:
    packets = [packet(delivery, expiry_s) for delivery, expiry_s in sent]
    stream = b"".join(packets)
    cut = data.draw(st.integers(0, len(stream)))
    ends = [sum(map(len, packets[: n + 1])) for n in range(len(packets))]
    whole = sum(end <= cut for end in ends)
    found, at = deliveries(stream[:cut])
    assert found == [delivery for delivery, _ in sent][:whole]
    assert at == (ends[whole - 1] if whole else 0)
    assert deliveries(stream, at) == ([delivery for delivery, _ in sent][whole:], len(stream))


@given(_found, st.sampled_from([b"\xd0\x00", b"\x40\x02\x00\x01", b"\x34\x07\x00\x01a\x00\x05\x00v"]))
def test_what_is_no_delivery_of_qos_0_or_1_is_left_to_paho(delivery: Delivery, other: bytes) -> None:
    first = packet(delivery)
    assert deliveries(first + other + first) == ([delivery], len(first))


@given(st.binary(max_size=100).map(lambda rest: b"\x32" + rest))
def test_any_bytes_are_taken_apart_or_left_and_never_raise(stream: bytes) -> None:
    found, at = deliveries(stream)
    assert 0 <= at <= len(stream)
    assert bool(found) == bool(at)
