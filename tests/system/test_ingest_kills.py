"""kill -9 of ingest, broker and store under load, with two replicas: nothing lost, nothing doubled."""

import random
from pathlib import Path

import pytest

from keng.bench.ingest_kills import kills

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("store", "victims"), [("sqlite", ["ingest", "broker"]), ("influxdb", ["ingest-2", "influxdb"])]
)
async def test_killed_under_load_none_lost_and_none_doubled(store: str, victims: list[str], tmp_path: Path) -> None:
    books = await kills(tmp_path, store, victims, random.Random(), print)
    assert books["readings"] > 0
    assert (books["without_receipt"], books["lost"], books["doubled"]) == (0, 0, 0)
