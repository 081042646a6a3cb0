"""Looks at feeds of others for CAP messages: bounded in size and time, asked for what has changed alone.

A feed need not be trusted, for each message carries its own signature. Links are followed on the feed's own host
alone, so that nobody makes the console ask other machines.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from concurrent.futures import Executor
from copy import deepcopy
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml import etree

from keng_console.cap import xml
from keng_console.cap.feed import ATOM
from keng_console.cap.intake import Intake, NotReady
from keng_console.cap.message import NAMESPACE
from keng_console.cap.settings import CapFeed
from keng_console.database import DatabaseUnavailable

log = logging.getLogger(__name__)

MAX_FEED_BYTES = 1 << 20
MAX_ENTRIES = 50
#: Silence that is waited for, and for how long an answer may take in all, in seconds.
SILENCE_S, WHOLE_S = 5.0, 15.0
#: Addresses whose state is remembered.
MAX_SEEN = 2000


class Unreachable(Exception):
    """A feed that gives no usable answer now. The text says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of a feed: its own bytes, or where it lies and the word by which a change of it shows."""

    url: str = ""
    version: str = ""
    data: bytes = b""


def entries(root: Any, base: str) -> list[Entry]:
    """The messages of a feed, the first first: Atom, RSS, or the bare alert itself. Pure."""
    if xml.is_alert(root):
        return [Entry(data=_alone(root))]
    found: list[Entry] = []
    for entry in root.iter(f"{{{ATOM}}}entry"):
        version = entry.findtext(f"{{{ATOM}}}updated") or ""
        inline = entry.find(f"{{{ATOM}}}content/{{{NAMESPACE}}}alert")
        links = [link for link in entry.findall(f"{{{ATOM}}}link") if link.get("rel", "alternate") == "alternate"]
        of_cap = [link for link in links if "cap" in link.get("type", "")] or links
        if inline is not None:
            found.append(Entry(data=_alone(inline)))
        elif of_cap:
            found.append(Entry(urljoin(base, of_cap[0].get("href", "")), version))
    for item in root.iter("item"):
        link = (item.findtext("link") or "").strip()
        if link:
            found.append(Entry(urljoin(base, link), item.findtext("pubDate") or ""))
    return [entry for entry in found[:MAX_ENTRIES] if entry.data or _same_host(entry.url, base)]


def _alone(alert: Any) -> bytes:
    copy = deepcopy(alert)
    copy.tail = None
    return bytes(etree.tostring(copy))


def _same_host(url: str, base: str) -> bool:
    try:
        one, other = urlsplit(url), urlsplit(base)
        return one.scheme in ("http", "https") and (one.hostname, one.port) == (other.hostname, other.port)
    except ValueError:
        return False


class Poller:
    """Looks at one feed, for ever."""

    def __init__(self, feed: CapFeed, intake: Intake, threads: Executor) -> None:
        self._feed = feed
        self._threads = threads  # of their own: a feed that hangs must not keep the database's calls waiting
        self._intake = intake
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._etag = self._modified = ""
        self._complaint = ""

    async def run(self) -> None:
        while True:
            try:
                await self._look()
                self._complaint = ""
            except (Unreachable, xml.BadCap, NotReady, DatabaseUnavailable) as error:
                self._etag = self._modified = ""  # what was not taken has to come again
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    log.warning("%s: %s; it is looked at again", self._feed.url, error or "there is no registry yet")
            await asyncio.sleep(self._feed.every_s)

    async def _look(self) -> None:
        got = await self._fetch(self._feed.url, MAX_FEED_BYTES, self._etag, self._modified)
        if got is None:
            return
        data, etag, modified = got
        root = await asyncio.to_thread(xml.parse, data, MAX_FEED_BYTES)
        trouble: Exception | None = None
        for entry in entries(root, self._feed.url):
            name, version = entry.url or hashlib.sha256(entry.data).hexdigest(), entry.version or "seen"
            if self._seen.get(name) == version:
                continue
            try:
                await self._take(entry, data if xml.is_alert(root) else entry.data)
            except Unreachable as error:
                trouble = error
                continue
            self._seen[name] = version
            while len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
        if trouble is not None:
            raise trouble
        self._etag, self._modified = etag, modified

    async def _fetch(self, url: str, most: int, etag: str = "", modified: str = "") -> tuple[bytes, str, str] | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, fetch, url, most, etag, modified)

    async def _take(self, entry: Entry, data: bytes) -> None:
        if entry.url:
            got = await self._fetch(entry.url, xml.MAX_BYTES)
            data = got[0] if got else b""
        await self._intake.take(data, self._feed.url)


def fetch(url: str, most: int, etag: str = "", modified: str = "") -> tuple[bytes, str, str] | None:
    """Bytes, ETag and Last-Modified of an address; None if nothing has changed. Blocks; raises :class:`Unreachable`."""
    request = urllib.request.Request(url, headers={"User-Agent": "keng-console", "Accept": "*/*"})
    if etag:
        request.add_header("If-None-Match", etag)
    if modified:
        request.add_header("If-Modified-Since", modified)
    until = time.monotonic() + WHOLE_S
    try:
        with urllib.request.build_opener(_SameHost).open(request, timeout=SILENCE_S) as answer:
            parts: list[bytes] = []
            while part := answer.read1(65_536):
                parts.append(part)
                if sum(map(len, parts)) > most:
                    raise Unreachable(f"answers with more than {most} bytes")
                if time.monotonic() > until:
                    raise Unreachable(f"takes longer than {WHOLE_S:g} s")
            return b"".join(parts), answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 304:
            return None
        raise Unreachable(f"answers {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(f"can't be reached ({str(error)[:100]})") from None


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows no redirection to another host."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not _same_host(newurl, req.full_url):
            raise Unreachable("sends elsewhere")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
