"""Names and rows as InfluxDB writes them: line protocol, InfluxQL, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from keng_contracts.telemetry import Flag
from keng_store.names import parts
from keng_store.protocol import Row

FLAGS = {flag.value: flag for flag in Flag}
CODES = {flag.value: str(flag.value) for flag in Flag}


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def as_row(series: str, time_ms: int, value: float, flag: int | None) -> Row:
    """A point as a row; what someone else wrote there without a flag of ours was not evaluated."""
    return Row(series, time_ms, float(value), FLAGS.get(flag or 0, Flag.NOT_EVALUATED))


def series_of(commune: str, answer: Mapping[str, Any]) -> str:
    return f"{commune}/{answer['tags']['station']}/{answer['tags']['quantity']}"


def escaped(tag: str) -> str:
    """A tag value in line protocol; backslashes and line breaks can't occur (see :mod:`keng_store.names`)."""
    return tag.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")


def where(series: str) -> str:
    commune, station, quantity = map(literal, parts(series))
    return f"commune = {commune} AND station = {station} AND quantity = {quantity}"


def literal(text: str) -> str:
    """A string literal of InfluxQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
