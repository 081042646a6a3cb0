"""The pages over HTTP: thin. What they say comes from the overview, how they look from the templates.

=================  =========================================================================
``/``              the overview page; ``?lang=vi`` or ``?lang=en``
``/events``        server-sent events: sections that changed since a revision
``/api/overview``  the same as JSON
``/api/playback``  what the loudspeakers really did: their newest evidence
``/healthz``       whether broker, store and database are there; 200 or 503
``/static/…``      style sheet, script, icon
=================  =========================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keng_console.board import Board, Update
from keng_console.database import DatabaseUnavailable
from keng_console.pages import Pages
from keng_console.views import Overview
from keng_console.words import choose
from keng_contracts.playback import PlaybackEvent

STATIC = Path(__file__).parent / "static"
#: A sign of life on an idle event stream; static/console.js takes two missing ones for a lost connection.
TICK_S = 15.0
#: Event streams at once; each costs a socket and next to no memory.
MAX_VIEWERS = 200

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Health:
    """Whether what the console needs is there. ``ok`` is all of them."""

    ok: bool
    broker_connected: bool
    store_readable: bool
    database_answers: bool
    registry_version: int | None


@dataclass(frozen=True, slots=True)
class Played:
    """An event of a loudspeaker, as it reported it."""

    speaker: str
    event: PlaybackEvent


def asset(name: str) -> str:
    """The address of a static file, which changes with its content, so that it may be cached for ever."""
    return f"/static/{name}?v={_digest(name)}"


def create_app(
    pages: Pages,
    board: Board,
    view: Callable[[], Overview],
    health: Callable[[], Health],
    evidence: Callable[[int], list[tuple[str, PlaybackEvent]]],
    version: str,
) -> FastAPI:
    """The application. ``view`` is the overview now, ``evidence`` the newest events of each loudspeaker."""
    # FastAPI's own documentation pages load scripts from elsewhere; /openapi.json needs none.
    app = FastAPI(title="Kẻng console", version=version, docs_url=None, redoc_url=None)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page(lang: Annotated[str | None, Query(max_length=8)] = None) -> Response:
        rendering = board.refresh(choose(lang))
        html = pages.page(view(), rendering, board.revision)
        return HTMLResponse(
            html,
            headers={
                "Cache-Control": "no-store",
                "Content-Language": rendering.language,
                "Vary": "Accept-Encoding",
            },
        )

    @app.get("/events", include_in_schema=False)
    async def events(
        request: Request,
        lang: Annotated[str, Query(max_length=8)] = "vi",
        since: Annotated[str, Query(max_length=64)] = "",
        last_event_id: Annotated[str, Header(max_length=64)] = "",
    ) -> Response:
        if board.viewers >= MAX_VIEWERS or board.closed:
            return Response("too many viewers", 503, headers={"Retry-After": "15"})
        stream = _stream(board, choose(lang), last_event_id or since)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.get("/api/overview", summary="All that the overview page shows, as data")
    async def overview() -> Overview:
        return view()

    @app.get("/api/playback", summary="The newest evidence of each loudspeaker, oldest first")
    def playback(each: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[Played]:
        return [Played(speaker, event) for speaker, event in evidence(each)]

    @app.get("/healthz", summary="Whether broker, store and database are there", responses={503: {"model": Health}})
    async def healthz(response: Response) -> Health:
        now = health()
        response.status_code = 200 if now.ok else 503
        return now

    @app.exception_handler(404)
    async def not_found(_request: Request, _error: Exception) -> Response:
        return JSONResponse({"detail": "there is no such page; the overview is at /"}, 404)

    @app.exception_handler(DatabaseUnavailable)
    async def unavailable(_request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": f"the database does not answer ({error}); try again"}, 503)

    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    app.add_middleware(_Headers)
    # The page is bound to loopback; this keeps another site's page from reaching it under a name of its own.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "::1"])
    return app


async def _stream(board: Board, language: str, revision: str) -> AsyncIterator[str]:
    with board.watch(language):
        yield "retry: 2000\n\n"
        while not board.closed:
            update = board.since(language, revision)
            if update is not None:
                revision = update.revision
                yield _event(update)
            elif not await board.news(TICK_S):
                yield "event: tick\ndata:\n\n"


def _event(update: Update) -> str:
    if update.reload:
        return f"event: reload\nid: {update.revision}\ndata:\n\n"
    rendering = update.rendering
    data = json.dumps(
        {
            "now": rendering.now_ms,
            "title": rendering.title,
            "tone": rendering.tone,
            "sections": [{"id": s.id, "tone": s.tone, "html": s.html} for s in update.sections],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return f"event: update\nid: {update.revision}\ndata: {data}\n\n"


def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


class _Headers:
    """Security headers on every answer, and a long life for static files that are asked for by their digest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)  # a page may need more, such as the microphone
                if scope["path"].startswith("/static/") and message["status"] in (200, 304):
                    by_digest = scope["query_string"].startswith(b"v=")
                    headers["Cache-Control"] = "public, max-age=31536000, immutable" if by_digest else "no-cache"
            await send(message)

        await self._app(scope, receive, with_headers)
