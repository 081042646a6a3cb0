"""``keng loudspeaker status``: what the node on this machine does now, in words. Pure but for :func:`runs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from keng_contracts.telemetry import Clock
from keng_loudspeaker.proving.health import VIETNAMESE, Health
from keng_loudspeaker.telling import Both

_CLOCKS = {
    Clock.SYNCED: Both("được NTP giữ", "kept by NTP"),
    Clock.HOLDOVER: Both(
        "chạy tiếp sau khi mất NTP, hoặc được tin theo cài đặt", "runs on without NTP, and is trusted"
    ),
    Clock.UNKNOWN: Both("không ai giữ", "nobody keeps it"),
}


def runs(said: Mapping[str, Any]) -> bool:
    """Whether the node that wrote the status is there still."""
    try:
        return b"loudspeaker" in Path(f"/proc/{said.get('pid')}/cmdline").read_bytes()  # not who got its number since
    except OSError:
        return False


def told(said: Mapping[str, Any], health: Health, *, running: bool) -> Iterator[tuple[str, Both]]:
    """The lines, each with its mark: what the node has written, and how the machine is now."""
    version = said.get("version", "")
    if not running:
        since = f"{datetime.fromtimestamp(said.get('at_ms', 0) / 1000):%H:%M %d/%m/%Y}"
        yield "✗ ", Both(f"loa không chạy; tin cuối lúc {since}", f"the node does not run; its last word is of {since}")
    elif said.get("connected"):
        yield "✓ ", Both(f"loa đang chạy, có kết nối (phiên bản {version})", f"the node runs, connected ({version})")
    else:
        yield (
            "! ",
            Both(
                f"loa đang chạy, mất kết nối với máy chủ (phiên bản {version}); vẫn phát theo chương trình",
                f"the node runs, not connected to the broker ({version}); it plays its programme all the same",
            ),
        )
    if running:
        playing = said.get("playing")
        yield "  ", Both(f"đang phát: {playing or 'không có gì'}", f"playing: {playing or 'nothing'}")
    device, volume = said.get("device"), said.get("volume", "?")
    yield (
        "  ",
        Both(
            f"thiết bị âm thanh: {device or 'không có'}, âm lượng {volume} %",
            f"sound device: {device or 'none'}, volume {volume} %",
        ),
    )
    zones = ", ".join(said.get("zones") or [])
    yield "  ", Both(f"cụm loa: {zones or 'chưa biết'}", f"zones: {zones or 'not known yet'}")
    programme, refused = said.get("programme") or 0, said.get("refused", 0)
    yield (
        "  ",
        Both(
            f"chương trình: {f'bản {programme}' if programme else 'chưa có'}; lệnh đã từ chối: {refused}",
            f"programme: {f'version {programme}' if programme else 'none'}; commands refused: {refused}",
        ),
    )
    clock = _CLOCKS.get(said.get("clock", ""), _CLOCKS[Clock.UNKNOWN])
    yield "  ", Both(f"đồng hồ: {clock.vi}", f"clock: {clock.en}")
    if machine := list(_machine(health)):
        yield "  ", Both("máy: " + ", ".join(one.vi for one in machine), "machine: " + ", ".join(o.en for o in machine))
    for problem in said.get("problems") or []:
        yield "! ", Both(VIETNAMESE.get(problem, problem), problem)


def _machine(health: Health) -> Iterator[Both]:
    if health.temperature_c is not None:
        yield Both(f"{health.temperature_c:.0f} °C", f"{health.temperature_c:.0f} °C")
    if health.disk_free_mb is not None:
        yield Both(f"đĩa còn trống {health.disk_free_mb} MB", f"{health.disk_free_mb} MB free on the disk")
    if health.undervoltage:
        yield Both("đã bị sụt điện áp", "undervoltage")
    if health.amplifier_ma is not None:
        yield Both(f"tăng âm {health.amplifier_ma} mA", f"amplifier {health.amplifier_ma} mA")
