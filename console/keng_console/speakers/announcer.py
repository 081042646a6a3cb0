"""Sends what people order of loudspeakers, and tells what these answer as their evidence arrives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from keng_console.cap.bulletins import Bulletins
from keng_console.live import Live
from keng_console.speakers import history
from keng_console.speakers.announcement import Announce, Silence, name, play_of
from keng_console.speakers.orders import audiences, reached
from keng_console.speakers.outcome import OUTCOME, Outcome, Stands, outcome
from keng_console.speakers.sender import Along, Sent, Speakers
from keng_contracts.commands import Media, Play, Prepare, Priority, Recorded, Stop
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.quiet import require_hour
from keng_contracts.registry import Registry, Speaker
from keng_runtime.clock import now_ms
from keng_runtime.settings import explain

log = logging.getLogger(__name__)

#: For how long a loudspeaker may obey, in seconds: one that comes back later stays silent. A stop holds longer.
VALID_S, STOP_VALID_S = 60.0, 900.0
#: Fetching a file may take so long before it is ordered without those that have not got it.
PREPARE_S = 180.0
#: So long before the moment loudspeakers that begin together are told of it.
AHEAD_MS = 4000
#: An announcement is watched for so long at most, in seconds.
MOST_S = 4 * 3600.0

Lines = AsyncGenerator[dict[str, Any], None]
_Said = tuple[str, PlaybackEvent]


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be ordered, before it has a moment."""

    name: str
    items: list[Recorded]
    priority: Priority
    to: list[str]
    along: Along | None = None


