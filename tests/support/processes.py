"""Real processes in tests: free ports, waiting on conditions, children with their log in a file."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_POLL_S = 0.02


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now, from below those that the kernel gives to outgoing connections:
    a server that was stopped can come back to it."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    """Whether somebody takes connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(condition: Callable[[], T], within: float = 20.0, what: str = "") -> T:
    """Ask until ``condition()`` is truthy and return it; fails, saying ``what``, once ``within`` seconds are over."""
    deadline = time.monotonic() + within
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or inspect.getsource(condition).strip()}")
        time.sleep(_POLL_S)


async def until(condition: Callable[[], T | Awaitable[T]], within: float = 20.0, what: str = "") -> T:
    """:func:`eventually` for async tests; the condition may be a coroutine function."""
    deadline = time.monotonic() + within
    while True:
        asked = condition()
        answer: Any = await asked if inspect.isawaitable(asked) else asked
        if answer:
            return answer  # type: ignore[no-any-return]
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or inspect.getsource(condition).strip()}")
        await asyncio.sleep(_POLL_S)


class Process:
    """A child of the test, started at once, with what it prints in ``log``. Ended by its own process id."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.log = log
        self._name = " ".join(map(str, command[:3]))
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                user=user,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs; negative for the signal that ended it."""
        return self._child.poll()

    def text(self) -> str:
        """All that it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def says(self, words: str, within: float = 20.0) -> None:
        """Wait until it has printed ``words``."""
        deadline = time.monotonic() + within
        while words not in self.text():
            assert self.running, f"{self._name} ended with {self.status} before it said {words!r}:\n{self.text()}"
            assert time.monotonic() < deadline, f"{self._name} has not said {words!r}:\n{self.text()}"
            time.sleep(_POLL_S)

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._child.kill()
        self._child.wait()

    def wait(self, within: float = 20.0) -> int:
        """Its exit status, once it has ended by itself."""
        return self._child.wait(within)

    def stop(self, within: float = 15.0) -> int:
        """Ask it to end (SIGTERM), insist after ``within`` seconds; its exit status."""
        if self.running:
            self._child.terminate()
            try:
                self._child.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self.stop()
        if kind is not None:
            print(f"--- log of {self._name} ---\n{self.text()}")
