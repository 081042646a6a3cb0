"""paho's client with two of its costs per message taken off: system calls to read a packet, and to acknowledge one.

paho reads a packet in four or more calls of recv() and waits in select() before each; on TLS that is what a consumer
of small messages spends most of its time on. Here what has arrived is read at once and taken apart from memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

#: The most that TLS gives in one read is a record of 16 KiB.
_READ_BYTES = 16 << 10
#: Packets taken before the connection's other duties (writing, keep-alive) have their turn.
_PACKETS_A_TURN = 200
_PUBACK = 0x40


class _Buffered:
    """A socket that reads ahead. paho asks ``pending()`` whether it may read without select()."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._ahead = b""
        self._at = 0

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
    """:class:`paho.mqtt.client.Client` over TLS; nothing else about it is different."""

    def _ssl_wrap_socket(self, tcp_sock: Any) -> Any:
        return _Buffered(super()._ssl_wrap_socket(tcp_sock))

    def loop_read(self, max_packets: int = _PACKETS_A_TURN) -> MQTTErrorCode:
        """Take what has arrived, packet after packet."""
        for _ in range(max(max_packets, _PACKETS_A_TURN)):
            if self._sock is None:
                return MQTTErrorCode.MQTT_ERR_NO_CONN
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
