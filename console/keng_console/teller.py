"""Sends signed commands to edge nodes and finds their answers in what the nodes say of themselves.

An order is in the database, with its counter, before it is signed: what a crash interrupts is never sent twice, and its
counter never used again. It is valid for :data:`VALID_S`, and the broker keeps none for a node that is away (an agent
has no session there), so nothing is sent to one that is offline.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable

from keng_console.database import Database, DatabaseUnavailable
from keng_console.live import Live
from keng_console.orders import Answer, Stands, Told, answer_in, trial_s
from keng_contracts.edge_commands import EdgeAction, EdgeCommand
from keng_contracts.errors import Problem
from keng_contracts.status import EdgeStatus
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Refused
from keng_runtime.signing import SigningKey

log = logging.getLogger(__name__)

#: For how long a node may obey a command, in seconds.
VALID_S = 60
#: The broker takes a command at once, or the connection to it is going.
HAND_OVER_S = 5.0
#: What a node needs beyond the trial of its settings to tell how that ended, and to come back from a restart.
AFTER_TRIAL_S, RESTART_S = 20.0, 60.0
#: Status documents that wait to be looked at; each node sends one every few seconds, and its last reply in each.
MAX_WAITING = 1000


class Teller:
    """``changed`` is called when a page should show something new."""

    def __init__(
        self, link: Link, key: SigningKey, database: Database, live: Live, changed: Callable[[], None]
    ) -> None:
        self._link = link
        self._key = key
        self._database = database
        self._live = live
        self._changed = changed
        self._said: asyncio.Queue[tuple[str, EdgeStatus, int]] = asyncio.Queue(MAX_WAITING)
        self._seen: dict[str, int] = {}
        self._waiting: dict[str, asyncio.Queue[Told]] = {}
        live.orders = {told.order.node: told for told in database.last_orders()}

    # -- sending ------------------------------------------------------------------------------------------------

    async def tell(self, node: str, action: EdgeAction, by: str, wait_s: float) -> AsyncGenerator[Told, None]:
        """Send a command and yield how it stands: once it is sent, and at each answer, until it is settled or
        ``wait_s`` have passed without a first answer. Raises :class:`Problem` when it can't be sent."""
        boot = self._ready(node)
        answers = self._waiting[node] = asyncio.Queue()
        try:
            told = await self._send(node, action, by, boot)
            yield told
            while told.open:
                try:
                    async with asyncio.timeout(_patience(told, wait_s)):
                        told = await answers.get()
                except TimeoutError:
                    return
                yield told
        finally:
            del self._waiting[node]

    def _ready(self, node: str) -> str:
        """The run of the agent that is there; raises :class:`Problem` when nothing can be told to the node now."""
        if not self._link.connected or self._live.registry is None:
            what = "không có kết nối với broker (no connection to the broker)"
            raise Problem(f"{what}: nothing was sent", where=node, todo="see the console's log, then tell it again")
        heard = self._live.edges.get(node)
        if heard is None:
            known = ", ".join(sorted(self._live.edges)) or "none yet"
            what = "chưa từng có tin (never heard): nothing was sent"
            raise Problem(what, where=node, todo=f"check the name; heard were: {known}")
        if heard.said.state == "offline":
            raise Problem(
                "đang mất liên lạc (offline): nothing was sent, for no command is kept for a node that is away",
                where=node,
                todo="tell it again once the page shows it online",
            )
        if node in self._waiting:
            what = "còn một lệnh chưa xong (another command still waits for its answer): nothing was sent"
            raise Problem(what, where=node, todo="'keng console told' shows it; tell it again after that")
        return heard.said.boot

    async def _send(self, node: str, action: EdgeAction, by: str, boot: str) -> Told:
        assert self._live.registry is not None
        commune, jti, now = self._live.registry.commune.id, str(uuid.uuid4()), now_ms()
        try:
            order = await asyncio.to_thread(self._database.keep_order, jti, node, action, by, now, boot)
        except DatabaseUnavailable as error:
            what = f"nothing was sent, for it could not be recorded ({error})"
            raise Problem(what, where="operational database", todo="mend that, then tell it again") from None
        command = EdgeCommand(
            iss=self._key.issuer,
            commune=commune,
            aud=f"edge/{node}",
            jti=jti,
            ctr=order.ctr,
            iat=now / 1000,
            nbf=now / 1000,
            exp=now / 1000 + VALID_S,
            action=action,
        )
        told = self._live.orders[node] = Told(order)
        self._changed()
        log.info("%s: %s, ordered by %s, command %s", node, action.do, by, jti)
        topic = str(Topic(commune, Kind.EDGE, node, Channel.COMMAND))
        try:
            async with asyncio.timeout(HAND_OVER_S):
                await self._link.publish(topic, self._key.sign(command.model_dump_json().encode()), expiry_s=VALID_S)
        except TimeoutError:
            what = f"the broker did not take the command within {HAND_OVER_S:g} s; it may still do so for {VALID_S} s"
            raise Problem(what, where=node, todo="look with 'keng console told' before you tell it again") from None
        except Refused as error:
            await self._record(Answer(node, jti, now_ms(), now_ms(), False, f"not sent: {error}"))
            raise Problem(f"not sent: {error}", where=topic, todo="check the broker's access list") from None
        return told

    # -- hearing ------------------------------------------------------------------------------------------------

    def heard(self, node: str, status: EdgeStatus) -> None:
        """A node's status, as it comes. One too many is let go: the next repeats its reply."""
        if not self._said.full():
            self._said.put_nowait((node, status, now_ms()))

    async def keep_answers(self) -> None:
        """Record what nodes answer, then tell those who wait; for ever."""
        while True:
            node, status, heard_ms = await self._said.get()
            answer = answer_in(
                node,
                status,
                heard_ms,
                last=self._live.orders.get(node),
                seen_ms=self._seen.get(node),
            )
            if answer is not None and await self._record(answer) and status.reply is not None:
                self._seen[node] = status.reply.at_ms

    async def _record(self, answer: Answer) -> bool:
        """Whether it is in the database; it is shown in either case, and recorded when it is said again."""
        try:
            fresh = await asyncio.to_thread(self._database.keep_answer, answer)
        except DatabaseUnavailable as error:
            log.error("%s: the answer %r is not recorded yet (%s)", answer.node, answer.detail[:80], error)
            self._show(answer)
            return False
        if fresh:
            log.log(logging.INFO if answer.ok else logging.WARNING, "%s answers: %s", answer.node, answer.detail[:200])
            self._show(answer)
        return True

    def _show(self, answer: Answer) -> None:
        told = self._live.orders.get(answer.node)
        if told is not None and told.order.jti == answer.jti:
            told = self._live.orders[answer.node] = told.answered(answer)
            if (waiter := self._waiting.get(answer.node)) is not None:
                waiter.put_nowait(told)
        self._changed()


def _patience(told: Told, wait_s: float) -> float:
    """How long the next answer may take, in seconds."""
    if told.stands is Stands.TRIAL:
        return trial_s(told) + AFTER_TRIAL_S
    return max(wait_s, RESTART_S) if told.stands is Stands.RESTARTING else wait_s
