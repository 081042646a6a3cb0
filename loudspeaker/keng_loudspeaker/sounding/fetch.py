"""A media file brought over HTTPS: in as many goes as the link needs, and nothing but what was signed.

Servers are believed by the commune's own authority or by the system's; whatever they send counts only if it has the
size and the SHA-256 of the signed command. What has come so far stays on disk and the next go continues it (RFC 9110,
14: range requests).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from keng_contracts.commands import Media

log = logging.getLogger(__name__)

#: For so long it is tried, with pauses that grow.
PATIENCE_S = 60.0
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 10.0
#: A server that says nothing for this long is given up for now.
SILENCE_S = 10.0
_CHUNK = 1 << 16


class Unfetched(Exception):
    """It could not be fetched; the message is the reason in evidence."""


class NoRoom(Exception):
    """The disk takes nothing more."""


class _Temporary(Exception):
    """This go failed; another may not."""


def authorities(ca: Path | None) -> ssl.SSLContext:
    """Whom a server's certificate may come from: the system's authorities, and ours."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is not None:
        context.load_verify_locations(ca)
    return context


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex; empty if it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


async def fetch(item: Media, part: Path, context: Callable[[], ssl.SSLContext]) -> None:
    """Bring a file whole into ``part``, or raise :class:`Unfetched` or :class:`NoRoom`."""
    until_s, pause_s = time.monotonic() + PATIENCE_S, PAUSE_MIN_S
    while True:
        try:
            resumed = await _in_thread(item, part, context())
            if await asyncio.to_thread(digest, part) == item.sha256:
                return
            await asyncio.to_thread(part.unlink, missing_ok=True)
            if not resumed:
                raise Unfetched("wrong-hash: it is not the file that was signed")
        except _Temporary as error:
            if time.monotonic() + pause_s > until_s:
                raise Unfetched(f"fetch-failed: {error}") from None
            log.info("%s: %s; trying again in %.1f s", item.url, error, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


async def _in_thread(item: Media, part: Path, context: ssl.SSLContext) -> bool:
    given_up = threading.Event()
    try:
        return await asyncio.to_thread(_go, item, part, context, given_up)
    finally:
        given_up.set()


def _go(item: Media, part: Path, context: ssl.SSLContext, given_up: threading.Event) -> bool:
    """One go; whether it went on from what was there. What has come is in ``part`` also if it fails."""
    from urllib.error import HTTPError, URLError  # with http.client 3 MiB, for a node that fetches something
    from urllib.request import (
        HTTPDefaultErrorHandler,
        HTTPErrorProcessor,
        HTTPRedirectHandler,
        HTTPSHandler,
        OpenerDirector,
        Request,
        UnknownHandler,
    )

    try:
        have = part.stat().st_size if part.exists() else 0
        if have > item.size:
            part.unlink()
            have = 0
    except OSError as error:
        raise NoRoom(error.strerror or str(error)) from None
    if have == item.size:
        return True
    opener = OpenerDirector()  # of our own: HTTPS only, also where a redirection leads, and no proxy
    for handler in (HTTPDefaultErrorHandler, HTTPErrorProcessor, HTTPRedirectHandler, UnknownHandler):
        opener.add_handler(handler())
    opener.add_handler(HTTPSHandler(context=context))
    request = Request(item.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with opener.open(request, timeout=SILENCE_S) as response:
            continued = response.status == 206 and have > 0
            if response.status not in (200, 206) or (response.status == 206 and not have):
                raise _Temporary(f"the server answers {response.status}")
            with _opened(part, "ab" if continued else "wb") as file:
                total = have if continued else 0
                while chunk := response.read(_CHUNK):
                    total += len(chunk)
                    if total > item.size:
                        raise Unfetched("wrong-size: it is longer than what was signed")
                    if given_up.is_set():
                        raise _Temporary("given up")
                    try:
                        file.write(chunk)
                    except OSError as error:
                        raise NoRoom(error.strerror or str(error)) from None
                _sync(file.fileno())
            if total < item.size:
                raise _Temporary(f"the link broke after {total} of {item.size} bytes")
            return continued
    except HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
        elif 400 <= error.code < 500 and error.code not in (408, 425, 429):
            raise Unfetched(f"fetch-failed: the server answers {error.code}") from None
        raise _Temporary(f"the server answers {error.code}") from None
    except URLError as error:
        raise _Temporary(str(error.reason)[:120]) from None
    except (OSError, EOFError, ValueError) as error:
        raise _Temporary(str(error)[:120] or type(error).__name__) from None
    except Exception as error:
        if isinstance(error, _Temporary | Unfetched | NoRoom):
            raise
        raise _Temporary(f"{type(error).__name__}") from None  # http.client has exceptions of its own


def _opened(path: Path, mode: str) -> BinaryIO:
    try:
        return cast(BinaryIO, path.open(mode))
    except OSError as error:
        raise NoRoom(error.strerror or str(error)) from None


def _sync(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