class Announcer:
    """:meth:`played` is told all evidence that was kept."""

    def __init__(self, speakers: Speakers, live: Live, bulletins: Bulletins) -> None:
        self._speakers = speakers
        self._live = live
        self._bulletins = bulletins
        self._watching: set[asyncio.Queue[_Said]] = set()

    def played(self, node: str, event: PlaybackEvent) -> None:
        for queue in self._watching:
            queue.put_nowait((node, event))

    # -- announcing ---------------------------------------------------------------------------------------------

    async def announce(self, request: Announce, by: str) -> Lines:
        """``{"sent": …}`` once the broker has it, then ``{"outcome": …}`` at each news of a loudspeaker, and
        ``{"note": …}`` of what may concern it; ends when no more is to come of those that are online. Raises
        :class:`Problem` when it could not be sent."""
        registry = self._registry()
        job = await self._job(request, registry)
        play = _play(job, request)
        require_hour(play, by, registry, now_ms())
        meant = reached(job.to, registry)
        if not any(map(self._online, meant)):
            what = "không có loa nào đang kết nối ở đó, chưa gửi gì (no loudspeaker there is online: nothing was sent)"
            raise Problem(what, where=", ".join(job.to), todo="see the page for what keeps them away")
        with self._watch() as said:
            if request.media is not None or request.together:
                async for line in self._prepare(job, meant, said, by):
                    yield line
            if request.together:
                play = play.model_copy(update={"start_ms": now_ms() + AHEAD_MS})
            await self._speakers.order(job.to, play, by, VALID_S, job.along)
            log.info("%s orders %s of %s", by, play.play, ", ".join(job.to))
            if request.bulletin is not None:
                self._live.bulletins = await asyncio.to_thread(self._bulletins.newest)
            outcomes = {s.id: outcome(s.id, (), play, online=self._online(s)) for s in meant}
            yield {"sent": sent(play.play, job.to, meant, self._live)}
            async for line in self._follow(play, outcomes, said, request.wait_s):
                yield line

    async def _job(self, request: Announce, registry: Registry) -> _Job:
        now = now_ms()
        if request.bulletin is None:
            called = name(now, registry.commune.timezone)
            return _Job(called, request.items, request.priority, audiences(request.to, registry))
        found = await asyncio.to_thread(self._bulletins.read, request.bulletin, now)
        to = audiences(request.to or found.zones, registry)
        if strange := [aud for aud in to if not aud.startswith("zone/")]:
            what = "bản tin được phát theo khu vực, để lệnh hủy cũng đến được đó (a bulletin is played in zones)"
            raise Problem(what, where=", ".join(strange), todo="name zones, or leave --to out")
        called = name(now, registry.commune.timezone, found.name)
        zones = [aud.removeprefix("zone/") for aud in to]
        along = partial(self._bulletins.records.keep_played, number=request.bulletin, play=called, zones=zones)
        return _Job(called, found.items, found.priority, to, along)

    async def _prepare(self, job: _Job, meant: list[Speaker], said: asyncio.Queue[_Said], by: str) -> Lines:
        """Have the sounds ready where they can be had; raises :class:`Problem` if that is nowhere."""
        ordered = await self._speakers.order(job.to, Prepare(items=job.items), by, VALID_S)
        yield {"preparing": {"speakers": [s.id for s in meant if self._online(s)]}}
        waits = {s.id for s in meant if self._online(s)}
        ready, why = set(), ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARE_S):
                while waits := set(filter(self._is_online, waits)):
                    try:
                        async with asyncio.timeout(1.0):
                            node, event = await said.get()
                    except TimeoutError:
                        continue
                    if not _answers(event, ordered) or event.what is What.ACCEPTED:
                        continue
                    waits.discard(node)
                    if event.what is What.FINISHED:
                        ready.add(node)
                    else:
                        why = event.reason
                        yield {"note": {"speaker": node, "reason": f"not ready: {event.reason}"}}
        if not ready:
            what = (
                f"không loa nào lấy được âm thanh, chưa phát gì (no loudspeaker could get the sound: {why or 'late'})"
            )
            media = next((item.url for item in job.items if isinstance(item, Media)), job.name)
            raise Problem(what, where=media, todo="check the address, the SHA-256 and the size, then order it again")

    async def _follow(
        self, play: Play, outcomes: dict[str, Outcome], said: asyncio.Queue[_Said], wait_s: float
    ) -> Lines:
        """News until nothing more is to come, or nothing has come for ``wait_s`` while nothing sounds."""
        loop = asyncio.get_running_loop()
        events: dict[str, dict[tuple[str, int], PlaybackEvent]] = defaultdict(dict)
        news_s = began_s = loop.time()
        while waits := [o for o in outcomes.values() if o.open and self._is_online(o.speaker)]:
            try:
                async with asyncio.timeout(1.0):
                    node, event = await said.get()
            except TimeoutError:
                now_s = loop.time()
                sounds = any(o.stands is Stands.SOUNDING and self._plays(o.speaker) == play.play for o in waits)
                if (not sounds and now_s - news_s > wait_s) or now_s - began_s > MOST_S:
                    return
                continue
            if event.play == play.play:
                events[node][event.boot, event.seq] = event
                found = outcome(node, events[node].values(), play)
                if found != outcomes.get(node):
                    outcomes[node], news_s = found, loop.time()
                    yield {"outcome": OUTCOME.dump_python(found, mode="json")}
            elif node in outcomes and event.what is What.REFUSED and not event.play and not event.command:
                yield {"note": {"speaker": node, "reason": f"refused a command that it can't name: {event.reason}"}}

    # -- stopping -----------------------------------------------------------------------------------------------

    async def silence(self, request: Silence, by: str) -> Lines:
        """``{"sent": …}``, then ``{"stopped": …}`` with what each loudspeaker that is online answers."""
        registry = self._registry()
        to = audiences(request.to, registry)
        if not to and request.play:
            to = await asyncio.to_thread(history.places_of, self._speakers.engine, request.play)
        if not to:
            what = "chưa nói dừng ở đâu (it is not said where)"
            raise Problem(what, where=request.play or "stop", todo="name zones or loudspeakers: --to …")
        meant = reached(to, registry)
        with self._watch() as said:
            ordered = await self._speakers.order(to, Stop(play=request.play), by, STOP_VALID_S)
            log.info("%s stops %s in %s", by, request.play or "everything", ", ".join(to))
            yield {"sent": sent(request.play, to, meant, self._live)}
            waits = {s.id for s in meant if self._online(s)}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(request.wait_s):
                    while waits:
                        node, event = await said.get()
                        if not _answers(event, ordered):
                            continue
                        waits.discard(node)
                        done = event.what is What.ACCEPTED
                        yield {"stopped": {"speaker": node, "done": done, "reason": "" if done else event.reason}}

    # -- what is there ------------------------------------------------------------------------------------------

    def _registry(self) -> Registry:
        if self._live.registry is None:
            raise Problem("there is no registry yet", where="console", todo="give it one, then order it again")
        return self._live.registry

    def _online(self, speaker: Speaker) -> bool:
        return self._is_online(speaker.id)

    def _is_online(self, speaker: str) -> bool:
        return self._live.is_online(speaker)

    def _plays(self, speaker: str) -> str:
        """What a loudspeaker says that it plays."""
        heard = self._live.speakers.get(speaker)
        return heard.said.playing if heard is not None else ""

    @contextlib.contextmanager
    def _watch(self) -> Iterator[asyncio.Queue[_Said]]:
        queue: asyncio.Queue[_Said] = asyncio.Queue()
        self._watching.add(queue)
        try:
            yield queue
        finally:
            self._watching.discard(queue)


def _play(job: _Job, request: Announce) -> Play:
    try:
        return play_of(job.name, [*job.items], job.priority, request.manner)
    except ValidationError as error:
        raise Problem(explain(error), where="announcement", todo="make it shorter, or mend that") from None


def _answers(event: PlaybackEvent, sent: list[Sent]) -> bool:
    return any(event.command == one.jti for one in sent)


def sent(play: str, to: list[str], meant: list[Speaker], live: Live) -> dict[str, Any]:
    """What was sent where, for those who asked for it."""
    speakers = [{"id": s.id, "name": s.name, "online": live.is_online(s.id)} for s in meant]
    return {"play": play, "to": to, "speakers": speakers}
