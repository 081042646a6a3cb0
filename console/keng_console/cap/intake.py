"""Takes CAP messages that came in: whose they are, what follows, kept, and only then said to the loudspeakers.

Nothing sounds that is not in the database, and what is in it goes out, also after a crash: a loudspeaker that had the
command refuses the copy.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from keng_console.cap import xml
from keng_console.cap.judge import UNPROVEN, Order, Received, Ruling, Verdict, judge
from keng_console.cap.message import Message
from keng_console.cap.records import Outgoing, Records
from keng_console.cap.signature import NotSigned, NotTrusted, Signer, verify
from keng_console.database import DatabaseUnavailable
from keng_console.live import Live
from keng_contracts.commands import Command
from keng_contracts.registry import Registry
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Refused
from keng_runtime.signing import SigningKey

log = logging.getLogger(__name__)

#: For how long a loudspeaker may obey, in seconds: one that comes back later stays silent.
VALID_S = 900.0
#: Messages that are shown, of the proven and of the others: who floods the latter pushes out none of the former.
SHOWN = 10
RETRY_S = 5.0


class NotReady(Exception):
    """Nothing can be judged yet: there is no registry."""


class Bucket:
    """So many at once, and one more every ``every_s`` seconds. Time is an argument.

    >>> bucket = Bucket(2, 3.0)
    >>> [bucket.take(second) for second in (0, 0, 1, 2, 3, 4, 6)]
    [True, True, False, False, True, False, True]
    """

    def __init__(self, most: int, every_s: float) -> None:
        self._most, self._every_s = most, every_s
        self._left, self._at_s = float(most), 0.0

    def take(self, now_s: float) -> bool:
        self._left = min(self._most, self._left + max(0.0, now_s - self._at_s) / self._every_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give(self) -> None:
        """What was taken is given back."""
        self._left = min(self._most, self._left + 1)


class Intake:
    """``changed`` is called when a page should show something new."""

    def __init__(
        self,
        link: Link,
        key: SigningKey,
        records: Records,
        live: Live,
        signers: Sequence[Signer],
        changed: Callable[[], None],
    ) -> None:
        self._link = link
        self._key = key
        self._records = records
        self._live = live
        self._signers = signers
        self._changed = changed
        self._one = asyncio.Lock()
        self._outgoing = deque(records.outgoing())
        self._to_send = asyncio.Event()
        live.bulletins, live.unproven = records.received(SHOWN, proven=True), records.received(SHOWN, proven=False)

    async def take(self, data: bytes, source: str, *, keep_unproven: bool = True) -> Ruling:
        """What became of some bytes from ``source``. One after the other, so that a copy meets its original.

        Raises :class:`NotReady`, and DatabaseUnavailable: then nothing has followed, and it may be offered again.
        """
        registry = self._live.registry
        if registry is None:
            raise NotReady
        async with self._one:
            ruling, received, commands = await asyncio.to_thread(self._take, data, source, registry, keep_unproven)
        if received is not None:
            level = logging.WARNING if ruling.verdict is not Verdict.RECORDED else logging.INFO
            log.log(level, "CAP from %s: %s %s", source, ruling.verdict, received.headline or ruling.detail)
            if received.signer:
                self._live.bulletins = [received, *self._live.bulletins][:SHOWN]
            else:
                self._live.unproven = [received, *self._live.unproven][:SHOWN]
            self._changed()
        if commands:
            self._outgoing.extend(commands)
            self._to_send.set()
        return ruling

    def _take(
        self, data: bytes, source: str, registry: Registry, keep_unproven: bool
    ) -> tuple[Ruling, Received | None, list[Outgoing]]:
        now = now_ms()
        message, signer, ruling = self._rule(data, registry, now)
        if ruling.verdict is Verdict.DUPLICATE or (ruling.verdict in UNPROVEN and not keep_unproven):
            return ruling, None, []
        info = message.info("vi") if message else None
        received = Received(
            received_ms=now,
            source=source,
            signer=signer,
            sender=message.sender if message else "",
            identifier=message.identifier if message else "",
            sent=message.sent if message else "",
            msg_type=message.msg_type.value if message else "",
            verdict=ruling.verdict.value,
            detail=ruling.detail,
            bulletin=ruling.bulletin.value,
            zones=",".join(ruling.zones),
            play=ruling.play,
            headline=" ".join((info.headline or info.event).split())[:300] if info else "",
            document=data[: xml.MAX_BYTES].decode("utf-8", "replace"),
        )

        def sign(counter: int, order: Order) -> Outgoing:
            return self._sign(counter, order, registry, now)

        return ruling, received, self._records.keep_received(received, ruling.orders, sign, now)

    def _rule(self, data: bytes, registry: Registry, now: int) -> tuple[Message | None, str, Ruling]:
        """The message if it can be read, who has proven to have sent it, and what follows."""
        message: Message | None = None
        try:
            root = xml.parse(data)
            try:
                signed, signer = verify(root, self._signers, datetime.fromtimestamp(now / 1000, UTC))
            except (NotSigned, NotTrusted) as error:
                verdict = Verdict.UNSIGNED if isinstance(error, NotSigned) else Verdict.UNTRUSTED
                message = xml.read(root)  # to show it to a person, and for nothing else
                return message, "", Ruling(verdict, str(error))
            message = xml.read(signed)
        except xml.BadCap as error:
            return None, "", Ruling(Verdict.UNREADABLE, str(error))
        if message.sender not in signer.senders:
            return message, "", Ruling(Verdict.UNTRUSTED, f"{signer.name} may not speak for {message.sender[:100]}")
        known = self._records.known([message.reference, *message.references])
        return message, signer.name, judge(message, signer.name, known, registry, now)

    def _sign(self, counter: int, order: Order, registry: Registry, now: int) -> Outgoing:
        commune = registry.commune.id
        command = Command(
            iss=self._key.issuer,
            commune=commune,
            aud=f"zone/{order.zone}",
            jti=str(uuid.uuid4()),
            ctr=counter,
            iat=now / 1000,
            nbf=now / 1000,
            exp=now / 1000 + VALID_S,
            action=order.action,
        )
        topic = str(Topic(commune, Kind.ZONE, order.zone, Channel.COMMAND))
        token = self._key.sign(command.model_dump_json().encode()).decode()
        return Outgoing(counter, topic, token, now + round(VALID_S * 1000))

    async def send_orders(self) -> None:
        """Hand commands to the broker in their order; each is done with when the broker has it or it has expired."""
        while True:
            while not self._outgoing:
                self._to_send.clear()
                await self._to_send.wait()
            order = self._outgoing[0]
            left_s = (order.expires_ms - now_ms()) / 1000
            if left_s > 0:
                try:
                    await self._link.publish(order.topic, order.token.encode(), expiry_s=max(1, int(left_s)))
                except Refused as error:
                    log.error("%s: a bulletin was not taken: %s; check the broker's access list", order.topic, error)
            else:
                log.error("%s: a bulletin expired before the broker could be reached", order.topic)
            self._outgoing.popleft()
            try:
                await asyncio.to_thread(self._records.sent, order.ctr)
            except DatabaseUnavailable as error:  # it goes out again after a restart, and is refused as a copy
                log.warning("what went out can't be noted (%s)", error)
                await asyncio.sleep(RETRY_S)
