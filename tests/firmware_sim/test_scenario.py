"""Scenarios: the river is where it was measured, and the rest is plausible and repeatable."""

from __future__ import annotations

import math
import statistics
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_contracts.errors import Problem
from keng_firmware_sim import files
from keng_firmware_sim.chart import draw
from keng_firmware_sim.curves import Smooth, Straight
from keng_firmware_sim.scenario import Scenario
from keng_firmware_sim.world import World

FLOOD = files.load(Scenario, "scenarios", "quang-tho-2025-11")
HOUR = 3600.0


def at(text: str) -> float:
    return datetime.fromisoformat(f"2025-11-{text}:00+07:00").timestamp()


def series(world: World, quantity: str, step_s: float = 600.0) -> list[float]:
    steps = int((FLOOD.end_s - FLOOD.start_s) / step_s)
    return [world.truth(quantity, FLOOD.start_s + i * step_s) for i in range(steps + 1)]


@pytest.mark.parametrize(
    ("moment", "metres"),
    [
        ("16T06:00", 1.51),
        ("16T13:00", 1.65),
        ("16T16:00", 2.18),
        ("16T21:00", 3.06),
        ("17T00:00", 3.80),
        ("17T02:00", 4.43),
        ("17T03:00", 4.57),
        ("17T06:00", 4.87),
        ("17T08:00", 4.96),
        ("17T18:00", 4.93),
        ("18T05:00", 4.20),
        ("18T17:00", 2.80),
    ],
)
def test_the_river_stands_where_it_was_measured(moment: str, metres: float) -> None:
    assert World(FLOOD).truth("level", at(moment)) == pytest.approx(metres, abs=1e-9)


def test_the_river_has_one_peak_a_long_crest_and_holds_its_last_value() -> None:
    world = World(FLOOD)
    levels = series(world, "level")

    assert max(levels) == pytest.approx(4.96)
    crest = [world.truth("level", at("17T09:00") + i * 600) for i in range(55)]
    assert min(crest) >= 4.88 and max(crest) <= 4.96
    assert world.truth("level", FLOOD.end_s + 99 * HOUR) == 2.80
    assert max(abs(b - a) for a, b in pairwise(levels)) * 6 < 0.4  # m/h; 0.31 was measured


def test_what_nobody_measured_says_so() -> None:
    assumed = [knot for knot in FLOOD.river.knots if knot.assumed]
    assert [knot.at for knot in assumed] == [FLOOD.river.knots[0].at]
    assert "assumed" in FLOOD.rain.source


def test_the_level_starts_below_the_first_threshold_and_passes_all_three() -> None:
    levels = series(World(FLOOD), "level")
    marks = [mark.m for mark in FLOOD.river.marks]
    assert levels[0] < marks[0] - 0.05
    assert max(levels) > marks[-1] + 0.2


def test_the_rain_comes_before_the_river() -> None:
    world = World(FLOOD)
    hours = [FLOOD.start_s + i * HOUR for i in range(30)]
    heaviest = max(hours, key=world.intensity_mm_h)
    steepest = max(hours, key=lambda t: world.truth("level", t + HOUR) - world.truth("level", t))

    assert 2 * HOUR <= steepest - heaviest <= 6 * HOUR
    assert 150 < world.rain_mm(FLOOD.end_s) < 400


def test_the_rain_only_grows() -> None:
    total = series(World(FLOOD), "rain")
    assert total[0] == 0
    assert all(b >= a for a, b in pairwise(total))


def test_rain_wets_the_soil_which_then_drains() -> None:
    world = World(FLOOD)
    moisture = series(world, "soil-moisture")

    assert max(moisture) == pytest.approx(FLOOD.soil.saturation, abs=0.5)
    assert FLOOD.soil.field_capacity < moisture[-1] < max(moisture) - 1
    assert series(world, "soil-n")[-1] < FLOOD.soil.n


def test_rain_washes_the_dust_out_of_the_air() -> None:
    world = World(FLOOD)
    raining, dry = at("16T21:00"), at("17T21:00")
    assert world.truth("pm2-5", raining) < 0.7 * world.truth("pm2-5", dry)
    assert world.truth("pm10", raining) - world.truth("pm2-5", raining) < 0.3 * (
        world.truth("pm10", dry) - world.truth("pm2-5", dry)
    )


