"""Readings in InfluxDB 1.6 to 3, by what all of them have: ``POST /write`` (line protocol) and InfluxQL ``GET /query``.

A reading is one point of the measurement ``reading``: tags ``commune``, ``station``, ``quantity``, fields ``value``
(float) and ``flag`` (integer), time in ms. InfluxDB names a point by tags and time, so writing it again replaces it.

influxdb-client carries the requests (its pool of connections, its authorization, its calls for buckets); its own
batching writer is not used, for it answers before the data is safe. Here a write has happened when the server said
204, and every other answer keeps the rows with the caller: 400 and 422 speak of a row (RowRefused), 413 halves the
batch, anything else (401, 404, 429, 5xx, no answer in time) is StoreUnavailable.
"""

from __future__ import annotations

import gzip
import json
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from keng_contracts.telemetry import Flag
from keng_store import influx_setup
from keng_store.names import is_series, parts
from keng_store.protocol import Row, RowRefused, StoreUnavailable, bucket_width

MEASUREMENT = "reading"
#: Bodies above this size are compressed: about a tenth remains. On loopback that only costs, a quarter of the rate.
GZIP_OVER_BYTES = 8 << 10
CONNECT_TIMEOUT_S = 3.0

_FLAGS = {flag.value: flag for flag in Flag}

_WRITTEN = 204
_REFUSED = {400, 422}
_TOO_LARGE = 413
_ABSENT = 404
_HINTS = {
    401: "check the token or the user and password",
    403: "the token or user may not do that here",
    404: "the database is not there",
    429: "it asks for patience",
}


