"""A fleet of real nodes on a real broker obeys one zone command, each once; and how its figures are made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from keng.bench import speaker_fleet
from keng.bench.speaker_fleet import Order, figures, measure


@pytest.mark.system
async def test_every_node_obeys_a_zone_command_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker_fleet, "TOGETHER", 4)  # in two processes
    monkeypatch.setattr(speaker_fleet, "PAUSE_S", 0.5)
    said: list[str] = []
    found = await measure(tmp_path, 8, 1, said.append, ahead_ms=1500)
    assert (found["nodes"], found["orders"], found["obeyed"]) == (8, 2, 16)
    assert (found["missed"], found["doubled"], found["too_late_for_the_moment"]) == (0, 0, 0)
    assert found["processes"] == 2 and set(found["start_error_ms"]) == {"p50", "p99", "worst"}
    assert said[-1] == "toi-dau-0: 8 of 8"


def test_who_misses_the_moment_or_plays_twice_is_counted() -> None:
    together = Order(given_ms=1000, due_ms=6000, accepted_ms={"a": 1010, "b": 1030})
    together.first_ms, together.started = {"a": 6002, "b": 5990}, Counter(a=1, b=2)
    together.finished, together.reasons = {"a", "b"}, Counter({"": 2, "on-arrival: late": 1})
    alone = Order(given_ms=9000, accepted_ms={"a": 9020}, first_ms={"a": 9070}, started=Counter(a=1), finished={"a"})
    assert figures([together, alone], nodes=2) == {
        "nodes": 2,
        "orders": 2,
        "obeyed": 3,
        "missed": 1,
        "doubled": 1,
        "start_error_ms": {"p50": 2, "p99": 10, "worst": 10},
        "on_arrival_ms": {"p50": 70, "p99": 70},
        "command_fanout_ms": {"p50": 20, "p99": 30},
        "too_late_for_the_moment": 1,
    }
