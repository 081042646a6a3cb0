"""A person speaks, and loudspeakers say it now: the order to hear, then frames signed by a key of the session's own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from keng_console.live import Live as Known
from keng_console.speakers.orders import audiences, reached
from keng_console.speakers.sender import Speakers
from keng_contracts.commands import Live, Play, Priority
from keng_contracts.errors import Problem
from keng_contracts.topics import Kind, Topic
from keng_runtime.clock import now_ms
from keng_runtime.live_voice import FRAME_BYTES, FRAME_S, Speaking
from keng_runtime.mqtt import Link

log = logging.getLogger(__name__)

#: A loudspeaker that gets the order later than this does not hear any more, in seconds.
VALID_S = 15.0


@dataclass(slots=True)
class Session:
    """One voice. ``play`` names it in all evidence; ``speakers`` are those whom it is meant for."""

    play: str
    speakers: list[str]
    _link: Link
    _topic: str
    _speaking: Speaking
    _most: int
    _rest: bytearray = field(default_factory=bytearray)
    _said: int = 0
    ended: bool = False

    @property
    def seconds(self) -> float:
        """For how long was spoken."""
        return self._said * FRAME_S

    def say(self, sound: bytes) -> None:
        """The next sound, 16-bit mono at 16 kHz in pieces of any size. What can't go out now is not said later, and
        after its time the session ends."""
        self._rest += sound
        while len(self._rest) >= FRAME_BYTES and not self.ended:
            frame = bytes(self._rest[:FRAME_BYTES])
            del self._rest[:FRAME_BYTES]
            self._send(frame)
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
        play = Play(play=name, priority=Priority.LIVE, items=[item], gong=gong, night=night)
        await self._speakers.order(auds, play, by, VALID_S)
        log.info("%s speaks to %s (%s)", by, ", ".join(auds), name)
        session = Session(
            play=name,
            speakers=[speaker.id for speaker in reached(auds, registry)],
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
