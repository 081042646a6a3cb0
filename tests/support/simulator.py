"""The real simulator as a child process, for tests that read real serial ports."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from keng_firmware_sim import control, orders
from tests.support.processes import Process


class Simulator:
    """``keng-firmware-sim run`` with its ports in ``folder``; up when constructed, stopped by ``with``."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.control = folder / "control"
        self._journal = folder / "journal"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log").unlink(missing_ok=True)  # of one that ran here before
        self.process = Process(
            [
                *(sys.executable, "-c", "from keng_firmware_sim.cli import main; main()", "run"),
                *("--dir", folder, "--control", self.control, "--journal", self._journal, *arguments),
            ],
            log=folder / "log",
        )
        self.process.says("\nready\n")

    def port(self, bus: str) -> str:
        return str(self.folder / bus)

    def journal(self) -> list[dict[str, Any]]:
        """Every frame answered so far."""
        return [json.loads(line) for line in self._journal.read_text(encoding="utf-8").splitlines()]

    def order(self, order: orders.Order) -> dict[str, Any]:
        return control.send(self.control, order)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: BaseException | TracebackType | None) -> None:
        self.process.__exit__(kind, *rest)
