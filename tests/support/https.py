"""A small HTTPS server on a free loopback port, with a certificate of the commune's authority.

It serves what its ``files`` hold, honours range requests, and can be told to misbehave.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.support.broker import credentials

#: Answers a request in its own way.
Answer = Callable[[BaseHTTPRequestHandler], None]


class HttpsServer:
    """``with HttpsServer() as server: server.files["/a.wav"] = b"…"``; ``requests`` holds (path, Range) as they came.
    ``answers`` are used up one by one, each for one request, before files are served. While it is not ``reachable`` it
    hangs up."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.answers: list[Answer] = []
        self.reachable = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range", "")
                outer.requests.append((self.path, wanted))
                if outer.answers:
                    outer.answers.pop(0)(self)
                elif self.path not in outer.files:
                    self.send_error(404)
                else:
                    whole = outer.files[self.path]
                    first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                    self.send_response(206 if wanted else 200)
                    self.send_header("Content-Length", str(len(whole) - first))
                    self.end_headers()
                    self.wfile.write(whole[first:])

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def verify_request(self, *_: object) -> bool:
                return outer.reachable

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = credentials() / "broker"
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"https://localhost:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()


def breaks_after(content: bytes, sent: int) -> Answer:
    """Promises the whole and closes the connection after ``sent`` bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:sent])
        handler.close_connection = True

    return answer


def says(status: int, **headers: str) -> Answer:
    """Answers with this status and nothing else."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def sends(content: bytes) -> Answer:
    """Answers any request with all of this."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content)

    return answer
