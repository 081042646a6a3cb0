"""A real InfluxDB (1.6.7, as Debian has it) on free loopback ports, and a real HTTP server that stands in front of one
and misbehaves on demand.

>>> # with RunningInflux() as influx:
>>> #     store = open_store(StoreSettings(url=influx.new_database()))
>>> #     influx.kill(); influx.start()      # SIGKILL and back: same port, same data
"""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import shutil
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support.processes import Process, eventually, free_port

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
  dir = "{home}/meta"
[data]
  dir = "{home}/data"
  wal-dir = "{home}/wal"
  query-log-enabled = false
  index-version = "inmem"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
  log-enabled = false
[retention]
  check-interval = "1s"
[continuous_queries]
  enabled = false
[logging]
  level = "warn"
"""


class RunningInflux:
    """influxd with a data folder of its own (``home``, or a temporary one), kept over :meth:`kill` and :meth:`start`
    and removed at the end."""

    def __init__(self, *, auth: bool = False, home: Path | None = None) -> None:
        assert shutil.which("influxd"), "influxd is not installed: apt-get install influxdb"
        self.home = home or Path(tempfile.mkdtemp(prefix="keng-influx-"))
        self.port = free_port()
        self._auth = auth
        self._process: Process | None = None
        self._names = (f"test-{number}" for number in itertools.count(1))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_database(self) -> str:
        """The URL of a database that is not there yet: as ``url`` of StoreSettings."""
        return f"{self.url}/{next(self._names)}"

    def start(self) -> None:
        """Start, or start again with the same port and data; returns when it answers."""
        config = self.home / "influxdb.conf"
        auth = "true" if self._auth else "false"
        config.write_text(
            _CONFIG.format(home=self.home, port=self.port, rpc_port=free_port(), auth=auth), encoding="utf-8"
        )
        self._process = Process(["influxd", "-config", config], log=self.home / "log")
        eventually(self._answers, within=20, what="influxd answers")

    def _answers(self) -> bool:
        assert self._process is not None and self._process.running, f"influxd ended:\n{self.text()}"
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as answer:
                return int(answer.status) == 204
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def text(self) -> str:
        """influxd's log."""
        return self._process.text() if self._process else ""

    def query(self, statement: str, database: str = "", **parameters: str) -> list[dict[str, Any]]:
        """The series of one InfluxQL statement's answer, straight from the server; its error fails the test."""
        sent = urllib.parse.urlencode({"q": statement, "db": database, "epoch": "ms", **parameters}).encode()
        with urllib.request.urlopen(f"{self.url}/query", data=sent, timeout=20) as answer:
            result = json.load(answer)["results"][0]
        assert "error" not in result, f"{result['error']}\n{statement}"
        found: list[dict[str, Any]] = result.get("series", [])
        return found

    def write(self, database: str, lines: str) -> None:
        """Write line protocol, straight to the server, as some other program would."""
        query = urllib.parse.urlencode({"db": database})
        urllib.request.urlopen(f"{self.url}/write?{query}", data=lines.encode(), timeout=20).close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._clear_away()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is not None:
            print(f"--- log of influxd ---\n{self.text()}")
        self._clear_away()

    def _clear_away(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


class Call(NamedTuple):
    """One request as it came; ``body`` is unpacked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str


class Answer(NamedTuple):
    """What the front answers by itself."""

    status: int
    body: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012


class Fault(Enum):
    """What it does instead of answering."""

    HANG = "takes the request and says nothing"
    CUT = "closes the connection"
    TAKE_AND_CUT = "passes the request on and closes the connection before the answer"


class Front:
    """An HTTP server that passes requests on to ``behind``, unless :attr:`rule` says otherwise.

    ``rule(call)`` gives an Answer, a Fault, or None to pass on. All calls are kept in :attr:`calls`.
    """

    def __init__(self, behind: str = "") -> None:
        self.rule: Callable[[Call], Answer | Fault | None] = lambda _: None
        self.calls: list[Call] = []
        self._behind = urllib.parse.urlsplit(behind)
        self._closing = threading.Event()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                front._handle(self)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        raw = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        split = urllib.parse.urlsplit(request.path)
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
        call = Call(request.command, split.path, dict(urllib.parse.parse_qsl(split.query)), headers, body.decode())
        self.calls.append(call)
        ruling = self.rule(call)
        if ruling is Fault.HANG:
            self._closing.wait(60)
        if isinstance(ruling, Answer):
            status, answer_body, answer_headers = ruling.status, ruling.body.encode(), ruling.headers
        elif ruling in (None, Fault.TAKE_AND_CUT):
            status, answer_body, answer_headers = self._pass_on(request, raw)
        if isinstance(ruling, Fault):
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in answer_headers.items():
            request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(answer_body)))
        request.end_headers()
        request.wfile.write(answer_body)

    def _pass_on(self, request: BaseHTTPRequestHandler, raw: bytes) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self._behind.hostname or "", self._behind.port, timeout=20)
        try:
            connection.request(request.command, request.path, raw, dict(request.headers.items()))
            answer = connection.getresponse()
            kept = {
                name: value for name, value in answer.getheaders() if name.lower().startswith(("x-influx", "content-t"))
            }
            return answer.status, answer.read(), kept
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
