"""Each service, as a real process, under the system call filter of its unit."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import unit_filter
from tests.support.broker import RunningBroker
from tests.support.processes import Process
from tests.support.services import command, settings

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (shutil.which("systemd-analyze") and unit_filter.available()), reason="needs systemd's tools and libseccomp"
)

SAMPLE = ROOT / "console" / "keng_console" / "sample" / "commune.toml"
#: By unit: the identity, and settings without which it does not run here.
SERVICES = {
    "edge/keng-edge": ("tram-phu-oc", ""),
    "ingest/keng-ingest": ("ingest", ""),
    "alerts/keng-alerts": ("alerts", ""),
    "alerts/keng-notify": ("notify", 'commune = "quang-tho"'),
    "console/keng-console": ("console", f'port = 0\nregistry_file = "{SAMPLE}"'),
    "loudspeaker/keng-loudspeaker": ("loa-phuoc-yen", 'commune = "quang-tho"\ndevice = "null"'),
}


@pytest.fixture(scope="module")
def broker() -> Iterator[RunningBroker]:
    with RunningBroker() as running:
        yield running


def under(unit: str, *words: str | Path) -> list[str | Path]:
    return [sys.executable, unit_filter.__file__, ROOT / f"{unit}.service", *words]


def started_by(unit: str) -> list[str | Path]:
    """The command of the unit, without its settings file."""
    text = (ROOT / f"{unit}.service").read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    program, *words = line.removeprefix("ExecStart=").split()
    return [command(Path(program).name), *words[:-1]]


@pytest.mark.parametrize("unit", SERVICES)
def test_it_starts_tells_systemd_connects_and_ends(unit: str, broker: RunningBroker, tmp_path: Path) -> None:
    identity, more = SERVICES[unit]
    credentials = tmp_path / "credentials"
    shutil.copytree(broker.credentials / identity, credentials)
    (credentials / "notify.toml").touch(mode=0o600)
    text = settings(broker, identity, tmp_path / "state", more)
    text = text.replace(str(broker.credentials / identity), str(credentials))
    if identity in ("ingest", "console"):
        text += f'[store]\nurl = "sqlite:///{tmp_path / "readings.sqlite"}"\n'
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        line = under(unit, *started_by(unit), file)
        with Process(line, log=tmp_path / "log", env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as service:
            said = b""
            while (
                b"READY=1" not in said
            ):  # before it newer tools of systemd, which make the filter, tell how they ended
                said = systemd.recv(4096)
                assert b"STOPPING=1" not in said, service.text()
            service.says(f"as {identity}")
            service.signal(signal.SIGTERM)
            assert service.wait() == 0, service.text()


def test_a_loudspeaker_sounds() -> None:
    words = [command("keng-loudspeaker"), "say", "Mực nước 3,06 m", "--device", "null"]
    said = subprocess.run(
        under("loudspeaker/keng-loudspeaker", *words), capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 0 and "finished on null" in said.stdout, said.stdout + said.stderr


def test_what_a_unit_does_not_allow_is_refused() -> None:
    code = "import os; os.setpriority(os.PRIO_PROCESS, 0, 5)"
    done = subprocess.run(
        under("edge/keng-edge", sys.executable, "-c", code), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "Operation not permitted" in done.stderr
