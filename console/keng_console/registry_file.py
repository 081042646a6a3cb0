"""``commune.toml`` as people write it: read, told of every mistake by the name of the thing, and made NFC.

What a single document can't get wrong by its form is checked in ``keng_contracts.registry``; here are the mistakes
of meaning that form lets through: levels that fall, a threshold that the instrument can't reach, an order to nobody.
"""

from __future__ import annotations

import tomllib
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from keng_contracts.errors import Problem
from keng_contracts.registry import AuthorityMode, Registry

#: A commune's registry is some tens of kilobytes; what is larger is another file.
MAX_BYTES = 1 << 20
#: The longest siren that we know of, that of Huế above báo động 3, lasts for nearly nine minutes.
MAX_SIREN_S = 900


def read(path: Path) -> Registry:
    """The registry in ``path``; raises :class:`Problem` that names every mistake in one line."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        todo = "write it after the sample commune.toml, or set 'registry_file'"
        raise Problem("the registry is not there", where=str(path), todo=todo) from None
    except OSError as error:
        raise Problem(f"can't be read: {error.strerror}", where=str(path), todo="check owner and mode") from None
    if len(raw) > MAX_BYTES:
        raise Problem(f"is larger than {MAX_BYTES} bytes", where=str(path), todo="check 'registry_file'")
    return parse(raw, str(path))


def parse(raw: bytes, where: str) -> Registry:
    """The registry in the bytes of a TOML file; raises :class:`Problem` with every mistake."""
    try:
        document = tomllib.loads(unicodedata.normalize("NFC", raw.decode("utf-8")))
    except UnicodeDecodeError:
        raise Problem("is not UTF-8 text", where=where, todo="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"is not TOML: {error}", where=where, todo="mend that line") from None
    try:
        registry = Registry.model_validate(document)
    except ValidationError as error:
        mistakes = [
            f"{_place(fault['loc'], document)}{_words(fault['type'], fault['msg'])}"
            for fault in error.errors(include_url=False, include_context=False)
        ]
    else:
        mistakes = faults(registry)
        if not mistakes:
            return registry
    raise Problem("; ".join(mistakes), where=where, todo="mend it and save; the file is read again by itself")


def faults(registry: Registry) -> list[str]:
    """Mistakes of meaning, each as one phrase; empty when there are none."""
    found: list[str] = []
    try:
        ZoneInfo(registry.commune.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        found.append(f"commune.timezone: {registry.commune.timezone!r} is no time zone (e.g. Asia/Ho_Chi_Minh)")
    for sensor in registry.sensors:
        if sensor.range is not None and sensor.range[0] >= sensor.range[1]:
            found.append(f"sensor {sensor.id}: range must run from low to high")
        for day in sorted({row.valid_from for row in registry.thresholds if row.sensor == sensor.id}):
            rows = sorted(registry.thresholds_of(sensor.id, day).items())
            for (lower, low), (upper, high) in pairwise(rows):
                if high.value <= low.value:
                    found.append(
                        f"thresholds of {sensor.id} on {day}: level {upper} ({high.value:g} {sensor.unit}) "
                        f"is not above level {lower} ({low.value:g} {sensor.unit})"
                    )
            for level, row in rows:
                if sensor.range is not None and not sensor.range[0] <= row.value <= sensor.range[1]:
                    found.append(f"threshold {level} of {sensor.id}: {row.value:g} is outside the sensor's range")
    for siren in registry.sirens:
        once_s = siren.blasts * siren.blast_s + (siren.blasts - 1) * siren.gap_s
        if (long_s := siren.repeats * (once_s + siren.gap_s)) > MAX_SIREN_S:
            found.append(
                f"siren {siren.id} sounds for {long_s / 60:.0f} minutes: the message comes after it, so at most "
                f"{MAX_SIREN_S / 60:.0f}"
            )
    reached = {zone for speaker in registry.speakers for zone in speaker.zones}
    for rule in registry.authority:
        if not any(t.sensor == rule.sensor and t.level == rule.level for t in registry.thresholds):
            found.append(f"authority for {rule.sensor} level {rule.level}: the gauge has no threshold of that level")
        if rule.mode is not AuthorityMode.MANUAL:
            silent = sorted(set(rule.zones) - reached)
            if not rule.zones:
                found.append(
                    f"authority for {rule.sensor} level {rule.level} is {rule.mode} without zones: nobody would hear it"
                )
            elif silent:
                found.append(
                    f"authority for {rule.sensor} level {rule.level}: no loudspeaker is in zone {', '.join(silent)}"
                )
    return list(dict.fromkeys(found))


def _place(loc: tuple[int | str, ...], document: dict[str, Any]) -> str:
    """Where a mistake is, by the id of the thing: ``sensors phu-oc/level: unit`` and not ``sensors.0.unit``."""
    names: list[str] = []
    here: Any = document
    for part in loc:
        try:
            here = here[part]
        except (LookupError, TypeError):
            here = None
        if isinstance(part, int) and isinstance(here, dict):
            name = here.get("id") or here.get("sensor")
            level = f" level {here['level']}" if "level" in here else ""
            names[-1] += f" {name}{level}" if name else f" number {part + 1}"
        elif isinstance(part, int):
            names[-1] += f" number {part + 1}"
        else:
            names.append(part)
    return ": ".join(names) + ": " if names else ""


def _words(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is no such key"
    if kind == "string_pattern_mismatch":
        return "may only have lower-case letters a to z, digits and dashes (and one '/' between station and quantity)"
    return message.removeprefix("Value error, ").removeprefix("Input ")
