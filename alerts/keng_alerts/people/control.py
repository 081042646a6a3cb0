"""The machine's own way to the service, for when console and broker are down: one JSON object a line in, one out.

``{"do": "list"}`` is answered with all alerts; ``{"alert": "phu-oc-level", "order": {"do": "alert-confirm", …}}`` with
how that went. Who may open the socket (file mode 0660) has this machine's authority; the Unix user at the other end is
asked of the kernel (SO_PEERCRED, unix(7)) and recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keng_contracts.errors import Problem

log = logging.getLogger(__name__)

NAME = "alerts.sock"
_MODE = 0o660
_LINE = 1 << 16
_PATIENCE_S = 10.0


async def serve(folder: Path, answer: Callable[[dict[str, Any], str], dict[str, Any]]) -> None:
    """Answer until cancelled; ``answer`` gets the request and the Unix user. A socket that can't be had is told and
    stops nothing: no siren depends on it."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.LimitOverrunError, ValueError, TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                line = await reader.readline()
            writer.write(_reply(line, _user(writer.get_extra_info("socket")), answer))
            await writer.drain()
        writer.close()

    try:
        with _short(folder) as address:
            listener = _listen(Path(address))
            async with await asyncio.start_unix_server(converse, sock=listener, limit=_LINE) as server:
                await server.serve_forever()
    except OSError as error:
        log.error("%s: orders at this machine can't be taken (%s)", folder / NAME, error.strerror)
        await asyncio.Event().wait()


def _reply(line: bytes, user: str, answer: Callable[[dict[str, Any], str], dict[str, Any]]) -> bytes:
    try:
        request = json.loads(line)
        reply = answer(request, user) if isinstance(request, dict) else {"ok": False, "detail": "no JSON object"}
    except ValueError:
        reply = {"ok": False, "detail": "no JSON"}
    return json.dumps(reply, ensure_ascii=False).encode() + b"\n"


def _listen(address: Path) -> socket.socket:
    address.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    address.chmod(_MODE)
    listener.listen()
    return listener


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """The socket's address; a socket's path may have 107 bytes at most (unix(7)), a folder's more."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{NAME}"
    finally:
        os.close(handle)


def _user(peer: socket.socket) -> str:
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def ask(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the running service; raises :class:`Problem` if it doesn't answer."""
    where = str(folder / NAME)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_PATIENCE_S)
            with _short(folder) as address:
                client.connect(address)
            client.sendall(json.dumps(request, ensure_ascii=False).encode() + b"\n")
            with client.makefile("rb") as answer:
                reply = json.loads(answer.readline())
    except (FileNotFoundError, ConnectionRefusedError):
        raise Problem("alerts does not run here", where=where, todo="start it, or name its settings") from None
    except PermissionError:
        raise Problem("this user may not order alerts", where=where, todo="use one of the socket's group") from None
    except (OSError, ValueError) as error:
        raise Problem(f"alerts does not answer ({error})", where=where, todo="look at its log") from None
    if not isinstance(reply, dict):
        raise Problem("alerts does not answer in its protocol", where=where)
    return reply
