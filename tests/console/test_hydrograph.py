"""The level chart: what it draws and what its table says."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keng_console.hydrograph import MAX_TABLE_ROWS, draw, gaps, table, ticks
from keng_console.live import CHART_ROWS
from keng_console.views import Chart, Measured, ThresholdView
from keng_console.words import words
from keng_contracts.telemetry import Flag

HUE = ZoneInfo("Asia/Ho_Chi_Minh")
NOON = 1_763_355_600_000  # 2025-11-17 12:00 in Huế
MINUTE, HOUR = 60_000, 3_600_000
THRESHOLDS = [ThresholdView(n, value, "số 0", "QĐ 05/2020") for n, value in ((1, 1.5), (2, 3.0), (3, 4.5))]


def chart(*rows: tuple[int, float], hours: float = 48, gap_ms: int = 3 * MINUTE, flag: Flag = Flag.GOOD) -> Chart:
    measured = [Measured(value, NOON + time_ms, flag) for time_ms, value in rows]
    return Chart(NOON - round(hours * HOUR), NOON, gap_ms, measured, max(measured, key=lambda r: r.value, default=None))


def drawn(of: Chart, thresholds: list[ThresholdView] = THRESHOLDS, language: str = "vi") -> str:
    return draw(
        of,
        thresholds,
        id_="chart-phu-oc-level",
        title="Mực nước <tại> Phú Ốc",
        description="Cao nhất & thấp nhất",
        zone=HUE,
        number=words(language).number,
        name=lambda level: f"Báo động {level}",
        no_data="không có số liệu",
    )


def path(svg: str, name: str) -> str:
    found = re.search(rf'<path class="{name}" d="([^"]*)"', svg)
    return found[1] if found else ""


def test_every_threshold_has_its_line_its_name_and_its_number() -> None:
    svg = drawn(chart((-10 * MINUTE, 2.0), (0, 2.1)))
    for level, number in ((1, "1,5"), (2, "3"), (3, "4,5")):
        assert f'class="limit l{level}"' in svg
        assert f">Báo động {level}</text>" in svg
        assert f">{number}</text>" in svg


def test_a_higher_level_stands_higher() -> None:
    svg = drawn(chart((0, 2.0)))
    heights = [float(y) for y in re.findall(r'class="limit l\d" [^>]*y1="([\d.]+)%"', svg)]
    assert heights == sorted(heights, reverse=True)


def test_names_of_close_thresholds_do_not_cover_each_other() -> None:
    close = [ThresholdView(n, 112 + n / 100, "0", "") for n in (1, 2, 3)]
    svg = drawn(chart((0, 100.0)), close)
    places = [float(y) for y in re.findall(r'class="limit-name l\d" x="[^"]*" y="([\d.]+)%"', svg)]
    assert all(low - high >= 7.9 for low, high in pairwise(places))


def test_a_gap_breaks_the_line_and_has_its_word() -> None:
    whole = chart(*((-n * MINUTE, 2.0) for n in range(40, -1, -1)), hours=2 / 3)
    assert path(drawn(whole), "water").count("M") == 1 and gaps(whole) == []
    holed = chart(*((-n * MINUTE, 2.0) for n in range(40, -1, -1) if not 10 < n < 30), hours=2 / 3)
    svg = drawn(holed)
    assert path(svg, "water").count("M") == 2
    assert gaps(holed) == [(NOON - 30 * MINUTE, NOON - 10 * MINUTE)]
    assert 'class="gap"' in svg and "không có số liệu" in svg


def test_silence_up_to_now_is_a_gap_too_and_no_data_at_all_is_one_gap() -> None:
    silent = chart((-30 * MINUTE, 2.0), (-29 * MINUTE, 2.0), hours=0.5)
    assert gaps(silent) == [(NOON - 29 * MINUTE, NOON)]
    assert gaps(chart(hours=1)) == [(NOON - HOUR, NOON)]
    assert "không có số liệu" in drawn(chart(hours=1))


def test_a_suspect_spike_is_a_dot_beside_the_line() -> None:
    rows = [Measured(2.0, NOON - n * MINUTE, Flag.GOOD) for n in range(20, -1, -1)]
    rows[10] = Measured(4.9, rows[10].time_ms, Flag.SUSPECT)
    svg = drawn(Chart(NOON - HOUR // 3, NOON, 3 * MINUTE, rows, None))
    assert path(svg, "suspect").count("M") == 1
    line = path(svg, "water")
    assert line.count("M") == 1
    assert all(step.split()[-1] == "0" for step in re.findall(r"-?\d+ ?-?\d+", line.split("l")[1]))


def test_words_are_escaped_and_nothing_is_styled_inline() -> None:
    svg = drawn(chart((0, 2.0)))
    ElementTree.fromstring(svg)
    assert "Mực nước &lt;tại&gt; Phú Ốc" in svg
    assert "style=" not in svg and "<script" not in svg
    assert 'aria-labelledby="chart-phu-oc-level-t chart-phu-oc-level-d"' in svg


def test_a_full_chart_stays_small() -> None:
    rows = [(-n * 6 * MINUTE, 2.0 + (n % 7) / 10) for n in range(CHART_ROWS - 1, -1, -1)]
    assert len(drawn(chart(*rows, gap_ms=24 * MINUTE)).encode()) < 10_000
    all_gaps = drawn(chart(*rows, gap_ms=3 * MINUTE))
    assert len(all_gaps.encode()) < 25_000 and path(all_gaps, "water").count("M") == CHART_ROWS


@pytest.mark.parametrize(
    ("hours", "labels"),
    [
        (1 / 60, ["11:59:00", "11:59:10", "11:59:20", "11:59:30", "11:59:40", "11:59:50", "12:00:00"]),
        (0.03, ["11:58:30", "11:59:00", "11:59:30", "12:00:00"]),
        (1, ["11:00", "11:10", "11:20", "11:30", "11:40", "11:50", "12:00"]),
        (48, ["12:00", "16/11", "12:00", "17/11", "12:00"]),
        (168, ["12/11", "14/11", "16/11"]),
    ],
)
def test_time_is_marked_at_round_local_times(hours: float, labels: list[str]) -> None:
    assert [tick.label for tick in ticks(NOON - round(hours * HOUR), NOON, HUE)] == labels


@given(st.floats(0.003, 168), st.integers(0, 10 * 365 * 24 * HOUR))
def test_any_span_has_a_few_ticks_inside_it(hours: float, later_ms: int) -> None:
    end = NOON + later_ms
    start = end - round(hours * HOUR)
    found = ticks(start, end, HUE)
    assert 2 <= len(found) <= 7
    assert all(start <= tick.time_ms <= end for tick in found)


def test_the_table_says_the_same_newest_first_with_gaps_as_gaps() -> None:
    rows = [(-n * MINUTE, 2.0 + (40 - n) / 100) for n in range(40, 2, -1) if not 10 < n < 30]
    cells = table(chart(*rows, hours=2 / 3), HUE)
    assert cells[0].row is not None and cells[0].time_ms == NOON  # 3 minutes old: no gap yet
    times = [cell.time_ms for cell in cells]
    assert times == sorted(times, reverse=True) and len(cells) <= MAX_TABLE_ROWS
    missing = [(NOON - cell.time_ms) // MINUTE for cell in cells if cell.row is None]
    assert missing and all(10 < minutes < 27 for minutes in missing)
    newest = next(cell for cell in cells if cell.time_ms == NOON - 3 * MINUTE)
    assert newest.row is not None and newest.row.value == 2.37


@given(st.lists(st.tuples(st.integers(-48 * HOUR, 0), st.floats(-50, 500)), max_size=60), st.floats(0.003, 168))
def test_any_data_can_be_drawn_and_tabled(rows: list[tuple[int, float]], hours: float) -> None:
    of = chart(*sorted(rows), hours=hours)
    ElementTree.fromstring(drawn(of))
    ElementTree.fromstring(drawn(of, []))
    assert len(table(of, HUE)) <= MAX_TABLE_ROWS
