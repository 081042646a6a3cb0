"""Fixtures for all parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.broker import RunningBroker
from tests.support.influx import RunningInflux

# How long an example takes says something about the machine that runs the tests, and nothing about the code.
settings.register_profile("keng", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("keng")


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    """A broker of the test's own: it may be killed and started again."""
    with RunningBroker() as running:
        yield running


@pytest.fixture(scope="session")
def shared_broker() -> Iterator[RunningBroker]:
    """One broker for the whole run, for tests that leave it running and don't mind what others retained on it. Not for
    ingest: what one test's ingest left unread would be delivered to that of the next."""
    with RunningBroker() as running:
        yield running


@pytest.fixture(scope="session")
def influx() -> Iterator[RunningInflux]:
    """One InfluxDB for the whole run; take a database of your own with ``influx.new_database()``."""
    with RunningInflux() as running:
        yield running
