"""Many loudspeaker nodes in one process, each with its own identity, state and link: ``fleet_nodes FOLDER NAME …``."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from keng_loudspeaker.node import main as serve
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_runtime.service import run
from keng_runtime.settings import load

#: One after the other, so that they don't all shake hands with the broker at once.
_APART_S = 0.02


async def _one(file: Path, wait_s: float, stop: asyncio.Event) -> None:
    await asyncio.sleep(wait_s)
    if not stop.is_set():
        await serve(load(LoudspeakerSettings, file), stop)


def main(folder: Path, names: list[str]) -> int:
    """Run the nodes whose settings are ``<name>.toml`` in a folder, until told to stop."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    async def serve_all(stop: asyncio.Event) -> None:
        await asyncio.gather(*(_one(folder / f"{name}.toml", _APART_S * n, stop) for n, name in enumerate(names)))

    return run(serve_all)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
