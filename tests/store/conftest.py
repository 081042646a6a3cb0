"""The stores under test: one suite, every backend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keng_store.protocol import Store
from keng_store.settings import StoreSettings, open_store
from tests.support.influx import Front, RunningInflux


@pytest.fixture(params=["sqlite", "influx"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    """Settings of a store that is not there yet, for each backend."""
    if request.param == "sqlite":
        return StoreSettings(url=f"sqlite:///{tmp_path / 'new folder' / 'readings.sqlite'}")
    influx: RunningInflux = request.getfixturevalue("influx")
    return StoreSettings(url=influx.new_database())


class Clock:
    """The store's own clock: today's, and moved on at will."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return time.time_ns() // 10**6 + self.ahead_ms

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ms * 10**6

    def pass_minutes(self, minutes: int) -> None:
        self.ahead_ms += minutes * 60_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(settings: StoreSettings, clock: Clock) -> Iterator[Store]:
    with closing(open_store(settings, now_ns=clock.now_ns)) as opened:
        yield opened


@pytest.fixture
def front(influx: RunningInflux) -> Iterator[Front]:
    with Front(influx.url) as standing:
        yield standing


@pytest.fixture
def database(influx: RunningInflux) -> str:
    return influx.new_database().rpartition("/")[2]
