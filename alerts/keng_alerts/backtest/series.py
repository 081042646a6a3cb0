"""A series from a CSV file, row by row: whatever a logger, a portal or a spreadsheet wrote."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from zoneinfo import ZoneInfo

from keng_contracts.errors import Problem

TIME_NAMES = ("time", "datetime", "timestamp", "time_local", "time_utc", "date")
VALUE_NAMES = ("level", "stage", "stage_m", "level_m", "value", "distance", "dist_mm", "distance_mm")
#: A unit at the end of a column's name, apart from the rest.
_UNIT = re.compile(r"[_ (\[](mm|cm|dm|m)[)\]]?$")
_DAY_FIRST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?")
#: What a file may say where there is no value.
_NOTHING = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})


class Row(NamedTuple):
    """``value`` is in the file's unit, None where the file has none. ``line`` counts from 1."""

    line: int
    time_ms: int
    value: float | None


def rows(
    file: Path, time: str | None, value: str | None, where: Mapping[str, str], zone: tzinfo | None
) -> Iterator[Row]:
    """The rows of a file whose columns have the texts of ``where``, in the file's order.

    ``time`` and ``value`` name columns; None takes the first of the usual names. A time has its offset with it, or is
    that of ``zone``; it may be written day/month/year, and a bare number is in seconds (or ms) since 1970 UTC. Cells
    are parted by commas, semicolons or tabs, as the names are. Raises Problem, with the line, for the rest.
    """
    name = str(file)
    for line, cells in _table(file, {"time": time, "value": value}, {"time": TIME_NAMES, "value": VALUE_NAMES}, where):
        place = f"{name}, line {line}"
        yield Row(line, time_ms(cells["time"] or "", zone, place), _number((cells["value"] or "").strip(), place))


def unit_of_values(file: Path, value: str | None) -> str | None:
    """The unit that the name of the value's column ends with, as ``stage_m`` or ``Mực nước (cm)``; None if none."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            header, _ = _header(file, text)
            at = _column(file, header, "value", value, VALUE_NAMES)
    except (OSError, UnicodeDecodeError, csv.Error, Problem):
        return None  # reading the rows tells it
    named = None if at is None else _UNIT.search(header[at].lower())
    return named[1] if named else None


def labels(file: Path, zone: tzinfo | None) -> list[tuple[int, int, int | None]]:
    """Labelled events as (level, start, end or None): columns ``start`` and, optionally, ``end`` and ``level`` (1)."""
    found = []
    names: dict[str, str | None] = {"start": "start", "end": None, "level": None}
    for line, cells in _table(file, names, {"start": (), "end": ("end",), "level": ("level",)}, {}):
        place = f"{file}, line {line}"
        level, end = (cells["level"] or "1").strip(), (cells["end"] or "").strip()
        if level not in {"1", "2", "3", "4"}:
            raise Problem(f"the level {level!r} is none of 1 to 4", where=place)
        start_ms = time_ms(cells["start"] or "", zone, place)
        found.append((int(level), start_ms, time_ms(end, zone, place) if end else None))
    return sorted(found)


def time_ms(text: str, zone: tzinfo | None, where: str) -> int:
    """A time as ms since 1970 UTC."""
    text = text.strip()
    try:
        number = float(text)
        return round(number if abs(number) > 1e11 else number * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        read = _day_first(text) or datetime.fromisoformat(text)
        if read.tzinfo is None:
            if zone is None:
                raise Problem(
                    f"the time {text!r} has no offset", where=where, todo="say where it is: --tz Asia/Ho_Chi_Minh"
                )
            read = read.replace(tzinfo=zone)
        return round(read.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Problem(
            f"the time {text!r} can't be read", where=where, todo="write it as 2025-11-17T03:00+07:00"
        ) from None


def zone_of(name: str | None) -> tzinfo | None:
    """The time zone of this name."""
    if name is None:
        return None
    try:
        return UTC if name.upper() == "UTC" else ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise Problem(f"there is no time zone {name!r}", where="--tz", todo="e.g. Asia/Ho_Chi_Minh or UTC") from None


def _day_first(text: str) -> datetime | None:
    """A time as Vietnamese spreadsheets write it: day, month, year."""
    found = _DAY_FIRST.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = (int(part or 0) for part in found.groups())
    return datetime(year, month, day, hour, minute, second)


def _number(text: str, where: str) -> float | None:
    if text.lower() in _NOTHING:
        return None
    try:
        # Vietnamese spreadsheets write a comma where the decimals begin.
        return float(text.replace(",", ".") if "." not in text else text)
    except ValueError:
        raise Problem(
            f"the value {text!r} is no number", where=where, todo="mend or empty it, or see --value"
        ) from None


def _table(
    file: Path,
    names: Mapping[str, str | None],
    usual: Mapping[str, tuple[str, ...]],
    where: Mapping[str, str],
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """The wanted columns of each row, by what they are wanted for; None where an optional one isn't there."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            header, reader = _header(file, text)
            place = {what: _column(file, header, what, name, usual[what]) for what, name in names.items()}
            only = [(_column(file, header, "--where", name, ()), text) for name, text in where.items()]
            for cells in reader:
                if not cells:
                    continue
                if len(cells) < len(header):
                    cells += [""] * (len(header) - len(cells))
                if all(cells[at].strip() == wanted for at, wanted in only if at is not None):
                    yield (
                        reader.line_num,
                        {what: None if at is None else cells[at] for what, at in place.items()},
                    )
    except OSError as error:
        raise Problem(f"the file can't be read ({error.strerror})", where=str(file)) from None
    except UnicodeDecodeError:
        raise Problem("the file is not UTF-8 text", where=str(file), todo="save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise Problem(f"the file is no CSV ({error})", where=str(file)) from None


def _header(file: Path, text: TextIO) -> tuple[list[str], Any]:
    """The names of the columns, and a csv reader of the rows below them; cells are parted by what parts the names."""
    line = text.readline()
    if not line.strip():
        raise Problem("the file is empty", where=str(file), todo="its first line names the columns")
    delimiter = max(",;\t", key=line.count)
    reader = csv.reader(chain([line], text), delimiter=delimiter)
    return [name.strip() for name in next(reader)], reader


def _column(file: Path, header: list[str], what: str, name: str | None, usual: tuple[str, ...]) -> int | None:
    there = ", ".join(header)
    if name is not None:
        if name not in header:
            raise Problem(f"there is no column {name!r}", where=str(file), todo=f"there are: {there}")
        return header.index(name)
    lower = [name.lower() for name in header]
    found = next((lower.index(n) for n in usual if n in lower), None)
    if found is None and what in {"time", "value"}:
        raise Problem(
            f"no column is called as a {what} usually is", where=str(file), todo=f"name it by --{what}: {there}"
        )
    return found
