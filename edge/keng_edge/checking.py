"""What ``run`` would refuse, found without running: each wrong setting with its line in the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from keng_contracts.errors import Problem
from keng_edge import trial
from keng_edge.plan import Plan, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.kinds import KINDS
from keng_edge.sources.source import BadSetting, Health
from keng_runtime.credentials import Credentials
from keng_runtime.settings import load
from keng_runtime.toml_lines import Place, line_of


def check(file: Path) -> tuple[Plan, list[str]]:
    """What the agent would read, and what is wrong, each in a line of text. Raises :class:`Problem` for a file that
    can't be read as settings at all.

    It sees what whoever calls it may see: keys and certificates are for the agent's user alone.
    """
    settings = load(EdgeSettings, file)
    text = file.read_text(encoding="utf-8")
    wrong: set[tuple[int, str]] = set()

    def note(place: Place, problem: Problem) -> None:
        line = line_of(text, place)
        where = f"line {line}, " if line else f"{'.'.join(map(str, place))}: "  # that from the environment has no line
        wrong.add((line or 0, f"{file}: {where}{problem}"))

    last = trial.read(settings.state)
    if last is not None and last.why and last.tried == settings:
        wrong.add((0, f"{file}: {last.problem}"))
    planned = plan(settings, lambda bad: note(_place(settings, bad), bad))
    _try(lambda: Credentials.open(settings.broker.credentials).tls(), ("broker", "credentials"), note)
    _try(lambda: _state(settings.state), ("state",), note)
    if settings.profiles is not None and not settings.profiles.is_dir():
        no_folder = Problem("is no folder", where=str(settings.profiles), todo="make it, or leave 'profiles' away")
        note(("profiles",), no_folder)
    for line in planned.lines:
        for sensor in line.slaves:  # each alone, so that all of them have their say
            try:
                KINDS[line.kind].load().source(replace(line, slaves=[sensor]), Health([sensor.id]))
            except BadSetting as bad:
                note(_place(settings, bad), bad)
    return planned, [said for _, said in sorted(wrong)]


def _try(what: Callable[[], object], place: Place, note: Callable[[Place, Problem], None]) -> None:
    try:
        what()
    except Problem as problem:
        note(place, problem)


def _place(settings: EdgeSettings, bad: BadSetting) -> Place:
    """Where in the settings it stands."""
    for number, bus in enumerate(settings.buses):
        for position, slave in enumerate(bus.slaves):
            if slave.id == bad.sensor:
                return ("buses", number, "slaves", position, bad.setting)
        if bus.id == bad.line:
            return ("buses", number, bad.setting)
    return ("buses",)


def _state(folder: Path) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "is no folder" if not there.is_dir() else "can't be written by this user"
        raise Problem(what, where=str(there), todo="check its owner, or set 'state'")
