"""What tests of ingest as a real process start from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keng_store.protocol import Store
from keng_store.settings import StoreSettings, open_store
from tests.support.broker import RunningBroker
from tests.support.registry import sample, signed
from tests.support.telemetry import retain_registry


@pytest.fixture
def commune_broker(broker: RunningBroker) -> RunningBroker:
    """A broker of the test's own, with the sample commune's registry retained."""
    asyncio.run(retain_registry(broker, signed(sample(), broker.credentials)))
    return broker


@pytest.fixture(params=["sqlite", "influx"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'readings.sqlite'}"
    if request.param == "influx":
        url = request.getfixturevalue("influx").new_database()
    with closing(open_store(StoreSettings(url=url))) as opened:
        yield opened
