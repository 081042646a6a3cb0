"""Whom a CAP area touches: the commune's zones, by official codes, borders and the places of loudspeakers. Pure.

A zone is touched if the area has a code of it or of the commune, one of its loudspeakers stands in the area, or its
border and the area have anything in common. Better a hamlet too many than one too few: a zone that is touched hears the
whole message. An area that is only words touches none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from keng_console.cap.message import Area, Circle, Position
from keng_contracts.registry import Registry, Zone

EARTH_KM = 6371.0


def touched(areas: Iterable[Area], registry: Registry) -> list[str]:
    """The ids of the zones, in the order of the registry."""
    areas = list(areas)
    codes = {code for area in areas for code in area.codes}
    if codes & set(registry.commune.codes.items()):
        return [zone.id for zone in registry.zones]
    return [zone.id for zone in registry.zones if codes & set(zone.codes.items()) or _meets(zone, areas, registry)]


def _meets(zone: Zone, areas: Sequence[Area], registry: Registry) -> bool:
    masts = [
        (s.lat, s.lon) for s in registry.speakers if zone.id in s.zones and s.lat is not None and s.lon is not None
    ]
    border = _closed(zone.polygon) if zone.polygon else ()
    for area in areas:
        for polygon in area.polygons:
            if any(inside(mast, polygon) for mast in masts):
                return True
            if border and (
                inside(border[0], polygon)
                or inside(polygon[0], border)
                or any(_cross(*one, *other) for one in pairwise(border) for other in pairwise(polygon))
            ):
                return True
        for circle in area.circles:
            if any(distance_km(mast, circle.centre) <= circle.radius_km for mast in masts):
                return True
            if border and (inside(circle.centre, border) or _near(circle, border)):
                return True
    return False


def inside(point: Position, ring: Sequence[Position]) -> bool:
    """Whether a point lies in a closed ring, by counting crossings; for areas that do not span the date line."""
    lat, lon = point
    found = False
    for (lat1, lon1), (lat2, lon2) in pairwise(ring):
        if (lat1 > lat) != (lat2 > lat) and lon < lon1 + (lat - lat1) / (lat2 - lat1) * (lon2 - lon1):
            found = not found
    return found


def distance_km(one: Position, other: Position) -> float:
    """Great-circle distance by the haversine formula."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, at)) for at in (one, other))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, h)))


def _near(circle: Circle, ring: Sequence[Position]) -> bool:
    """Whether a border comes within a circle; on the plane around its centre, which is good enough for a commune."""
    lat0, lon0 = circle.centre
    scale = math.radians(1) * EARTH_KM
    flat = [((lat - lat0) * scale, (lon - lon0) * scale * math.cos(math.radians(lat0))) for lat, lon in ring]
    return any(_from_origin(*edge) <= circle.radius_km for edge in pairwise(flat))


def _from_origin(one: Position, other: Position) -> float:
    (x1, y1), (x2, y2) = one, other
    dx, dy = x2 - x1, y2 - y1
    length = dx * dx + dy * dy
    along = max(0.0, min(1.0, -(x1 * dx + y1 * dy) / length)) if length else 0.0
    return math.hypot(x1 + along * dx, y1 + along * dy)


def _cross(a: Position, b: Position, c: Position, d: Position) -> bool:
    def side(p: Position, q: Position, r: Position) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def _closed(border: Sequence[Position]) -> tuple[Position, ...]:
    return tuple(border) if border[0] == border[-1] else (*border, border[0])
