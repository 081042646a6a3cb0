"""Any life of an outbox: whatever is committed, dropped, receipted, or cut off at any step, the books are right."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keng_contracts.receipts import DeadLettered, Receipt, to_ranges
from keng_contracts.telemetry import Clock, Pack, decode
from keng_edge.outbox.outbox import Batch, Boot, Depth, Stored, damaged, inspect
from keng_edge.outbox.salvage import open_outbox
from keng_edge.outbox.timeline import Stamp
from tests.support.outbox import BIG, LEVEL, NOW, RAIN, readings

#: The outbox is so small at times that it has to drop what is oldest.
SMALL = 40_000


class Known(NamedTuple):
    """What the test knows of a pack that was committed."""

    is_alarm: bool
    readings: int
    waits: bool


class AnyLife(RuleBasedStateMachine):
    """Commits, times that come late, receipts, restarts, and crashes at any statement of any of them: what was
    committed is there until it is receipted or dropped, in its order."""

    @initialize(max_bytes=st.sampled_from([BIG, SMALL]))
    def begin(self, max_bytes: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="keng-outbox-"))
        self.max_bytes = max_bytes
        self.lives, self.machine = 0, 1
        self.held: dict[tuple[str, int], Known] = {}
        self.ledger: dict[str, int] = {}
        self.dead = self.dropped = 0
        self.now = NOW
        self.start(self.folder / "0.db")

    def start(self, path: Path) -> None:
        self.lives += 1
        self.path = path
        self.outbox = open_outbox(path, Boot(f"{self.lives:016x}", f"start-{self.machine}"), self.max_bytes, "x")
        assert damaged(path) == []

    # -- what happens -------------------------------------------------------------------------------------------------

    def append(self, kinds: list[tuple[bool, int]], waits: bool, sync: bool) -> list[Stored]:
        batches = []
        for is_alarm, count in kinds:
            self.now += 1000
            start_ms = self.now - NOW if waits else self.now  # 1970: a clock that was never set
            stamp = Stamp(-100_000_000, Clock.UNKNOWN) if waits else Stamp(NOW - 100_000_000, Clock.SYNCED)
            batches.append(Batch(readings(count, LEVEL if is_alarm else RAIN, start_ms), is_alarm, stamp))
        return self.outbox.append(batches, made_ms=self.now, clock=Clock.SYNCED, sync=sync, lost=1)

    kinds = st.lists(st.tuples(st.booleans(), st.integers(1, 100)), min_size=1, max_size=4)

    @rule(kinds=kinds, waits=st.booleans(), sync=st.booleans())
    def commit(self, kinds: list[tuple[bool, int]], waits: bool, sync: bool) -> None:
        first, before = self.outbox._boot._next, set(self.held)
        self.append(kinds, waits, sync)
        self.dropped += 1
        for number, (is_alarm, count) in enumerate(kinds):
            self.held[f"{self.lives:016x}", first + number] = Known(is_alarm, count, waits)
            series = LEVEL if is_alarm else RAIN
            self.ledger[series] = self.ledger.get(series, 0) + count
        self.see_what_was_dropped(before)

    def see_what_was_dropped(self, before: set[tuple[str, int]]) -> None:
        """Of what was there before, only as much as had to: telemetry first, the oldest first. What is new may be
        too large for the room that is left."""
        there = {(pack.boot, pack.seq) for pack in self.packs("packs") + self.packs("held")}
        gone = {name: self.held.pop(name) for name in set(self.held) - there}
        assert not gone or self.max_bytes == SMALL, "there was room"
        lost, kept = (
            sorted((known, name) for name, known in some.items() if name in before) for some in (gone, self.held)
        )
        for known, name in lost:
            assert not (known.is_alarm and any(not other.is_alarm for other, _ in kept)), "telemetry gives way first"
            for other, its_name in kept:
                if (known.is_alarm, known.waits) == (other.is_alarm, other.waits):
                    assert name < its_name, "the oldest gives way first"
        self.dropped += sum(known.readings for known in gone.values())

    @rule()
    def the_clock_is_set(self) -> None:
        self.outbox.rebase(Stamp(NOW - 100_000_000, Clock.SYNCED), self.now + 1000, ())
        self.held = {name: known._replace(waits=False) for name, known in self.held.items()}

    @precondition(lambda self: self.held)
    @rule(data=st.data(), dead=st.booleans())
    def receipt(self, data: st.DataObject, dead: bool) -> None:
        names = data.draw(st.lists(st.sampled_from(sorted(self.held)), min_size=1, unique=True))
        sent = [name for name in names if not self.held[name].waits]  # the rest was never sent
        made = []
        for run in {run for run, _ in sent}:
            numbers = [seq for name, seq in sent if name == run]
            lost = [DeadLettered(seq=seq, reason="x") for seq in numbers] if dead else []
            made.append(Receipt(boot=run, stored=[] if dead else to_ranges(numbers), dead=lost))
        assert len(self.outbox.receipted(made).ids) == len(sent)
        gone = sum(self.held.pop(name).readings for name in sent)
        self.dead += gone if dead else 0

    @rule(first=st.integers(0, 50), span=st.integers(0, 2**53 - 100))
    def receipt_of_a_run_that_never_was(self, first: int, span: int) -> None:
        assert self.outbox.receipted([Receipt(boot="f" * 16, stored=[(first, first + span)])]).ids == []

    # -- crashes ------------------------------------------------------------------------------------------------------

    def crash_during(self, step: int, work: Callable[[], object]) -> None:
        """The power goes when the work is at its statement number ``step``, or at the last one, its COMMIT."""
        left = self.folder / f"{self.lives}.db"
        statements, over = 0, list[bool]()

        def at_each(statement: str) -> None:
            nonlocal statements
            statements += 1
            if not over and (statements == step or statement == "COMMIT"):
                over.append(True)
                self.copy_to(left)  # what lies on the disk now is what the next life finds

        self.outbox._db.set_trace_callback(at_each)
        work()
        self.outbox.close()
        self.start(left)

    @rule(kinds=kinds, waits=st.booleans(), step=st.integers(1, 40))
    def crash_in_a_commit(self, kinds: list[tuple[bool, int]], waits: bool, step: int) -> None:
        self.crash_during(step, lambda: self.append(kinds, waits, True))

    @rule(step=st.integers(1, 40))
    def crash_while_times_are_mended(self, step: int) -> None:
        self.crash_during(step, lambda: self.outbox.rebase(Stamp(NOW - 100_000_000, Clock.SYNCED), self.now + 1000, ()))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), step=st.integers(1, 12))
    def crash_while_receipts_are_taken(self, data: st.DataObject, step: int) -> None:
        boot, seq = data.draw(st.sampled_from(sorted(self.held)))
        receipts = [Receipt(boot=boot, stored=[(0, seq)]), Receipt(boot=boot, dead=[DeadLettered(seq=seq, reason="x")])]
        self.crash_during(step, lambda: self.outbox.receipted(receipts))

    @rule(machine_too=st.booleans())
    def crash_between(self, machine_too: bool) -> None:
        left = self.folder / f"{self.lives}.db"
        self.copy_to(left)
        self.outbox.close()
        self.machine += machine_too
        self.start(left)

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.start(self.path)

    def copy_to(self, left: Path) -> None:
        for suffix in ("", "-wal"):
            if self.path.with_name(self.path.name + suffix).exists():
                shutil.copy(self.path.with_name(self.path.name + suffix), left.with_name(left.name + suffix))

    # -- what holds at any time ---------------------------------------------------------------------------------------

    def packs(self, table: str) -> list[Pack]:
        rows = self.outbox._db.execute(f"SELECT payload FROM {table} ORDER BY id")
        return [decode(payload) for (payload,) in rows]

    @rule(limit=st.integers(1, 5), data=st.data())
    def a_batch_is_the_head_of_the_rest(self, limit: int, data: st.DataObject) -> None:
        every = self.outbox.next_batch(1000)
        under_way = set(data.draw(st.lists(st.sampled_from(every), unique=True))) if every else set()
        rest = [pack for pack in every if pack not in under_way]
        assert self.outbox.next_batch(limit, {pack.id for pack in under_way}) == rest[:limit]

    @invariant()
    def what_was_committed_and_is_not_receipted_is_there_in_order(self) -> None:
        there = [decode(pack.payload) for pack in self.outbox.next_batch(1000)]
        names = [(pack.boot, pack.seq) for pack in there]
        sendable = {name: known for name, known in self.held.items() if not known.waits}
        assert set(names) == set(sendable) and len(names) == len(sendable)
        alarms = [name for name in names if self.held[name].is_alarm]
        assert names == sorted(alarms) + sorted(set(names) - set(alarms))
        assert all(len(pack.readings) == self.held[pack.boot, pack.seq].readings for pack in there)

    @invariant()
    def the_counts_are_right_in_memory_and_on_disk(self) -> None:
        depth = self.outbox.depth
        waiting = [known for known in self.held.values() if known.waits]
        assert depth == Depth(
            packs=len(self.held),
            readings=sum(known.readings for known in self.held.values()),
            waiting=sum(known.readings for known in waiting),
            oldest_ms=depth.oldest_ms,
            bytes=depth.bytes,
            committed=sum(self.ledger.values()),
            dropped=self.dropped,
            dead=self.dead,
        )
        assert depth.bytes <= self.max_bytes
        assert inspect(self.path) == (depth, self.ledger)

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            shutil.rmtree(self.folder)


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
