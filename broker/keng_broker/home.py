"""The folder in which mosquitto runs: the shipped configuration and access list, certificates, data."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from keng_contracts.errors import Problem
from keng_runtime.files import write_atomically

#: The first version that holds its in-flight window; see mosquitto.conf.
OLDEST = (2, 0, 13)
_HOW = (
    "install it with 'apt-get install mosquitto'; on Debian 12 from the backports suite: "
    "'apt-get install -t bookworm-backports mosquitto'"
)
_CERTIFICATES = ("ca.crt", "server.crt", "server.key")
_LISTENER = re.compile(r"^listener .*$", re.MULTILINE)


def shipped(name: str) -> Path:
    """``mosquitto.conf`` or ``acl`` as shipped: inside the installed package, or beside it in the source tree."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.is_file() else package.parent / name


def check_mosquitto() -> str:
    """The path of a mosquitto that is new enough; raises Problem that says how to get one."""
    # Debian puts it into /usr/sbin, which is not on the PATH of an ordinary user.
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin")
    if program is None:
        raise Problem("mosquitto is not installed", todo=_HOW)
    try:
        answer = subprocess.run([program, "-h"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"can't be started ({error})", where=program, todo=_HOW) from None
    found = re.search(r"mosquitto version (\d+)\.(\d+)\.(\d+)", answer)
    if found is None:
        raise Problem("doesn't say its version", where=program, todo=_HOW)
    if tuple(map(int, found.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise Problem(f"is version {'.'.join(found.groups())}, and {oldest} is needed", where=program, todo=_HOW)
    return program


def make_home(home: Path, credentials: Path, *, port: int = 8883, bind: str | None = None) -> list[str]:
    """Lay out ``home`` and return the command line that runs mosquitto in it.

    ``credentials`` is the folder ``broker/`` that provision made. ``bind`` is the address to listen on, by default
    every one. An existing home is brought up to date and keeps its data. Works as root, when mosquitto drops to its
    own user, and as any other user.
    """
    program = check_mosquitto()
    for name in _CERTIFICATES:
        if not (credentials / name).is_file():
            raise Problem(
                "is missing", where=str(credentials / name), todo="give the folder broker/ that 'keng provision' made"
            )
    # As root all of it is given away below: it must not be /etc by a slip of the hand.
    if home.is_dir() and any(home.iterdir()) and not (home / "acl").is_file():
        raise Problem("holds something else", where=str(home), todo="give mosquitto a folder of its own")
    configuration = shipped("mosquitto.conf").read_text(encoding="utf-8")
    listener = f"listener {port} {bind}" if bind else f"listener {port}"
    for folder in (home, home / "certificates", home / "data"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Newer versions refuse an access list that others can read.
    write_atomically(home / "acl", shipped("acl").read_bytes(), 0o600)
    write_atomically(home / "mosquitto.conf", _LISTENER.sub(listener, configuration, count=1).encode())
    for name in _CERTIFICATES:
        write_atomically(home / "certificates" / name, (credentials / name).read_bytes(), 0o600)
    _give_away(home)
    # mosquitto takes the working directory for its home; env sets it and makes way for mosquitto, process id and all.
    return ["env", f"--chdir={home.absolute()}", program, "-c", "mosquitto.conf"]


def _give_away(home: Path) -> None:
    """Started as root, mosquitto becomes the user 'mosquitto' (or 'nobody') before it opens most of this."""
    if os.geteuid() != 0:
        return
    for name in ("mosquitto", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            break
    else:
        return
    ours = [home / "acl", home / "mosquitto.conf", *(home / "certificates" / name for name in _CERTIFICATES)]
    for path in (home, home / "certificates", home / "data", *ours, *(home / "data").iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
