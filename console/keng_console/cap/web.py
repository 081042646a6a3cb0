"""CAP over HTTP: thin.

=========================  ===========================================================================
``/cap/feed.xml``          Atom feed of the commune's messages
``/cap/<identifier>.xml``  one message, signed
``POST /cap``              a signed message for the commune; what became of it as JSON
``/api/cap/received``      what came in lately
=========================  ===========================================================================
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from keng_console.cap import xml
from keng_console.cap.feed import MAX_ENTRIES, feed
from keng_console.cap.intake import Bucket, Intake, NotReady
from keng_console.cap.judge import UNPROVEN, Verdict
from keng_console.cap.records import Records
from keng_console.cap.settings import CapSettings
from keng_console.live import Live

#: Posted messages that nobody has proven: so many at once, and one more every so many seconds, are looked at and kept.
UNPROVEN_AT_ONCE, UNPROVEN_EVERY_S = 20, 10.0
#: Posted messages that wait for their turn.
MAX_WAITING = 8
#: For how long a message may come in, in seconds.
BODY_S = 10.0
_XML = ("application/cap+xml", "application/xml", "text/xml")


@dataclass(frozen=True, slots=True)
class Bulletin:
    """A message that came in, as a client sees it."""

    received_ms: int
    source: str
    signer: str
    sender: str
    identifier: str
    verdict: str
    detail: str
    bulletin: str
    zones: list[str]
    headline: str


def router(settings: CapSettings, sender: Callable[[], str], live: Live, records: Records, intake: Intake) -> APIRouter:
    """The addresses above. ``sender`` gives the commune's CAP sender."""
    routes = APIRouter()
    unproven = Bucket(UNPROVEN_AT_ONCE, UNPROVEN_EVERY_S)
    waiting = 0

    @routes.get("/cap/feed.xml", include_in_schema=False)
    def atom(
        if_none_match: Annotated[str, Header(max_length=200)] = "",
        if_modified_since: Annotated[str, Header(max_length=64)] = "",
    ) -> Response:
        messages = records.newest(MAX_ENTRIES)
        registry = live.registry
        name = registry.commune.name if registry else "Kẻng"
        document = feed(
            messages,
            sender=sender(),
            title=f"Cảnh báo của {name}",
            author=name,
            base=settings.public_url,
            updated_ms=0,
            zone=ZoneInfo(registry.commune.timezone if registry else "Asia/Ho_Chi_Minh"),
        )
        newest_ms = messages[0].sent_ms if messages else 0
        return _cached(document, "application/atom+xml", newest_ms, if_none_match, if_modified_since)

    @routes.get("/cap/{name}.xml", include_in_schema=False)
    def message(name: str, if_none_match: Annotated[str, Header(max_length=200)] = "") -> Response:
        document = records.document(name) if len(name) <= 200 else None
        if document is None:
            return JSONResponse({"detail": "there is no such message; the newest are at /cap/feed.xml"}, 404)
        return _cached(document.encode(), "application/cap+xml", None, if_none_match, "")

    @routes.post("/cap", summary="A signed CAP message for the commune", status_code=202)
    async def post(request: Request, content_type: Annotated[str, Header(max_length=200)] = "") -> Response:
        nonlocal waiting
        if not settings.post:
            return JSONResponse({"detail": "this console takes no posted messages"}, 403)
        if content_type.partition(";")[0].strip().lower() not in _XML:
            return JSONResponse({"detail": "a CAP message is application/cap+xml"}, 415)
        if waiting >= MAX_WAITING:
            return JSONResponse({"detail": "too many messages at once"}, 503, headers={"Retry-After": "5"})
        waiting += 1
        try:
            async with asyncio.timeout(BODY_S):  # who sends slowly must not keep the place of who sends an alarm
                body = await _body(request)
            if body is None:
                return JSONResponse({"detail": f"is larger than {xml.MAX_BYTES} bytes"}, 413)
            room = unproven.take(time.monotonic())
            who = request.client.host if request.client else "somebody"
            ruling = await intake.take(body, f"posted by {who}", keep_unproven=room)
        except NotReady:
            return JSONResponse({"detail": "there is no registry yet"}, 503, headers={"Retry-After": "30"})
        except (ClientDisconnect, TimeoutError):
            return Response(status_code=408)
        finally:
            waiting -= 1
        if ruling.verdict not in UNPROVEN:
            unproven.give()
        elif not room:
            detail = "too many messages that nobody has proven; a signed one is always taken"
            return JSONResponse({"detail": detail}, 429, headers={"Retry-After": f"{UNPROVEN_EVERY_S:.0f}"})
        status = 400 if ruling.verdict is Verdict.UNREADABLE else 202
        answer = {
            "verdict": ruling.verdict,
            "detail": ruling.detail,
            "bulletin": ruling.bulletin,
            "zones": ruling.zones,
        }
        return JSONResponse(answer, status)

    @routes.get("/api/cap/received", summary="CAP messages that came in lately, the newest first")
    def received() -> list[Bulletin]:
        return [
            Bulletin(
                row.received_ms,
                row.source,
                row.signer,
                row.sender,
                row.identifier,
                row.verdict,
                row.detail,
                row.bulletin,
                [zone for zone in row.zones.split(",") if zone],
                row.headline,
            )
            for row in sorted([*live.bulletins, *live.unproven], key=lambda row: -row.received_ms)
        ]

    return routes


async def _body(request: Request) -> bytes | None:
    """The body; None if it is too large."""
    parts: list[bytes] = []
    async for part in request.stream():
        parts.append(part)
        if sum(map(len, parts)) > xml.MAX_BYTES:
            return None
    return b"".join(parts)


def _cached(document: bytes, kind: str, newest_ms: int | None, if_none_match: str, if_modified_since: str) -> Response:
    """The document, or 304 where the client has it already (RFC 9110, section 13.2.2)."""
    etag = f'W/"{hashlib.sha256(document).hexdigest()[:32]}"'  # weak: it may travel compressed

    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    moment = datetime.fromtimestamp((newest_ms or 0) // 1000, UTC)
    if newest_ms is not None:
        headers["Last-Modified"] = format_datetime(moment, usegmt=True)
    if if_none_match:
        known = any(tag.strip() in (etag, etag.removeprefix("W/"), "*") for tag in if_none_match.split(","))
    else:
        known = newest_ms is not None and _not_before(if_modified_since, moment)
    return Response(status_code=304, headers=headers) if known else Response(document, media_type=kind, headers=headers)


def _not_before(text: str, moment: datetime) -> bool:
    try:
        return bool(text) and parsedate_to_datetime(text) >= moment
    except (ValueError, TypeError):
        return False
