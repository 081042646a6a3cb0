"""The page at which a person speaks live, behind an address of :mod:`doors`. Thin.

===================  ======================================================================
``/voice/<secret>``  the page
``…/sound``          WebSocket: 16-bit mono at 16 kHz comes; what loudspeakers say goes out
===================  ======================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Path, Query, WebSocket
from fastapi.responses import HTMLResponse, Response
from starlette.websockets import WebSocketDisconnect

from keng_console.database import DatabaseUnavailable
from keng_console.pages import Pages
from keng_console.speakers.outcome_words import stands_in
from keng_console.speakers.voice import LOUDSPEAKER_S, Session, Voices
from keng_console.words import choose
from keng_contracts.commands import GONG_S
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry

#: WebSocket close codes (RFC 6455, 7.4.1): what was asked for is not allowed.
NOT_ALLOWED = 1008
Secret = Annotated[str, Path(max_length=64)]


def router(voices: Voices, pages: Pages, registry: Callable[[], Registry | None], public_url: str) -> APIRouter:
    """The addresses above. ``public_url`` is where a reverse proxy serves them, empty if none does."""
    routes = APIRouter()

    @routes.get("/voice/{secret}", response_class=HTMLResponse, include_in_schema=False)
    async def page(secret: Secret, lang: Annotated[str | None, Query(max_length=8)] = None) -> Response:
        door = voices.doors.find(secret)
        known = registry()
        where = [_name(place, known) for place in door.request.to] if door else None
        gong_s = GONG_S + LOUDSPEAKER_S if door and door.request.gong else 0.0
        html = pages.voice(choose(lang), where, gong_s=gong_s, exercise=bool(known and known.commune.exercise))
        headers = {"Cache-Control": "no-store", "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)"}
        return HTMLResponse(html, 200 if door else 404, headers=headers)

    @routes.websocket("/voice/{secret}/sound")
    async def sound(socket: WebSocket, secret: Secret, lang: Annotated[str | None, Query(max_length=8)] = None) -> None:
        language = choose(lang)
        origin = urlsplit(socket.headers.get("origin", "")).netloc
        ours = {socket.headers.get("host"), urlsplit(public_url).netloc} - {"", None}
        door = voices.doors.take(secret) if origin in ours else None
        if door is None:  # another site's page, or used up
            await socket.close(NOT_ALLOWED)
            return
        await socket.accept()
        try:
            how = door.request.model_dump(include={"gong", "night", "seconds"})
            steps = voices.speak(door.request.to, f"{door.by} (link)", lambda: _next(socket), **how)
            async with aclosing(steps) as told:
                async for step in told:
                    if isinstance(step, Session):
                        await socket.send_json({"speakers": step.sent["speakers"]})
                    else:
                        await socket.send_json({"speaker": step.speaker, "said": stands_in(step, language)})
            await socket.close()
        except (Problem, DatabaseUnavailable) as problem:
            await socket.send_json({"problem": str(problem)})
            await socket.close()
        except (WebSocketDisconnect, RuntimeError):
            pass  # the page was closed; its voice has ended with it

    return routes


def _name(place: str, registry: Registry | None) -> str:
    """What people call a zone or a loudspeaker."""
    if registry is None:
        return place
    names = {speaker.id: speaker.name for speaker in registry.speakers} | {
        zone.id: zone.name for zone in registry.zones
    }
    return names.get(place, place)


async def _next(socket: WebSocket) -> bytes:
    """The next sound; nothing once the person has said that it was the last, or is gone."""
    while (message := await socket.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            return b""
        if data := message.get("bytes"):
            return bytes(data)
    return b""
