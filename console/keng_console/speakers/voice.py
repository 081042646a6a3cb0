"""A person speaks, and loudspeakers say it now: the order to hear, then frames signed by a key of the session's own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from keng_console.live import Live as Known
from keng_console.speakers.announcer import sent
from keng_console.speakers.doors import Doors
from keng_console.speakers.orders import audiences, reached
from keng_console.speakers.outcome import Outcome, Stands, outcome
from keng_console.speakers.sender import Speakers
from keng_contracts.commands import Live, Play, Priority
from keng_contracts.errors import Problem
from keng_contracts.quiet import require_hour
from keng_contracts.topics import Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.live_voice import FRAME_BYTES, FRAME_S, Speaking
from keng_runtime.mqtt import Link

log = logging.getLogger(__name__)

#: A loudspeaker that gets the order later than this does not hear any more, in seconds.
VALID_S = 15.0
#: From the order until a loudspeaker begins, at most, in seconds.
LOUDSPEAKER_S = 0.8
#: What loudspeakers say is looked for this often, and for so long after the last word.
LOOK_S, AFTER_S = 0.1, 8.0
#: What comes by more than this ahead of the time that it takes to say it has to wait.
AHEAD_S = 0.06


@dataclass(slots=True)
class Session:
    """One voice. ``order`` is what loudspeakers were told, ``sent`` the same for those who asked for it."""

    order: Play
    sent: dict[str, Any]
    _link: Link
    _topic: str
    _speaking: Speaking
    _most: int
    _rest: bytearray = field(default_factory=bytearray)
    _said: int = 0
    _until_s: float = field(default_factory=time.monotonic)
    ended: bool = False

    @property
    def seconds(self) -> float:
        """For how long was spoken."""
        return self._said * FRAME_S

    async def say(self, sound: bytes) -> None:
        """The next sound, 16-bit mono at 16 kHz, in pieces of any size. What comes faster than a mouth speaks waits,
        what can't go out is not said later, and after its time the session ends."""
        self._rest += sound
        while len(self._rest) >= FRAME_BYTES and not self.ended:
            now_s = time.monotonic()
            if self._until_s - now_s > AHEAD_S:  # not a microphone, but a file
                await asyncio.sleep(self._until_s - now_s - AHEAD_S)
            self._until_s = max(self._until_s, now_s) + FRAME_S
            self._send(bytes(self._rest[:FRAME_BYTES]))
            del self._rest[:FRAME_BYTES]
            self._said += 1
            if self._said >= self._most:
                self.end()

    def end(self) -> None:
        """The last word: loudspeakers stop hearing at once."""
        if not self.ended:
            self._send(b"")
            self.ended = True

    def _send(self, sound: bytes) -> None:
        if self._link.connected:
            self._link.send(self._topic, self._speaking.frame(sound), qos=0)


class Voices:
    """Opens sessions."""

    def __init__(self, link: Link, speakers: Speakers, known: Known) -> None:
        self._link = link
        self._speakers = speakers
        self._known = known
        self.doors = Doors()

    @contextlib.asynccontextmanager
    async def open(
        self, to: list[str], by: str, *, gong: bool, night: str | None, seconds: float
    ) -> AsyncIterator[Session]:
        """Order the loudspeakers of some places to hear a voice; it ends with the block. Raises :class:`Problem`."""
        registry = self._known.registry
        if registry is None:
            raise Problem("there is no registry yet", where="console", todo="give it one, then speak again")
        auds = audiences(to, registry)
        speaking = Speaking()
        name = f"loi-noi-{now_ms()}"
        item = Live(session=name, key=speaking.key, seconds=seconds)
        play = Play(
            play=name,
            priority=Priority.LIVE,
            items=[item],
            gong=gong,
            night=night,
            exercise=registry.commune.exercise,
        )
        require_hour(play, by, registry, now_ms())
        await self._speakers.order(auds, play, by, VALID_S)
        log.info("%s speaks to %s (%s)", by, ", ".join(auds), name)
        session = Session(
            order=play,
            sent=sent(play.play, auds, reached(auds, registry), self._known),
            _link=self._link,
            _topic=str(Topic(registry.commune.id, Kind.VOICE, name)),
            _speaking=speaking,
            _most=round(seconds / FRAME_S),
        )
        try:
            yield session
        finally:
            session.end()
            log.info("%s has spoken for %.0f s (%s)", by, session.seconds, name)

    async def speak(
        self,
        to: list[str],
        by: str,
        sound: Callable[[], Awaitable[bytes]],
        *,
        gong: bool,
        night: str | None,
        seconds: float,
    ) -> AsyncGenerator[Session | Outcome, None]:
        """Say what ``sound`` brings until it brings nothing more. Yields the session once it is ordered, then how it
        stands on each loudspeaker until all that are online are done with it. Raises :class:`Problem`."""
        async with self.open(to, by, gong=gong, night=night, seconds=seconds) as session:
            yield session
            heard = _Heard(self._known, session)
            reading: asyncio.Task[bytes] | None = None
            try:
                while not session.ended:
                    reading = reading or asyncio.ensure_future(sound())
                    await asyncio.wait([reading], timeout=LOOK_S)
                    if reading.done():
                        data, reading = reading.result(), None
                        if not data:
                            break
                        await session.say(data)
                    for news in heard.news():
                        yield news
            finally:
                if reading is not None:
                    reading.cancel()
        end_s = time.monotonic() + AFTER_S
        while time.monotonic() < end_s and not heard.done:
            await asyncio.sleep(LOOK_S)
            for news in heard.news():
                yield news


class _Heard:
    """How a session stands on each loudspeaker, as far as that was said."""

    def __init__(self, known: Known, session: Session) -> None:
        self._known = known
        self._order = session.order
        self._outcomes = {
            one["id"]: outcome(one["id"], (), session.order, online=one["online"]) for one in session.sent["speakers"]
        }

    def news(self) -> list[Outcome]:
        """Outcomes that have changed."""
        found = []
        for speaker, before in self._outcomes.items():
            events = [e for e in self._known.playback.get(speaker, []) if e.play == self._order.play]
            now = outcome(speaker, events, self._order, online=before.stands is not Stands.AWAY)
            if now != before:
                self._outcomes[speaker] = now
                found.append(now)
        return found

    @property
    def done(self) -> bool:
        """Whether no more is to come of those that are online."""
        return not any(o.open and self._known.is_online(o.speaker) for o in self._outcomes.values())
