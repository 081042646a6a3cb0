"""Series names as a store takes them: three parts, nothing in them that a store's own language gives a meaning."""

from __future__ import annotations

from keng_store.protocol import RowRefused


def parts(series: str) -> tuple[str, str, str]:
    """Commune, station and quantity of a series; any Unicode will do, but no control character and no backslash
    (InfluxDB's line protocol has no sure way to write them). Raises :class:`RowRefused`.

    >>> parts("quang-tho/phu-oc/level")
    ('quang-tho', 'phu-oc', 'level')
    """
    names = series.split("/")
    if len(names) != 3 or not all(names):
        raise RowRefused(f"{series!r:.80} is not a series (commune/station/quantity)")
    if "\\" in series or not series.isprintable():
        raise RowRefused(f"{series!r:.80} has a character that a series can't have")
    commune, station, quantity = names
    return commune, station, quantity


def is_series(series: str) -> bool:
    """Whether a store may have rows of that name."""
    try:
        parts(series)
    except RowRefused:
        return False
    return True
