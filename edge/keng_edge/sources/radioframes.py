"""The frame of our LoRa nodes, and the values in it. Pure; docs/wire.md has the tables.

A radio like the Ebyte E22 hands over bytes without saying who sent them, and anybody may send. So the frame carries its
node and a sequence number that only grows, and is signed with a key that only that node and the gateways have::

    4B 47 | version 01 | node u16 | sequence u32 | length u8 | payload | tag 8 | crc u16

Big-endian. ``tag`` is the first 8 bytes of HMAC-SHA256 (RFC 2104) with the node's key over version to payload;
``crc`` is CRC-16/CCITT-FALSE over version to tag. The crc finds frames and damage, the tag refuses what is not of the
node.

>>> frame = build(Frame(17, 65537, bytes.fromhex("691984b0 41 0674")), bytes(16))
>>> Splitter().feed(b"noise" + frame).frames[0].frame
Frame(node=17, sequence=65537, payload=b'i\\x19\\x84\\xb0A\\x06t')
"""

from __future__ import annotations

import hmac
import struct
from binascii import crc_hqx
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from keng_contracts.names import Slug
from keng_edge.pipeline.pipeline import Raw
from keng_edge.sources.profiles import AnyProfile, Decoded, Scaled

SYNC = b"KG"
VERSION = 1
KEY_BYTES = 16
_HEAD = struct.Struct(">BHIB")
_TAG = 8
CRC_BYTES = 2
OVERHEAD = len(SYNC) + _HEAD.size + _TAG + CRC_BYTES
#: An E22 sends at most 240 bytes at once.
MAX_PAYLOAD = 200
#: "No value", in each width: the least number that it can hold, delivered as this one.
MISSING = -(1 << 31)
_WIDTHS = (1, 2, 4)


class Frame(NamedTuple):
    """What a node sent."""

    node: int
    sequence: int
    payload: bytes


class Heard(NamedTuple):
    """A whole frame whose check sum is right, not yet known to be its node's; ``rssi`` in dBm if the radio adds it."""

    frame: Frame
    signed: bytes
    tag: bytes
    rssi: int | None = None

    def is_of(self, key: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(key, self.signed, "sha256")[:_TAG], self.tag)


class Fed(NamedTuple):
    """The whole frames in what was fed, and the nodes that damaged ones name (which may be damaged itself)."""

    frames: list[Heard]
    damaged: list[int]


def build(frame: Frame, key: bytes) -> bytes:
    """A frame as it goes on air."""
    signed = _HEAD.pack(VERSION, frame.node, frame.sequence, len(frame.payload)) + frame.payload
    checked = signed + hmac.digest(key, signed, "sha256")[:_TAG]
    return SYNC + checked + crc_hqx(checked, 0xFFFF).to_bytes(2)


@dataclass(slots=True)
class Splitter:
    """Finds frames in a stream of bytes. With ``rssi`` one more byte follows each: -(256 - byte) dBm."""

    rssi: bool = False
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Fed:
        """Frames that are whole now. At most one unfinished frame is kept."""
        self._rest += data
        fed = Fed([], [])
        while (start := self._rest.find(SYNC)) >= 0:
            del self._rest[:start]
            size = self._size()
            if size is None:  # it says itself that it is none
                del self._rest[:1]
            elif len(self._rest) < size:
                return fed
            else:
                heard = self._heard(bytes(self._rest[:size]))
                if heard is None:
                    fed.damaged.append(int.from_bytes(self._rest[3:5]))
                    del self._rest[:1]  # a true frame may begin inside
                else:
                    fed.frames.append(heard)
                    del self._rest[:size]
        del self._rest[:-1]  # the last byte may be the first of SYNC
        return fed

    def pause(self) -> Fed:
        """The line was silent: what is unfinished will not be finished. A true frame may lie inside it."""
        fed = Fed([], [])
        while self._rest.startswith(SYNC):
            if len(self._rest) >= 5:
                fed.damaged.append(int.from_bytes(self._rest[3:5]))
            del self._rest[:1]
            more = self.feed(b"")
            fed.frames.extend(more.frames)
            fed.damaged.extend(more.damaged)
        self._rest.clear()
        return fed

    def _size(self) -> int | None:
        """Length of the frame that begins here; None if it can't be one."""
        if len(self._rest) > 2 and self._rest[2] != VERSION:
            return None
        length = self._rest[9] if len(self._rest) > 9 else 0
        return OVERHEAD + length + self.rssi if length <= MAX_PAYLOAD else None

    def _heard(self, data: bytes) -> Heard | None:
        rssi = None
        if self.rssi:
            data, rssi = data[:-1], data[-1] - 256
        checked = data[2:-2]
        if crc_hqx(checked, 0xFFFF) != int.from_bytes(data[-2:]):
            return None
        signed, tag = checked[:-_TAG], checked[-_TAG:]
        _, node, sequence, _ = _HEAD.unpack_from(signed)
        return Heard(Frame(node, sequence, signed[_HEAD.size :]), signed, tag, rssi)


