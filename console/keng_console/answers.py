"""What each request at the desk is answered with: the parts of the console behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from pydantic import TypeAdapter

from keng_console.cap.bulletins import Bulletins, Listed
from keng_console.database import Database
from keng_console.desk import Answer, Caller
from keng_console.speakers.announcement import Announce, Announced, ListBulletins, Silence
from keng_console.speakers.announcer import Announcer
from keng_console.speakers.doors import OPEN_S
from keng_console.speakers.history import Ordered, ordered
from keng_console.speakers.outcome import OUTCOME
from keng_console.speakers.programmer import Programmer
from keng_console.speakers.voice import Session, Voices
from keng_console.talk import ANSWER, TOLD, Approve, List, Publish, Request, Show, Speak, Tell
from keng_console.teller import Teller
from keng_contracts.registry import Registry
from keng_runtime.clock import now_ms

ORDERED = TypeAdapter(Ordered)
LISTED = TypeAdapter(Listed)

Lines = AsyncGenerator[dict[str, Any], None]


def answers(
    teller: Teller,
    database: Database,
    programmer: Programmer,
    voices: Voices,
    announcer: Announcer,
    bulletins: Bulletins,
    registry: Callable[[], Registry | None],
) -> dict[type[Request], Answer]:
    """By the kind of request."""

    async def tell(request: Tell, caller: Caller) -> Lines:
        async with aclosing(teller.tell(request.node, request.action, caller.by, request.wait_s)) as steps:
            async for told in steps:
                yield {"told": TOLD.dump_python(told, mode="json")}

    async def told(request: List, _: Caller) -> Lines:
        orders, refusals = await asyncio.to_thread(database.orders, request.limit, request.node)
        for order in orders:
            yield {"told": TOLD.dump_python(order, mode="json")}
        for refusal in refusals:
            yield {"refusal": ANSWER.dump_python(refusal, mode="json")}

    async def publish(request: Publish, caller: Caller) -> Lines:
        yield {"programme": await programmer.publish(request.plan, caller.by, request.why)}

    async def approve(request: Approve, caller: Caller) -> Lines:
        yield {"programme": await programmer.approve(request.name, caller.by)}

    async def show(_request: Show, _: Caller) -> Lines:
        yield {"programme": programmer.show()}

    async def speak(request: Speak, caller: Caller) -> Lines:
        if request.link:
            yield {"link": voices.doors.open(request, caller.by), "minutes": OPEN_S / 60}
            return
        how = request.model_dump(include={"gong", "night", "seconds"})
        async with aclosing(voices.speak(request.to, caller.by, lambda: caller.more.read(1 << 14), **how)) as steps:
            async for step in steps:
                if isinstance(step, Session):
                    yield {"sent": step.sent}
                else:
                    yield {"outcome": OUTCOME.dump_python(step, mode="json")}

    async def announce(request: Announce, caller: Caller) -> Lines:
        async with aclosing(announcer.announce(request, caller.by)) as lines:
            async for line in lines:
                yield line

    async def silence(request: Silence, caller: Caller) -> Lines:
        async with aclosing(announcer.silence(request, caller.by)) as lines:
            async for line in lines:
                yield line

    async def announced(request: Announced, _: Caller) -> Lines:
        for one in await asyncio.to_thread(ordered, database.engine, registry(), request.limit):
            yield {"ordered": ORDERED.dump_python(one, mode="json")}

    async def recorded(request: ListBulletins, _: Caller) -> Lines:
        for one in await asyncio.to_thread(bulletins.listed, request.limit, now_ms()):
            yield {"bulletin": LISTED.dump_python(one, mode="json")}

    return {
        Tell: tell,
        List: told,
        Publish: publish,
        Approve: approve,
        Show: show,
        Speak: speak,
        Announce: announce,
        Silence: silence,
        Announced: announced,
        ListBulletins: recorded,
    }