def test_a_dry_day_warms_the_soil_in_the_afternoon_and_fills_the_air_in_the_evening() -> None:
    calm = files.load(Scenario, "scenarios", "ngay-thuong")
    world = World(calm)
    hours = range(24)
    warmest = max(hours, key=lambda h: world.truth("soil-temperature", calm.start_s + h * HOUR))
    dustiest = max(hours, key=lambda h: world.truth("pm2-5", calm.start_s + h * HOUR))

    assert 15 <= warmest <= 20
    assert dustiest == 19
    assert max(world.truth("level", calm.start_s + h * HOUR) for h in hours) < 1.0
    assert world.truth("rain", calm.end_s) == 0


@pytest.mark.parametrize("name", files.names("scenarios"))
def test_every_scenario_stays_within_what_instruments_can_say(name: str) -> None:
    scenario = files.load(Scenario, "scenarios", name)
    world = World(scenario, seed=3)
    limits = {"soil-moisture": (0, 100), "soil-ph": (3, 9), "pm2-5": (0, 1000), "pm10": (0, 2000), "level": (-2, 12)}
    for i in range(0, 101):
        values = world.at(scenario.start_s + (scenario.end_s - scenario.start_s) * i / 100)
        assert all(math.isfinite(value) for value in values.values())
        for quantity, (low, high) in limits.items():
            assert low <= values[quantity] <= high


@given(st.floats(FLOOD.start_s, FLOOD.end_s), st.integers(0, 99))
def test_the_same_seed_gives_the_same_world(t: float, seed: int) -> None:
    assert World(FLOOD, seed).at(t, "gauge") == World(FLOOD, seed).at(t, "gauge")


def test_noise_is_of_the_documented_size_and_each_instruments_own() -> None:
    world = World(FLOOD, seed=1)
    t = at("17T12:00")
    errors = [world.value("level", t + i, "a") - world.truth("level", t + i) for i in range(2000)]

    assert statistics.stdev(errors) == pytest.approx(FLOOD.river.noise_m, rel=0.1)
    assert abs(statistics.mean(errors)) < 0.0005
    assert world.value("level", t, "a") != world.value("level", t, "b")
    assert World(FLOOD, seed=2).value("level", t, "a") != world.value("level", t, "a")


knots = st.lists(
    st.tuples(st.floats(0.01, 10), st.floats(-10, 10)), min_size=2, max_size=12
)  # width to the next, value


@given(knots, st.floats(0, 1))
def test_the_smooth_curve_never_leaves_the_band_between_two_knots(points: list[tuple[float, float]], s: float) -> None:
    times = [sum(width for width, _ in points[:i]) for i in range(len(points))]
    values = [value for _, value in points]
    curve = Smooth(times, values)
    for i in range(len(points) - 1):
        low, high = sorted((values[i], values[i + 1]))
        assert low - 1e-9 <= curve(times[i] + s * (times[i + 1] - times[i])) <= high + 1e-9
        assert curve(times[i]) == pytest.approx(values[i], abs=1e-9)


@given(knots, st.floats(0, 1))
def test_the_integral_of_the_rain_is_that_of_its_straight_lines(points: list[tuple[float, float]], s: float) -> None:
    times = [sum(width for width, _ in points[:i]) for i in range(len(points))]
    curve = Straight(times, [abs(value) for _, value in points])
    t = times[-1] * s
    n = 4000
    numeric = sum(curve(t * (i + 0.5) / n) for i in range(n)) * t / n
    assert curve.integral(t) == pytest.approx(numeric, rel=0.01, abs=0.01)


def test_a_wrong_scenario_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    with pytest.raises(Problem, match=r"mine\.toml: can't be read: No such file"):
        files.load(Scenario, "scenarios", str(file))
    with pytest.raises(Problem, match="take one of dien-tap"):
        files.load(Scenario, "scenarios", "lu-lut")
    file.write_text("schema = ")
    with pytest.raises(Problem, match="is not TOML"):
        files.load(Scenario, "scenarios", str(file))
    file.write_text(
        'schema = "keng.scenario/1"\ntitle = "x"\n[river]\ngauge = "g"\nsource = "s"\nknots = ['
        "{ at = 2025-01-01T01:00:00+07:00, m = 1.0 }, { at = 2025-01-01T00:00:00+07:00, m = 1.0 }]\n"
    )
    with pytest.raises(Problem, match="does not follow"):
        files.load(Scenario, "scenarios", str(file))


def test_the_chart_shows_the_peak_and_the_thresholds() -> None:
    lines = list(draw(FLOOD, rows=70))
    [peak] = [line for line in lines if line.startswith("17/11 08:00")]
    assert "4.96" in peak and "█" in peak
    assert any("BĐ1" in line and "BĐ3" in line for line in lines)
    assert all(len(line) < 90 for line in lines[4:-4])
