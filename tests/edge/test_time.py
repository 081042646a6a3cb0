"""Readings that a wrong clock stamped: held, moved once the clock is known, never lost and never put out of order."""

from __future__ import annotations

import asyncio
import doctest
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keng_contracts.receipts import Receipt
from keng_contracts.telemetry import Clock, Flag, Pack, Reading, decode
from keng_edge.outbox import keeper as keeper_module
from keng_edge.outbox import timeline
from keng_edge.outbox.keeper import Keeper
from keng_edge.outbox.outbox import Batch, Boot, Outbox, Stored
from keng_edge.outbox.timeline import STEP_MS, Stamp, Timeline
from keng_edge.pipeline.pipeline import Channel, Pipeline, Raw, Sample
from tests.support.outbox import BIG, LEVEL, NOW, RAIN
from tests.support.processes import until

YEAR_MS = 365 * 86_400_000


def test_the_examples_in_the_docs_are_true() -> None:
    assert doctest.testmod(timeline).failed == 0


@given(
    walls=st.lists(st.integers(-120, 120), max_size=40),
    clock=st.sampled_from(Clock),
)
def test_the_unrest_of_reading_two_clocks_is_no_step(walls: list[int], clock: Clock) -> None:
    line = Timeline()
    assert len({line.at(NOW + 1000 * i + noise, 1000 * i, clock) for i, noise in enumerate([0, *walls])}) == 1


