"""From a registry file to dashboard files, the same bytes for the same registry."""

from __future__ import annotations

import json
import tomllib
import unicodedata
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from pydantic import ValidationError

from keng_contracts.errors import Problem
from keng_contracts.registry import Registry
from keng_dashboards.flood import flood
from keng_runtime.files import write_atomically
from keng_runtime.settings import explain


def dashboards(registry: Registry, on: date) -> dict[str, bytes]:
    """All dashboards of a commune as JSON files, by file name."""
    return {
        f"{name}.json": (json.dumps(board, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n").encode()
        for name, board in {"flood": flood(registry, on)}.items()
    }


def read_registry(file: Path) -> Registry:
    """The registry as people write it (commune.toml); raises Problem that names every fault."""
    try:
        text = unicodedata.normalize("NFC", file.read_text(encoding="utf-8"))
        return Registry.model_validate(tomllib.loads(text))
    except FileNotFoundError:
        raise Problem(
            "there is no such registry file", where=str(file), todo="name the commune's commune.toml"
        ) from None
    except OSError as error:
        raise Problem(f"can't be read ({error.strerror})", where=str(file), todo="check owner and mode") from None
    except ValidationError as error:
        raise Problem(explain(error), where=str(file), todo="mend the registry") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"is not TOML: {error}", where=str(file), todo="mend that line") from None


def write(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write the files that differ from what is there; returns their paths."""
    changed = differing(files, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in changed:
            write_atomically(path, files[path.name])
    except OSError as error:
        raise Problem(f"can't be written ({error.strerror})", where=str(folder), todo="check owner and mode") from None
    return changed


def differing(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """The paths in ``folder`` whose content is not that of ``files``, or that are missing."""
    return [
        folder / name
        for name, content in sorted(files.items())
        if not (folder / name).is_file() or (folder / name).read_bytes() != content
    ]


def read_dashboard(content: bytes) -> dict[str, Any]:
    """A dashboard file as Grafana's API takes it."""
    board: dict[str, Any] = json.loads(content)
    return board
