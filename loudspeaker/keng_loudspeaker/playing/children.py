"""Child processes that cannot outlive the node.

Every child is started through ``setpriv --pdeathsig KILL`` (util-linux): the kernel kills it when the node dies, in
whatever way, so that a node that was killed never leaves a siren sounding or a sound server behind.

Here and in what uses it, time limits are ``asyncio.timeout`` and never ``asyncio.wait_for``: until Python 3.12 the
latter loses a cancellation that comes together with the result, and a node that is told to stop would not.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence

from keng_contracts.errors import Problem

#: Program → the Debian package that has it.
PACKAGES = {
    "mpv": "mpv",
    "espeak-ng": "espeak-ng",
    "pulseaudio": "pulseaudio",
    "pactl": "pulseaudio-utils",
    "parec": "pulseaudio-utils",
    "setpriv": "util-linux",
}


def missing(program: str) -> Problem:
    """The Problem of a program that is not installed."""
    package = PACKAGES.get(program)
    todo = f"apt-get install {package}" if package else f"install {program}, or take it out of the settings"
    return Problem("is not installed", where=program, todo=todo)


async def start(
    *command: str,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
    stderr: int = DEVNULL,
) -> Process:
    """Start a child; raises :class:`Problem` if its program is not there. Call it from the main thread only: the
    kernel ties the child to the thread that started it."""
    for program in ("setpriv", command[0]):
        if shutil.which(program) is None:
            raise missing(program)
    return await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "--", *command),
        env=env,
        pass_fds=pass_fds,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # a Ctrl-C at the terminal is for the node, which ends its children in order
    )


async def output(*command: str, env: Mapping[str, str] | None = None, within_s: float = 10.0) -> str | None:
    """What a short command prints; None if it is missing, fails or takes too long."""
    try:
        child = await start(*command, env=env, stdout=PIPE)
    except Problem:
        return None
    try:
        async with asyncio.timeout(within_s):
            printed, _ = await child.communicate()
    except TimeoutError:
        return None
    finally:
        await end(child, within_s=0)
    return printed.decode(errors="replace") if child.returncode == 0 else None


async def end(child: Process, within_s: float = 2.0) -> None:
    """End a child: politely, and after ``within_s`` by force."""
    if child.returncode is None and within_s > 0:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await child.wait()
    kill(child)
    with contextlib.suppress(TimeoutError):  # asyncio waits for its pipes too, and a full one that nobody reads stays
        async with asyncio.timeout(2.0):
            await child.wait()


def kill(child: Process) -> None:
    """End a child at once; it still has to be waited for."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
