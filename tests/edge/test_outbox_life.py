"""Any life of an outbox: whatever is committed, receipted, or cut off in the middle, the books are right."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keng_contracts.receipts import DeadLettered, Receipt, to_ranges
from keng_contracts.telemetry import decode
from keng_edge.outbox.outbox import Batch, Boot, Depth, damaged, inspect
from keng_edge.outbox.salvage import open_outbox
from tests.support.outbox import BIG, LEVEL, NOW, RAIN, alarm, append, plain


class Crash(Exception):
    """The power goes."""


class CrashingBoot(Boot):
    """Sequence numbers that run out in the middle of a transaction."""

    fuse = -1
    at_crash: Callable[[], None]

    def next_seq(self) -> int:
        if self.fuse == 0:
            self.at_crash()
            raise Crash
        self.fuse -= 1
        return super().next_seq()


class AnyLife(RuleBasedStateMachine):
    """Commits, receipts, crashes in the middle of a commit, restarts: what was committed is there until receipted."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="keng-outbox-"))
        self.lives = 0
        self.held: dict[tuple[str, int], tuple[bool, int]] = {}  # (boot, seq) → alarm, readings
        self.ledger: dict[str, int] = {}
        self.dead = 0
        self.now = NOW
        self.start(self.folder / "0.db")

    def start(self, path: Path) -> None:
        self.lives += 1
        self.path = path
        self.boot = CrashingBoot(f"{self.lives:016x}")
        self.outbox = open_outbox(path, self.boot, BIG, "x")
        assert damaged(path) == []

    def batches(self, kinds: list[tuple[bool, int]]) -> list[Batch]:
        made = []
        for is_alarm, count in kinds:
            self.now += 1000
            made.append(alarm(count, self.now) if is_alarm else plain(count, self.now))
        return made

    kinds = st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=1, max_size=4)

    @rule(kinds=kinds, sync=st.booleans())
    def commit(self, kinds: list[tuple[bool, int]], sync: bool) -> None:
        for stored, (is_alarm, count) in zip(append(self.outbox, *self.batches(kinds), sync=sync), kinds, strict=True):
            pack = decode(stored.payload)
            self.held[pack.boot, pack.seq] = (is_alarm, count)
            series = LEVEL if is_alarm else RAIN
            self.ledger[series] = self.ledger.get(series, 0) + count

    @rule(kinds=kinds, data=st.data())
    def crash_in_the_middle_of_a_commit(self, kinds: list[tuple[bool, int]], data: st.DataObject) -> None:
        self.boot.fuse = data.draw(st.integers(0, len(kinds) - 1))
        left = self.folder / f"{self.lives}.db"
        self.boot.at_crash = lambda: self.copy_to(left)  # what lies on the disk now is what the next life finds
        with pytest.raises(Crash):
            append(self.outbox, *self.batches(kinds))
        self.outbox.close()
        self.start(left)

    @rule()
    def crash_between(self) -> None:
        left = self.folder / f"{self.lives}.db"
        self.copy_to(left)
        self.outbox.close()
        self.start(left)

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.start(self.path)

    def copy_to(self, left: Path) -> None:
        for suffix in ("", "-wal"):
            if self.path.with_name(self.path.name + suffix).exists():
                shutil.copy(self.path.with_name(self.path.name + suffix), left.with_name(left.name + suffix))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), dead=st.booleans())
    def receipt(self, data: st.DataObject, dead: bool) -> None:
        names = data.draw(st.lists(st.sampled_from(sorted(self.held)), min_size=1, unique=True))
        made = []
        for run in {run for run, _ in names}:
            numbers = [seq for name, seq in names if name == run]
            lost = [DeadLettered(seq=seq, reason="x") for seq in numbers] if dead else []
            made.append(Receipt(boot=run, stored=[] if dead else to_ranges(numbers), dead=lost))
        assert len(self.outbox.receipted(made).ids) == len(names)
        gone = sum(self.held.pop(name)[1] for name in names)
        self.dead += gone if dead else 0

    @rule(first=st.integers(0, 50), span=st.integers(0, 2**53 - 100))
    def receipt_of_a_run_that_never_was(self, first: int, span: int) -> None:
        assert self.outbox.receipted([Receipt(boot="f" * 16, stored=[(first, first + span)])]).ids == []

    @rule(limit=st.integers(1, 5), data=st.data())
    def a_batch_is_the_head_of_the_rest(self, limit: int, data: st.DataObject) -> None:
        every = self.outbox.next_batch(1000)
        under_way = set(data.draw(st.lists(st.sampled_from(every), unique=True))) if every else set()
        rest = [pack for pack in every if pack not in under_way]
        assert self.outbox.next_batch(limit, {pack.id for pack in under_way}) == rest[:limit]

    @invariant()
    def what_was_committed_and_not_receipted_is_there_in_order(self) -> None:
        there = [decode(pack.payload) for pack in self.outbox.next_batch(1000)]
        names = [(pack.boot, pack.seq) for pack in there]
        assert set(names) == set(self.held) and len(names) == len(self.held)
        alarms = [name for name in names if self.held[name][0]]
        assert names == sorted(alarms) + sorted(set(names) - set(alarms))
        assert all(len(pack.readings) == self.held[pack.boot, pack.seq][1] for pack in there)

    @invariant()
    def the_counts_are_right_in_memory_and_on_disk(self) -> None:
        depth = self.outbox.depth
        assert depth == Depth(
            packs=len(self.held),
            readings=sum(count for _, count in self.held.values()),
            oldest_ms=depth.oldest_ms,
            bytes=depth.bytes,
            committed=sum(self.ledger.values()),
            dead=self.dead,
        )
        assert inspect(self.path) == (depth, self.ledger)

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            shutil.rmtree(self.folder)


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
