"""The Atom feed of the commune's CAP messages (RFC 4287). Pure."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from lxml import etree

from keng_console.cap.message import to_text

ATOM = "http://www.w3.org/2005/Atom"
#: Entries of a feed at most.
MAX_ENTRIES = 50
#: Names of a commune's feed and messages as URNs: stable, and unique without a domain of the commune's own.
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, ATOM + "#keng")


class Published(NamedTuple):
    """What the feed and the page need of a message of ours."""

    identifier: str
    sent_ms: int
    msg_type: str
    headline: str
    document: str


def address(identifier: str, base: str = "") -> str:
    """Where a message lies; ``base`` is the site's public address, empty for a relative one."""
    return f"{base}/cap/{identifier}.xml"


def feed(
    messages: Sequence[Published], *, sender: str, title: str, author: str, base: str, updated_ms: int, zone: ZoneInfo
) -> bytes:
    """The document; ``messages`` the newest first. ``updated_ms`` counts while there is none."""
    root = etree.Element(f"{{{ATOM}}}feed", nsmap={None: ATOM})
    root.set("{http://www.w3.org/XML/1998/namespace}lang", "vi")
    _add(root, "id", f"urn:uuid:{uuid.uuid5(_NAMES, sender)}")
    _add(root, "title", title)
    _add(root, "updated", to_text(messages[0].sent_ms if messages else updated_ms, zone))
    _add(_add(root, "author"), "name", author)
    _link(root, "self", f"{base}/cap/feed.xml", "application/atom+xml")
    _link(root, "alternate", f"{base}/", "text/html")
    for message in messages[:MAX_ENTRIES]:
        entry = _add(root, "entry")
        _add(entry, "id", f"urn:uuid:{uuid.uuid5(_NAMES, f'{sender},{message.identifier}')}")
        _add(entry, "title", message.headline)
        _add(entry, "updated", to_text(message.sent_ms, zone))
        _link(entry, "alternate", address(message.identifier, base), "application/cap+xml")
        _add(entry, "category").set("term", message.msg_type)
        _add(entry, "summary", message.headline)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _add(parent: Any, name: str, text: str | None = None) -> Any:
    element = etree.SubElement(parent, f"{{{ATOM}}}{name}")
    element.text = text
    return element


def _link(parent: Any, rel: str, href: str, kind: str) -> None:
    link = _add(parent, "link")
    for name, value in (("rel", rel), ("href", href), ("type", kind)):
        link.set(name, value)
