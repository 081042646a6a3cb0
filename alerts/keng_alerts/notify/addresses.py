"""Where people are reached: Apprise URLs in ``notify.toml`` of the credentials folder, and nowhere else.

They carry passwords and tokens, so that no log, setting, command line, database or status has one; everywhere else an
address is its name.
"""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

from keng_contracts.errors import Problem
from keng_contracts.topics import is_slug

FILE = "notify.toml"


def load(credentials: Path) -> dict[str, str]:
    """URLs by the address's name; raises :class:`Problem` that never repeats a line of the file."""
    path = credentials / FILE
    where = str(path)
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        todo = "write it: one line 'name = \"Apprise URL\"' for each address, and chmod 600"
        raise Problem("the addresses are missing", where=where, todo=todo) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8"
        raise Problem(f"can't be read ({reason})", where=where, todo="check owner and mode") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Problem("can be read by others, and it has passwords in it", where=where, todo=f"chmod 600 {path}")
    try:
        rows = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # its message may quote the line
        raise Problem("is not TOML", where=where, todo="one line 'name = \"URL\"' for each address") from None
    for name, url in rows.items():
        if not is_slug(name) or not isinstance(url, str):
            todo = "one line 'name = \"URL\"' for each, with names of a-z, 0-9 and dashes"
            raise Problem(f"entry {name!r} is no address", where=where, todo=todo)
    return rows
