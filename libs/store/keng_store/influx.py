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
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from keng_store import influx_setup
from keng_store.influx_rollups import (
    FIELDS,
    FOR_EVER,
    MEASUREMENTS,
    SETTLE_NS,
    STATE,
    TOUCHED,
    Marks,
    mark_lines,
    read_marks,
    read_rollups,
    retention,
    rollup_lines,
)
from keng_store.influx_text import CODES, as_row, escaped, is_loopback, literal, series_of, where
from keng_store.names import is_series, parts
from keng_store.protocol import (
    Aggregate,
    Resolution,
    Row,
    RowRefused,
    Span,
    StoreUnavailable,
    Touched,
    bucket_width,
)

MEASUREMENT = "reading"
#: Bodies above this size are compressed: about a tenth remains. On loopback that only costs, a quarter of the rate.
GZIP_OVER_BYTES = 8 << 10
CONNECT_TIMEOUT_S = 3.0
#: To count is to read all of a history: minutes, where there are tens of millions of points.
COUNT_TIMEOUT_S = 600.0

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
#: 1.6.7 goes on failing when there is room again: its writer of the log never tries a second time.
_DISK_FULL, _DISK_HINT = "no space left", "make room on its disk, then restart it"


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
        now_ns: Callable[[], int] = time.time_ns,
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
        self._compress = not is_loopback(url) if compress is None else compress
        self._read_only = read_only
        self._is_set_up = False
        self._version = 0
        self._has_policy = False
        self._now_ns = now_ns
        self._marks = Marks()
        self._pending: set[int] = set()
        self._read_to_ns = 0
        self._prefixes: dict[str, str] = {}
        self._max_rows = 1 << 30  # as far as we know; a 413 teaches better

    # -- the protocol -------------------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        # One line a point: of two with the same name the later one must win, whichever way a server reads a batch.
        points = {(row.series, row.time_ms): row for row in rows}
        lines = self._lines(points.values())
        self._set_up()
        now_ns = self._now_ns()
        marks = self._marks.missing(points.values(), now_ns)
        if marks:
            self._send(mark_lines(marks, now_ns, self._tags), self._kept())
            self._marks.keep(marks, now_ns)
        self._send(lines, {"precision": "ms"})

    def latest(self, commune: str) -> dict[str, Row]:
        answer = self._select(
            f"SELECT value, flag FROM {MEASUREMENT} WHERE commune = {literal(commune)}"
            " GROUP BY station, quantity ORDER BY time DESC LIMIT 1"
        )
        rows = (as_row(series_of(commune, found), *found["values"][0]) for found in answer)
        return {row.series: row for row in sorted(rows)}

    def range(self, series: str, start_ms: int, end_ms: int, max_points: int = 0) -> list[Row]:
        if start_ms >= end_ms or not is_series(series):
            return []
        points = f"FROM {MEASUREMENT} WHERE {where(series)} AND time >= {start_ms}ms AND time < {end_ms}ms"
        if not max_points:
            return [as_row(series, *point) for point in self._points(f"SELECT value, flag {points}")]
        # top() and bottom() are the selectors that leave a point its own time; of equals they take the earliest.
        width = bucket_width(start_ms, end_ms, max_points)
        kept = {
            as_row(series, *point)
            for extreme in ("bottom", "top")
            for point in self._points(
                f"SELECT {extreme}(value, 1), flag {points} GROUP BY time({width}ms, {start_ms % width}ms)"
            )
        }
        return sorted(kept, key=lambda row: row.time_ms)

    def counts(self, commune: str) -> dict[str, int]:
        answer = self._select(
            f"SELECT count(value) FROM {MEASUREMENT} WHERE commune = {literal(commune)} GROUP BY station, quantity",
            timeout_s=COUNT_TIMEOUT_S,
        )
        return dict(sorted((series_of(commune, found), found["values"][0][1]) for found in answer))

    def spans(self, resolution: Resolution | None = None) -> dict[str, Span]:
        of = f"(value) FROM {MEASUREMENT}"
        if resolution is not None:
            of = f"(count) FROM {self._named(MEASUREMENTS[resolution])}"
        times: dict[str, list[int]] = {}
        for edge in ("first", "last"):
            for found in self._select(f"SELECT {edge}{of} GROUP BY commune, station, quantity"):
                tags = found["tags"]
                if all(tags.values()):
                    name = f"{tags['commune']}/{tags['station']}/{tags['quantity']}"
                    times.setdefault(name, []).append(found["values"][0][0])
        return {name: Span(*edges) for name, edges in sorted(times.items()) if len(edges) == 2}

    def rollups(self, series: str, resolution: Resolution, start_ms: int, end_ms: int) -> list[Aggregate]:
        if start_ms >= end_ms or not is_series(series):
            return []
        query = (
            f"SELECT {FIELDS} FROM {self._named(MEASUREMENTS[resolution])} WHERE {where(series)}"
            f" AND time >= {start_ms}ms AND time < {end_ms}ms"
        )
        return read_rollups(series, self._points(query))

    def touched(self, now_ms: int, limit: int) -> list[Touched]:
        cursor, end = self._state("cursor"), now_ms * 10**6 - SETTLE_NS
        answer = self._select(
            f"SELECT bucket, commune, station, quantity FROM {self._named(TOUCHED)}"
            f" WHERE time > {cursor} AND time <= {end} ORDER BY time LIMIT {limit}",
            epoch="ns",
        )
        marks = read_marks(answer, limit)
        self._pending = {mark.token for mark in marks}
        self._read_to_ns = max(self._pending, default=0)
        return marks

    def settle(self, rollups: Mapping[Resolution, Sequence[Aggregate]], done: Sequence[Touched]) -> bool:
        self._set_up()
        self._send(rollup_lines(rollups, self._tags), {**self._kept(), "precision": "ms"})
        if self._pending:
            self._pending -= {mark.token for mark in done}
            if not self._pending:  # all that the last ``touched`` gave: a cursor has no holes
                self._set_state("cursor", self._read_to_ns)
        return True

    def forget(self, before_ms: int, limit: int) -> int:
        """By the retention policy of 1.x, which drops whole weeks and starts a month later; by DELETE on 2.x, of all
        series at once. Version 3 Core deletes by its own settings only."""
        removed_to = self._state("removed_to")
        if before_ms <= removed_to or self._version not in (1, 2) or (self._version == 1 and not self._has_policy):
            return 0
        cursor = self._state("cursor")
        journal = self._named(TOUCHED)
        if self._select(f"SELECT bucket FROM {journal} WHERE time > {cursor} AND bucket < {before_ms} LIMIT 1"):
            return 0
        self._set_state("all_raw_from", before_ms)  # first: from here on no roll-up of before is computed again
        if self._version == 1:
            policy = f"{influx_setup.quoted(influx_setup.RETENTION_POLICY)} ON {influx_setup.quoted(self._database)}"
            self._select(f"ALTER RETENTION POLICY {policy} {retention(self._now_ns(), before_ms)}", method="POST")
        else:
            self._select(
                f"DELETE FROM {MEASUREMENT} WHERE time >= {removed_to}ms AND time < {before_ms}ms", method="POST"
            )
        # What the journal says of before has been read; on 1.x and 2.x alike it need not grow for ever.
        self._select(f"DELETE FROM {TOUCHED} WHERE time <= {cursor}", method="POST")
        self._set_state("removed_to", before_ms)
        return 1

    def raw_from(self, series: str) -> int:
        if not is_series(series):
            return 0
        return max(self._state("all_raw_from"), self._state("raw_from", f"{where(series)} AND"))

    def seal(self, series: str, raw_from_ms: int) -> None:
        line = max(raw_from_ms, self._state("raw_from", f"{where(series)} AND"))
        self._set_up()
        self._send([f"{STATE},{self._tags(series)} raw_from={line}i 0"], self._kept())

    def close(self) -> None:
        self._close()

    # -- the requests -------------------------------------------------------------------------------------------

    def _send(self, lines: Sequence[str], query: Mapping[str, str]) -> None:
        """Write lines, in as many requests as the server wants; ``query`` adds to the address."""
        start = 0
        while start < len(lines):
            batch = lines[start : start + self._max_rows]
            try:
                self._post("\n".join(batch).encode(), query)
            except ApiException as error:
                if error.status == _TOO_LARGE and len(batch) > 1:
                    self._max_rows = len(batch) // 2
                    continue
                if error.status in _REFUSED or error.status == _TOO_LARGE:
                    raise RowRefused(_detail(error)) from None
                if error.status == _ABSENT:
                    self._is_set_up = False  # someone dropped the database: make it again next time
                raise self._unavailable(error) from None
            start += len(batch)

    def _lines(self, rows: Iterable[Row]) -> list[str]:
        """Rows in line protocol, up to their time; raises RowRefused."""
        prefixes, lines = self._prefixes, []
        for series, time_ms, value, flag in rows:
            prefix = prefixes.get(series)
            if prefix is None:
                prefix = prefixes[series] = f"{MEASUREMENT},{self._tags(series)} value="
            try:
                lines.append(f"{prefix}{float(value)!r},flag={CODES[flag]}i {time_ms:d}")
            except KeyError:
                raise RowRefused(f"{series}: {flag!r} is not a quality flag") from None
            except (TypeError, ValueError, OverflowError) as error:
                raise RowRefused(f"{series}: {error}") from None
        return lines

    def _tags(self, series: str) -> str:
        commune, station, quantity = (escaped(part) for part in parts(series))
        # In the order of their keys, which spares the server a sort.
        return f"commune={commune},quantity={quantity},station={station}"

    def _post(self, body: bytes, query: Mapping[str, str]) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._compress and len(body) > GZIP_OVER_BYTES:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        status, _ = self._call("POST", "/write", {"db": self._database, **query}, body, headers)
        if status != _WRITTEN:  # the log-in page of some network in between, for one
            raise StoreUnavailable(f"{self._where} answers {status} to a write, which no InfluxDB does")

    def _points(self, query: str) -> list[list[Any]]:
        """Time, value and flag of each point of one series; empty buckets left out."""
        return [point for found in self._select(query) for point in found["values"] if point[1] is not None]

    def _select(
        self, query: str, *, epoch: str = "ms", method: str = "GET", timeout_s: float | None = None
    ) -> list[dict[str, Any]]:
        """The series of one InfluxQL statement's answer, each with ``tags``, ``columns`` and ``values``."""
        self._set_up()
        asked = {"db": self._database, "epoch": epoch, "q": query}
        try:
            _, body = self._call(method, "/query", asked, timeout_s=timeout_s)
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
        timeout_s: float | None = None,
    ) -> tuple[int, bytes]:
        """One request; status and body of its answer. Raises ApiException for a status that is not a success, and
        StoreUnavailable when there is no answer, within ``timeout_s`` if it is given."""
        try:
            response = self._client.api_client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=dict(headers or {}),
                body=body,
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=None if timeout_s is None else (CONNECT_TIMEOUT_S * 1000, timeout_s * 1000),
            )
            return response.status, response.data
        except HTTPError as error:
            raise StoreUnavailable(f"{self._where} does not answer ({type(error).__name__})") from None

    def _kept(self) -> dict[str, str]:
        """What a write of something that stays for ever adds to the address."""
        return {"rp": FOR_EVER} if self._has_policy else {}

    def _named(self, measurement: str) -> str:
        """A measurement of what stays for ever, in a query."""
        self._set_up()
        return f"{FOR_EVER}.{measurement}" if self._has_policy else measurement

    def _state(self, field: str, of: str = "") -> int:
        found = self._select(f"SELECT {field} FROM {self._named(STATE)} WHERE {of} time >= 0 AND time < 1s")
        return int(found[0]["values"][0][1]) if found else 0

    def _set_state(self, field: str, value: int) -> None:
        self._send([f"{STATE} {field}={value}i 0"], self._kept())

    def _set_up(self) -> None:
        if self._is_set_up:
            return
        try:
            if not self._read_only:
                influx_setup.make_database(self._client, self._database)
            self._version = influx_setup.major_version(self._client)
            self._has_policy = self._version == 1 and influx_setup.has_policy(self._client, self._database)
        except ApiException as error:
            raise self._unavailable(error) from None
        except HTTPError as error:
            raise StoreUnavailable(f"{self._where} does not answer ({type(error).__name__})") from None
        # A reader that came before the first writer looks again.
        self._is_set_up = not self._read_only or self._version != 1 or self._has_policy

    def _unavailable(self, error: ApiException) -> StoreUnavailable:
        detail = _detail(error)
        hint = _DISK_HINT if _DISK_FULL in detail else _HINTS.get(error.status, "")
        wait = str(error.headers.get("Retry-After", "")) if error.headers else ""
        return StoreUnavailable(
            f"{self._where} answers {error.status} {detail}" + (f"; {hint}" if hint else ""),
            float(wait) if wait.isdecimal() else None,
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
