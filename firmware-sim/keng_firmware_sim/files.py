"""Data files: those that come with the package by their name, anyone's own by their path."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from keng_contracts.errors import Problem
from keng_runtime.settings import explain

M = TypeVar("M", bound=BaseModel)

_PACKAGE = files("keng_firmware_sim")


def names(folder: str) -> list[str]:
    """What the package has in ``scenarios``, ``installations`` or ``models``, without ``.toml``."""
    return sorted(entry.name.removesuffix(".toml") for entry in _PACKAGE.joinpath(folder).iterdir())


def load(kind: type[M], folder: str, name: str) -> M:
    """Read ``name`` of the package's ``folder``, or the file at that path. Raises :class:`Problem`."""
    own = "/" in name or name.endswith(".toml")
    try:
        text = Path(name).read_text(encoding="utf-8") if own else _packaged(folder, name)
        return kind.model_validate(tomllib.loads(text))
    except OSError as error:
        raise Problem(f"can't be read: {error.strerror}", where=name, todo="check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"is not TOML: {error}", where=name, todo="mend that line") from None
    except ValidationError as error:
        raise Problem(explain(error), where=name, todo="mend the file") from None


def _packaged(folder: str, name: str) -> str:
    if name not in names(folder):
        known = ", ".join(names(folder))
        raise Problem(
            f"there is no {name!r} in {folder}", todo=f"take one of {known}, or give the path of a .toml file"
        )
    return _PACKAGE.joinpath(folder, f"{name}.toml").read_text(encoding="utf-8")
