"""Receipts: what is safe, so that whoever holds the only copy may let go of it.

Ingest sends them to edges for telemetry packs, the console to loudspeakers for playback events.
Both name items by ``(boot, seq)`` and pack runs of sequence numbers into ranges.

>>> to_ranges([3, 1, 2, 7])
[(1, 3), (7, 7)]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seq = Annotated[int, Field(ge=0, lt=1 << 53)]


class DeadLettered(BaseModel):
    """A pack that will never be in the store as it is: kept in ingest's dead-letter table, with the reason."""

    model_config = ConfigDict(frozen=True)

    seq: Seq
    reason: str


class Receipt(BaseModel):
    """One sender's items of one boot that are durably kept. ``stored`` holds inclusive ranges."""

    model_config = ConfigDict(frozen=True)

    boot: str = Field(pattern=r"^[0-9a-f]{8,32}$")
    stored: list[tuple[Seq, Seq]] = []
    dead: list[DeadLettered] = []

    def to_bytes(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()


def to_ranges(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Inclusive ranges that cover exactly ``seqs``, in rising order."""
    ranges: list[tuple[int, int]] = []
    for seq in sorted(set(seqs)):
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return ranges
