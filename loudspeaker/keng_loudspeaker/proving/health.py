"""How the machine on the pole is: what it says of itself, and what of that a person should look at.

Each reading is None where the machine does not tell it. :func:`problems` is pure.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_THERMAL = Path("/sys/class/thermal")
#: The Raspberry Pi's firmware: bit 0 undervoltage now, bit 2 throttled now, bit 16 undervoltage since the start
#: (Raspberry Pi documentation, vcgencmd get_throttled).
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_UNDERVOLTAGE = 1 | 1 << 16

HOT_C = 80.0
LITTLE_ROOM_MB = 200
#: A clock that may be off by so much starts nothing together.
CLOCK_MS = 1000.0
#: Evidence that nobody receipts for so long, in events.
MANY_WAITING = 5000


_NO_DEVICE = "no sound device"
_HOT = f"hot: {HOT_C:g} °C or more"
_UNDERVOLTAGE_WAS = "undervoltage now or since the start: power supply or cable"
_DISK = f"less than {LITTLE_ROOM_MB} MB free on the disk"
_CLOCK = f"the clock may be off by {CLOCK_MS / 1000:g} s or more"
_UNHEARD = "the microphone did not hear what was played last: amplifier, cable, loudspeaker or microphone"
_UNDRIVEN = "the amplifier drew no more than at rest while sound was sent to it: its power, the amplifier, cable"
_PROGRAMME = "the programme waits: nobody keeps the clock"
_EVIDENCE = f"{MANY_WAITING} or more events wait for the console's receipt"
#: The same for the person at the machine.
VIETNAMESE = {
    _NO_DEVICE: "không có thiết bị âm thanh",
    _HOT: f"nóng: từ {HOT_C:g} °C trở lên",
    _UNDERVOLTAGE_WAS: "điện áp thấp, bây giờ hoặc từ khi khởi động: xem nguồn điện và dây",
    _DISK: f"đĩa còn trống dưới {LITTLE_ROOM_MB} MB",
    _CLOCK: f"đồng hồ có thể sai từ {CLOCK_MS / 1000:g} giây trở lên",
    _UNHEARD: "micrô không nghe thấy bài vừa phát: xem tăng âm, dây, loa hoặc micrô",
    _UNDRIVEN: "tăng âm không ăn thêm điện khi có âm thanh: xem nguồn của nó, tăng âm, dây nối",
    _PROGRAMME: "chương trình phải chờ: không ai giữ đồng hồ",
    _EVIDENCE: f"từ {MANY_WAITING} sự kiện trở lên chờ bàn điều khiển xác nhận",
}


@dataclass(frozen=True, slots=True)
class Health:
    """``clock_error_ms`` is by how much the clock may be wrong, as NTP's daemon has told the kernel."""

    temperature_c: float | None = None
    undervoltage: bool | None = None
    disk_free_mb: int | None = None
    clock_error_ms: float | None = None
    amplifier_ma: int | None = None


def look(state: Path, clock_error_ms: float | None, amplifier_current: str = "") -> Health:
    """Read all of it; never raises."""
    current = milliamperes(amplifier_current)
    return Health(_temperature(), _undervoltage(), _disk_free_mb(state), clock_error_ms, current)


def milliamperes(file: str) -> int | None:
    """What a current sensor tells in its ``currN_input``, in mA, whichever way round it is wired (Linux kernel,
    Documentation/hwmon/sysfs-interface). ``file`` may have ``*`` in it: numbers of hwmon change from start to start."""
    for found in sorted(Path("/").glob(file.lstrip("/"))) if file.strip("/") else ():
        try:
            return abs(int(found.read_text()))
        except (OSError, ValueError):
            continue
    return None


def problems(
    health: Health, *, device: str, waiting: int, programme_waits: bool, unheard: bool, undriven: bool = False
) -> list[str]:
    """What a person should look at, in words, the same as long as it is the same."""
    told = {
        _NO_DEVICE: not device,
        _HOT: health.temperature_c is not None and health.temperature_c >= HOT_C,
        _UNDERVOLTAGE_WAS: health.undervoltage,
        _DISK: health.disk_free_mb is not None and health.disk_free_mb < LITTLE_ROOM_MB,
        _CLOCK: health.clock_error_ms is not None and abs(health.clock_error_ms) >= CLOCK_MS,
        _UNHEARD: unheard,
        _UNDRIVEN: undriven,
        _PROGRAMME: programme_waits,
        _EVIDENCE: waiting >= MANY_WAITING,
    }
    return [words for words, holds in told.items() if holds]


def _temperature() -> float | None:
    """The hottest zone, in °C."""
    found = []
    for zone in sorted(_THERMAL.glob("thermal_zone*/temp")):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return round(max(found), 1) if found else None


def _undervoltage() -> bool | None:
    try:
        return bool(int(_THROTTLED.read_text(), 16) & _UNDERVOLTAGE)
    except (OSError, ValueError):
        return None


def _disk_free_mb(state: Path) -> int | None:
    try:
        stat = os.statvfs(state)
    except OSError:
        return None
    return stat.f_bavail * stat.f_frsize >> 20
