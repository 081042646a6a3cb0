"""Text to a WAV file by espeak-ng, which speaks on any machine. It is never on the way of a siren: a job's siren
sounds while its words are still being made."""

from __future__ import annotations

import asyncio
import logging
import re
import wave
from array import array
from asyncio.subprocess import PIPE
from pathlib import Path

from keng_contracts.commands import Speech
from keng_contracts.errors import Problem
from keng_loudspeaker.playing import children
from keng_loudspeaker.sounding.cache import seconds
from keng_loudspeaker.sounding.vietnamese import speakable

log = logging.getLogger(__name__)

#: Of full scale: where the loudest sample of a spoken text is brought.
PEAK = 0.89
#: Longest time for a synthesis. Two thousand characters take well under a second on a PC.
TIMEOUT_S = 30.0
_LANG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*", re.ASCII)


class Unspeakable(Exception):
    """A text that can't be made into speech here; the message is the reason in evidence."""


def words(speech: Speech) -> str:
    """What is handed to the engine."""
    return speakable(speech.text) if speech.lang.split("-")[0].lower() == "vi" else " ".join(speech.text.split())


def key(speech: Speech, words_per_minute: int) -> str:
    """What the sound depends on."""
    return f"speech/1 espeak-ng {speech.lang.lower()} {words_per_minute} {PEAK} {words(speech)}"


async def write(speech: Speech, words_per_minute: int, path: Path) -> None:
    """Synthesise into a WAV file; raises :class:`Unspeakable` and OSError."""
    lang = speech.lang.lower()
    if not _LANG.fullmatch(lang):
        raise Unspeakable(f"no voice for {speech.lang!r}")
    text = words(speech)
    if not any(c.isalnum() for c in text):
        raise Unspeakable("the text has no words")
    command = ("espeak-ng", "-v", lang, "-s", str(words_per_minute), "-b", "1", "--stdin", "-w", str(path))
    try:
        child = await children.start(*command, stdin=PIPE, stderr=PIPE)
    except Problem as problem:
        raise Unspeakable(str(problem)) from None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, complaint = await child.communicate(text.encode())
    except TimeoutError:
        raise Unspeakable("espeak-ng did not end") from None
    finally:
        await children.end(child, within_s=0)
    if child.returncode != 0 or not seconds(path):
        said = complaint.decode(errors="replace").strip().splitlines()
        raise Unspeakable(f"espeak-ng could not speak it ({said[-1][:80] if said else lang})")
    await asyncio.to_thread(_raise_level, path)


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
        sound.writeframes(array("h", [int(v * gain) for v in samples]).tobytes())
