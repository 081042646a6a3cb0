"""The queries of the panels: InfluxQL against the measurement ``reading``, as InfluxDB 1.6 to 3 all understand it.

Grafana fills in ``$timeFilter``, ``$__interval`` and the dashboard's variables. Only what InfluxDB 3 has too is used:
no ``SHOW SERIES``, no ``integral()``, no long time range in ``SHOW TAG VALUES``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

#: The provisioned data source, see provisioning/datasources.
DATASOURCE_UID = "keng-influxdb"
DATASOURCE = DataSourceRef(type_val="influxdb", uid=DATASOURCE_UID)

COMMUNES = 'SHOW TAG VALUES FROM "reading" WITH KEY = "commune"'
STATIONS = 'SHOW TAG VALUES FROM "reading" WITH KEY = "station" WHERE "commune" =~ /^$commune$/'

#: Flags that a chart shows: good, not evaluated, suspect (QARTOD 1 to 3); bad and missing are counted, not drawn.
_SHOWN = '"flag" <= 3'
_HERE = '"commune" =~ /^$commune$/ AND "station" =~ /^$station$/'


@dataclass(frozen=True, slots=True)
class InfluxQuery(Dataquery, Builder[Dataquery]):
    """One raw InfluxQL query of a panel, in the form in which Grafana's InfluxDB data source keeps it."""

    query: str
    alias: str = ""
    result: Literal["time_series", "table"] = "time_series"
    ref: str = "A"

    def build(self) -> Self:
        return self

    def to_json(self) -> dict[str, Any]:
        return {
            "refId": self.ref,
            "datasource": DATASOURCE,
            "query": self.query,
            "rawQuery": True,
            "resultFormat": self.result,
            "alias": self.alias,
        }


def highest(station: str, quantity: str) -> str:
    """The highest value of one sensor in each interval: a peak is never averaged away."""
    return (
        f'SELECT max("value") FROM "reading" WHERE {_sensor(station, quantity)} AND {_SHOWN} AND $timeFilter'
        " GROUP BY time($__interval) fill(none)"
    )


def newest(station: str, quantity: str) -> str:
    """The newest value of one sensor."""
    return f'SELECT last("value") FROM "reading" WHERE {_sensor(station, quantity)} AND {_SHOWN} AND $timeFilter'


def mean(quantities: Iterable[str]) -> str:
    """Means over each interval, a line a sensor."""
    return (
        f'SELECT mean("value") FROM "reading" WHERE {_HERE} AND {_any(quantities)} AND {_SHOWN} AND $timeFilter'
        ' GROUP BY time($__interval), "station", "quantity" fill(none)'
    )


def rise(quantities: Iterable[str]) -> str:
    """Rate of change per hour between the means of neighbouring windows of ``$rise``."""
    return (
        f'SELECT derivative(mean("value"), 1h) FROM "reading" WHERE {_HERE} AND {_any(quantities)} AND {_SHOWN}'
        ' AND $timeFilter GROUP BY time($rise), "station" fill(none)'
    )


def rain_in(window: str, quantities: Iterable[str], *, factor: int = 1) -> str:
    """What a counting rain gauge added in each window, in its unit times ``factor``; a counter that starts again from
    zero adds nothing negative."""
    times = f" * {factor}" if factor != 1 else ""
    return (
        f'SELECT sum("added"){times} FROM ({_added(quantities)}) WHERE $timeFilter'
        f' GROUP BY time({window}), "station" fill(none)'
    )


def rain_total(quantities: Iterable[str]) -> str:
    """What it added in the whole time shown."""
    return f'SELECT sum("added") FROM ({_added(quantities)}) WHERE $timeFilter GROUP BY "station"'


def newest_of_all() -> str:
    """The newest value of every sensor with its flag and time, as a table."""
    return (
        f'SELECT last("value") AS "value", "flag" FROM "reading" WHERE {_HERE} AND $timeFilter'
        ' GROUP BY "station", "quantity"'
    )


def newest_time() -> str:
    """The newest value of any sensor; its time is what counts."""
    return f'SELECT last("value") FROM "reading" WHERE {_HERE} AND $timeFilter'


def count_of(flag: int) -> str:
    """How many readings with one quality flag came in each interval."""
    return (
        f'SELECT count("value") FROM "reading" WHERE {_HERE} AND "flag" = {flag} AND $timeFilter'
        " GROUP BY time($__interval) fill(0)"
    )


def _added(quantities: Iterable[str]) -> str:
    return (
        f'SELECT non_negative_difference("value") AS "added" FROM "reading" WHERE {_HERE} AND {_any(quantities)}'
        f' AND {_SHOWN} AND $timeFilter GROUP BY "station"'
    )


def _sensor(station: str, quantity: str) -> str:
    # Names are slugs (keng_contracts.registry): nothing in them needs quoting.
    return f'"commune" =~ /^$commune$/ AND "station" = \'{station}\' AND "quantity" = \'{quantity}\''


def _any(quantities: Iterable[str]) -> str:
    return f'"quantity" =~ /^({"|".join(quantities)})$/'
