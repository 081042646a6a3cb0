"""A level against its thresholds, drawn as SVG, and the same as rows of a table. Pure.

The picture has no size of its own: places are percentages of whatever box the style sheet gives it, and the line lives
in an inner ``<svg>`` that stretches, so that text is as large on a phone as on a wall. Nothing is styled inline (the
page's Content-Security-Policy forbids it); classes name what things are and the style sheet says how they look.

A gap in the data is a gap in the line, with a hatched band and its word; it is never bridged.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import pairwise, zip_longest
from zoneinfo import ZoneInfo

from keng_console.views import Chart, Measured, ThresholdView
from keng_console.words import moment
from keng_contracts.telemetry import Flag

#: The plot's box, in percent of the picture: right of it stand the numbers, below it the times.
_RIGHT, _TOP, _BOTTOM = 93.0, 4.0, 90.0
#: Least distance between two lines of text, in percent of the height.
_LINE = 8.0
#: Inner coordinates of the stretched line.
_SCALE = 1000

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800)
_MAX_TICKS = 6
#: Gaps that have a band; the line is broken at every one.
_MAX_BANDS = 40
MAX_TABLE_ROWS = 25


@dataclass(frozen=True, slots=True)
class Tick:
    time_ms: int
    label: str
    day: bool  # midnight: the label is the date


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table: the newest row at or before ``time_ms``, None where the data have a gap."""

    time_ms: int
    row: Measured | None


def draw(
    chart: Chart,
    thresholds: Sequence[ThresholdView],
    *,
    id_: str,
    title: str,
    description: str,
    zone: ZoneInfo,
    number: Callable[[float, int], str],
    name: Callable[[int], str],
    no_data: str,
) -> str:
    """The picture as an ``<svg>`` element. ``name`` gives the short name of a threshold's level."""
    low, high = _extent(chart, thresholds)

    def x(time_ms: float) -> float:
        return (time_ms - chart.start_ms) / (chart.end_ms - chart.start_ms) * _RIGHT

    def y(value: float) -> float:
        return _BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP)

    out = [
        f'<svg class="hydrograph" role="img" aria-labelledby="{id_}-t {id_}-d" focusable="false">',
        f'<title id="{id_}-t">{escape(title)}</title><desc id="{id_}-d">{escape(description)}</desc>',
    ]
    out += _bands(thresholds, y)
    out += _grid(low, high, thresholds, number, y)
    out += _times(chart, zone, x)
    for start_ms, end_ms in heapq.nlargest(_MAX_BANDS, gaps(chart), key=lambda gap: gap[1] - gap[0]):
        left, right = x(start_ms), x(end_ms)
        out.append(_rect("gap", left, right, _TOP, _BOTTOM))
        if right - left > 20:
            free = max(range(15, 85, 5), key=lambda p: min((abs(p - y(t.value)) for t in thresholds), default=0))
            out.append(f'<text class="gap-word" x="{(left + right) / 2:.1f}%" y="{free}%">{escape(no_data)}</text>')
    out.append(_line(chart, x, y))
    out += _limits(thresholds, number, name, y)
    if chart.rows and chart.rows[-1].time_ms >= chart.start_ms:
        last = chart.rows[-1]
        out.append(f'<circle class="now" cx="{x(last.time_ms):.1f}%" cy="{y(last.value):.1f}%" r="5"/>')
    out.append("</svg>")
    return "".join(out)


def gaps(chart: Chart) -> list[tuple[int, int]]:
    """Spans inside the chart without data, start and end in ms, in rising order."""
    times = [chart.start_ms, *(row.time_ms for row in chart.rows if row.time_ms >= chart.start_ms), chart.end_ms]
    if chart.rows and chart.rows[0].time_ms < chart.start_ms:
        times[0] = chart.rows[0].time_ms
    return [
        (max(before, chart.start_ms), after)
        for before, after in pairwise(times)
        if after - before > chart.gap_ms and after > chart.start_ms
    ]


