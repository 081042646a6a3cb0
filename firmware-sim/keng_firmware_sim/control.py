"""The control socket: a Unix socket on which a running simulator takes orders. See :mod:`keng_firmware_sim.orders`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keng_contracts.errors import Problem
from keng_firmware_sim import orders

#: How long a client waits for the reply, in seconds.
_PATIENCE_S = 10.0

Obey = Callable[[orders.Order], dict[str, Any]]


async def serve(path: Path, obey: Obey) -> asyncio.Server:
    """Listen at ``path``, for its owner alone. Raises :class:`Problem` when it can't."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: a line beyond asyncio's limit; that client goes
            while line := await reader.readline():
                writer.write(json.dumps(_reply(line, obey), ensure_ascii=False).encode() + b"\n")
                await writer.drain()
        writer.close()

    _make_way(path)
    try:
        mask = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(take, str(path))
        finally:
            os.umask(mask)
    except OSError as error:
        what = error.strerror or str(error)
        raise Problem(
            f"no control socket can be made: {what}", where=str(path), todo="take another --control"
        ) from None


def send(path: Path, order: orders.Order) -> dict[str, Any]:
    """Give one order to the simulator at ``path``. Raises :class:`Problem` with its reason when it refuses."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(str(path))
            connection.sendall(order.model_dump_json().encode() + b"\n")
            with connection.makefile("rb") as replies:
                line = replies.readline()
    except OSError as error:
        raise Problem(
            f"no simulator answers: {error.strerror or error}", where=str(path), todo="start one with this --control"
        ) from None
    reply: dict[str, Any] = json.loads(line) if line else {"ok": False, "error": "it ended"}
    if not reply.pop("ok"):
        raise Problem(str(reply["error"]))
    return reply


def _reply(line: bytes, obey: Obey) -> dict[str, Any]:
    try:
        return {"ok": True} | obey(orders.read(line))
    except Problem as problem:
        return {"ok": False, "error": str(problem)}


def _make_way(path: Path) -> None:
    """Remove the socket of a simulator that was killed; leave alone one that still answers, and any other file."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise Problem("another simulator listens here", where=str(path), todo="stop it, or take another --control")
