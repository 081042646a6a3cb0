"""The one MQTT adapter: MQTT 5 over mutual TLS, with acknowledgement in the consumer's hands.

>>> # async with Link(broker, session_expiry_s=3600) as link:
>>> #     await link.subscribe(pattern(Kind.EDGE, Channel.TELEMETRY))
>>> #     async for message in link.messages():
>>> #         store(message.payload)
>>> #         message.ack()                      # only now may the broker forget it

paho runs its own network thread and reconnects by itself. What it hands over is queued here and taken out by
the event loop; the queue can't grow past ``receive_maximum``, for the broker sends no more unacknowledged messages
than that. An acknowledgement belongs to the connection that delivered the message: with the connection it is void, and
the broker delivers again to a session that it still has.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from keng_contracts.errors import Problem
from keng_runtime.credentials import Credentials
from keng_runtime.guest import Guest
from keng_runtime.paho import Client, Delivery
from keng_runtime.settings import BrokerSettings

log = logging.getLogger(__name__)

RECONNECT_MIN_S, RECONNECT_MAX_S = 1, 15
KEEPALIVE_S = 20
#: Largest payload that the broker takes (its max_packet_size leaves room for topic and properties). Sending more
#: would make it close the connection, and again after every reconnect.
MAX_PAYLOAD_BYTES = 1 << 20
#: As many messages as MQTT has numbers for may wait for the broker's word.
MAX_WAITING = 65_535


class Refused(Exception):
    """The broker refused a message or a subscription (its access list does not allow it to us)."""


@dataclass(slots=True)
class Message:
    """One delivery. :meth:`ack` lets the broker forget it; without it the broker delivers again."""

    topic: str
    payload: bytes
    _mid: int
    _qos: int
    retain: bool
    _epoch: int
    _link: Link

    def ack(self) -> None:
        self._link._acknowledge(self)


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us, retained, when we vanish."""

    topic: str
    payload: bytes


@dataclass(slots=True)
class _Outgoing:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties | None
    future: asyncio.Future[None]