class Machine:
    """A Raspberry Pi without a clock: true time is ``true_ms``; the wall clock is wrong until it is set."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "edge-outbox.db"
        self.true_ms = NOW
        self.starts = 0
        self.runs = 0
        self.taken: list[tuple[float, int]] = []  # value (a number that grows) and the true time
        self.switch_on(0)

    def switch_on(self, wall_ms: int) -> None:
        self.starts += 1
        self.up_ms = 0
        self.wall_ms = wall_ms
        self.clock = Clock.UNKNOWN
        self.line = Timeline()
        self.run()

    def run(self) -> None:
        """Start the agent (again)."""
        self.runs += 1
        self.boot = Boot(f"{self.runs:016x}", f"start-{self.starts}")
        self.outbox = Outbox(self.path, self.boot, BIG)

    def tick(self, ms: int) -> None:
        self.true_ms += ms
        self.up_ms += ms
        self.wall_ms += ms

    @property
    def stamp(self) -> Stamp:
        return self.line.at(self.wall_ms, self.up_ms, self.clock)

    def measure(self, alarm: bool = False) -> None:
        value = float(len(self.taken))
        self.taken.append((value, self.true_ms))
        batch = Batch([Reading(LEVEL if alarm else RAIN, self.wall_ms, value, "m")], alarm, self.stamp)
        self.outbox.append([batch], made_ms=self.wall_ms, clock=self.clock, sync=False)

    def set_clock(self) -> None:
        self.wall_ms, self.clock = self.true_ms, Clock.SYNCED
        self.outbox.rebase(self.stamp, self.wall_ms, set())

    def packs(self) -> list[Pack]:
        return [decode(stored.payload) for stored in self.outbox.next_batch(10_000)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_was_taken_before_the_clock_was_set_has_its_true_time_and_says_so(machine: Machine) -> None:
    for _ in range(3):
        machine.tick(1000)
        machine.measure()
    assert machine.packs() == [] and machine.outbox.depth.waiting == 3
    machine.set_clock()
    assert machine.outbox.depth.waiting == 0 and machine.outbox.depth.readings == 3
    assert [pack.readings[0].time_ms for pack in machine.packs()] == [true for _, true in machine.taken]
    for pack in machine.packs():
        assert pack.clock is Clock.HOLDOVER and pack.moved_ms > 40 * YEAR_MS and pack.up_ms is not None
        assert pack.readings[0].flag is Flag.NOT_EVALUATED


def test_another_run_in_the_same_start_of_the_machine_still_knows_the_time(machine: Machine) -> None:
    machine.tick(1000)
    machine.measure(alarm=True)
    machine.outbox.close()
    machine.run()
    machine.set_clock()
    assert [pack.readings[0].time_ms for pack in machine.packs()] == [NOW + 1000]
    assert machine.outbox.receipted([Receipt(boot=f"{1:016x}", stored=[(0, 0)])]).ids, "under its own name"


def test_after_a_restart_without_a_clock_what_was_before_stays_before_and_is_suspect(machine: Machine) -> None:
    for start in range(2):
        for _ in range(3):
            machine.tick(1000)
            machine.measure()
        machine.outbox.close()
        machine.switch_on(0)
        assert machine.starts == start + 2
    machine.tick(60_000)
    machine.set_clock()
    found = sorted((pack.readings[0].time_ms, pack.readings[0].value) for pack in machine.packs())
    assert [value for _, value in found] == [0, 1, 2, 3, 4, 5]
    assert all(time_ms < machine.true_ms - 60_000 for time_ms, _ in found)
    assert {pack.readings[0].flag for pack in machine.packs()} == {Flag.SUSPECT}
    assert {pack.clock for pack in machine.packs()} == {Clock.UNKNOWN}


def test_a_wrong_clock_that_is_possible_is_mended_too_but_not_what_may_have_been_sent(machine: Machine) -> None:
    machine.wall_ms = NOW - YEAR_MS  # as fake-hwclock has it: when the machine was last switched off
    for _ in range(2):
        machine.tick(1000)
        machine.measure()
    sent, kept = machine.outbox.next_batch(10)
    machine.wall_ms, machine.clock = machine.true_ms, Clock.SYNCED
    machine.outbox.rebase(machine.stamp, machine.wall_ms, {sent.id})
    first, second = machine.packs()
    assert first == decode(sent.payload)
    assert second.readings[0].time_ms == decode(kept.payload).readings[0].time_ms + YEAR_MS


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("measure"), st.integers(1, 100_000)),
            st.tuples(st.just("jump"), st.integers(-60 * YEAR_MS, 60 * YEAR_MS).filter(lambda ms: abs(ms) > STEP_MS)),
            st.tuples(st.just("restart"), st.just(0)),
            st.tuples(st.just("power"), st.sampled_from([0, 5_000, 500_000_000_000])),
        ),
        max_size=30,
    )
)
def test_whatever_the_clock_does_nothing_is_lost_and_no_series_put_out_of_order(steps: list[tuple[str, int]]) -> None:
    """Clocks that never become possible before they are set: everything waits, and comes in the order of its taking."""
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        for what, value in steps:
            if what == "measure":
                machine.tick(value)
                machine.measure()
            elif what == "jump":
                wall = machine.wall_ms + value
                machine.wall_ms = wall if 0 <= wall < 1_577_000_000_000 else machine.wall_ms
            elif what == "restart":
                machine.outbox.close()
                machine.run()
            else:
                machine.outbox.close()
                machine.tick(1000)
                machine.switch_on(value)
        machine.tick(1000)
        machine.set_clock()
        found = sorted((pack.readings[0].time_ms, pack.readings[0].value) for pack in machine.packs())
        assert [value for _, value in found] == [value for value, _ in machine.taken]
        assert machine.outbox.depth.waiting == 0
        assert all(time_ms <= machine.true_ms for time_ms, _ in found)
        machine.outbox.close()


def test_earlier_runs_of_this_start_of_the_machine_are_mended_too_unless_they_have_sent_something(
    machine: Machine,
) -> None:
    machine.wall_ms = NOW - YEAR_MS
    for sends in (False, True, False):
        machine.tick(1000)
        machine.measure()
        if sends:
            machine.outbox.spoke()
        machine.outbox.close()
        machine.run()
    machine.set_clock()
    off = [machine.true_ms - true for _, true in machine.taken]
    times = [machine.true_ms - pack.readings[0].time_ms for pack in machine.packs()]
    assert times == [off[0], off[1] + YEAR_MS, off[2]]


class Chain:
    """Pipeline and keeper on a machine whose clock is set to other years while it runs, and is believed each time."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "edge-outbox.db"
        self.true_ms, self.up_ms, self.off_ms = NOW, 1000, 0
        self.taken: list[tuple[int, float]] = []
        self.runs, self.starts = 0, 1
        monkeypatch.setattr(keeper_module, "now_ms", lambda: self.true_ms + self.off_ms)
        monkeypatch.setattr(keeper_module, "up_ms", lambda: self.up_ms)
        monkeypatch.setattr(keeper_module, "clock_state", lambda: Clock.SYNCED)

    async def start(self) -> None:
        self.runs += 1
        self.pipeline = Pipeline({("muc-nuoc", "level"): Channel(LEVEL, "m", dead_band=0.5)})
        boot = Boot(f"{self.runs:016x}", f"start-{self.starts}")
        self.keeper = Keeper(self.path, boot, max_bytes=BIG, max_age_ms=90 * 86_400_000, publish=lambda packs: None)
        self.keeper.linked = lambda: False
        await self.keeper.open()

    async def step(self, what: str, value: int) -> None:
        if what == "measure":
            self.true_ms, self.up_ms = self.true_ms + value, self.up_ms + value
            sample = Sample("muc-nuoc", self.true_ms + self.off_ms, {"level": Raw(len(self.taken))})
            self.taken.append((self.true_ms, float(len(self.taken))))
            self.keeper.add(self.pipeline.readings(sample), alarm=value % 2 == 0)
        elif what == "jump":
            self.off_ms = value
        else:
            await self.keeper.flush()
            await self.keeper.close()
            if what == "power":
                self.starts, self.true_ms, self.up_ms = self.starts + 1, self.true_ms + 1000, 500
            await self.start()
        await self.keeper._mend()


