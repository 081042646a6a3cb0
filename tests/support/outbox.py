"""Batches for an outbox, and what is in one."""

from __future__ import annotations

from keng_contracts.telemetry import Clock, Reading, decode
from keng_edge.outbox.outbox import Batch, Boot, Outbox, Stored

NOW = 1_763_258_400_000
LEVEL, RAIN = "quang-tho/phu-oc/level", "quang-tho/phu-oc/rain"
BIG = 10_000_000


def boot(number: int = 1) -> Boot:
    return Boot(f"{number:016x}")


def readings(count: int, series: str = RAIN, start_ms: int = NOW) -> list[Reading]:
    return [Reading(series, start_ms + i, i / 10, "mm") for i in range(count)]


def append(outbox: Outbox, *batches: Batch, sync: bool = False) -> list[Stored]:
    return outbox.append(batches, made_ms=NOW, clock=Clock.SYNCED, sync=sync)


def plain(count: int = 1, start_ms: int = NOW) -> Batch:
    return Batch(readings(count, start_ms=start_ms), alarm=False)


def alarm(count: int = 1, start_ms: int = NOW) -> Batch:
    return Batch(readings(count, LEVEL, start_ms), alarm=True)


def seqs(packs: list[Stored]) -> list[int]:
    return [decode(pack.payload).seq for pack in packs]
