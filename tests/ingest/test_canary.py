"""The canary: alive is who gets his own message back through the broker."""

from __future__ import annotations

import asyncio

import pytest

from keng_ingest import canary
from keng_ingest.canary import Canary
from keng_runtime.mqtt import Link
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "EVERY_S", 0.05)
    monkeypatch.setattr(canary, "PATIENCE_S", 1.0)


def rounds() -> float:
    [metric] = canary.ROUND.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_count"))


async def test_it_comes_back_past_telemetry_that_nobody_takes_and_stops_with_the_broker() -> None:
    with RunningBroker() as broker:
        async with Link(broker.settings("ingest"), receive_maximum=1) as link:
            one, before = Canary(link), rounds()
            flying = asyncio.create_task(one.fly(COMMUNE))
            await until(lambda: rounds() >= before + 30)  # longer than the patience
            assert one.alive()
            broker.kill()
            await until(lambda: not one.alive())
            broker.start()
            await until(one.alive)
            flying.cancel()


async def test_a_message_of_somebody_else_is_no_canary(shared_broker: RunningBroker) -> None:
    async with Link(shared_broker.settings("ingest")) as link:
        one = Canary(link)
        one._back(b"1")
        await until(lambda: not one.alive())
