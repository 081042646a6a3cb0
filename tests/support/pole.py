"""The pole on which a loudspeaker node stands, in compressed time: its power, its clocks, and what is true of it when.

One place makes all the time there is: the event loop's. The node's monotonic clock, its time since the machine started
and its wall clock are that time, from another beginning or wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from keng_loudspeaker.alone import keeper
from keng_runtime import clock
from tests.support.compressed import CompressedLoop

HANOI = timezone(timedelta(hours=7))
MONDAY = datetime(2025, 11, 17, tzinfo=HANOI)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def ms(at: datetime) -> int:
    """Milliseconds since 1970 UTC."""
    return round(at.timestamp() * 1000)


START_MS = ms(MONDAY)


class LeapingLoop(CompressedLoop):
    """Nothing wakes it more often than every ``leap_s`` while ``calm_until`` says that nothing is to happen: a month of
    looking at the clock twice a second would take an hour. Sleepers then wake late, as after a machine's sleep."""

    leap_s = 600.0

    def __init__(self) -> None:
        super().__init__()
        self.calm_until: Callable[[float], float] = lambda now_s: now_s

    def time(self) -> float:
        return self._reached

    def skip(self, seconds: float) -> None:
        super().skip(max(seconds, min(self.leap_s, self.calm_until(self._reached) - self._reached)))


class History:
    """What was true when: each key has a value from a time on, False at first. Times are the loop's, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changes: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def set(self, key: str, value: int) -> None:
        if value != self.now(key):
            self._changes[key].append((self._loop.time(), value))

    def now(self, key: str) -> int:
        return self._changes[key][-1][1] if self._changes[key] else False

    def at(self, key: str, at_s: float) -> int:
        """The value at that time; of two that are set at once the later counts."""
        changes = self._changes[key]
        i = bisect_right(changes, at_s, key=lambda change: change[0])
        return changes[i - 1][1] if i else False

    def changes(self, key: str) -> list[tuple[float, int]]:
        """(when, from then on)"""
        return self._changes[key]

    def spans(self, *keys: str) -> list[tuple[float, float]]:
        """(from, until) of every time in which all keys were true; the last may end now."""
        moments = sorted({at_s for key in keys for at_s, _ in self._changes[key]} | {self._loop.time()})
        spans: list[tuple[float, float]] = []
        for first, last in itertools.pairwise(moments):
            if all(self.at(key, first) for key in keys):
                if spans and spans[-1][1] == first:
                    spans[-1] = (spans[-1][0], last)
                else:
                    spans.append((first, last))
        return spans

    def throughout(self, first: float, last: float, *keys: str) -> bool:
        return any(begin <= first and last <= end for begin, end in self.spans(*keys))


class Machine:
    """A machine whose wall clock is ``wrong_ms`` off; ``synced`` is NTP's word for it, which needs the link."""

    def __init__(self, loop: LeapingLoop) -> None:
        self._loop = loop
        self.starts = 0
        self.started_s = 0.0
        self.wrong_ms = 0
        self.synced = False

    @property
    def true_ms(self) -> int:
        return START_MS + round(self._loop.time() * 1000)

    @property
    def wall_s(self) -> float:
        return (self.true_ms + self.wrong_ms) / 1000

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give this machine's time to everything in this process that asks for one."""
        monkeypatch.setattr(time, "monotonic", self._loop.time)
        monkeypatch.setattr(time, "time", lambda: self.wall_s)
        monkeypatch.setattr(time, "time_ns", lambda: (self.true_ms + self.wrong_ms) * 1_000_000)
        monkeypatch.setattr(time, "clock_gettime_ns", lambda _: round((self._loop.time() - self.started_s) * 1e9))
        monkeypatch.setattr(keeper, "machine_boot", lambda: f"start-{self.starts}")
        monkeypatch.setattr(clock, "_ask_kernel", self._kernel)

    def _kernel(self) -> tuple[int, clock._Timex]:
        """What adjtimex(2) says."""
        status = 0 if self.synced else clock._STA_UNSYNC
        return (0 if self.synced else clock._TIME_ERROR), clock._Timex(status=status, esterror=2000)

    def start(self, wrong_ms: int) -> None:
        """The power is there; the clock stands where it stood, or where it was made."""
        self.starts += 1
        self.started_s, self.wrong_ms, self.synced = self._loop.time(), wrong_ms, False
