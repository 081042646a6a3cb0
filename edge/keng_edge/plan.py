"""What the settings amount to: settings and profiles put together into lines, slaves and series."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from keng_contracts.errors import Problem
from keng_edge.pipeline.pace import Pace
from keng_edge.pipeline.pipeline import Channel
from keng_edge.settings import BusSettings, EdgeSettings, SlaveSettings
from keng_edge.sources.kinds import KINDS, PROFILE_KINDS
from keng_edge.sources.profiles import AnyProfile, Parity
from keng_edge.sources.source import BadSetting, Sensor
from keng_runtime.settings import explain

SHIPPED = Path(__file__).with_name("profiles")


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """A line with what its settings and its sensors' profiles come to. What only its kind needs is in ``settings``."""

    settings: BusSettings
    edge: EdgeSettings
    baud: int
    parity: Parity
    slaves: list[Sensor[Any]]

    @property
    def id(self) -> str:
        return self.settings.id

    @property
    def kind(self) -> str:
        return self.settings.kind

    @property
    def port(self) -> str:
        return self.settings.port


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be read: lines, channels by (sensor, quantity), and the sensors on which an alert depends.

    ``paces`` has the pace of every series that is read faster while it moves.
    """

    lines: list[PlannedLine]
    channels: dict[tuple[str, str], Channel]
    paces: dict[str, Pace]
    alarms: frozenset[str]


def _raise(bad: BadSetting) -> NoReturn:
    raise bad


def plan(settings: EdgeSettings, refuse: Callable[[BadSetting], None] = _raise) -> Plan:
    """Put settings and profiles together; raises :class:`BadSetting` for what does not fit.

    Another ``refuse`` hears of each of them instead, and the plan is made of the sensors that fit.
    """
    lines: list[PlannedLine] = []
    channels: dict[tuple[str, str], Channel] = {}
    nodes: dict[str, tuple[object, str]] = {}
    for number, bus in enumerate(settings.buses):
        slaves: list[Sensor[Any]] = []
        for position, one in enumerate(bus.slaves):
            where = f"buses.{number}.slaves.{position} ({one.id})"
            try:
                profile = _profile(one, bus.kind, settings.profiles, where)
            except BadSetting as bad:
                refuse(bad)
                continue
            slaves.append(Sensor(one.id, one.address, one.interval_s, profile))
            if profile.kind == "radio":
                nodes[one.id] = (one.address, one.profile)
            for quantity, channel in _channels(settings.commune, bus.id, one, profile).items():
                owner = next((key for key, other in channels.items() if other.series == channel.series), None)
                same = owner is not None and owner[0] in nodes and nodes[owner[0]] == nodes.get(one.id)
                if owner is not None and not (same and owner[0] != one.id):  # a node that two radios hear is one sensor
                    refuse(
                        BadSetting(
                            f"{channel.series} is already the series of {owner[0]}",
                            setting="station",
                            sensor=one.id,
                            where=where,
                            todo="give it another name with 'series', or another station",
                        )
                    )
                channels[one.id, quantity] = channel
        if slaves:
            baud = bus.baud or slaves[0].profile.baud
            parity = bus.parity or _parity(slaves)
            lines.append(PlannedLine(bus, settings, baud, parity, slaves))
    alarms = frozenset(slave.id for bus in settings.buses for slave in bus.slaves if slave.relevant)
    paces = {
        channels[slave.id, quantity].series: _pace(slave, quantity)
        for bus in settings.buses
        for slave in bus.slaves
        for quantity in {**slave.thresholds, **slave.rate_per_h}
        if (slave.id, quantity) in channels
    }
    return Plan(lines, channels, paces, alarms)


def _pace(slave: SlaveSettings, quantity: str) -> Pace:
    return Pace(
        slow_s=slave.interval_s,
        fast_s=min(slave.interval_s, slave.fast_interval_s or max(0.05, slave.interval_s / 4)),
        thresholds=slave.thresholds.get(quantity, ()),
        near=slave.near.get(quantity, 0.0),
        rate_per_h=slave.rate_per_h.get(quantity),
    )


def _profile(slave: SlaveSettings, kind: str, own: Path | None, where: str) -> AnyProfile:
    try:
        profile = load_profile(slave.profile, own)
    except Problem as problem:
        at = problem.where or where
        raise BadSetting(problem.what, setting="profile", sensor=slave.id, where=at, todo=problem.todo) from None
    if type(profile) is not KINDS[kind].load().PROFILE:
        raise BadSetting(
            f"{slave.profile} is no profile for a line of kind {kind!r}",
            setting="profile",
            sensor=slave.id,
            where=where,
            todo=f"put it on a line for {KINDS[PROFILE_KINDS[profile.kind]].title}",
        )
    for setting in ("series", "offset", "calibration", "average_s", "dead_band", "thresholds", "rate_per_h"):
        names: dict[str, object] = getattr(slave, setting)
        for name in names:
            if name not in profile.quantities:
                raise BadSetting(
                    f"{setting}: {slave.profile} has no quantity {name!r}",
                    setting=setting,
                    sensor=slave.id,
                    where=where,
                    todo=f"it has {', '.join(profile.quantities)}",
                )
    return profile


def _channels(commune: str, line: str, slave: SlaveSettings, profile: AnyProfile) -> dict[str, Channel]:
    return {
        name: Channel(
            series=f"{commune}/{slave.station}/{slave.series.get(name, profile.series(name, line))}",
            unit=quantity.unit,
            scale=quantity.scale,
            offset=quantity.offset + slave.offset.get(name, 0.0),
            sentinels=frozenset(quantity.sentinels),
            calibration=tuple(sorted((one.from_ms, one.offset) for one in slave.calibration.get(name, []))),
            average_ms=round(slave.average_s.get(name, 0.0) * 1000),
            dead_band=slave.dead_band.get(name, 0.0),
            heartbeat_ms=round(slave.heartbeat_s * 1000),
        )
        for name, quantity in profile.quantities.items()
    }


def _parity(slaves: list[Sensor[Any]]) -> Parity:
    own: set[Parity] = {slave.profile.parity for slave in slaves}
    return own.pop() if len(own) == 1 else "N"


def load_profile(name: str, own: Path | None = None) -> AnyProfile:
    """The profile of that name: from the folder ``own`` if it is there, else as shipped. Raises :class:`Problem`."""
    folders = [folder for folder in (own, SHIPPED) if folder is not None]
    file = next((path for folder in folders if (path := folder / f"{name}.toml").is_file()), None)
    if file is None:
        there = sorted({path.stem for folder in folders for path in folder.glob("*.toml")})
        raise Problem(f"there is no profile {name!r}", todo=f"take one of {', '.join(there)}, or write {name}.toml")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        kind = values.get("kind", "modbus")
        if kind not in PROFILE_KINDS:
            raise Problem(
                f"kind: {kind!r} is none of {', '.join(PROFILE_KINDS)}", where=str(file), todo="mend the profile"
            )
        profile: AnyProfile = KINDS[PROFILE_KINDS[kind]].load().PROFILE.model_validate(values)
        return profile
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"is not TOML: {error}", where=str(file), todo="mend that line") from None
    except ValidationError as error:
        raise Problem(explain(error), where=str(file), todo="mend the profile") from None
