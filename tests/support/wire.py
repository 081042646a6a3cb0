"""The link between a node and its broker, in compressed time: it drops, delays and repeats what it carries.

:class:`Wire` is the broker as both sides see it, :class:`WireLink` the node's end with the methods of
:class:`keng_runtime.mqtt.Link`. As in MQTT 5 at QoS 1: what is retained comes at every subscription; what the node has
not acknowledged comes again, for as long as its session lasts; a message may come twice, either way.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

from paho.mqtt.client import topic_matches_sub

#: A message takes so long, in seconds.
DELAY_S = (0.005, 0.3)
#: How often one comes twice.
REPEATED = 0.05
#: From the link's return to a connection.
CONNECT_S = 0.5


@dataclass(eq=False)
class Message:
    """One delivery to the node."""

    topic: str
    payload: bytes
    number: int
    _wire: Wire

    def ack(self) -> None:
        self._wire.acknowledged(self)


class Wire:
    """``published`` is called with (topic, payload) of what reaches the broker from the node, ``delivered`` with what
    the node has acknowledged for the first time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random) -> None:
        self.loop = loop
        self._chance = chance
        self.published: Callable[[str, bytes], None] = lambda topic, payload: None
        self.delivered: Callable[[str, bytes], None] = lambda topic, payload: None
        self.up = True
        self._retained: dict[str, bytes] = {}
        self._filters: set[str] = set()
        self._queue: dict[int, tuple[str, bytes]] = {}  # of the session, without the node's word
        self._acknowledged: set[int] = set()
        self._numbers = 0
        self._away_s: float | None = None
        self._link: WireLink | None = None
        self._busy_until_s = {"in": 0.0, "out": 0.0}

    def later(self, way: str, carry: Callable[..., None], *what: object) -> None:
        """Carry it, ``in`` to the node or ``out`` of it, after all that was sent that way before."""
        arrives_s = max(self.loop.time() + self._chance.uniform(*DELAY_S), self._busy_until_s[way])
        self._busy_until_s[way] = arrives_s
        self.loop.call_at(arrives_s, carry, *what)

    def repeats(self) -> bool:
        return self._chance.random() < REPEATED

    # -- the other side -----------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """To the node."""
        if retain:
            self._retained[topic] = payload
        self._expire()
        if any(topic_matches_sub(f, topic) for f in self._filters):
            self._enqueue(topic, payload)

    def drop(self) -> None:
        """The link is gone."""
        self.up = False
        self._part()

    def restore(self) -> None:
        self.up = True
        self.loop.call_later(CONNECT_S, self._connect)

    # -- the node's side ----------------------------------------------------------------------------------------

    def attach(self, link: WireLink) -> None:
        """A new run of the node."""
        self._part()
        self._link = link
        self.loop.call_later(CONNECT_S, self._connect)

    def leave(self, link: WireLink) -> None:
        if self._link is link:
            self._part()
            self._link = None

    def subscribe(self, filter_: str) -> None:
        self._filters.add(filter_)
        for topic, payload in self._retained.items():
            if topic_matches_sub(filter_, topic):
                self._enqueue(topic, payload)

    def acknowledged(self, message: Message) -> None:
        if self._link is None or not self._link.connected:
            return  # the word is lost with the connection
        if message.number not in self._acknowledged:
            self._acknowledged.add(message.number)
            self.delivered(message.topic, message.payload)
        self._queue.pop(message.number, None)

    def _connect(self) -> None:
        link = self._link
        if link is None or not self.up or link.connected:
            return
        self._expire()
        self._away_s = None
        for number in list(self._queue):
            self._send(number)
        link.connect()

    def _part(self) -> None:
        if self._link is not None and self._link.connected:
            self._away_s = self.loop.time()
            self._link.disconnect()

    def _expire(self) -> None:
        expiry_s = self._link.session_expiry_s if self._link else 300
        if self._away_s is not None and self.loop.time() - self._away_s > expiry_s:
            self._filters.clear()
            self._queue.clear()

    def _enqueue(self, topic: str, payload: bytes) -> None:
        self._numbers += 1
        self._queue[self._numbers] = (topic, payload)
        if self._link is not None and self._link.connected:
            self._send(self._numbers)

    def _send(self, number: int) -> None:
        message = Message(*self._queue[number], number, self)
        for _ in range(2 if self.repeats() else 1):
            self.later("in", self._arrive, self._link, message)

    def _arrive(self, link: WireLink, message: Message) -> None:
        if link is self._link:
            link.take(message)


class WireLink:
    """The node's end. Made as :class:`keng_runtime.mqtt.Link` is."""

    def __init__(self, wire: Wire, _broker: object, *, session_expiry_s: int = 0, **_: Any) -> None:
        self._wire = wire
        self.session_expiry_s = session_expiry_s
        self._connected = False
        self._filters: list[str] = []
        self._granting: dict[str, asyncio.Future[None]] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._inbox: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._sending: dict[asyncio.Future[None], tuple[str, bytes]] = {}

    async def __aenter__(self) -> Self:
        self._wire.attach(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._wire.leave(self)

    @property
    def connected(self) -> bool:
        return self._connected

    def at_every_connect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)
        if self._connected:
            callback()

    def send(self, topic: str, payload: bytes, *, retain: bool = False, **_: Any) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._wire.loop.create_future()
        self._sending[future] = (topic, payload)
        if self._connected:
            self._transmit(future)
        return future

    async def subscribe(self, filter_: str, qos: int = 1) -> None:
        self._filters.append(filter_)
        self._granting[filter_] = granted = self._wire.loop.create_future()
        if self._connected:
            self._grant(filter_)
        await granted

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            while self._inbox:
                yield self._inbox.popleft()
            self._arrived.clear()
            await self._arrived.wait()

    # -- the wire's side ----------------------------------------------------------------------------------------

    def die(self) -> None:
        """The power is cut: nothing more goes out or comes in, whatever its process still does."""
        self._wire.leave(self)
        self._inbox.clear()

    def take(self, message: Message) -> None:
        if self._connected:
            self._inbox.append(message)
            self._arrived.set()

    def connect(self) -> None:
        self._connected = True
        self._inbox.clear()  # what the lost connection left comes anew
        for filter_ in self._filters:
            self._grant(filter_)
        for future in list(self._sending):
            self._transmit(future)
        for callback in self._callbacks:
            callback()

    def disconnect(self) -> None:
        self._connected = False

    def _grant(self, filter_: str) -> None:
        self._wire.subscribe(filter_)
        granted = self._granting.pop(filter_, None)
        if granted is not None and not granted.done():
            granted.set_result(None)

    def _transmit(self, future: asyncio.Future[None]) -> None:
        self._wire.later("out", self._reached, future)

    def _reached(self, future: asyncio.Future[None]) -> None:
        if not self._connected or future not in self._sending:
            return
        self._wire.published(*self._sending[future])
        if self._wire.repeats():  # the broker's word is lost: it goes again
            self._wire.later("out", self._reached, future)
            return
        del self._sending[future]
        if not future.done():
            future.set_result(None)
