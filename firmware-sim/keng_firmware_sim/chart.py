"""A scenario as text: the river's stage as bars with its marks, the rain beside it, hour by hour. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

from keng_firmware_sim.scenario import Scenario
from keng_firmware_sim.world import World

_WIDTH = 50
_EIGHTHS = " ▏▎▍▌▋▊▉"


def draw(scenario: Scenario, rows: int = 40) -> Iterator[str]:
    """The lines of the chart, about ``rows`` of them at round steps of time."""
    world = World(scenario)
    zone = timezone(timedelta(seconds=scenario.utc_offset_s))
    levels = [knot.m for knot in scenario.river.knots]
    marks = sorted(scenario.river.marks, key=lambda mark: mark.m)
    low = min(0.0, *levels)
    high = max(*levels, *(mark.m for mark in marks)) * 1.05
    scale = _WIDTH / (high - low)

    yield scenario.title
    if scenario.title_en:
        yield scenario.title_en
    yield f"{scenario.river.gauge}; {scenario.river.source}"
    yield ""
    ruler = [" "] * (_WIDTH + 5)
    for mark in marks:
        at = int((mark.m - low) * scale)
        ruler[at : at + len(mark.name)] = mark.name
    yield f"{'':16}{'m':>6} {''.join(ruler).rstrip()}"
    step_s = _step_s(scenario.end_s - scenario.start_s, rows)
    t = scenario.start_s
    while t <= scenario.end_s:
        level = world.truth("level", t)
        bar = _bar((level - low) * scale, [int((mark.m - low) * scale) for mark in marks])
        rain = world.intensity_mm_h(t)
        fallen = f"  {rain:4.1f} mm/h" if rain else ""
        moment = datetime.fromtimestamp(t, UTC).astimezone(zone).strftime("%d/%m %H:%M:%S")
        yield f"{moment:16}{level:6.2f} {bar}{fallen}".rstrip()
        t += step_s
    if marks:
        yield ""
        yield "; ".join(f"{mark.name} {mark.m:.2f} m" for mark in marks) + f" ({scenario.river.marks_source})"
    assumed = [knot for knot in scenario.river.knots if knot.assumed]
    if assumed:
        yield f"assumed, not measured: {len(assumed)} of the river's {len(scenario.river.knots)} knots"
    source = f" ({scenario.rain.source})" if scenario.rain.source else ""
    yield f"rain in all: {world.rain_mm(scenario.end_s):.0f} mm{source}"


def _bar(length: float, marks: list[int]) -> str:
    cells = [" "] * _WIDTH
    for at in marks:
        cells[min(at, _WIDTH - 1)] = "┊"
    whole, part = int(length), int(length % 1 * 8)
    cells[:whole] = "█" * whole
    if part and whole < _WIDTH:
        cells[whole] = _EIGHTHS[part]
    return "".join(cells)


def _step_s(span_s: float, rows: int) -> float:
    for step_s in (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200):
        if span_s / step_s <= rows:
            return step_s
    return 86400
