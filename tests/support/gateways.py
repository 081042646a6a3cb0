"""Servers of others on loopback: gateways for messages to people (web hook, mail), and a feed."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.support.processes import free_port


class WebHook:
    """What Apprise's ``json://`` posts arrives in ``taken``, by the path. ``status`` is what is answered; while
    ``hold`` is cleared, nothing is."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.asked = 0
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.asked += 1
                status = hook.status
                hook.hold.wait(30)
                if status == 200:
                    hook.taken.append((self.path.strip("/"), body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str, secret: str = "s3cret") -> str:
        return f"json://user:{secret}@127.0.0.1:{self.port}/{path}"

    def titles(self, path: str = "") -> list[str]:
        return [body["title"] for at, body in list(self.taken) if path in ("", at)]

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def web_hook() -> Iterator[WebHook]:
    hook = WebHook()
    try:
        yield hook
    finally:
        hook.close()


class FeedServer:
    """Serves ``files`` by path, with an ETag; counts what was asked for and what had not changed."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.unchanged = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                body = server.files.get(self.path)
                etag = f'"{hash(body)}"'
                if body is None:
                    self.send_error(404)
                    return
                if self.headers.get("If-None-Match") == etag:
                    server.unchanged += 1
                    self.send_response(304)
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def feed_server() -> Iterator[FeedServer]:
    server = FeedServer()
    try:
        yield server
    finally:
        server.close()


class MailServer:
    """Mails that arrived: subject and text."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        mail = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        part = mail.get_body(("plain", "html"))
        self.mails.append((str(mail["Subject"]), part.get_content() if part else ""))
        return "250 taken"

    def __enter__(self) -> MailServer:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}/?from=kheng@example.org&to=truc@example.org&mode=insecure"
