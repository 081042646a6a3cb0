"""Counters: totals that only grow, whatever the register does; kept over restarts."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_edge.pipeline.counters import Counters, Rule, Total
from keng_edge.pipeline.pipeline import Raw, Sample
from keng_edge.pipeline.tally import Tally, rules
from keng_edge.plan import plan
from keng_edge.settings import EdgeSettings
from keng_firmware_sim import orders
from keng_firmware_sim.faults import Kind
from tests.support.broker import RunningBroker
from tests.support.edge import bus, ingest, slave, start_edge
from tests.support.processes import until
from tests.support.simulator import Simulator

RULES = {("mua", "rain"): Rule(65_536, 18_000, frozenset({-32_768}))}


def sample(number: int, minute: int) -> Sample:
    return Sample("mua", minute * 60_000, {"rain": Raw(number, 1), "battery": Raw(7)})


@given(st.integers(0, 65_535), st.lists(st.one_of(st.integers(0, 250), st.just("reset")), max_size=60))
def test_the_total_is_what_fell_over_wraps_and_resets(begin: int, steps: list[int | str]) -> None:
    one = Total(65_536, 18_000)
    assert one.count(begin, 0) == begin
    truth, register = begin, begin
    for minute, step in enumerate(steps, 1):
        if isinstance(step, str):
            if (0 - register) % 65_536 <= 300:  # so near to its end a reset can't be told from a wrap
                continue
            register = 0
        else:
            register, truth = (register + step) % 65_536, truth + step
        assert one.count(register, minute * 60_000) == truth


@given(st.lists(st.tuples(st.integers(-10, 1 << 40), st.integers(0, 1 << 42)), max_size=60))
def test_whatever_is_heard_a_total_never_falls(heard: list[tuple[int, int]]) -> None:
    one = Total(65_536, 18_000)
    told = [total for number, at_ms in heard if (total := one.count(number, at_ms)) is not None]
    assert told == sorted(told)


@given(st.lists(st.integers(0, 250), min_size=1, max_size=40), st.integers(1, 32))
def test_what_is_handed_over_again_has_the_total_that_it_had(steps: list[int], again: int) -> None:
    one, told, register = Total(65_536, 18_000, again=again), list[tuple[int, int, int | None]](), 65_000
    for minute, step in enumerate(steps):
        register = (register + step) % 65_536
        told.append((register, minute * 60_000, one.count(register, minute * 60_000)))
    before = one.total
    for number, at_ms, total in told[-again:]:
        assert one.count(number, at_ms) == total
    assert one.total == before


def test_after_weeks_without_power_a_lower_number_is_a_reset() -> None:
    one = Total(65_536, 18_000)
    one.count(30_000, 0)
    assert one.count(120, 30 * 86_400_000) == 30_120


def test_a_gauge_that_was_exchanged_adds_nothing() -> None:
    one = Total(65_536, 18_000)
    one.count(50_000, 0)
    assert one.count(20_000, 60_000) is None
    assert one.count(20_003, 120_000) == 50_003


def test_the_word_for_no_value_passes_and_counts_nothing() -> None:
    counters = Counters(RULES)
    assert counters.apply(sample(100, 0))[0].values == {"rain": Raw(100, 1), "battery": Raw(7)}
    missing, changed = counters.apply(sample(-32_768, 1))
    assert missing.values["rain"].number == -32_768 and not changed
    assert counters.apply(sample(103, 2))[0].values["rain"].number == 103


def test_totals_are_kept_over_restarts(tmp_path: Path) -> None:
    file = tmp_path / "counters.json"
    Tally(Counters(RULES), file).apply(sample(65_530, 0))
    assert Tally(Counters(RULES), file).apply(sample(4, 1)).values["rain"].number == 65_540
    assert Tally(Counters(RULES), file).apply(sample(0, 2)).values["rain"].number == 65_540


@pytest.mark.system
async def test_a_gauge_that_reboots_and_an_agent_that_is_killed_lose_no_rain(
    broker: RunningBroker, tmp_path: Path
) -> None:
    with Simulator(tmp_path / "ports", "--lapse", "0") as simulator:
        lines = bus("bus-song", simulator.port("bus-song"), slave("mua", "xm9505", 2, "phu-oc", 0.1))
        async with ingest(broker, receipting=True) as hearing:

            def told() -> list[float]:
                rows = {r.time_ms: r.value for pack in hearing.packs for r in pack.readings}
                return [rows[time_ms] for time_ms in sorted(rows)]

            simulator.order(orders.Hold(quantity="rain", value=50.0))
            with start_edge(broker, tmp_path, lines) as edge:
                await until(lambda: 50.0 in told())
                edge.kill()
            simulator.order(orders.Fault(slave="rain", kind=Kind.REBOOT, for_s=0.2))
            simulator.order(orders.Hold(quantity="rain", value=51.2))
            with start_edge(broker, tmp_path, lines):
                await until(lambda: any(value > 50.0 for value in told()))
        assert told()[-1] == pytest.approx(51.2) and told() == sorted(told())


@pytest.mark.parametrize("found", [b"", b"[]", b"{", b'{"mua/rain": 5}', b'{"mua/rain": {"wrap": 1}}', b"\xff"])
def test_a_damaged_file_is_said_and_totals_begin_anew(
    tmp_path: Path, found: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "counters.json"
    file.write_bytes(found)
    assert Tally(Counters(RULES), file).apply(sample(7, 0)).values["rain"].number == 7
    assert "totals begin anew" in caplog.text


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally(Counters(RULES), tmp_path / "not there" / "counters.json")
    for minute in range(3):
        tally.apply(sample(minute, minute))
    assert caplog.text.count("totals can't be kept") == 1


def test_profiles_say_which_quantities_are_counters() -> None:
    sample_settings = tomllib.loads((Path(__file__).parents[2] / "edge" / "sample.toml").read_text(encoding="utf-8"))
    counters = rules(plan(EdgeSettings(**sample_settings)).lines)
    assert counters == {("mua", "rain"): Rule(65_536, pytest.approx(18_000), frozenset({-32_768, -9_999}))}
