"""``keng loudspeaker check``: what is here, what is missing, and how to get it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Clock
from keng_loudspeaker.playing import children
from keng_loudspeaker.playing.file_player import FILE
from keng_loudspeaker.playing.sound import AUTO, NULL, environment, has_card, sinks
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_loudspeaker.sounding.clips import LIST, Clips
from keng_runtime.clock import clock_state
from keng_runtime.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. ``needed``: the node can't do its work without it. ``todo`` is empty if it is
    well."""

    name: str
    found: str
    needed: bool = True
    todo: str = ""

    @property
    def ok(self) -> bool:
        return not self.todo


async def findings(settings: LoudspeakerSettings) -> AsyncIterator[Finding]:
    """Look for everything, one after the other."""
    for program in ("mpv", "pulseaudio", "parec", "pactl", "setpriv"):
        if settings.device != FILE or program == "setpriv":
            yield await _program(program, "--version")
    yield await _voice()
    if settings.piper_voice is not None:
        yield _piper(settings.piper_voice)
    if settings.recorded_words is not None:
        yield _recorded(settings.recorded_words)
    yield await _device(settings.device)
    yield _credentials(settings.broker.credentials)
    yield _clock(settings)


async def _program(name: str, *arguments: str) -> Finding:
    if shutil.which(name) is None:
        return Finding(name, "not there", todo=children.missing(name).todo)
    printed = (await children.output(name, *arguments) or "").splitlines()
    return Finding(name, printed[0].split(" Copyright")[0][:60] if printed else "there")


async def _voice() -> Finding:
    voices = await children.output("espeak-ng", "--voices=vi")
    if voices is None:
        return Finding("espeak-ng", "not there", todo=children.missing("espeak-ng").todo)
    if " vi " not in voices:
        return Finding("espeak-ng", "without a Vietnamese voice", todo="apt-get install espeak-ng-data")
    return Finding("espeak-ng", "with the voice vi")


def _piper(voice: Path) -> Finding:
    if shutil.which("piper") is None:
        return Finding("piper", "not there", needed=False, todo=children.missing("piper").todo + "; espeak-ng speaks")
    if not voice.is_file():
        return Finding("piper", f"no voice at {voice}", needed=False, todo="mend 'piper_voice'; espeak-ng speaks")
    return Finding("piper", f"with the voice {voice.stem}")


def _recorded(folder: Path) -> Finding:
    try:
        clips = Clips.read(folder)
        gone = sorted(path.name for path in clips.by_words.values() if not path.is_file())
    except (OSError, ValueError) as error:
        return Finding("recorded words", str(error), needed=False, todo=f"mend {folder}; a synthesiser speaks")
    if gone:
        todo = f"record them, or take them out of {LIST}"
        return Finding("recorded words", f"without {', '.join(gone[:5])}", needed=False, todo=todo)
    return Finding("recorded words", f"{len(clips.by_words)} recordings")


async def _device(device: str) -> Finding:
    if device == FILE:
        return Finding("sound device", "none: what would sound is measured only, and kept in a file", needed=False)
    there = [] if device == NULL else await sinks(environment()) or []
    if device not in (AUTO, NULL):
        todo = "" if device in there else f"choose another 'device'; there are: {', '.join(there) or 'none'}"
        return Finding("sound device", device, todo=todo)
    if there:
        return Finding("sound device", there[0])
    if device == AUTO and has_card():
        return Finding("sound device", "a sound card, opened by our own sound server")
    silent = "none: sound goes into a silent sink in real time, and is measured there"
    todo = "" if device == NULL else "attach a sound card, or start PulseAudio or PipeWire, to be heard"
    return Finding("sound device", silent, needed=False, todo=todo)


def _credentials(folder: Path) -> Finding:
    try:
        credentials = Credentials.open(folder)
        keys = credentials.trust().keys.values()
    except Problem as problem:
        return Finding("credentials", str(problem).partition(";")[0], todo=problem.todo)
    may = sorted({f"{key.issuer} may {', '.join(sorted(key.may))}" for key in keys})
    return Finding("credentials", f"{credentials.identity}; obeys: {'; '.join(may) or 'nobody'}")


def _clock(settings: LoudspeakerSettings) -> Finding:
    state = clock_state()
    if state is not Clock.UNKNOWN:
        return Finding("clock", f"kept by NTP ({state.value})")
    if settings.clock == "trusted":
        return Finding("clock", "not kept by NTP, trusted by your setting")
    todo = "apt-get install chrony: without it an old command is told by its number alone, not by its time"
    return Finding("clock", "not kept by NTP", needed=False, todo=todo)
