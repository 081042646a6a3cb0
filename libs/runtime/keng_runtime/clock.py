"""The rim's view of time. Everything pure is given time as an argument; this is where it comes from."""

from __future__ import annotations

import ctypes
import secrets
import time
from pathlib import Path

from keng_contracts.telemetry import Clock

_STA_UNSYNC = 0x0040  # linux/timex.h
_TIME_ERROR = 5


def now_ms() -> int:
    """Milliseconds since 1970-01-01 UTC by this machine's clock."""
    return time.time_ns() // 1_000_000


def up_ms() -> int:
    """Milliseconds since this machine started, also while it slept (CLOCK_BOOTTIME): a clock that nobody sets."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def machine_boot() -> str:
    """A name for this start of the machine: :func:`up_ms` of two starts can't be compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def new_boot_id() -> str:
    """A name for this run of a service, 16 hex digits; sequence numbers count within it."""
    return secrets.token_hex(8)


class _Timex(ctypes.Structure):
    """The head of ``struct timex`` (adjtimex(2)); the rest of its 208 bytes is not read."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


def clock_state() -> Clock:
    """What the kernel says of its clock: SYNCED once NTP (chrony, timesyncd) disciplines it, else UNKNOWN.

    A machine whose kernel can't be asked (a container without adjtimex) answers HOLDOVER: a clock that someone else
    keeps, and of which nothing worse is known.
    """
    asked = _ask_kernel()
    if asked is None:
        return Clock.HOLDOVER
    state, timex = asked
    return Clock.UNKNOWN if state == _TIME_ERROR or timex.status & _STA_UNSYNC else Clock.SYNCED


def clock_error_ms() -> float | None:
    """By how much the clock may be wrong, as NTP's daemon has told the kernel (``esterror`` of adjtimex(2)); None if
    nobody keeps it or the kernel can't be asked."""
    asked = _ask_kernel()
    if asked is None or asked[0] == _TIME_ERROR or asked[1].status & _STA_UNSYNC:
        return None
    return round(int(asked[1].esterror) / 1000, 3)  # µs there


def _ask_kernel() -> tuple[int, _Timex] | None:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        timex = _Timex()
        state = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else (state, timex)
