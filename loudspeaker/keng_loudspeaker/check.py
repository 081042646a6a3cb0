"""``keng loudspeaker check``: what is here, what is missing, and how to get it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keng_contracts.errors import Problem
from keng_contracts.telemetry import Clock
from keng_loudspeaker.playing import children
from keng_loudspeaker.playing.file_player import FILE
from keng_loudspeaker.playing.sound import AUTO, NULL, environment, has_card, sinks
from keng_loudspeaker.proving.health import milliamperes
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_loudspeaker.sounding.clips import LIST, Clips
from keng_loudspeaker.telling import Both, same
from keng_runtime.clock import clock_state
from keng_runtime.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. ``needed``: the node can't do its work without it. ``todo`` is None if it is
    well."""

    name: Both
    found: Both
    needed: bool = True
    todo: Both | None = None

    @property
    def ok(self) -> bool:
        return self.todo is None

    @property
    def plain(self) -> dict[str, Any]:
        """For a machine: each text as ``{"vi": …, "en": …}``."""
        return {key: value._asdict() if isinstance(value, Both) else value for key, value in asdict(self).items()} | {
            "ok": self.ok
        }


_NOT_THERE = Both("chưa cài đặt", "not installed")
_PIPER, _RECORDED = same("piper"), Both("từ ghi âm sẵn", "recorded words")
_DEVICE, _CREDENTIALS = Both("thiết bị âm thanh", "sound device"), Both("chứng thư", "credentials")
_AMPLIFIER, _CLOCK = Both("dòng điện của tăng âm", "amplifier's current"), Both("đồng hồ", "clock")
#: What a key may order of a loudspeaker.
_MAY = {"play": "phát", "stop": "dừng", "prepare": "chuẩn bị âm thanh", "programme": "giao chương trình"}


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
    if settings.amplifier_current:
        yield _amplifier(settings.amplifier_current)
    yield _credentials(settings.broker.credentials)
    yield _clock(settings)


async def _program(name: str, *arguments: str) -> Finding:
    if shutil.which(name) is None:
        return Finding(same(name), _NOT_THERE, todo=_install(name))
    printed = (await children.output(name, *arguments) or "").splitlines()
    return Finding(same(name), same(printed[0].split(" Copyright")[0][:60]) if printed else Both("có", "there"))


def _install(program: str) -> Both:
    return same(children.missing(program).todo)


async def _voice() -> Finding:
    name = same("espeak-ng")
    voices = await children.output("espeak-ng", "--voices=vi")
    if voices is None:
        return Finding(name, _NOT_THERE, todo=_install("espeak-ng"))
    if " vi " not in voices:
        found = Both("không có giọng tiếng Việt", "without a Vietnamese voice")
        return Finding(name, found, todo=same("apt-get install espeak-ng-data"))
    return Finding(name, Both("có giọng vi", "with the voice vi"))


def _piper(voice: Path) -> Finding:
    instead = Both("trước mắt espeak-ng đọc thay", "espeak-ng speaks")
    if shutil.which("piper") is None:
        install = _install("piper")
        todo = Both(f"{install.vi}; {instead.vi}", f"{install.en}; {instead.en}")
        return Finding(_PIPER, _NOT_THERE, needed=False, todo=todo)
    if not voice.is_file():
        found = Both(f"không có tệp giọng {voice}", f"no voice at {voice}")
        todo = Both(f"sửa 'piper_voice'; {instead.vi}", f"mend 'piper_voice'; {instead.en}")
        return Finding(_PIPER, found, needed=False, todo=todo)
    return Finding(_PIPER, Both(f"có giọng {voice.stem}", f"with the voice {voice.stem}"))


def _recorded(folder: Path) -> Finding:
    try:
        clips = Clips.read(folder)
        gone = sorted(path.name for path in clips.by_words.values() if not path.is_file())
    except (OSError, ValueError) as error:
        todo = Both(f"sửa {folder}; trước mắt máy đọc thay", f"mend {folder}; a synthesiser speaks")
        return Finding(_RECORDED, Both(f"không dùng được: {error}", str(error)), needed=False, todo=todo)
    if gone:
        files = ", ".join(gone[:5])
        todo = Both(f"ghi âm thêm, hoặc bỏ khỏi {LIST}", f"record them, or take them out of {LIST}")
        return Finding(_RECORDED, Both(f"thiếu {files}", f"without {files}"), needed=False, todo=todo)
    return Finding(_RECORDED, Both(f"{len(clips.by_words)} bản ghi", f"{len(clips.by_words)} recordings"))


