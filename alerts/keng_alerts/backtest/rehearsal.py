"""The edge of the backtest: which gauge, which file, which unit. The replay itself is :mod:`.backtest`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from keng_alerts.backtest.backtest import Replay, choose, rehearse, replay, report
from keng_alerts.backtest.series import labels, rows, unit_of_values, zone_of
from keng_alerts.gauge.gauges import local_day
from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_runtime.settings import explain
from keng_signals.quality import limits_of

_METRES = {"mm": 0.001, "cm": 0.01, "dm": 0.1, "m": 1.0}
#: What no level and no distance is in any unit: files say it where there is no value, whatever the registry knows.
NO_VALUE = frozenset({-9999.0, -99999.0})
#: Rows by which a series' interval is known.
_PEEK = 501


def run(
    file: Path,
    station: str,
    *,
    registry: Path | None = None,
    time: str | None = None,
    value: str | None = None,
    where: Mapping[str, str] | None = None,
    unit: str | None = None,
    tz: str | None = None,
    events: Path | None = None,
) -> tuple[Replay, dict[str, Any]]:
    """Replay a file; the replay and its figures. Raises Problem for whatever the operator has to mend."""
    zone = zone_of(tz)
    known = load(registry or Path(__file__).parent / "gauges.toml")
    series, gauge = choose(known, station)
    sensor = next(s for s in known.sensors if known.series(s) == series)
    notes = []
    if unit is None and (named := unit_of_values(file, value)) not in (None, sensor.unit) and sensor.unit in _METRES:
        unit = named
        notes.append(f"values are taken as {unit}, as their column is called; say otherwise by --unit")
    factor = _factor(unit, sensor.unit)
    labelled = None if events is None else labels(events, zone)

    read = rows(file, time, value, where or {}, zone)
    first = list(islice(read, _PEEK))
    if not first:
        raise Problem("no row is left", where=str(file), todo="see --where, or whether the file is empty")
    if sum(b.time_ms < a.time_ms for a, b in pairwise(first)) > 0.9 * (len(first) - 1):
        first, read = [*first, *read][::-1], iter(())
        notes.append("the file has its newest row first: read from its end")
    steps = [b - a for a, b in pairwise(sorted({row.time_ms for row in first[:_PEEK]}))]
    day = local_day(min(row.time_ms for row in first), known)
    gauge, assumed = rehearse(gauge, median(steps) / 1000 if steps else sensor.interval_s, day)
    heard = sensor.model_copy(update={"interval_s": gauge.sensor.interval_s})
    limits = limits_of(known.model_copy(update={"sensors": [heard if s is sensor else s for s in known.sensors]}))

    missing = late = 0
    sentinels = frozenset(sensor.sentinels)

    def samples() -> Iterator[tuple[int, float]]:
        nonlocal missing, late
        newest_ms = first[0].time_ms
        for _, time_ms, raw in chain(first, read):
            if time_ms < newest_ms:
                late += 1
            else:
                newest_ms = time_ms
            if raw in sentinels:
                yield time_ms, raw
            elif raw is None or raw in NO_VALUE:
                missing += 1
            else:
                yield time_ms, raw * factor

    result = replay(gauge, limits[series], samples(), labelled)
    rows_read = missing + len(result.times)
    if late > rows_read / 100:
        notes.append(
            f"{late} of {rows_read} rows are older than one before them, and count as history: "
            "if they are of another place, choose with --where"
        )
    notes += assumed
    return result, {**report(result), "missing": missing, "labelled": labelled is not None, "notes": notes}


def words(result: Replay, figures: Mapping[str, Any]) -> str:
    """The figures for a person at a terminal."""
    zone = ZoneInfo(result.gauge.registry.commune.timezone)

    def when(at_ms: int) -> str:
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M")

    sirens = {siren.time_ms for siren in result.sirens}
    lines = [f"{figures['samples']} samples of {figures['gauge']}, {figures['missing']} rows without a value"]
    lines.append("quality: " + ", ".join(f"{test} {count}" for test, count in figures["flags"].items()))
    for step, value in zip(result.steps, result.values, strict=True):
        sound = "  siren" if step.time_ms in sirens and step.after > step.before else ""
        lines.append(f"{when(step.time_ms)}  level {step.before} -> {step.after} at {value:.2f}{sound}")
    for event in figures["events"]:
        if event["raised_ms"] is None:
            lines.append(f"{when(event['start_ms'])}  level {event['level']} was reached and MISSED")
    names = ("missed", "false", "false_sirens", "pod", "far", "csi", "delay_samples")
    lines.append(f"{len(result.sirens)} sirens; " + ", ".join(f"{name} {_shown(figures[name])}" for name in names))
    ahead = figures["forecast"]
    if ahead:
        text = ", ".join(f"{name} {_shown(ahead[name])}" for name in ("hits", "missed", "false", "csi", "lead_s"))
        lines.append(f"forecast {ahead['lead_h']:g} h ahead: {text}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:g}"


def load(file: Path) -> Registry:
    """A registry as people write it."""
    try:
        text = file.read_text(encoding="utf-8")
        return Registry.model_validate(tomllib.loads(text))
    except OSError as error:
        raise Problem(f"the registry can't be read ({error.strerror})", where=str(file)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"the registry is no TOML ({error})", where=str(file)) from None
    except ValidationError as error:
        raise Problem(f"the registry has a mistake: {explain(error, text)}", where=str(file)) from None


def _factor(unit: str | None, wanted: str) -> float:
    """From the file's unit into the instrument's."""
    if unit is None or unit == wanted:
        return 1.0
    if unit not in _METRES or wanted not in _METRES:
        raise Problem(
            f"{unit!r} can't be turned into {wanted!r}", where="--unit", todo=f"it can be {', '.join(_METRES)}"
        )
    return _METRES[unit] / _METRES[wanted]
