"""The systemd unit, judged by systemd itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "edge" / "keng-edge.service"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/keng/bin/keng-edge", "/bin/true"))  # it is not installed here
    said = analyze("verify", unit)
    assert said.returncode == 0 and UNIT.name not in said.stderr, said.stderr


def test_little_is_exposed() -> None:
    said = analyze("security", "--offline=true", UNIT)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found is not None, said.stderr
    assert float(found[1]) <= 2.0, said.stdout


@pytest.mark.parametrize(
    "line", ["Type=notify", "WatchdogSec=60", "Restart=always", "RestartPreventExitStatus=2", "MemoryMax=128M"]
)
def test_it_is_watched_restarted_and_bounded(line: str) -> None:
    assert line in UNIT.read_text().splitlines()
