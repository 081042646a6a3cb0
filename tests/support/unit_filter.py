"""Runs a command under the system call filter of a systemd unit: ``python unit_filter.py UNIT COMMAND …``.

The filter is put together as systemd does it (systemd.exec(5), SystemCallFilter=): the groups are those that
``systemd-analyze syscall-filter`` names, ``~`` takes away, ``@default`` is always allowed, and what is not allowed ends
the process unless SystemCallErrorNumber= is set. The rest of a unit needs systemd itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_LIBRARY = "libseccomp.so.2"
# seccomp_init(3), prctl(2)
_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_PR_SET_NO_NEW_PRIVS = 38


def available() -> bool:
    """Whether this machine has what systemd itself filters with."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True


def _calls(names: Iterable[str]) -> set[str]:
    """System calls by name, with those of the groups among ``names``."""
    found: set[str] = set()
    for name in names:
        if name.startswith("@"):
            listed = subprocess.run(
                ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
            )
            lines = [line.strip() for line in listed.stdout.splitlines()[1:]]
            found |= _calls(line for line in lines if line and not line.startswith("#"))
        else:
            found.add(name)
    return found


def _filter(unit: str) -> None:
    allowed, action = _calls(["@default"]), _KILL_PROCESS
    for line in unit.splitlines():
        key, _, value = line.partition("=")
        if key == "SystemCallFilter" and value.startswith("~"):
            allowed -= _calls(value[1:].split())
        elif key == "SystemCallFilter":
            allowed |= _calls(value.split())
        elif key == "SystemCallErrorNumber":
            action = _ERRNO | getattr(errno, value)
    if "ProtectClock=yes" in unit.splitlines():
        allowed -= _calls(["@clock"])
    library = ctypes.CDLL(_LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(action)))
    for name in allowed:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # else this architecture has none of that name
            library.seccomp_rule_add(context, ctypes.c_uint32(_ALLOW), number, 0)
    if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or library.seccomp_load(context):
        sys.exit("the filter can't be set")


if __name__ == "__main__":
    _filter(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.execvp(sys.argv[2], sys.argv[2:])
