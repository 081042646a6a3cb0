"""CAP as XML: written by a library and never by templates, read from anybody.

What is read is bounded in size and number, has no document type (so no entity, internal or external, exists in it), and
fetches nothing. :func:`read` raises :class:`BadCap` and nothing else, whatever the bytes.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from lxml import etree

from keng_console.cap.message import (
    NAMESPACE,
    Area,
    Certainty,
    Circle,
    Info,
    Message,
    MsgType,
    Position,
    Reference,
    Scope,
    Severity,
    Status,
    Urgency,
    from_text,
    to_text,
)

MAX_BYTES = 256 * 1024
#: Elements in a document, characters in one text, points in all polygons.
MAX_ELEMENTS, MAX_TEXT, MAX_POINTS = 4000, 8000, 5000

#: Characters from the space on that XML 1.0 can't write.
_NOT_XML = frozenset("\ufffe\uffff") | frozenset(map(chr, range(0xD800, 0xE000)))

E = TypeVar("E", bound=StrEnum)


class BadCap(ValueError):
    """Bytes that are no CAP 1.2 message. The text says why."""


# -- writing ------------------------------------------------------------------------------------------------------


def write(message: Message, zone: ZoneInfo) -> Any:
    """The message as an element, in the order of the schema."""
    alert = etree.Element(f"{{{NAMESPACE}}}alert", nsmap={None: NAMESPACE})
    _add(alert, "identifier", message.identifier)
    _add(alert, "sender", message.sender)
    _add(alert, "sent", message.sent)
    _add(alert, "status", message.status)
    _add(alert, "msgType", message.msg_type)
    _maybe(alert, "source", message.source)
    _add(alert, "scope", message.scope)
    _maybe(alert, "restriction", message.restriction)
    _maybe(alert, "note", message.note)
    _maybe(alert, "references", " ".join(map(str, message.references)))
    for info in message.infos:
        _write_info(alert, info, zone)
    return alert


def _write_info(alert: Any, info: Info, zone: ZoneInfo) -> None:
    block = etree.SubElement(alert, f"{{{NAMESPACE}}}info")
    _add(block, "language", info.language)
    for category in info.categories:
        _add(block, "category", category)
    _add(block, "event", info.event)
    for response in info.responses:
        _add(block, "responseType", response)
    _add(block, "urgency", info.urgency)
    _add(block, "severity", info.severity)
    _add(block, "certainty", info.certainty)
    for name, at_ms in (("effective", info.effective_ms), ("onset", info.onset_ms), ("expires", info.expires_ms)):
        if at_ms is not None:
            _add(block, name, to_text(at_ms, zone))
    _maybe(block, "senderName", info.sender_name)
    _maybe(block, "headline", info.headline)
    _maybe(block, "description", info.description)
    _maybe(block, "instruction", info.instruction)
    for name, value in info.parameters:
        _pair(block, "parameter", name, value)
    for area in info.areas:
        place = etree.SubElement(block, f"{{{NAMESPACE}}}area")
        _add(place, "areaDesc", area.desc)
        for polygon in area.polygons:
            ring = polygon if polygon[0] == polygon[-1] else (*polygon, polygon[0])
            _add(place, "polygon", " ".join(f"{lat:.5f},{lon:.5f}" for lat, lon in ring))
        for circle in area.circles:
            lat, lon = circle.centre
            _add(place, "circle", f"{lat:.5f},{lon:.5f} {circle.radius_km:g}")
        for name, value in area.codes:
            _pair(place, "geocode", name, value)


def _add(parent: Any, name: str, text: str) -> None:
    clean = "".join(c for c in unicodedata.normalize("NFC", text) if c in "\n\t" or (c >= " " and c not in _NOT_XML))
    etree.SubElement(parent, f"{{{NAMESPACE}}}{name}").text = clean


def _maybe(parent: Any, name: str, text: str) -> None:
    if text:
        _add(parent, name, text)


def _pair(parent: Any, name: str, key: str, value: str) -> None:
    pair = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    _add(pair, "valueName", key)
    _add(pair, "value", value)


# -- reading ------------------------------------------------------------------------------------------------------


def parse(data: bytes, most: int = MAX_BYTES) -> Any:
    """The root element of any XML that is safe to look at; raises :class:`BadCap`."""
    if len(data) > most:
        raise BadCap(f"is larger than {most} bytes")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise BadCap(f"is not XML ({str(error)[:100]})") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadCap("has a document type, which no CAP message needs")
    if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise BadCap(f"has more than {MAX_ELEMENTS} elements")
    return root


def is_alert(root: Any) -> bool:
    return bool(root.tag == f"{{{NAMESPACE}}}alert")


def read(root: Any) -> Message:
    """The message in an ``alert`` element; raises :class:`BadCap`."""
    if not is_alert(root):
        raise BadCap("is no CAP 1.2 alert")
    try:
        message = _read(root)
    except BadCap:
        raise
    except (ValueError, OverflowError, TypeError) as error:
        raise BadCap(str(error)[:200]) from None
    return message


def _read(root: Any) -> Message:
    identifier, sender, sent = (_needed(root, name) for name in ("identifier", "sender", "sent"))
    for name, value in (("identifier", identifier), ("sender", sender)):
        if any(c in " ,<&\t\n" for c in value):
            raise BadCap(f"{name} has a character that it may not have")
    from_text(sent)
    return Message(
        identifier=identifier,
        sender=sender,
        sent=sent,
        status=_one(Status, root, "status"),
        msg_type=_one(MsgType, root, "msgType"),
        scope=_one(Scope, root, "scope"),
        source=_text(root, "source"),
        restriction=_text(root, "restriction"),
        note=_text(root, "note"),
        references=tuple(_references(_text(root, "references"))),
        infos=tuple(_info(block) for block in _all(root, "info")),
    )


def _info(block: Any) -> Info:
    return Info(
        language=_text(block, "language") or "en-US",
        categories=tuple(_content(c) for c in _all(block, "category")),
        event=_needed(block, "event"),
        urgency=_one(Urgency, block, "urgency"),
        severity=_one(Severity, block, "severity"),
        # CAP 1.0 said "Very Likely", and 1.2 asks to take it for "Likely".
        certainty=Certainty.LIKELY
        if _text(block, "certainty") == "Very Likely"
        else _one(Certainty, block, "certainty"),
        responses=tuple(_content(r) for r in _all(block, "responseType")),
        effective_ms=_time(block, "effective"),
        onset_ms=_time(block, "onset"),
        expires_ms=_time(block, "expires"),
        sender_name=_text(block, "senderName"),
        headline=_text(block, "headline"),
        description=_text(block, "description"),
        instruction=_text(block, "instruction"),
        parameters=tuple(_pairs(block, "parameter")),
        areas=tuple(_area(area) for area in _all(block, "area")),
    )


def _area(area: Any) -> Area:
    return Area(
        desc=_needed(area, "areaDesc"),
        polygons=tuple(_polygon(_content(p)) for p in _all(area, "polygon")),
        circles=tuple(_circle(_content(c)) for c in _all(area, "circle")),
        codes=tuple(_pairs(area, "geocode")),
    )


def _polygon(text: str) -> tuple[Position, ...]:
    words = text.split()
    if not 4 <= len(words) <= MAX_POINTS:
        raise BadCap(f"a polygon has {len(words)} points, not 4 to {MAX_POINTS}")
    points = tuple(_position(word) for word in words)
    if points[0] != points[-1]:
        raise BadCap("a polygon does not end where it begins")
    return points


def _circle(text: str) -> Circle:
    words = text.split()
    if len(words) != 2:
        raise BadCap(f"a circle is a position and a radius, not {text[:40]!r}")
    radius = float(words[1])
    if not (math.isfinite(radius) and 0 <= radius <= 20_040):
        raise BadCap(f"a circle's radius of {words[1][:20]} km can't be meant")
    return Circle(_position(words[0]), radius)


def _position(word: str) -> Position:
    lat, comma, lon = word.partition(",")
    at = (float(lat), float(lon)) if comma else (math.nan, math.nan)
    if not (-90 <= at[0] <= 90 and -180 <= at[1] <= 180):
        raise BadCap(f"{word[:40]!r} is no position")
    return at


def _references(text: str) -> Iterable[Reference]:
    for word in text.split():
        parts = word.split(",")
        if len(parts) != 3 or not all(parts):
            raise BadCap(f"{word[:60]!r} is no reference")
        from_text(parts[2])
        yield Reference(*parts)


def _pairs(parent: Any, name: str) -> Iterable[tuple[str, str]]:
    for pair in _all(parent, name):
        yield _text(pair, "valueName"), _text(pair, "value")


def _all(parent: Any, name: str) -> list[Any]:
    return list(parent.findall(f"{{{NAMESPACE}}}{name}"))


def _content(element: Any) -> str:
    # All of its text: what stands behind a comment is part of what was signed.
    text = "".join(element.xpath(".//text()")).strip()
    if len(text) > MAX_TEXT and etree.QName(element).localname not in ("polygon", "references"):
        text = text[:MAX_TEXT]
    return unicodedata.normalize("NFC", text)


def _text(parent: Any, name: str) -> str:
    found = _all(parent, name)
    if len(found) > 1:
        raise BadCap(f"{name} is there {len(found)} times")
    return _content(found[0]) if found else ""


def _needed(parent: Any, name: str) -> str:
    text = _text(parent, name)
    if not text:
        raise BadCap(f"{name} is missing")
    return text


def _time(parent: Any, name: str) -> int | None:
    text = _text(parent, name)
    return from_text(text) if text else None


def _one(kind: type[E], parent: Any, name: str) -> E:
    text = _needed(parent, name)
    try:
        return kind(text)
    except ValueError:
        raise BadCap(f"{name} can't be {text[:40]!r}") from None
