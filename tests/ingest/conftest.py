"""What tests of ingest as a real process start from."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.broker import RunningBroker
from tests.support.registry import sample, signed
from tests.support.telemetry import retain_registry


@pytest.fixture
def commune_broker(broker: RunningBroker) -> RunningBroker:
    """A broker of the test's own, with the sample commune's registry retained."""
    asyncio.run(retain_registry(broker, signed(sample(), broker.credentials)))
    return broker
