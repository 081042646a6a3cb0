"""Signed commands of the console to loudspeakers, for whoever orders them: CAP, announcements, a live voice.

They are one issuer's, so they have one counter and one way. A command is in the operational database, with its counter,
before it is signed, and what is in it goes out, also after a crash: a loudspeaker that had it refuses the copy. They
are handed to the broker in the order of their counters, for a loudspeaker refuses one below the last that it obeyed;
each is done with when the broker has it or it has expired.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from keng_console.database import DatabaseUnavailable, told
from keng_console.live import Live
from keng_console.models import SpeakerOrder
from keng_console.speakers.orders import Order
from keng_contracts.commands import Action, Command, Prepare
from keng_contracts.errors import Problem
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Refused
from keng_runtime.signing import SigningKey

log = logging.getLogger(__name__)

#: The broker takes a command at once, or the connection to it is going.
HAND_OVER_S = 5.0
#: What is kept in the same transaction as some commands.
Along = Callable[[Session], None]
#: Who ordered it is recorded with at most so many characters.
MOST_BY = 100


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A signed command on its way. ``taken`` is done once the broker has it: with an empty text, else with why not."""

    ctr: int
    jti: str
    topic: str
    token: str
    expires_ms: int
    taken: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Speakers:
    """Made inside the event loop; :meth:`run` hands over what is ordered."""

    def __init__(self, link: Link, key: SigningKey, engine: Engine, live: Live) -> None:
        self._link = link
        self._key = key
        self.engine = engine
        self._live = live
        self._queue = deque(self._unsent())
        self._to_send = asyncio.Event()
        self._one = asyncio.Lock()

    async def order(
        self, to: Sequence[str], action: Action, by: str, valid_s: float, along: Along | None = None
    ) -> list[Sent]:
        """Order it of each audience (``zone/<id>``, ``speaker/<id>``) on behalf of ``by``; they may obey for
        ``valid_s`` seconds. Returns when the broker has it; raises :class:`Problem` if it could not be sent."""
        where = ", ".join(to)
        if not self._link.connected:
            what = "không có kết nối với broker, chưa gửi gì (no connection to the broker, nothing was sent)"
            raise Problem(what, where=where, todo="see the console's log, then order it again")
        try:
            sent = await self.keep([Order(aud, action) for aud in to], by, valid_s, along)
        except DatabaseUnavailable as error:
            what = f"chưa gửi gì (nothing was sent), for it could not be recorded ({error})"
            raise Problem(what, where="operational database", todo="mend that, then order it again") from None
        try:
            async with asyncio.timeout(HAND_OVER_S):
                faults = [await asyncio.shield(one.taken) for one in sent]
        except TimeoutError:
            what = f"the broker did not take the command within {HAND_OVER_S:g} s; it may still do so for {valid_s:g} s"
            raise Problem(what, where=where, todo="look at what was announced before you order it again") from None
        if fault := next(filter(None, faults), ""):
            raise Problem(f"not sent: {fault}", where=where, todo="check the broker's access list")
        return sent

    async def keep(self, orders: Sequence[Order], by: str, valid_s: float, along: Along | None = None) -> list[Sent]:
        """Keep commands, with what ``along`` adds in the same transaction, and let them go out; returns once that is
        committed, the broker there or not. Raises DatabaseUnavailable: then nothing was kept."""
        # A caller that goes away meanwhile must not leave a command kept that goes out after later ones.
        return await asyncio.shield(asyncio.ensure_future(self._keep(orders, by, valid_s, along)))

    async def _keep(self, orders: Sequence[Order], by: str, valid_s: float, along: Along | None) -> list[Sent]:
        async with self._one:
            rows = await asyncio.to_thread(self._write, orders, by, valid_s, along)
            sent = [_sent(row) for row in rows]
            self._queue.extend(sent)
            self._to_send.set()
        return sent

    def _write(self, orders: Sequence[Order], by: str, valid_s: float, along: Along | None) -> list[SpeakerOrder]:
        """The counter never falls below the clock, so that even a lost database goes on above what nodes have seen."""
        now = now_ms()
        with told(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            if along is not None:
                along(session)
            last = max(session.scalar(select(func.max(SpeakerOrder.ctr))) or 0, now - 1)
            rows = [self._sign(order, last + n, by, now, valid_s) for n, order in enumerate(orders, start=1)]
            session.add_all(rows)
        return rows

    def _sign(self, order: Order, ctr: int, by: str, now: int, valid_s: float) -> SpeakerOrder:
        assert self._live.registry is not None  # nobody is reached without one
        commune = self._live.registry.commune.id
        command = Command(
            iss=self._key.issuer,
            commune=commune,
            aud=order.aud,
            jti=str(uuid.uuid4()),
            ctr=ctr,
            iat=now / 1000,
            nbf=now / 1000,
            exp=now / 1000 + valid_s,
            action=order.action,
        )
        kind, _, name = order.aud.partition("/")
        return SpeakerOrder(
            ctr=ctr,
            jti=command.jti,
            topic=str(Topic(commune, Kind(kind), name, Channel.COMMAND)),
            token=self._key.sign(command.model_dump_json().encode()).decode(),
            expires_ms=now + round(valid_s * 1000),
            sent=False,
            ordered_by=by.replace("\0", "")[:MOST_BY],
            play="" if isinstance(order.action, Prepare) else order.action.play,
        )

    def _unsent(self) -> list[Sent]:
        """Commands that the broker does not have yet, in the order of their counters."""
        query = select(SpeakerOrder).where(SpeakerOrder.sent.is_(False)).order_by(SpeakerOrder.ctr)
        with told(), Session(self.engine) as session:
            return [_sent(row) for row in session.scalars(query)]

    async def run(self) -> None:
        """Hand over what is ordered, for ever."""
        while True:
            while not self._queue:
                self._to_send.clear()
                await self._to_send.wait()
            one = self._queue[0]
            fault = await self._hand_over(one)
            self._queue.popleft()
            one.taken.set_result(fault)
            try:
                await asyncio.to_thread(self._done, one.ctr)
            except DatabaseUnavailable as error:  # it goes out again after a restart, and is refused as a copy
                log.warning("what went out can't be noted (%s)", error)

    async def _hand_over(self, one: Sent) -> str:
        """Empty, or why the broker does not have it."""
        left_s = (one.expires_ms - now_ms()) / 1000
        if left_s <= 0:
            log.error("%s: a command expired before the broker could be reached", one.topic)
            return "it expired before the broker could be reached"
        try:
            await self._link.publish(one.topic, one.token.encode(), expiry_s=max(1, int(left_s)))
        except Refused as error:
            log.error("%s: a command was not taken: %s; check the broker's access list", one.topic, error)
            return str(error)
        return ""

    def _done(self, ctr: int) -> None:
        with told(), Session(self.engine) as session, session.begin():
            session.execute(update(SpeakerOrder).where(SpeakerOrder.ctr == ctr).values(sent=True))


def _sent(row: SpeakerOrder) -> Sent:
    return Sent(row.ctr, row.jti, row.topic, row.token, row.expires_ms)
