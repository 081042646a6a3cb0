"""A store that asks to be left alone is left alone for that long, within reason, and then gets the same batch."""

from __future__ import annotations

import asyncio

import pytest

from keng_ingest import service
from keng_ingest.service import PATIENCE_MAX_S, RETRY_MIN_S, Ingest
from keng_ingest.sort import Sorted
from keng_store.protocol import StoreUnavailable


@pytest.mark.parametrize(
    ("asked", "waited"), [(7.0, 7.0), (None, RETRY_MIN_S), (0.0, RETRY_MIN_S), (86_400.0, PATIENCE_MAX_S)]
)
async def test_retry_after_is_honoured(monkeypatch: pytest.MonkeyPatch, asked: float | None, waited: float) -> None:
    answers: list[Exception | None] = [StoreUnavailable("429", asked), None]
    written: list[Sorted] = []
    slept: list[float] = []

    def write(self: Ingest, outcome: Sorted) -> None:
        written.append(outcome)
        if (answer := answers.pop(0)) is not None:
            raise answer

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(Ingest, "_write", write)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    batch = service.Sorted()
    ingest = Ingest.__new__(Ingest)
    ingest._committer = None
    await ingest._commit(batch)
    assert slept == [waited]
    assert written == [batch, batch]