async def _device(device: str) -> Finding:
    if device == FILE:
        found = Both(
            "không có: âm thanh chỉ được đo và lưu vào tệp",
            "none: what would sound is measured only, and kept in a file",
        )
        return Finding(_DEVICE, found, needed=False)
    there = [] if device == NULL else await sinks(environment()) or []
    if device not in (AUTO, NULL):
        names = ", ".join(there)
        choose = Both(
            f"chọn 'device' khác; đang có: {names or 'không có gì'}",
            f"choose another 'device'; there are: {names or 'none'}",
        )
        return Finding(_DEVICE, same(device), todo=None if device in there else choose)
    if there:
        return Finding(_DEVICE, same(there[0]))
    if device == AUTO and has_card():
        return Finding(_DEVICE, Both("thẻ âm thanh của máy", "a sound card, opened by our own sound server"))
    silent = Both(
        "không có: âm thanh vào một ngõ ra câm, và được đo ở đó",
        "none: sound goes into a silent sink in real time, and is measured there",
    )
    attach = Both(
        "muốn nghe được thì gắn thẻ âm thanh, hoặc chạy PulseAudio hay PipeWire",
        "attach a sound card, or start PulseAudio or PipeWire, to be heard",
    )
    return Finding(_DEVICE, silent, needed=False, todo=None if device == NULL else attach)


def _amplifier(current: str) -> Finding:
    found = milliamperes(current)
    if found is not None:
        return Finding(_AMPLIFIER, same(f"{found} mA"))
    todo = Both(
        "xem cảm biến đã được kernel nhận chưa (dtoverlay), rồi sửa 'amplifier_current'",
        "see whether the kernel knows the sensor (dtoverlay), then mend 'amplifier_current'",
    )
    return Finding(_AMPLIFIER, Both(f"không đọc được {current}", f"{current} can't be read"), needed=False, todo=todo)


def _credentials(folder: Path) -> Finding:
    try:
        credentials = Credentials.open(folder)
        keys = credentials.trust().keys.values()
    except Problem as problem:
        found = Both(f"không dùng được, ở {folder}", str(problem).partition(";")[0])
        todo = Both("tạo bằng 'keng provision', chép vào đây, và xem quyền của thư mục", problem.todo)
        return Finding(_CREDENTIALS, found, todo=todo)
    vi, en = [], []
    for issuer, may in sorted({(key.issuer, tuple(sorted(key.may & _MAY.keys()))) for key in keys}):
        if may:
            vi.append(f"{issuer} được {', '.join(map(_MAY.__getitem__, may))}")
            en.append(f"{issuer} may {', '.join(may)}")
    me = credentials.identity
    found = Both(f"{me}; nghe lệnh của: {'; '.join(vi) or 'không ai'}", f"{me}; obeys: {'; '.join(en) or 'nobody'}")
    return Finding(_CREDENTIALS, found)


def _clock(settings: LoudspeakerSettings) -> Finding:
    state = clock_state()
    if state is not Clock.UNKNOWN:
        return Finding(_CLOCK, Both(f"được NTP giữ ({state.value})", f"kept by NTP ({state.value})"))
    if settings.clock == "trusted":
        found = Both("không được NTP giữ, được tin theo cài đặt", "not kept by NTP, trusted by your setting")
        return Finding(_CLOCK, found)
    todo = Both(
        "apt-get install chrony: không có nó thì lệnh cũ chỉ nhận ra bằng số thứ tự, không bằng giờ",
        "apt-get install chrony: without it an old command is told by its number alone, not by its time",
    )
    return Finding(_CLOCK, Both("không được NTP giữ", "not kept by NTP"), needed=False, todo=todo)
