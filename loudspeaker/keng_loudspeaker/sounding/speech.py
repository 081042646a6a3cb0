"""Spoken texts as sound, raised to nearly full scale.

Made of recorded words where all of them are there, else by Piper if a voice is installed, else by espeak-ng, which is
there always.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import wave
from array import array
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path

from keng_contracts.commands import Speech
from keng_contracts.errors import Problem
from keng_loudspeaker.playing import children
from keng_loudspeaker.sounding import clips
from keng_loudspeaker.sounding.cache import seconds
from keng_loudspeaker.sounding.vietnamese import speakable

log = logging.getLogger(__name__)

#: Of full scale: where the loudest sample of a spoken text is brought.
PEAK = 0.89
#: Longest time for a synthesis. Two thousand characters take well under a second on a PC.
TIMEOUT_S = 30.0
#: Piper's own speed, roughly.
PIPER_WORDS_PER_MINUTE = 150
_LANG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*", re.ASCII)


class Unspeakable(Exception):
    """A text that can't be made into speech here; the message is the reason in evidence."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How texts are spoken: ``piper`` is a Vietnamese voice of Piper (an .onnx file), ``recorded`` a folder of recorded
    Vietnamese words, see :mod:`keng_loudspeaker.sounding.clips`; None where there is none."""

    words_per_minute: int = 150
    piper: Path | None = None
    recorded: Path | None = None

    def key(self, speech: Speech) -> str:
        """What the sound depends on."""
        made = f"{self.words_per_minute} {PEAK} {words(speech)}"
        if not _vietnamese(speech):
            return f"speech/1 espeak-ng {speech.lang.lower()} {made}"
        recorded = ""
        if self.recorded is not None:
            try:
                recorded = hashlib.sha256((self.recorded / clips.LIST).read_bytes()).hexdigest()
            except OSError as error:
                log.error("recorded words can't be read (%s: %s)", self.recorded, error.strerror)
        return f"speech/2 {recorded} {self.piper or ''} espeak-ng {speech.lang.lower()} {made}"

    async def write(self, speech: Speech, path: Path) -> None:
        """Make it into a WAV file; raises :class:`Unspeakable` and OSError."""
        text = words(speech)
        if not any(c.isalnum() for c in text):
            raise Unspeakable("the text has no words")
        if not (
            _vietnamese(speech)
            and (await asyncio.to_thread(self._recorded, text, path) or await self._by_piper(text, path))
        ):
            await self._by_espeak(speech.lang.lower(), text, path)
        await asyncio.to_thread(_raise_level, path)

    def _recorded(self, text: str, path: Path) -> bool:
        if self.recorded is None:
            return False
        try:
            parts = clips.Clips.read(self.recorded).cover(text)
            if parts is None:
                return False
            clips.join(parts, path)
            return True
        except (ValueError, wave.Error, EOFError, FileNotFoundError) as error:
            log.error("recorded words can't be used (%s): %s", self.recorded, error)
            return False

    async def _by_piper(self, text: str, path: Path) -> bool:
        if self.piper is None:
            return False
        pace = f"{PIPER_WORDS_PER_MINUTE / self.words_per_minute:.2f}"
        complaint = await _run(
            text, "piper", "--model", str(self.piper), "--length_scale", pace, "--output_file", str(path)
        )
        if not complaint and seconds(path):
            return True
        log.error("piper could not speak (%s): espeak-ng does", complaint or "nothing came of it")
        return False

    async def _by_espeak(self, lang: str, text: str, path: Path) -> None:
        if not _LANG.fullmatch(lang):
            raise Unspeakable(f"no voice for {lang!r}")
        speed = str(self.words_per_minute)
        complaint = await _run(text, "espeak-ng", "-v", lang, "-s", speed, "-b", "1", "--stdin", "-w", str(path))
        if complaint or not seconds(path):
            raise Unspeakable(f"espeak-ng could not speak it ({complaint or lang})")


def words(speech: Speech) -> str:
    """What is handed to the engine."""
    return speakable(speech.text) if _vietnamese(speech) else " ".join(speech.text.split())


def _vietnamese(speech: Speech) -> bool:
    return speech.lang.split("-")[0].lower() == "vi"


async def _run(text: str, *command: str) -> str:
    """Hand a text to an engine; returns its complaint, empty if it has none."""
    try:
        child = await children.start(*command, stdin=PIPE, stderr=PIPE)
    except Problem as problem:
        return str(problem)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, said = await child.communicate(text.encode())
    except TimeoutError:
        return f"{command[0]} did not end"
    finally:
        await children.end(child, within_s=0)
    if child.returncode == 0:
        return ""
    return (said.decode(errors="replace").strip().splitlines() or [f"{command[0]} failed"])[-1][:80]


def _raise_level(path: Path) -> None:
    """Bring the loudest sample to :data:`PEAK`: engines leave headroom that a village does not need."""
    with wave.open(str(path), "rb") as sound:
        parameters = sound.getparams()
        samples = array("h", sound.readframes(parameters.nframes))
    loudest = max(max(samples), -min(samples))
    if loudest == 0:
        return
    gain = 32767 * PEAK / loudest
    with wave.open(str(path), "wb") as sound:
        sound.setparams(parameters)
        sound.writeframes(array("h", (int(v * gain) for v in samples)).tobytes())
