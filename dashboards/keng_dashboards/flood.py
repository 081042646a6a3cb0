"""The flood dashboard of a commune, from its registry: levels against their thresholds, rise, rain, soil, air, quality.

Nothing about a gauge is written here: stations, names, units, thresholds with their datum and source come from the
registry. Only a gauge that is an official station says "BĐ"; a local one says "Cấp".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from grafana_foundation_sdk.builders import common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.models import common as style
from grafana_foundation_sdk.models import dashboard as model

from keng_contracts.registry import Registry, Sensor, Station, Threshold
from keng_contracts.telemetry import Flag
from keng_dashboards import influxql, units
from keng_dashboards.influxql import DATASOURCE, InfluxQuery
from keng_dashboards.units import vietnamese

LEVEL_UNIT, RAIN_UNIT = "m", "mm"

_CALM = "green"
_LEVEL_COLOURS = {1: "yellow", 2: "orange", 3: "red", 4: "purple"}
_FLAGS = {
    Flag.GOOD: ("Tốt / Good", "green"),
    Flag.NOT_EVALUATED: ("Chưa kiểm tra / Not evaluated", "blue"),
    Flag.SUSPECT: ("Nghi ngờ / Suspect", "yellow"),
    Flag.BAD: ("Sai / Bad", "red"),
    Flag.MISSING: ("Thiếu / Missing", "gray"),
}
#: How far back the newest values are looked for when the time shown has none.
_NEWEST_WITHIN = "2d"
_ALL = "$__all"

Panel = stat.Panel | table.Panel | timeseries.Panel


def flood(registry: Registry, on: date) -> model.Dashboard:
    """The dashboard for a registry, with the thresholds that hold ``on`` a day."""
    commune = registry.commune
    board = (
        dashboard.Dashboard(f"Lũ — mực nước và mưa / Flood — {commune.name}")
        .uid(f"keng-flood-{commune.id}"[:40])  # Grafana's limit
        .description(
            "Mực nước so với ngưỡng báo động, cường suất, mưa, đất, không khí và chất lượng số liệu. / "
            "Water levels against their thresholds, rise, rain, soil, air, data quality. "
            f"{commune.province}".strip()
        )
        .tags(["keng", "flood", commune.id])
        .timezone(commune.timezone)
        .time("now-24h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
    )
    for variable in _variables(commune.id):
        board.with_variable(variable)
    for number, panel in enumerate(_panels(registry, on), start=1):
        board.with_panel(panel.id(number).datasource(DATASOURCE))
    return board.build()


def _variables(commune: str) -> Iterable[dashboard.QueryVariable | dashboard.IntervalVariable]:
    yield (
        dashboard.QueryVariable("commune")
        .label("Xã / Commune")
        .datasource(DATASOURCE)
        .query(influxql.COMMUNES)
        .current(model.VariableOption(selected=True, text=commune, value=commune))
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    yield (
        dashboard.QueryVariable("station")
        .label("Trạm / Station")
        .datasource(DATASOURCE)
        .query(influxql.STATIONS)
        .multi(True)
        .include_all(True)
        .current(model.VariableOption(selected=True, text=["All"], value=[_ALL]))
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    yield (
        dashboard.IntervalVariable("rise")
        .label("Cường suất tính trong / Rise over")
        .values("1m,5m,10m,30m,1h")
        .current(model.VariableOption(selected=True, text="10m", value="10m"))
        .options([model.VariableOption(step == "10m", step, step) for step in ("1m", "5m", "10m", "30m", "1h")])
    )


def _panels(registry: Registry, on: date) -> Iterable[Panel]:
    """In reading order; widths add up to rows of 24."""
    stations = {station.id: station for station in registry.stations}
    gauges = [
        (sensor, stations[_station(sensor)], registry.thresholds_of(sensor.id, on))
        for sensor in registry.sensors
        if sensor.unit == LEVEL_UNIT
    ]
    rain = [sensor for sensor in registry.sensors if sensor.unit == RAIN_UNIT]
    others = [sensor for sensor in registry.sensors if sensor.unit not in (LEVEL_UNIT, RAIN_UNIT)]

    head = [_newest_level(*gauge) for gauge in gauges]
    if rain:
        head.append(_rain_total(rain))
    head.append(_age())
    yield from _side_by_side(head, height=5)
    for gauge in gauges:
        yield _levels(*gauge).span(24).height(10)
    changes = [_rise(registry, [sensor for sensor, _, _ in gauges])] if gauges else []
    if rain:
        changes += [_hourly_rain(registry, rain), _rain_intensity(registry, rain)]
    yield from _side_by_side(changes, height=8)
    yield _newest_of_all(registry).span(24).height(10)
    by_unit: dict[str, list[Sensor]] = {}
    for sensor in others:
        by_unit.setdefault(sensor.unit, []).append(sensor)
    yield from _side_by_side([_others(registry, sensors) for sensors in by_unit.values()], height=8)
    yield _quality().span(24).height(7)


def _side_by_side(panels: Sequence[Panel], height: int) -> Iterable[Panel]:
    """Rows of at most three, each filling the width."""
    for start in range(0, len(panels), 3):
        row = panels[start : start + 3]
        for panel in row:
            yield panel.span(24 // len(row)).height(height)


# -- level ------------------------------------------------------------------------------------------------------


def _newest_level(sensor: Sensor, station: Station, thresholds: dict[int, Threshold]) -> Panel:
    return (
        stat.Panel()
        .title(f"{station.name}: {_inside(sensor.name)} / {units.english(_quantity(sensor))}")
        .description(_thresholds_in_words(station, thresholds))
        .with_target(InfluxQuery(influxql.newest(*sensor.id.split("/"))))
        .time_from(_NEWEST_WITHIN)
        .unit(units.grafana(sensor.unit))
        .decimals(sensor.decimals)
        .thresholds(_steps(thresholds))
        .color_mode(style.BigValueColorMode.BACKGROUND)
        .graph_mode(style.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _levels(sensor: Sensor, station: Station, thresholds: dict[int, Threshold]) -> timeseries.Panel:
    marks = " · ".join(
        f"{_level_name(station, level)} {vietnamese(row.value)}" for level, row in sorted(thresholds.items())
    )
    values = [row.value for row in thresholds.values()]
    panel = (
        _lines(sensor)
        .title(
            f"{sensor.name} {station.name}{f' ({marks} {sensor.unit})' if marks else ''}"
            f" / {units.english(_quantity(sensor))}"
        )
        .description(_thresholds_in_words(station, thresholds))
        .with_target(InfluxQuery(influxql.highest(*sensor.id.split("/")), alias=station.name))
        .thresholds(_steps(thresholds))
        .line_width(2)
    )
    if values:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(style.GraphTresholdsStyleMode.LINE))
        panel.axis_soft_min(min(0.0, *values)).axis_soft_max(max(values) * 1.1)
    return panel


def _steps(thresholds: dict[int, Threshold]) -> dashboard.ThresholdsConfig:
    steps = [model.Threshold(None, _CALM)]
    steps += [model.Threshold(row.value, _LEVEL_COLOURS[level]) for level, row in sorted(thresholds.items())]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _level_name(station: Station, level: int) -> str:
    if level == 4:
        return "Lũ lịch sử"
    return f"BĐ{level}" if station.official else f"Cấp {level}"


def _thresholds_in_words(station: Station, thresholds: dict[int, Threshold]) -> str:
    rows = [
        f"{_level_name(station, level)}: {vietnamese(row.value)} {LEVEL_UNIT}, {row.datum};"
        f" {row.source}, từ {row.valid_from:%d/%m/%Y}."
        for level, row in sorted(thresholds.items())
    ]
    return "\n".join(rows) or "Trạm này chưa có ngưỡng. / This gauge has no thresholds."


# -- change -----------------------------------------------------------------------------------------------------


def _rise(registry: Registry, sensors: Sequence[Sensor]) -> Panel:
    return _named(
        _lines(*sensors)
        .title("Cường suất lũ / Rate of rise")
        .with_target(InfluxQuery(influxql.rise(_quantities(sensors)), alias="$tag_station"))
        .unit(units.grafana("m/h"))
        .decimals(2)
        .axis_centered_zero(True),
        _station_names(registry, sensors),
    )


def _rain_total(sensors: Sequence[Sensor]) -> Panel:
    return (
        stat.Panel()
        .title("Tổng lượng mưa trong thời gian đang xem / Rain in the time shown")
        .with_target(InfluxQuery(influxql.rain_total(_quantities(sensors)), alias="$tag_station"))
        .unit(units.grafana(RAIN_UNIT))
        .decimals(1)
        .color_mode(style.BigValueColorMode.VALUE)
        .graph_mode(style.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _hourly_rain(registry: Registry, sensors: Sequence[Sensor]) -> Panel:
    return _named(
        _bars()
        .title("Mưa mỗi giờ / Rain per hour")
        .with_target(InfluxQuery(influxql.rain_in("1h", _quantities(sensors)), alias="$tag_station"))
        .unit(units.grafana(RAIN_UNIT))
        .decimals(1),
        _station_names(registry, sensors),
    )


def _rain_intensity(registry: Registry, sensors: Sequence[Sensor]) -> Panel:
    return _named(
        _bars()
        .title("Cường độ mưa 10 phút / Rain intensity over 10 min")
        .with_target(InfluxQuery(influxql.rain_in("10m", _quantities(sensors), factor=6), alias="$tag_station"))
        .unit(units.grafana("mm/h"))
        .decimals(1),
        _station_names(registry, sensors),
    )


# -- everything else --------------------------------------------------------------------------------------------


def _age() -> Panel:
    return (
        stat.Panel()
        .title("Số liệu mới nhất / Newest reading")
        .with_target(InfluxQuery(influxql.newest_time(), result="table"))
        .time_from(_NEWEST_WITHIN)
        .unit(units.AGE)
        .color_mode(style.BigValueColorMode.NONE)
        .graph_mode(style.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("/^Time$/"))
    )


def _newest_of_all(registry: Registry) -> table.Panel:
    stations = {station.id: station.name for station in registry.stations}
    quantities = {_quantity(sensor): f"{sensor.name} ({sensor.unit})" for sensor in registry.sensors}
    flags = {str(int(flag)): model.ValueMappingResult(text, colour) for flag, (text, colour) in _FLAGS.items()}
    return (
        table.Panel()
        .title("Giá trị và tuổi số liệu của từng cảm biến / Newest value and age of every sensor")
        .with_target(InfluxQuery(influxql.newest_of_all(), result="table"))
        .time_from(_NEWEST_WITHIN)
        .unit("none")
        .decimals(2)
        .override_by_name("Time", [_property("displayName", "Tuổi / Age"), _property("unit", units.AGE)])
        .override_by_name("station", [_property("displayName", "Trạm / Station"), _renamed(stations)])
        .override_by_name("quantity", [_property("displayName", "Đại lượng / Quantity"), _renamed(quantities)])
        .override_by_name("value", [_property("displayName", "Giá trị / Value")])
        .override_by_name(
            "flag",
            [
                _property("displayName", "Chất lượng / Quality"),
                _property("mappings", [model.ValueMap(flags)]),
                _property("custom.cellOptions", {"type": "color-text"}),
            ],
        )
    )


def _others(registry: Registry, sensors: Sequence[Sensor]) -> Panel:
    """All sensors of one unit in one panel."""
    names = dict.fromkeys(sensor.name for sensor in sensors)
    english = dict.fromkeys(units.english(_quantity(sensor)) for sensor in sensors)
    stations = _station_names(registry, sensors)
    return _named(
        _lines(*sensors)
        .title(f"{', '.join(names)} / {', '.join(english)}")
        .with_target(InfluxQuery(influxql.mean(_quantities(sensors)), alias="$tag_station/$tag_quantity")),
        {sensor.id: f"{stations[_station(sensor)]}: {_inside(sensor.name)}" for sensor in sensors},
    )


def _quality() -> timeseries.Panel:
    panel = (
        _bars()
        .title("Số lần đo theo chất lượng / Readings by quality flag")
        .description(
            "Cờ QARTOD: 1 tốt, 2 chưa kiểm tra, 3 nghi ngờ, 4 sai, 9 thiếu; các biểu đồ khác chỉ vẽ 1 đến 3. / "
            "The other charts draw flags 1 to 3 only."
        )
        .unit("short")
        .decimals(0)
        .stacking(common.StackingConfig().mode(style.StackingMode.NORMAL))
    )
    for ref, (flag, (text, colour)) in zip("ABCDE", _FLAGS.items(), strict=True):
        panel.with_target(InfluxQuery(influxql.count_of(int(flag)), alias=text, ref=ref))
        panel.override_by_name(text, [_property("color", {"mode": "fixed", "fixedColor": colour})])
    return panel


# -- helpers ----------------------------------------------------------------------------------------------------


def _lines(*sensors: Sensor) -> timeseries.Panel:
    """Lines that break where more than three readings in a row are missing: a gap is shown as a gap."""
    interval_s = max(sensor.interval_s for sensor in sensors)
    return (
        timeseries.Panel()
        .unit(units.grafana(sensors[0].unit))
        .decimals(max(sensor.decimals for sensor in sensors))
        .fill_opacity(0)
        .show_points(style.VisibilityMode.AUTO)
        .insert_nulls(round(3000 * interval_s))
        .interval("10s")
        .legend(common.VizLegendOptions().display_mode(style.LegendDisplayMode.LIST).show_legend(True))
    )


def _bars() -> timeseries.Panel:
    return (
        timeseries.Panel()
        .draw_style(style.GraphDrawStyle.BARS)
        .fill_opacity(70)
        .interval("1m")
        .legend(common.VizLegendOptions().display_mode(style.LegendDisplayMode.LIST).show_legend(True))
    )


def _named(panel: timeseries.Panel, names: Mapping[str, str]) -> timeseries.Panel:
    """Give lines that carry slugs the names that people use."""
    for slug, name in names.items():
        panel.override_by_name(slug, [_property("displayName", name)])
    return panel


def _station_names(registry: Registry, sensors: Sequence[Sensor]) -> dict[str, str]:
    used = {_station(sensor) for sensor in sensors}
    return {station.id: station.name for station in registry.stations if station.id in used}


def _inside(name: str) -> str:
    """A name inside a phrase: without the capital of its start, but with those of its symbols (PM2.5, pH)."""
    return name[:1].lower() + name[1:]


def _property(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)


def _renamed(names: dict[str, str]) -> model.DynamicConfigValue:
    results = {id_: model.ValueMappingResult(text=name) for id_, name in names.items()}
    return _property("mappings", [model.ValueMap(results)])


def _station(sensor: Sensor) -> str:
    return sensor.id.split("/")[0]


def _quantity(sensor: Sensor) -> str:
    return sensor.id.split("/")[1]


def _quantities(sensors: Iterable[Sensor]) -> list[str]:
    return list(dict.fromkeys(_quantity(sensor) for sensor in sensors))