def table(chart: Chart, zone: ZoneInfo) -> list[Cell]:
    """The chart as at most :data:`MAX_TABLE_ROWS` rows at round times, newest first; the newest reading leads."""
    span_s = (chart.end_ms - chart.start_ms) / 1000
    step_s = next((step for step in _STEPS_S if span_s / step <= MAX_TABLE_ROWS - 1), _STEPS_S[-1])
    cells: list[Cell] = []
    place = len(chart.rows) - 1
    for time in reversed(_round_times(chart.start_ms, chart.end_ms, step_s, zone)):
        time_ms = round(time.timestamp() * 1000)
        while place >= 0 and chart.rows[place].time_ms > time_ms:
            place -= 1
        fresh = place >= 0 and time_ms - chart.rows[place].time_ms <= chart.gap_ms
        cells.append(Cell(time_ms, chart.rows[place] if fresh else None))
    newest = chart.rows[-1] if chart.rows else None
    if newest and newest.time_ms >= chart.start_ms and all(cell.time_ms != newest.time_ms for cell in cells):
        cells.append(Cell(newest.time_ms, newest))
    return sorted(cells, key=lambda cell: -cell.time_ms)[:MAX_TABLE_ROWS]


def ticks(start_ms: int, end_ms: int, zone: ZoneInfo) -> list[Tick]:
    """At most six round local times; midnight carries the date."""
    span_s = (end_ms - start_ms) / 1000
    step_s = next((step for step in _STEPS_S if span_s / step <= _MAX_TICKS), _STEPS_S[-1])
    found = []
    for time in _round_times(start_ms, end_ms, step_s, zone):
        midnight = time.hour == time.minute == time.second == 0
        day = midnight and step_s >= 3600
        text = f"{time.day}/{time.month}" if day else f"{time:%H:%M:%S}" if step_s < 60 else f"{time:%H:%M}"
        found.append(Tick(round(time.timestamp() * 1000), text, day))
    return found


def _round_times(start_ms: int, end_ms: int, step_s: int, zone: ZoneInfo) -> list[datetime]:
    """Local times that are whole multiples of the step since midnight; steps of days count from the first midnight."""
    first, last = moment(start_ms, zone), moment(end_ms, zone)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    index = math.ceil((first - midnight).total_seconds() / step_s)
    found = []
    while (time := midnight + timedelta(seconds=index * step_s)) <= last:
        found.append(time)
        index += 1
    return found


def _extent(chart: Chart, thresholds: Sequence[ThresholdView]) -> tuple[float, float]:
    """Lowest and highest value of the picture: all data and all thresholds, with air."""
    values = [row.value for row in chart.rows] + [threshold.value for threshold in thresholds]
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = (high - low) * 0.08 or 0.5
    return low - air, high + 2 * air


def _bands(thresholds: Sequence[ThresholdView], y: Callable[[float], float]) -> list[str]:
    out = []
    for threshold, above in zip_longest(thresholds, thresholds[1:]):
        out.append(_rect(f"band l{threshold.level}", 0, _RIGHT, y(above.value) if above else _TOP, y(threshold.value)))
    return out


def _limits(
    thresholds: Sequence[ThresholdView],
    number: Callable[[float, int], str],
    name: Callable[[int], str],
    y: Callable[[float], float],
) -> list[str]:
    out, text_y = [], 200.0
    for threshold in thresholds:
        level, line_y = threshold.level, y(threshold.value)
        text_y = min(line_y - 1.5, text_y - _LINE)
        out += [
            f'<line class="limit l{level}" x1="0" x2="{_RIGHT:g}%" y1="{line_y:.1f}%" y2="{line_y:.1f}%"/>',
            f'<text class="limit-name l{level}" x="0.6%" y="{text_y:.1f}%">{escape(name(level))}</text>',
            _number(number(threshold.value, _few(threshold.value)), line_y),
        ]
    return out


