"""Child processes that end when the demo does, however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from keng_contracts.errors import Problem

_PR_SET_PDEATHSIG = 1
_STOP_S = 8.0


#: Runs a command and ends it when standard input closes, that is, when the demo is gone.
_LEASH = '"$@" & child=$!; trap "kill $child" TERM; read -r _; kill $child 2>/dev/null; wait $child'


def _die_with_parent() -> None:
    """In the child: be told to stop when the demo is gone, even if it was killed (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Children:
    """Started in order, stopped in the opposite order, each by its own process id. Logs go into ``logs``."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], *, changes_user: bool = False) -> int:
        """Start a child; returns its process id. One that ``changes_user`` (mosquitto, started by root) is kept on a
        leash of its own: with its credentials the kernel forgets the signal that it was to send."""
        if changes_user:
            command = ["sh", "-c", _LEASH, "leash", *command]
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE if changes_user else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to handle: the children are stopped in order
                preexec_fn=_die_with_parent,
            )
        return self._running[name].pid

    def check(self) -> None:
        """Raise Problem if a child has ended, with the last line that it said."""
        for name, child in self._running.items():
            if child.poll() is not None:
                raise Problem(
                    f"ended with status {child.returncode}: {self.last_words(name)}",
                    where=name,
                    todo=f"its whole log is {self._logs / name}.log (keep it with --keep)",
                )

    def last_words(self, name: str) -> str:
        with contextlib.suppress(OSError):
            lines = (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
            return next((line for line in reversed(lines) if line.strip()), "")
        return ""

    def stop(self, name: str) -> None:
        """Ask one child to stop, insist after a while; returns when it is gone."""
        child = self._running.pop(name, None)
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def stop_all(self) -> None:
        """Stop everything: all but the first are asked at once, the first (the broker) when they are gone."""
        first, *others = self._running or [""]
        for names in (others, [first]):
            for name in names:
                if name in self._running and self._running[name].poll() is None:
                    self._running[name].terminate()
            deadline = time.monotonic() + _STOP_S
            for name in names:
                child = self._running.pop(name, None)
                if child is None:
                    continue
                try:
                    child.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