years = st.sampled_from([-30, -5, -1, 1, 5, 60]).map(lambda years: years * YEAR_MS)


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("measure"), st.integers(100, 100_000)),
            st.tuples(st.just("jump"), st.one_of(years, st.just(0))),
            st.tuples(st.sampled_from(["restart", "power"]), st.just(0)),
        ),
        max_size=25,
    )
)
@example(
    steps=[
        ("measure", 1000), ("jump", 5 * YEAR_MS), ("measure", 1000), ("restart", 0), ("jump", 0), ("measure", 1000),
        ("jump", -5 * YEAR_MS), ("measure", 1000),
    ]
)  # fmt: skip
def test_a_clock_that_jumps_by_years_and_back_loses_nothing_and_keeps_the_order(steps: list[tuple[str, int]]) -> None:
    async def life() -> None:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
            chain = Chain(Path(folder), monkeypatch)
            await chain.start()
            for what, value in steps:
                await chain.step(what, value)
            await chain.step("jump", 0)
            await chain.step("measure", 1000)
            await chain.keeper.flush()
            await chain.keeper._mend()
            packs = [decode(pack.payload) for pack in await chain.keeper.next_batch(10_000, ())]
            found = sorted((reading.time_ms, reading.value) for pack in packs for reading in pack.readings)
            assert [value for _, value in found] == [value for _, value in chain.taken]
            assert all(time_ms <= chain.true_ms for time_ms, _ in found)
            assert chain.keeper.depth.dropped == 0
            if chain.starts == 1:
                assert found == chain.taken, "in one start of the machine its time is known to the millisecond"
            await chain.keeper.close()

    asyncio.run(life())


async def test_what_another_machines_clock_stamped_is_not_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A LoRaWAN server tells when it heard a device: our own clock has nothing to do with that."""
    chain = Chain(tmp_path, monkeypatch)
    chain.off_ms = 5 * YEAR_MS
    await chain.start()
    chain.keeper.add([Reading(RAIN, NOW, 1.0, "mm")], alarm=True)
    await chain.keeper._mend()
    await chain.step("jump", 0)
    (pack,) = [decode(pack.payload) for pack in await chain.keeper.next_batch(10, ())]
    assert pack.readings[0].time_ms == NOW and pack.moved_ms == 0
    await chain.keeper.close()


async def test_the_keeper_mends_by_itself_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, clock = [5_000], [Clock.UNKNOWN]
    sent: list[Stored] = []
    monkeypatch.setattr(keeper_module, "now_ms", lambda: wall[0])
    monkeypatch.setattr(keeper_module, "up_ms", lambda: 4_000)
    monkeypatch.setattr(keeper_module, "clock_state", lambda: clock[0])
    monkeypatch.setattr(keeper_module, "CLOCK_EVERY_S", 0.05)
    keeper = Keeper(tmp_path / "x.db", Boot("f" * 16, "now"), max_bytes=BIG, publish=sent.extend)
    await keeper.open()
    keeper.add([Reading(LEVEL, 5_000, 4.5, "m")], alarm=True)
    running = asyncio.create_task(keeper.run())
    try:
        await until(lambda: keeper.depth.waiting == 1)
        assert sent == [] and "1 readings wait for their time" in keeper.problems()[0]
        wall[0], clock[0] = NOW, Clock.SYNCED
        await until(lambda: keeper.depth.waiting == 0)
        (pack,) = await keeper.next_batch(10, ())
        assert decode(pack.payload).readings[0].time_ms == NOW
        assert keeper.problems() == []
    finally:
        running.cancel()
        await asyncio.wait([running])
        await keeper.close()
