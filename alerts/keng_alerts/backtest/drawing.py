"""A replay as one SVG: the series, its thresholds, the states of the hazard, events and sirens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from html import escape
from math import isfinite
from zoneinfo import ZoneInfo

from keng_alerts.backtest.backtest import Replay
from keng_alerts.gauge import texts

WIDTH, HEIGHT = 1200, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 1180, 44, 360
_ANCHORS = ("start", *["middle"] * 5, "end")
_STATES_Y, _EVENTS_Y, _BAR = 384, 408, 16
#: Normal, then levels 1 to 4: the hues of the official flood maps, darker as it gets worse.
_COLOURS = ("#e5e9ec", "#f6d55c", "#f08a24", "#d7263d", "#7b2d8b")


def draw(result: Replay) -> str:
    """The SVG text. Of a long series each column of pixels shows the lowest and highest level in it."""
    points = [(t, v) for t, v in zip(result.times, result.levels, strict=True) if isfinite(v)]
    start, end = (min(result.times), max(result.times)) if len(result.times) else (0.0, 1.0)
    shown = sorted(v for _, v in points) or [0.0]
    # A lone outlier must not squeeze the river into a line.
    low, high = shown[len(shown) // 1000], shown[-1 - len(shown) // 1000]
    low, high = min([low, *result.thresholds.values()]), max([high, *result.thresholds.values()])
    margin = (high - low) * 0.05 or 1.0
    low, high = low - margin, high + margin

    def x(time_ms: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (time_ms - start) / ((end - start) or 1.0)

    def y(level: float) -> float:
        return min(max(_BOTTOM - (_BOTTOM - _TOP) * (level - low) / (high - low), _TOP), _BOTTOM)

    zone = ZoneInfo(result.gauge.registry.commune.timezone)
    official = bool(result.gauge.station.official)
    title = f"{result.gauge.station.name}: {_when(start, zone)} – {_when(end, zone)}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="16">{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_RIGHT - _LEFT}" height="{_BOTTOM - _TOP}" fill="none" stroke="#bbb"/>',
    ]
    for level, value in sorted(result.thresholds.items()):
        name = f"{texts.level_name(level, official)} {value:g} {result.gauge.sensor.unit}"
        out.append(
            f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{_COLOURS[level]}" '
            f'stroke-width="1.5" stroke-dasharray="6 3"/>'
            f'<text x="{_LEFT + 6}" y="{y(value) - 4:.1f}" fill="#333">{escape(name)}</text>'
        )
    out.append(f'<path d="{_path(points, x, y)}" fill="none" stroke="#0b5394" stroke-width="1.2"/>')

    out.append(f'<text x="4" y="{_STATES_Y + 12}">mức</text><text x="4" y="{_EVENTS_Y + 12}">thật</text>')
    changes = [(start, 0), *((s.time_ms, s.after) for s in result.steps)]
    for (since, level), (until, _) in zip(changes, [*changes[1:], (end, 0)], strict=True):
        out.append(_bar(x(since), x(until), _STATES_Y, _COLOURS[level]))
    for event in sorted(result.events, key=lambda e: e.level):
        out.append(_bar(x(event.start_ms), x(event.end_ms or end), _EVENTS_Y, _COLOURS[event.level]))
    for siren in result.sirens:
        at = x(siren.time_ms)
        out.append(
            f'<path d="M{at:.1f} {_TOP} l-6 -10 h12 z" fill="#d7263d"><title>còi / siren {siren.level}: '
            f"{_when(siren.time_ms, zone)}</title></path>"
        )
    for i in range(7):
        at = start + (end - start) * i / 6
        out.append(f'<text x="{x(at):.1f}" y="{HEIGHT - 16}" text-anchor="{_ANCHORS[i]}">{_when(at, zone)}</text>')
    for i in range(5):
        value = low + (high - low) * i / 4
        out.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    return "\n".join([*out, "</svg>", ""])


def _path(points: Sequence[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    columns: dict[int, tuple[float, float, float, float]] = {}
    for time_ms, level in points:
        column, at = int(x(time_ms) * 2), y(level)
        first, top, bottom, _ = columns.get(column, (at, at, at, at))
        columns[column] = (first, min(top, at), max(bottom, at), at)
    parts = []
    for column, (first, top, bottom, last) in sorted(columns.items()):
        parts += [f"{column / 2:g},{value:.1f}" for value in dict.fromkeys((first, top, bottom, last))]
    return "M" + " L".join(parts) if parts else ""


def _bar(left: float, right: float, top: int, colour: str) -> str:
    return f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 1):.1f}" height="{_BAR}" fill="{colour}"/>'


def _when(time_ms: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(zone).strftime("%d/%m/%Y %H:%M")
