"""The machine's own health: numbers that the system tells in files, such as the Pi's temperature and supply.

A profile names for each quantity the file under the root (``port`` of the line, ``/``) and how the number stands in it.
What this system does not tell is left out without a word; a machine that tells nothing of the profile has failed.

The format of ``get_throttled`` is in Raspberry Pi's documentation of vcgencmd: bit 0 under-voltage, 1 frequency capped,
2 throttled, 3 soft temperature limit, and 16 above each what has happened since the start. ``rpi_volt`` is the kernel's
hwmon driver of the same firmware.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from keng_contracts.names import Slug
from keng_edge.pipeline.pipeline import Raw, Sample
from keng_edge.plan import PlannedLine
from keng_edge.sources.polled import PolledBus
from keng_edge.sources.profiles import AnyProfile, Decoded, Scaled
from keng_edge.sources.serialport import PortLost
from keng_edge.sources.source import Failure, Health, Outcome, Sensor, Source
from keng_runtime.clock import now_ms

#: No file of these is longer; what is behind is not looked at.
MAX_BYTES = 16_384


class Told(Scaled):
    """A number in a file. ``file`` is a path or glob below the root; the first that is there counts."""

    file: str = Field("", description="path below the root, * allowed")
    disk: str = Field("", description="instead of a file: bytes that are free where this path lies")
    pattern: str = Field(r"\s*(\S+)", description="regular expression; its group is the number")
    bits: int | None = Field(None, ge=1, description="a word of flags, hexadecimal: 1 if one of these is set, else 0")
    driver: str = Field("", description="only where a file 'name' beside it says this")

    @field_validator("pattern")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        try:
            if re.compile(pattern).groups != 1:
                raise ValueError(f"{pattern!r} needs one group")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern

    def raw(self, text: str) -> Raw | None:
        """The number in a file's text; None when there is none."""
        match = re.match(self.pattern, text, re.MULTILINE | re.DOTALL)
        if match is None or match[1] is None:
            return None
        try:
            if self.bits is not None:
                return Raw(int(bool(int(match[1], 16) & self.bits)))
            return Raw(float(match[1]))
        except ValueError:
            return None


class MachineProfile(AnyProfile):
    """What one kind of machine tells of itself."""

    kind: Literal["machine"] = "machine"
    quantities: Mapping[Slug, Told] = Field(min_length=1)

    def decode(self, texts: Mapping[str, str]) -> Decoded:
        """The numbers in the texts of the files, by quantity. Whatever they hold, nothing is raised."""
        values: dict[str, Raw] = {}
        faults: list[str] = []
        for name, text in texts.items():
            raw = self.quantities[name].raw(text)
            if raw is None:
                faults.append(f"{name} is damaged: {text[:20]!r}")
            elif fault := self.quantities[name].fault(raw):
                faults.append(f"{name} {fault}")
            else:
                values[name] = raw
        return Decoded(values, faults)


class Folder:
    """The root of the system's files, as the port of a line."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self.is_open = False

    async def open(self) -> None:
        if not self._root.is_dir():
            raise PortLost("the folder is not there", todo="set 'port' to /", where=str(self._root))
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def texts(self, profile: MachineProfile) -> dict[str, str]:
        """The text behind each quantity of a profile, where there is one."""
        found = {name: self._text(told) for name, told in profile.quantities.items()}
        return {name: text for name, text in found.items() if text is not None}

    def _text(self, told: Told) -> str | None:
        try:
            if told.disk:
                disk = os.statvfs(self._root / told.disk.lstrip("/"))
                return str(disk.f_bavail * disk.f_frsize)
            for path in sorted(self._root.glob(told.file.lstrip("/"))):
                if not told.driver or (path.parent / "name").read_text().strip() == told.driver:
                    with path.open("rb") as file:
                        return file.read(MAX_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):  # the system does not tell it, or no longer
            pass
        return None


class Machine(PolledBus[MachineProfile]):
    """The machine as a source."""

    def __init__(self, folder: Folder, sensors: Sequence[Sensor[MachineProfile]], health: Health) -> None:
        super().__init__(folder, sensors, health)
        self._folder = folder

    async def measure(self, sensor: Sensor[MachineProfile]) -> Outcome:
        try:
            await self._folder.open()
        except PortLost as lost:
            self._folder.close()
            return Outcome(sensor.id, None, lost)
        texts = await asyncio.to_thread(self._folder.texts, sensor.profile)
        values, faults = sensor.profile.decode(texts)
        if not texts:
            faults = ["no answer: this system tells nothing that the profile names"]
        failure = Failure("; ".join(faults), todo="take the profile of this machine") if faults else None
        return Outcome(sensor.id, Sample(sensor.id, now_ms(), values) if values else None, failure)


PROFILE = MachineProfile


def source(line: PlannedLine, health: Health) -> Source:
    """The source of a planned line of this kind."""
    return Machine(Folder(line.port), line.slaves, health)
