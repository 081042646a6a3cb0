"""Signed commands on their way to the loudspeakers: numbered, kept until the broker has them, in order.

A command that was signed before a crash goes out after it, the same to the byte; one that has expired does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
import uuid
from base64 import urlsafe_b64decode
from collections import deque

from prometheus_client import Counter

from keng_alerts.gauge.response import Send
from keng_alerts.memory import Memory, Outgoing
from keng_contracts.commands import Command
from keng_contracts.topics import Channel, Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Refused
from keng_runtime.signing import SigningKey

log = logging.getLogger(__name__)

COMMANDS = Counter("keng_alerts_commands_total", "Siren commands published")


class Dispatch:
    """The queue to the broker. ``valid_s``: how long a command may be obeyed."""

    def __init__(self, link: Link, key: SigningKey, memory: Memory, valid_s: float) -> None:
        self._link = link
        self._key = key
        self._memory = memory
        self._valid_s = valid_s
        self._counter = memory.counter()
        self._queue = deque(memory.outgoing())
        self._news = asyncio.Event()
        self._under_way: Outgoing | None = None  # handed to the link: it can't be taken back

    @property
    def idle(self) -> bool:
        """Whether the broker is there and has all that was ordered."""
        return self._link.connected and not self._queue

    def sign(self, commune: str, send: Send) -> Outgoing:
        """One signed command. The counter never falls below the clock, so that even a lost state file goes on above
        what the loudspeakers have seen."""
        now = now_ms()
        self._counter = max(self._counter + 1, now)
        command = Command(
            iss=self._key.issuer,
            commune=commune,
            aud=send.aud,
            jti=str(uuid.uuid4()),
            ctr=self._counter,
            iat=now / 1000,
            nbf=now / 1000,
            exp=now / 1000 + self._valid_s,
            action=send.action,
        )
        kind, _, name = send.aud.partition("/")
        topic = Topic(commune, Kind(kind), name, Channel.COMMAND)
        token = self._key.sign(command.model_dump_json().encode())
        return Outgoing(self._counter, str(topic), token, now + round(self._valid_s * 1000))

    def revoke(self, play: str) -> list[int]:
        """Take the orders to play it, or with ``play`` empty to play anything, out of the queue: a stop must not have
        to wait for the sound that it stops. Returns their counters, for the disk."""
        gone = [c for c in self._queue if c is not self._under_way and _plays(c.payload, play)]
        for command in gone:
            self._queue.remove(command)
        return [command.counter for command in gone]

    def put(self, commands: list[Outgoing]) -> None:
        """Queue what has been made durable."""
        if commands:
            self._queue.extend(commands)
            self._news.set()

    async def run(self) -> None:
        """Publish in order; each is forgotten only when the broker has it or it has expired."""
        while True:
            while not self._queue:
                self._news.clear()
                await self._news.wait()
            await self._link.wait_connected()
            if not self._queue:
                continue  # all of it was revoked
            command = self._under_way = self._queue[0]
            left_s = (command.expires_ms - now_ms()) / 1000
            if left_s > 0:
                try:
                    await self._link.publish(command.topic, command.payload, expiry_s=max(1, int(left_s)))
                    COMMANDS.inc()
                except Refused as error:
                    log.error("%s: the command was not taken: %s; check the broker's acl", command.topic, error)
            else:
                log.error("%s: a command expired before the broker could be reached", command.topic)
            self._queue.popleft()
            self._under_way = None
            with contextlib.suppress(sqlite3.Error):  # it would be sent again after a restart, and refused as a copy
                self._memory.sent([command.counter])


def _plays(token: bytes, play: str) -> bool:
    """Whether a command of ours orders to play this, or, with ``play`` empty, to play at all."""
    body = token.split(b".")[1]
    action = json.loads(urlsafe_b64decode(body + b"=" * (-len(body) % 4)))["action"]
    return bool(action["do"] == "play" and play in ("", action["play"]))
