"""The words of an alarm, Vietnamese first. A rule's own ``text`` takes the place of what it is called here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from keng_alerts.gauge.texts import level_name, level_name_en
from keng_contracts.alerts import Forecast
from keng_contracts.registry import Derived, Registry, Sensor
from keng_contracts.rules import Rule, RuleKind

#: What an alarm of a kind is called; ``{}`` is the name of the sensor.
_TITLES: dict[RuleKind, tuple[str, str]] = {
    RuleKind.RAIN: ("Mưa lớn", "Heavy rain"),
    RuleKind.UPSTREAM: ("Lũ từ thượng nguồn", "Flood coming from upstream"),
    RuleKind.RISE: ("Nước lên nhanh", "Water rising"),
    RuleKind.SALINITY: ("Độ mặn cao", "High salinity"),
    RuleKind.AIR: ("Không khí xấu", "Bad air"),
    RuleKind.DRY_SOIL: ("Đất khô", "Dry soil"),
    RuleKind.BATTERY: ("Pin yếu", "Low battery"),
    RuleKind.DISK: ("Ổ đĩa gần đầy", "Disk nearly full"),
    RuleKind.UNDER_VOLTAGE: ("Nguồn điện yếu", "Under-voltage"),
    RuleKind.HIGH: ("{} cao", "{} high"),
    RuleKind.LOW: ("{} thấp", "{} low"),
    RuleKind.SILENT: ("Mất số liệu {}", "No data from {}"),
    RuleKind.FLAT: ("{} đứng yên", "{} stands still"),
    RuleKind.QUALITY: ("Số đo {} không tin được", "Readings of {} can't be trusted"),
    RuleKind.NODE_OFFLINE: ("Trạm đo mất kết nối", "Edge node offline"),
    RuleKind.NODE_DROPPED: ("Trạm đo bỏ mất số liệu", "Edge node dropped readings"),
    RuleKind.NODE_BACKLOG: ("Trạm đo chưa gửi được số liệu", "Edge node has unsent readings"),
    RuleKind.NODE_PROBLEM: ("Trạm đo báo trục trặc", "Edge node tells a problem"),
    RuleKind.SPEAKER_OFF: ("Loa mất kết nối", "Loudspeaker offline"),
}
#: The value is the reading of an instrument, and says something beside its bound.
_MEASURED = frozenset(
    {
        RuleKind.SALINITY,
        RuleKind.DRY_SOIL,
        RuleKind.BATTERY,
        RuleKind.DISK,
        RuleKind.HIGH,
        RuleKind.LOW,
        RuleKind.RAIN,
    }
)
_UNITS = {"1": "", "Cel": "°C", "mS/cm": "mS/cm"}


@dataclass(frozen=True, slots=True)
class Names:
    """What people call a thing: ``place`` is where it is or what it is, ``sensor`` the sensor's name, if it is one."""

    place: str
    sensor: str = ""
    decimals: int = 1
    unit: str = ""


def names_of(thing: str, registry: Registry) -> Names:
    """The names of a sensor, a derived series, a node or a loudspeaker."""
    stations = {station.id: station for station in registry.stations}
    sensors: list[Sensor | Derived] = [*registry.sensors, *registry.derived]
    for sensor in sensors:
        if sensor.id == thing:
            station = stations[thing.split("/")[0]]
            place = f"{station.name} ({station.river})" if station.river else station.name
            return Names(place, sensor.name, sensor.decimals, sensor.unit)
    speaker = next((s.name for s in registry.speakers if s.id == thing), thing)
    return Names(speaker)


def title(rule: Rule, names: Names) -> tuple[str, str]:
    """What it is and where, in Vietnamese and in English: ``Mưa lớn tại Phú Ốc (Sông Bồ)``."""
    vi, en = _TITLES[rule.kind]
    name = names.sensor[:1].lower() + names.sensor[1:]
    vi = rule.text or _first_large(vi.format(name))
    en = rule.text_en or _first_large(en.format(names.sensor))
    return (
        (f"{vi} tại {names.place}", f"{en} at {names.place}")
        if names.sensor
        else (
            f"{vi}: {names.place}",
            f"{en}: {names.place}",
        )
    )


