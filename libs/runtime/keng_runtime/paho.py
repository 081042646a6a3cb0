"""paho's client with two of its costs per message taken off: reading a delivery, and acknowledging it.

paho reads a packet byte by byte with a call of recv() each, and makes an object with properties, locks and a callback
for it; that is most of what a consumer of small messages spends its time on. Here what has arrived is read at once, and
the deliveries in it are taken apart from memory. Every other packet goes paho's way.
"""

from __future__ import annotations

import ssl
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

#: The most that TLS gives in one read is a record of 16 KiB.
_READ_BYTES = 16 << 10
#: Reads before the connection's other duties (writing, keep-alive) have their turn.
_READS_A_TURN = 200
_PUBLISH, _PUBACK = 0x30, 0x40
_QOS_2 = 0x04


class Delivery(NamedTuple):
    """What a PUBLISH packet brings. ``mid`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    retain: bool


def deliveries(data: bytes, at: int = 0) -> tuple[list[Delivery], int]:
    """The PUBLISH packets of QoS 0 and 1 that lie whole in ``data`` from ``at`` on, up to the first that is something
    else or not all there; and where that one begins (MQTT 5, sections 2.1 and 3.3). Properties are skipped.

    >>> deliveries(bytes.fromhex("3207 0001 61 0005 00 76 d000"))
    ([Delivery(topic='a', payload=b'v', mid=5, qos=1, retain=False)], 9)
    """
    found: list[Delivery] = []
    size = len(data)
    try:
        while at < size:
            head = data[at]
            if head & 0xF0 != _PUBLISH or head & _QOS_2:
                break
            length, place = _number(data, at + 1)
            end = place + length
            if end > size:
                break
            named = place + 2 + (data[place] << 8 | data[place + 1])
            topic = str(data[place + 2 : named], "utf-8")
            mid, qos = 0, head >> 1 & 1
            if qos:
                mid = data[named] << 8 | data[named + 1]
                named += 2
            length, named = _number(data, named)
            named += length
            if named > end:  # paho says what is wrong with it
                break
            found.append(Delivery(topic, data[named:end], mid, qos, bool(head & 1)))
            at = end
    except (IndexError, UnicodeDecodeError):  # not all there, or not as it should be
        pass
    return found, at


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer (MQTT 5, section 1.5.5) and where it ends."""
    digit = data[at]
    if digit < 128:
        return digit, at + 1
    number, shift = digit & 127, 7
    while digit >= 128:
        at += 1
        digit = data[at]
        number |= (digit & 127) << shift
        shift += 7
    return number, at + 1


class _Buffered:
    """A socket that reads ahead. paho asks ``pending()`` whether it may read without select()."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._ahead = b""
        self._at = 0

    def deliveries(self) -> list[Delivery] | None:
        """Those that come next; empty: something else comes. None: nothing has come. Raises OSError."""
        if self._at >= len(self._ahead):
            self._ahead, self._at = b"", 0
            try:
                self._ahead = self._sock.recv(_READ_BYTES)
            except ssl.SSLWantReadError:
                return None
        found, self._at = deliveries(self._ahead, self._at)
        return found

    def recv(self, size: int) -> bytes:
        end = self._at + size
        if end <= len(self._ahead):
            found = self._ahead[self._at : end]
            self._at = end
            return found
        found, self._ahead, self._at = self._ahead[self._at :], b"", 0
        if found:
            return found  # paho comes back for the rest
        if size >= _READ_BYTES:
            return bytes(self._sock.recv(size))
        self._ahead = self._sock.recv(_READ_BYTES)
        found, self._at = self._ahead[:size], min(size, len(self._ahead))
        return found

    def pending(self) -> int:
        return len(self._ahead) - self._at + int(self._sock.pending())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Client(paho.Client):
    """:class:`paho.mqtt.client.Client` that gives what TLS brings to ``on_deliveries``, many at once. Without TLS
    ``on_message`` gets each, as with paho; both must be set."""

    on_deliveries: Callable[[list[Delivery]], None]

    def _ssl_wrap_socket(self, tcp_sock: Any) -> Any:
        return _Buffered(super()._ssl_wrap_socket(tcp_sock))

    def loop_read(self, max_packets: int = _READS_A_TURN) -> MQTTErrorCode:
        """Take what has arrived, packet after packet."""
        for _ in range(max(max_packets, _READS_A_TURN)):
            sock = self._sock
            if sock is None:
                return MQTTErrorCode.MQTT_ERR_NO_CONN
            if isinstance(sock, _Buffered) and not self._in_packet["command"]:  # paho is not amid a packet
                try:
                    found = sock.deliveries()
                except OSError:
                    found = []  # paho meets it as well, and knows what to do
                if found is None:
                    break
                if found:
                    self._last_bytes_received = time.monotonic()
                    self.on_deliveries(found)
                    continue
            outcome = self._packet_read()
            if outcome == MQTTErrorCode.MQTT_ERR_AGAIN:
                break
            if outcome > 0:
                return self._loop_rc_handle(outcome)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def ack_many(self, mids: Sequence[int]) -> None:
        """Acknowledge QoS 1 messages by their packet ids, all in one write."""
        if mids:
            packets = b"".join(struct.pack("!BBH", _PUBACK, 2, mid) for mid in mids)
            self._packet_queue(_PUBACK, packets, mids[-1], 1)
