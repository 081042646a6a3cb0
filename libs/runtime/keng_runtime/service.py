"""The life of a service: start, tell systemd, stop on a signal, and end with one clear line on a Problem."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from keng_contracts.errors import Problem

log = logging.getLogger(__name__)

#: Exit status for something that a person must mend (bad settings, missing key); systemd does not restart on it.
EXIT_PROBLEM = 2


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run ``main(stop)`` until it returns; SIGTERM and SIGINT set ``stop``. Returns the exit status."""

    async def live() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        watchdog = asyncio.create_task(_feed_watchdog())
        try:
            await main(stop)
        finally:
            notify("STOPPING=1")
            watchdog.cancel()

    try:
        asyncio.run(live())
    except Problem as problem:
        print(f"keng: {problem}", file=sys.stderr)
        return EXIT_PROBLEM
    except BaseExceptionGroup as group:
        problems, others = group.split(Problem)
        if others is not None or problems is None:
            raise
        for one in problems.exceptions:
            print(f"keng: {one}", file=sys.stderr)
        return EXIT_PROBLEM
    return 0


async def until(stop: asyncio.Event, *jobs: Coroutine[Any, Any, None]) -> None:
    """Run the jobs side by side until ``stop`` is set or one of them ends; an error of one ends all and is raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    stopper = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({stopper, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task is not stopper:
                task.result()
    finally:
        stopper.cancel()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)): ``READY=1``, ``STATUS=…``, ``WATCHDOG=1``. Without systemd it does nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
        out.sendto(state.encode(), address)


_checks: list[Callable[[], bool]] = []


def feed_watchdog_only_while(check: Callable[[], bool]) -> None:
    """Make systemd's watchdog depend on more than a loop that turns: on this check as well."""
    _checks.append(check)


async def _feed_watchdog() -> None:
    """Feed systemd's watchdog from the event loop itself: a loop that hangs stops feeding and is restarted."""
    period_us = int(os.environ.get("WATCHDOG_USEC", "0"))
    while period_us:
        if all(check() for check in _checks):
            notify("WATCHDOG=1")
        await asyncio.sleep(period_us / 1e6 / 3)