class InfluxStore:
    """The database or bucket ``database`` of the server at ``url``. Opening it asks the server nothing.

    Before its first write a store that is not ``read_only`` makes sure that the database is there (1.x: CREATE
    DATABASE; 2.x: bucket and DBRP mapping; 3: the server does it). ``timeout_s`` bounds the wait for an answer.
    Large bodies are compressed, unless the server is on this machine or ``compress`` says otherwise.
    """

    def __init__(
        self,
        url: str,
        database: str,
        *,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        org: str | None = None,
        ca_file: Path | None = None,
        read_only: bool = False,
        timeout_s: float = 10.0,
        compress: bool | None = None,
    ) -> None:
        self._where = f"InfluxDB at {url}/{database}"
        self._database = database
        self._client: Any = InfluxDBClient(
            url,
            token=f"{user}:{password}" if user else token or "",
            auth_basic=bool(user),
            org=org or "",
            ssl_ca_cert=str(ca_file) if ca_file else None,
            timeout=(CONNECT_TIMEOUT_S * 1000, timeout_s * 1000),
        )
        # Also at the end of the interpreter, before what the client needs for closing is gone.
        self._close = weakref.finalize(self, self._client.close)
        self._compress = not _is_loopback(url) if compress is None else compress
        self._read_only = read_only
        self._is_set_up = read_only
        self._prefixes: dict[str, str] = {}
        self._max_rows = 1 << 30  # as far as we know; a 413 teaches better

    # -- the protocol -------------------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> None:
        # One line a point: of two with the same name the later one must win, whichever way a server reads a batch.
        points = {(row.series, row.time_ms): row for row in rows}
        lines = [self._line(*row) for row in points.values()]
        self._set_up()
        start = 0
        while start < len(lines):
            batch = lines[start : start + self._max_rows]
            try:
                self._post("\n".join(batch).encode())
            except ApiException as error:
                if error.status == _TOO_LARGE and len(batch) > 1:
                    self._max_rows = len(batch) // 2
                    continue
                if error.status in _REFUSED or error.status == _TOO_LARGE:
                    raise RowRefused(_detail(error)) from None
                if error.status == _ABSENT:
                    self._is_set_up = self._read_only  # someone dropped the database: make it again next time
                raise self._unavailable(error) from None
            start += len(batch)

    def latest(self, commune: str) -> dict[str, Row]:
        answer = self._select(
            f"SELECT value, flag FROM {MEASUREMENT} WHERE commune = {_literal(commune)}"
            " GROUP BY station, quantity ORDER BY time DESC LIMIT 1"
        )
        rows = (_row(_series(commune, series), *series["values"][0]) for series in answer)
        return {row.series: row for row in sorted(rows)}

    def range(self, series: str, start_ms: int, end_ms: int, max_points: int = 0) -> list[Row]:
        if start_ms >= end_ms or not is_series(series):
            return []
        commune, station, quantity = map(_literal, parts(series))
        where = (
            f"FROM {MEASUREMENT} WHERE commune = {commune} AND station = {station} AND quantity = {quantity}"
            f" AND time >= {start_ms}ms AND time < {end_ms}ms"
        )
        if not max_points:
            return [_row(series, *point) for point in self._points(f"SELECT value, flag {where}")]
        # top() and bottom() are the selectors that leave a point its own time; of equals they take the earliest.
        width = bucket_width(start_ms, end_ms, max_points)
        kept = {
            _row(series, *point)
            for extreme in ("bottom", "top")
            for point in self._points(
                f"SELECT {extreme}(value, 1), flag {where} GROUP BY time({width}ms, {start_ms % width}ms)"
            )
        }
        return sorted(kept, key=lambda row: row.time_ms)

    def counts(self, commune: str) -> dict[str, int]:
        answer = self._select(
            f"SELECT count(value) FROM {MEASUREMENT} WHERE commune = {_literal(commune)} GROUP BY station, quantity"
        )
        return dict(sorted((_series(commune, series), series["values"][0][1]) for series in answer))

    def close(self) -> None:
        self._close()

    # -- the requests -------------------------------------------------------------------------------------------

    def _line(self, series: str, time_ms: int, value: float, flag: Flag) -> str:
        prefix = self._prefixes.get(series)
        if prefix is None:
            commune, station, quantity = (_escaped(part) for part in parts(series))
            # Tags in the order of their keys spare the server a sort.
            prefix = f"{MEASUREMENT},commune={commune},quantity={quantity},station={station} value="
            self._prefixes[series] = prefix
        try:
            return f"{prefix}{float(value)!r},flag={_FLAGS[flag]:d}i {time_ms:d}"
        except KeyError:
            raise RowRefused(f"{series}: {flag!r} is not a quality flag") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise RowRefused(f"{series}: {error}") from None

    def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._compress and len(body) > GZIP_OVER_BYTES:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        status, _ = self._call("POST", "/write", {"db": self._database, "precision": "ms"}, body, headers)
        if status != _WRITTEN:  # the log-in page of some network in between, for one
            raise StoreUnavailable(f"{self._where} answers {status} to a write, which no InfluxDB does")

    def _points(self, query: str) -> list[list[Any]]:
        """Time, value and flag of each point of one series; empty buckets left out."""
        return [point for found in self._select(query) for point in found["values"] if point[1] is not None]

    def _select(self, query: str) -> list[dict[str, Any]]:
        """The series of one InfluxQL statement's answer, each with ``tags``, ``columns`` and ``values``."""
        self._set_up()
        try:
            _, body = self._call("GET", "/query", {"db": self._database, "epoch": "ms", "q": query})
            result = json.loads(body)["results"][0]
        except ApiException as error:
            raise self._unavailable(error) from None
        except (ValueError, TypeError, LookupError):
            raise StoreUnavailable(f"{self._where}: what answers there is no InfluxDB") from None
        if "error" in result:
            raise StoreUnavailable(f"{self._where}: {result['error']}")
        found: list[dict[str, Any]] = result.get("series", [])
        return found

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One request; status and body of its answer. Raises ApiException for a status that is not a success, and
        StoreUnavailable when there is no answer."""
        try:
            response = self._client.api_client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=dict(headers or {}),
                body=body,
                _preload_content=False,
                _return_http_data_only=True,
            )
            return response.status, response.data
        except HTTPError as error:
            raise StoreUnavailable(f"{self._where} does not answer ({type(error).__name__})") from None

    def _set_up(self) -> None:
        if self._is_set_up:
            return
        try:
            influx_setup.make_database(self._client, self._database)
        except ApiException as error:
            raise self._unavailable(error) from None
        except HTTPError as error:
            raise StoreUnavailable(f"{self._where} does not answer ({type(error).__name__})") from None
        self._is_set_up = True

    def _unavailable(self, error: ApiException) -> StoreUnavailable:
        hint = _HINTS.get(error.status, "")
        wait = str(error.headers.get("Retry-After", "")) if error.headers else ""
        return StoreUnavailable(
            f"{self._where} answers {error.status} {_detail(error)}" + (f"; {hint}" if hint else ""),
            float(wait) if wait.isdigit() else None,
        )


def _detail(error: ApiException) -> str:
    """The server's own word, shortened: ``{"error": …}`` (1.x, 3) or ``{"message": …}`` (2.x), or else the body."""
    body = error.body or b""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        document = json.loads(text)
        text = str(document.get("error") or document.get("message") or text)
    except (ValueError, AttributeError):
        pass
    return (text.strip() or str(error.reason))[:300]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _row(series: str, time_ms: int, value: float, flag: int | None) -> Row:
    """A point as a row; what someone else wrote there without a flag of ours was not evaluated."""
    return Row(series, time_ms, float(value), _FLAGS.get(flag or 0, Flag.NOT_EVALUATED))


def _series(commune: str, answer: Mapping[str, Any]) -> str:
    return f"{commune}/{answer['tags']['station']}/{answer['tags']['quantity']}"


def _escaped(tag: str) -> str:
    """A tag value in line protocol; backslashes and line breaks can't occur (see :mod:`keng_store.names`)."""
    return tag.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")


def _literal(text: str) -> str:
    """A string literal of InfluxQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
