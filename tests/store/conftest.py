"""The stores under test: one suite, every backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keng_store.protocol import Store
from keng_store.settings import StoreSettings, open_store
from tests.support.influx import RunningInflux


@pytest.fixture(params=["sqlite", "influx"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    """Settings of a store that is not there yet, for each backend."""
    if request.param == "sqlite":
        return StoreSettings(url=f"sqlite:///{tmp_path / 'new folder' / 'readings.sqlite'}")
    influx: RunningInflux = request.getfixturevalue("influx")
    return StoreSettings(url=influx.new_database())


@pytest.fixture
def store(settings: StoreSettings) -> Iterator[Store]:
    with closing(open_store(settings)) as opened:
        yield opened