def _rect(name: str, left: float, right: float, top: float, bottom: float) -> str:
    size = f'width="{right - left:.1f}%" height="{bottom - top:.1f}%"'
    return f'<rect class="{name}" x="{left:.1f}%" y="{top:.1f}%" {size}/>'


def _number(text: str, y: float) -> str:
    """A number right of the plot."""
    return f'<text class="value" x="{_RIGHT + 0.8:g}%" y="{y:.1f}%">{text}</text>'


def _few(value: float) -> int:
    """Decimals that a threshold needs: 4.5 has one, 112 none."""
    return next((d for d in range(3) if round(value, d) == value), 3)


def _grid(
    low: float,
    high: float,
    thresholds: Sequence[ThresholdView],
    number: Callable[[float, int], str],
    y: Callable[[float], float],
) -> list[str]:
    """Faint lines at round values, with their numbers where no threshold's number stands."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    out = []
    for index in range(math.ceil(low / step), math.ceil(high / step)):
        value = round(index * step, 6)
        place = y(value)
        out.append(f'<line class="grid" x1="0" x2="{_RIGHT:g}%" y1="{place:.1f}%" y2="{place:.1f}%"/>')
        if place > _TOP + 2 and all(abs(place - y(threshold.value)) > _LINE * 0.8 for threshold in thresholds):
            out.append(_number(number(value, _few(value)), place))
    return out


def _times(chart: Chart, zone: ZoneInfo, x: Callable[[float], float]) -> list[str]:
    out = []
    for tick in ticks(chart.start_ms, chart.end_ms, zone):
        place = x(tick.time_ms)
        kind = " day" if tick.day else ""
        out.append(f'<line class="grid{kind}" x1="{place:.1f}%" x2="{place:.1f}%" y1="{_TOP:g}%" y2="{_BOTTOM:g}%"/>')
        if 4 <= place <= _RIGHT - 1:
            out.append(f'<text class="time{kind}" x="{place:.1f}%" y="97%">{tick.label}</text>')
    return out


def _line(chart: Chart, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """The water: a line and the area below it, in pieces between the gaps. Suspect readings are dots beside it: a
    single spike must not draw a flood, and a crest that is suspect for being flat must still be seen."""

    def place(row: Measured) -> tuple[int, int]:
        return round(x(row.time_ms) / _RIGHT * _SCALE), round(y(row.value) * _SCALE / 100)

    pieces: list[list[Measured]] = []
    for row in chart.rows:
        if row.flag is Flag.SUSPECT:
            continue
        if not pieces or row.time_ms - pieces[-1][-1].time_ms > chart.gap_ms:
            pieces.append([])
        pieces[-1].append(row)
    strokes, areas = [], []
    floor = round(_BOTTOM * _SCALE / 100)
    for piece in pieces:
        points = [place(row) for row in piece]
        if points[-1][0] <= 0:
            continue
        path = _path(points)
        strokes.append(path)
        areas.append(f"{path}V{floor}H{points[0][0]}Z")
    dots = "".join("M{} {}h0".format(*place(row)) for row in chart.rows if row.flag is Flag.SUSPECT)
    return (
        f'<svg width="{_RIGHT:g}%" height="100%" viewBox="0 0 {_SCALE} {_SCALE}" preserveAspectRatio="none">'
        f'<path class="area" d="{"".join(areas)}"/><path class="water" d="{"".join(strokes)}"/>'
        + (f'<path class="suspect" d="{dots}"/>' if dots else "")
        + "</svg>"
    )


def _path(points: Sequence[tuple[int, int]]) -> str:
    """Steps from point to point, which are half as long to write as places; points in one place are one."""
    steps = []
    for (x0, y0), (x1, y1) in pairwise(points):
        if (x1, y1) != (x0, y0):
            steps.append(f"{x1 - x0}{'' if y1 < y0 else ' '}{y1 - y0}")
    return f"M{points[0][0]} {points[0][1]}l" + " ".join(steps or ["0 0"])