class RadioQuantity(Scaled):
    """One number in a payload. ``channel`` None: the gateway adds it (how strong the node was heard)."""

    channel: int | None = Field(None, ge=0, le=63)


class RadioProfile(AnyProfile):
    """One model of our radio nodes: which channel is which quantity."""

    kind: Literal["radio"]
    quantities: Mapping[Slug, RadioQuantity] = Field(min_length=1)

    @model_validator(mode="after")
    def _with_signal(self) -> Self:
        channels = [quantity.channel for quantity in self.quantities.values()]
        if None in channels or len(set(channels)) < len(channels):
            raise ValueError("each quantity needs a channel of its own")
        if {"rssi", "snr"} & set(self.quantities):
            raise ValueError("rssi and snr are added by the gateway")
        signal = {"rssi": RadioQuantity(unit="dBm"), "snr": RadioQuantity(unit="dB")}
        own = {
            name: quantity.model_copy(update={"sentinels": [*quantity.sentinels, MISSING]})
            for name, quantity in self.quantities.items()
        }
        object.__setattr__(self, "quantities", {**own, **signal})
        return self

    def series(self, quantity: str, line: str) -> str:
        """How strong a node is heard differs from one gateway to the next, so each has a series of its own."""
        return f"{quantity}-{line}" if self.quantities[quantity].channel is None else quantity

    def decode(self, payload: bytes) -> Decoded:
        """The numbers in a payload without its time. Whatever the bytes, nothing is raised.

        Each is a byte, channel in the lower six bits and width in the upper two (0, 1, 2: one, two, four bytes),
        and a signed number. A payload that does not come out even is no payload: none of it is taken.
        """
        names = {quantity.channel: name for name, quantity in self.quantities.items() if quantity.channel is not None}
        values: dict[str, Raw] = {}
        faults: list[str] = []
        at = 0
        while at < len(payload):
            channel, width = payload[at] & 0x3F, payload[at] >> 6
            if width >= len(_WIDTHS) or at + 1 + _WIDTHS[width] > len(payload):
                return Decoded({}, [f"its payload of {len(payload)} bytes breaks off at byte {at}"])
            size = _WIDTHS[width]
            number = int.from_bytes(payload[at + 1 : at + 1 + size], signed=True)
            at += 1 + size
            name = names.get(channel)
            raw = Raw(MISSING if number == -(1 << 8 * size - 1) else number)
            if name is None:
                faults.append(f"channel {channel} is not in the profile")
            elif name in values:
                return Decoded({}, [f"its payload has channel {channel} twice"])
            elif fault := self.quantities[name].fault(raw):
                faults.append(f"{name} {fault}")
            else:
                values[name] = raw
        return Decoded(values, faults)


def payload_of(time_s: int, numbers: Mapping[int, int]) -> bytes:
    """The payload that a node makes: its time (0 when it has no clock), and numbers by channel, as short as may be."""
    parts = [time_s.to_bytes(4)]
    for channel, number in numbers.items():
        width = next(i for i, size in enumerate(_WIDTHS) if -(1 << 8 * size - 1) < number < 1 << 8 * size - 1)
        parts.append(bytes((width << 6 | channel,)) + number.to_bytes(_WIDTHS[width], signed=True))
    return b"".join(parts)