def raised(
    rule: Rule,
    names: Names,
    value: float,
    bound: float,
    unit: str,
    registry: Registry,
    *,
    expected_ms: int | None = None,
    ahead: Forecast | None = None,
    official: bool = False,
    words: str = "",
) -> tuple[str, str]:
    """One line about an alarm that is raised, in Vietnamese and in English."""
    vi, en = title(rule, names)
    shown = _UNITS.get(unit, unit)
    number, limit = f"{value:.{names.decimals}f} {shown}".strip(), f"{bound:g} {shown}".strip()
    match rule.kind:
        case RuleKind.RISE if ahead is not None:
            zone = ZoneInfo(registry.commune.timezone)
            hours = (ahead.expected_ms - ahead.made_ms) / 3_600_000
            times = [_clock(at, zone) for at in (ahead.earliest_ms, ahead.latest_ms) if at is not None]
            name, name_en = level_name(ahead.level, official), level_name_en(ahead.level, official)
            span = f"từ {times[0]} đến {times[1]}" if len(times) > 1 else f"sớm nhất {times[0]}, có thể không tới"
            span_en = f"{times[0]} to {times[1]}" if len(times) > 1 else f"{times[0]} at the earliest, perhaps never"
            at, rate = _clock(ahead.expected_ms, zone), f"{ahead.rate_per_h:.2f}"
            vi += f": {_comma(rate)} {names.unit}/giờ, có thể đến {name} sau {_hours(hours)} (khoảng {at}; {span})"
            en += f": {rate} {names.unit}/h, may reach {name_en} in {_hours_en(hours)} (about {at}; {span_en})"
        case RuleKind.UPSTREAM if expected_ms is not None:
            to = next((s.name for s in registry.stations if s.id == rule.to), rule.to or "")
            at = _clock(expected_ms, ZoneInfo(registry.commune.timezone))
            hours = (rule.travel_s or 0.0) / 3600
            vi += f": {_comma(number)}, đã vượt {_comma(limit)}; dự kiến tới {to} sau {_hours(hours)} (khoảng {at})"
            en += f": {number}, has passed {limit}; expected at {to} in {_hours_en(hours)} (about {at})"
        case RuleKind.RAIN:
            hours = (rule.window_s or 0.0) / 3600
            vi += f": {_comma(number)} trong {_hours(hours, about=False)}, ngưỡng {_comma(limit)}"
            en += f": {number} in {_hours_en(hours, about=False)}, threshold {limit}"
        case RuleKind.AIR:
            vi, en = f"{vi}: VN_AQI {value:.0f}", f"{en}: VN_AQI {value:.0f}"
        case RuleKind.FLAT:
            vi, en = f"{vi}: đã {_comma(f'{value:.0f}')} giờ không đổi", f"{en}: no change for {value:.0f} h"
        case RuleKind.QUALITY:
            vi, en = (
                f"{vi}: {value:.0f} % số đo gần đây bị loại",
                f"{en}: {value:.0f} % of recent readings are in doubt",
            )
        case RuleKind.NODE_BACKLOG:
            vi, en = f"{vi}: đã {value / 60:.0f} phút", f"{en}: for {value / 60:.0f} min"
        case RuleKind.NODE_DROPPED:
            vi, en = f"{vi}: {value:.0f} số đo", f"{en}: {value:.0f} readings"
        case RuleKind.NODE_PROBLEM:
            vi, en = f"{vi}: {words}", f"{en}: {words}"
        case kind if kind in _MEASURED:
            vi, en = f"{vi}: {_comma(number)}, ngưỡng {_comma(limit)}", f"{en}: {number}, threshold {limit}"
        case _:
            pass
    return vi, en


def cleared(rule: Rule, names: Names) -> tuple[str, str]:
    """One line about an alarm that is over. That nothing more is foretold is no all-clear: the level may be reached;
    and what has passed a gauge upstream is still on its way."""
    if rule.kind is RuleKind.RISE:
        return (
            f"Hiện không dự báo nước lên mức cao hơn tại {names.place}",
            f"No higher level is foretold at present at {names.place}",
        )
    if rule.kind is RuleKind.UPSTREAM:
        return (
            f"Mực nước thượng nguồn tại {names.place} đã xuống dưới ngưỡng",
            f"The level upstream at {names.place} is below its threshold",
        )
    vi, en = title(rule, names)
    return f"Đã hết: {vi}", f"Over: {en}"


def withdrawn(headline: str, headline_en: str) -> tuple[str, str]:
    """One line about an alarm whose rule is gone: nobody watches for it any more."""
    return f"Không còn theo dõi: {headline}", f"No longer watched: {headline_en}"


def _first_large(text: str) -> str:
    return text[:1].upper() + text[1:]


def _comma(number: str) -> str:
    return number.replace(".", ",")


def _hours(hours: float, about: bool = True) -> str:
    lead = "khoảng " if about else ""
    if hours < 1.5 and hours != 1:
        return f"{lead}{hours * 60:.0f} phút"
    return f"{lead}{_comma(f'{round(hours * 2) / 2:g}')} giờ"


def _hours_en(hours: float, about: bool = True) -> str:
    lead = "about " if about else ""
    return f"{lead}{hours * 60:.0f} min" if hours < 1.5 and hours != 1 else f"{lead}{round(hours * 2) / 2:g} h"


def _clock(at_ms: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).strftime("%H:%M")