class Link:
    """One connection of one identity, for use inside one event loop.

    ``session_expiry_s`` > 0 keeps subscriptions and undelivered messages at the broker while we are away.
    ``on_connect`` callbacks (:meth:`at_every_connect`) run in the event loop after each connect, for what the broker
    may have forgotten: an owner publishes its retained documents again there.
    """

    def __init__(
        self,
        broker: BrokerSettings | Guest,
        *,
        receive_maximum: int = 1000,
        session_expiry_s: int = 0,
        will: Will | None = None,
    ) -> None:
        guest = broker if isinstance(broker, Guest) else None
        self._credentials = None if isinstance(broker, Guest) else Credentials.open(broker.credentials)
        self._broker = broker
        self._where = f"broker {broker.host}:{broker.port}"
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.identity,
            protocol=paho.MQTTv5,
            manual_ack=True,
        )
        if (tls := guest.context() if guest else self.credentials.tls()) is not None:
            self._client.tls_set_context(tls)
        if guest and guest.username:
            self._client.username_pw_set(guest.username, guest.password)
        self._client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(1000)
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        self._properties.ReceiveMaximum = receive_maximum
        self._properties.SessionExpiryInterval = session_expiry_s
        self._client.on_socket_open = self._on_socket_open
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_deliveries = self._on_deliveries
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe

        self._loop: asyncio.AbstractEventLoop
        self._inbox: deque[Message] = deque()
        self._signals: deque[Callable[[], None]] = deque()  # from paho's thread to the loop
        self._woken = False
        self._hungry = False
        self._arrived = asyncio.Event()
        self._connected = asyncio.Event()
        self._closing = False
        self._epoch = 0
        self._filters: dict[str, int] = {}
        self._held: deque[_Outgoing] = deque()  # sent while the link was down
        self._publishing: dict[int, asyncio.Future[None]] = {}
        self._subscribing: dict[int, str] = {}  # asked for on this connection
        self._granting: dict[str, asyncio.Future[None]] = {}  # waited for by subscribe(), over reconnects
        self._at_connect: list[Callable[[], None]] = []
        self._hearers: dict[str, Callable[[bytes], None]] = {}
        self._last_complaint = ""

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(
            self._broker.host, self._broker.port, keepalive=KEEPALIVE_S, clean_start=False, properties=self._properties
        )
        self._client.loop_start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    @property
    def credentials(self) -> Credentials:
        """Ours; a guest has none."""
        assert self._credentials is not None
        return self._credentials

    @property
    def identity(self) -> str:
        return self._broker.client_id if isinstance(self._broker, Guest) else self.credentials.identity

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        await self._connected.wait()

    def at_every_connect(self, callback: Callable[[], None]) -> None:
        """Call back in the event loop after each connect, and now if connected already."""
        self._at_connect.append(callback)
        if self.connected:
            callback()

    # -- sending ------------------------------------------------------------------------------------------------

    def send(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> asyncio.Future[None]:
        """Hand a message to the connection; the future is done when the broker has it (QoS 1), and fails with
        :class:`Refused`. While the link is down the message waits in memory: bound what you hand over."""
        future: asyncio.Future[None] = self._loop.create_future()
        if len(payload) > MAX_PAYLOAD_BYTES:
            future.set_exception(Refused(f"{len(payload)} bytes for {topic} are more than the broker takes"))
        elif len(self._publishing) + len(self._held) >= MAX_WAITING:
            future.set_exception(Refused(f"too many messages wait for {self._where}"))
        else:
            properties = None
            if expiry_s is not None:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.MessageExpiryInterval = expiry_s
            outgoing = _Outgoing(topic, payload, qos, retain, properties, future)
            if self.connected:
                self._hand_over(outgoing)
            else:  # paho might write it before its CONNECT, and does not keep the order
                self._held.append(outgoing)
        return future

    def _hand_over(self, m: _Outgoing) -> None:
        if m.future.cancelled():
            return
        info = self._client.publish(m.topic, m.payload, m.qos, m.retain, m.properties)
        if info.rc == paho.MQTT_ERR_QUEUE_SIZE:  # the next number is that of a message that still waits
            m.future.set_exception(Refused(f"too many messages wait for {self._where}"))
        elif m.qos == 0:
            m.future.set_result(None)
        else:  # on_publish reaches the loop through _signals, so it can't come before this line
            self._publishing[info.mid] = m.future

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Publish and wait until the broker has it, over reconnects if need be."""
        await self.send(topic, payload, qos=qos, retain=retain, expiry_s=expiry_s)

    # -- receiving ----------------------------------------------------------------------------------------------

    async def subscribe(self, filter_: str, qos: int = 1) -> None:
        """Subscribe now and after every reconnect; returns when the broker has granted it, raises :class:`Refused`."""
        self._filters[filter_] = qos
        self._granting[filter_] = granted = self._loop.create_future()
        if self.connected:  # otherwise, and if the connection is lost before the answer, connecting does it
            self._subscribe(filter_)
        await granted

    async def hear(self, topic: str, hearer: Callable[[bytes], None]) -> None:
        """Subscribe to one topic at QoS 0 whose payloads don't queue with the others: ``hearer`` gets each at once."""
        self._hearers[topic] = hearer
        await self.subscribe(topic, qos=0)

    def unhear(self, topic: str) -> None:
        """End :meth:`hear`."""
        if self._hearers.pop(topic, None) is not None:
            del self._filters[topic]
            self._client.unsubscribe(topic)

    async def batch(self, limit: int, linger_s: float = 0.0) -> list[Message]:
        """At least one message, at most ``limit``; with ``linger_s`` waits that long for more to come."""
        while not self._inbox:
            self._arrived.clear()
            self._hungry = True
            if not self._inbox:  # looked at again, for paho's thread may not have seen that we are hungry
                await self._arrived.wait()
        self._hungry = linger_s > 0
        if linger_s > 0:
            end = self._loop.time() + linger_s
            while len(self._inbox) < limit and (left := end - self._loop.time()) > 0:
                self._arrived.clear()
                try:
                    async with asyncio.timeout(left):  # not wait_for: before Python 3.12 it can lose a cancellation
                        await self._arrived.wait()
                except TimeoutError:
                    break
        inbox = self._inbox
        return [inbox.popleft() for _ in range(min(limit, len(inbox)))]

    async def messages(self) -> AsyncIterator[Message]:
        """Every message as it comes. Acknowledge each when its work is done."""
        while True:
            for message in await self.batch(1):
                yield message

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """:meth:`Message.ack` for many, in one write."""
        self._client.ack_many([m._mid for m in messages if m._qos and m._epoch == self._epoch])

    def _acknowledge(self, message: Message) -> None:
        if message._qos and message._epoch == self._epoch:
            self._client.ack(message._mid, message._qos)

    # -- paho's thread ------------------------------------------------------------------------------------------

    def _signal(self, what: Callable[[], None]) -> None:
        self._signals.append(what)
        self._wake()

    def _wake(self) -> None:
        """One wake-up of the loop for however many messages have come since it last looked."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: we are going down
                self._loop.call_soon_threadsafe(self._drain)

    def _on_socket_open(self, _c: Any, _u: Any, sock: Any) -> None:
        # An order must not wait in Nagle's buffer until the broker's delayed TCP acknowledgement of an earlier packet.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(self, _c: Any, _u: Any, flags: Any, reason: Any, _p: Any) -> None:
        if reason.is_failure:
            self._complain(f"refused the connection ({reason})")
            return
        self._last_complaint = ""
        epoch, again = self._epoch, flags.session_present
        self._signal(lambda: self._connect_done(epoch, again))

    def _on_connect_fail(self, *_: Any) -> None:
        self._complain("can't be reached")

    def _on_disconnect(self, _c: Any, _u: Any, _flags: Any, reason: Any, _p: Any) -> None:
        self._epoch += 1
        self._signal(self._connected.clear)
        if not self._closing:
            self._complain(f"closed the connection ({reason})")

    def _on_message(self, _c: Any, _u: Any, m: paho.MQTTMessage) -> None:
        self._on_deliveries([Delivery(m.topic, bytes(m.payload), m.mid, m.qos, m.retain)])

    def _on_deliveries(self, found: list[Delivery]) -> None:
        epoch = self._epoch
        for delivery in found:
            if self._hearers and (hearer := self._hearers.get(delivery.topic)) is not None:
                self._signal(functools.partial(hearer, delivery.payload))
            else:
                self._inbox.append(Message(*delivery, epoch, self))
        if self._hungry:  # a consumer that is busy looks by itself when it comes back
            self._wake()

    def _on_publish(self, _c: Any, _u: Any, mid: int, reason: Any, _p: Any) -> None:
        failure = reason if reason.is_failure else None
        self._signal(lambda: self._settle(self._publishing.pop(mid, None), failure))

    def _on_subscribe(self, _c: Any, _u: Any, mid: int, reasons: Any, _p: Any) -> None:
        failure = next((r for r in reasons if r.is_failure), None)
        self._signal(lambda: self._subscribed(mid, failure))

    def _complain(self, what: str) -> None:
        if what != self._last_complaint:
            self._last_complaint = what
            trust = "that it knows our name" if isinstance(self._broker, Guest) else "that its certificate is of our CA"
            todo = f"check that it runs and {trust}"
            log.warning("%s", Problem(what, where=self._where, todo=todo, retried=True))

    # -- the event loop -----------------------------------------------------------------------------------------

    def _drain(self) -> None:
        self._woken = False
        while self._signals:
            self._signals.popleft()()
        if self._inbox:
            self._arrived.set()

    def _connect_done(self, epoch: int, delivers_again: bool) -> None:
        log.info("connected to %s as %s", self._where, self.identity)
        if delivers_again:  # what the lost connection left here comes anew, and only the new one can be acknowledged
            while self._inbox and self._inbox[0]._epoch < epoch:
                self._inbox.popleft()
        self._subscribing.clear()
        for filter_ in self._filters:
            self._subscribe(filter_)
        self._connected.set()
        while self._held:
            self._hand_over(self._held.popleft())
        for callback in self._at_connect:
            callback()

    def _subscribe(self, filter_: str) -> None:
        _, mid = self._client.subscribe(filter_, options=SubscribeOptions(qos=self._filters[filter_]))
        if mid is not None:
            self._subscribing[mid] = filter_

    def _subscribed(self, mid: int, failure: Any) -> None:
        filter_ = self._subscribing.pop(mid, None)
        if filter_ is None:
            return
        if failure is not None:
            log.warning("%s refused the subscription to %s (%s)", self._where, filter_, failure)
        self._settle(self._granting.pop(filter_, None), failure)

    def _settle(self, future: asyncio.Future[None] | None, failure: Any) -> None:
        if future is None or future.done():
            return
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(Refused(f"{self._where} refused it ({failure})"))
