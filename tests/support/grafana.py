"""What Grafana does with a dashboard before it asks InfluxDB, after its InfluxDB data source: fill in ``$timeFilter``,
``$__interval`` and the dashboard's variables (in regular expressions, several values as alternatives)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Values = Mapping[str, str | Sequence[str]]

_SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}/]")


def interpolate(query: str, values: Values, start_ms: int, end_ms: int, interval: str = "1m") -> str:
    """The query as InfluxDB gets it; fails when something with a ``$`` stays that no part of Grafana would fill in."""
    query = query.replace("$timeFilter", f"time >= {start_ms}ms and time <= {end_ms}ms")
    query = query.replace("$__interval", interval)
    for name, value in values.items():
        query = re.sub(rf"\${name}\b", lambda _, value=value: _as_regex(value), query)
    left = re.findall(r"\$\w+", query)
    assert not left, f"{left} stay in {query}"
    return query


def _as_regex(value: str | Sequence[str]) -> str:
    if isinstance(value, str):
        return _SPECIAL.sub(r"\\\g<0>", value)
    escaped = [_as_regex(one) for one in value]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def targets(dashboard: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every panel with each of its queries."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel, target
