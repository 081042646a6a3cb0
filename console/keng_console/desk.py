"""Where this machine's administrators speak to the running console: a Unix socket in its state folder.

Whoever may open the socket (its owner, its group, root) has the authority to command edge nodes and loudspeakers; the
kernel says who it is (SO_PEERCRED), and every order carries that name. Nothing of it is on a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from keng_console.database import DatabaseUnavailable
from keng_console.talk import REQUEST, Request
from keng_contracts.errors import Problem
from keng_runtime.settings import explain

#: sockaddr_un has 108 bytes for the path and its ending NUL (unix(7)).
MAX_PATH_BYTES = 107
MAX_REQUEST_BYTES = 256 * 1024
REQUEST_S = 5.0
#: People who speak at the same time.
MAX_TALKS = 20


@contextmanager
def listen(path: Path) -> Iterator[socket.socket]:
    """The listening socket, for owner and group only; raises :class:`Problem`. Removed at the end."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        what = f"is too long for the socket by which commands are given ({MAX_PATH_BYTES} bytes at most)"
        raise Problem(what, where=str(path), todo="set 'state' to a folder with a shorter path")
    if _answers(path):
        todo = "end it, or give this one its own 'state' folder"
        raise Problem("another console uses this state folder", where=str(path), todo=todo)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        os.fchmod(listening.fileno(), 0o600)  # before bind, so that it is never open to others
        listening.bind(str(path))
        path.chmod(0o660)
        listening.listen(MAX_TALKS)
    except OSError as error:
        listening.close()
        raise Problem(
            f"the socket by which commands are given can't be made ({error.strerror})",
            where=str(path),
            todo="let the folder belong to the user of this service",
        ) from None
    try:
        yield listening
    finally:
        listening.close()
        with contextlib.suppress(OSError):
            path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks: ``by`` is the Unix user, as the kernel says; ``more`` is what comes after the request."""

    by: str
    more: asyncio.StreamReader


#: Answers a request, line by line; may raise Problem and DatabaseUnavailable.
Answer = Callable[[Any, Caller], AsyncGenerator[dict[str, Any], None]]


class Desk:
    """Serves the socket; ``answers`` are those to each kind of request."""

    def __init__(self, answers: Mapping[type[Request], Answer]) -> None:
        self._answers = answers
        self._talks: set[asyncio.Task[None]] = set()

    async def serve(self, listening: socket.socket) -> None:
        """Until cancelled; who still waits for an answer is sent away then."""
        server = await asyncio.start_unix_server(self._talk, sock=listening, limit=MAX_REQUEST_BYTES)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for talk in self._talks:
                talk.cancel()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            async with aclosing(self._answer(Caller(_peer(writer), reader))) as lines:
                async for line in lines:
                    writer.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # one of the two ends has gone; what was ordered is recorded all the same
        finally:
            self._talks.discard(talk)
            writer.close()

    async def _answer(self, caller: Caller) -> AsyncGenerator[dict[str, Any], None]:
        try:
            if len(self._talks) > MAX_TALKS:
                raise Problem("too many speak to the console at once", where="console", todo="try again")
            request = await _request(caller.more)
            async with aclosing(self._answers[type(request)](request, caller)) as lines:
                async for line in lines:
                    yield line
            yield {"end": True}
        except Problem as problem:
            yield {"problem": vars(problem)}
        except DatabaseUnavailable as error:
            away = Problem(f"does not answer ({error})", where="operational database", todo="try again")
            yield {"problem": vars(away)}


async def _request(reader: asyncio.StreamReader) -> Request:
    try:
        async with asyncio.timeout(REQUEST_S):
            return REQUEST.validate_json(await reader.readline())
    except ValidationError as error:
        raise Problem(explain(error), where="request", todo="see 'keng console tell --help'") from None
    except (ValueError, TimeoutError):
        raise Problem("no request came", where="request", todo="see 'keng console tell --help'") from None


def _peer(writer: asyncio.StreamWriter) -> str:
    """Who is at the other end: the name of the Unix user, or the number of one without a name."""
    credentials = struct.Struct("3i")
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    _pid, uid, _gid = credentials.unpack(raw)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
