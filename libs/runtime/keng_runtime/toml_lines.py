"""Where in a TOML file a setting stands, so that a mistake can be told with its line. Pure.

tomllib checks the syntax and gives the values, not their places; this looks for the places alone, in a file that
tomllib has read without complaint.

>>> text = '''commune = "x"
... [[buses]]
... id = "one"
... [[buses.slaves]]
... interval_s = -1
... '''
>>> line_of(text, ("buses", 0, "slaves", 0, "interval_s"))
5
>>> line_of(text, ("buses", 0, "port"))   # not there: the line of the table that lacks it
2
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")

Place = tuple[str | int, ...]


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """The line (from 1) of a setting by its place (keys, and indices of arrays of tables); of what is not written down,
    the line of the nearest table around it; None if there is none."""
    lines = _places(text)
    for length in range(len(place), 0, -1):
        if (line := lines.get(tuple(place[:length]))) is not None:
            return line
    return None


def _places(text: str) -> dict[Place, int]:
    found: dict[Place, int] = {}
    newest: dict[Place, int] = {}  # array of tables → index of its newest element
    table: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            *outer, last = _keys(header[2])
            around = _resolved(outer, newest)
            if header[1] == "[[":
                newest[*around, last] = newest.get((*around, last), -1) + 1
            table = _resolved([last], newest, around)
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            place = table + tuple(_keys(key[1]))
            for length in range(len(table) + 1, len(place) + 1):
                found.setdefault(place[:length], number)
    return found


def _resolved(keys: Sequence[str], newest: dict[Place, int], start: Place = ()) -> Place:
    """Keys as a place: an array of tables stands for its newest element."""
    place = start
    for key in keys:
        place += (key,)
        if place in newest:
            place += (newest[place],)
    return place


def _keys(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
