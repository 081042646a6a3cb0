"""The first thing that a newcomer runs: the demo, as it is typed, on the whole real path."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import Process, eventually

pytestmark = pytest.mark.system

KENG = Path(sys.executable).parent / "keng"


def children_of(folder: Path) -> list[str]:
    """Command lines of all processes that have something to do with a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                where = str((entry / "cwd").readlink())
            except OSError:
                continue
            if str(folder) in line or where.startswith(str(folder)):
                found.append(line)
    return found


def test_the_flood_is_seen_and_heard_and_everything_is_accounted_for(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [KENG, "demo", "--until", "siren", "--json", "--device", "null", "--lapse", "4800", "--keep", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])

    assert {siren["loudspeaker"] for siren in figures["sirens"]} == {"loa-phuoc-yen", "loa-niem-pho"}
    assert all(siren["level"] == 3 and siren["output_dbfs"] > -30 for siren in figures["sirens"])
    assert figures["sent"] == figures["stored"] > 0
    assert (figures["lost"], figures["doubled"], figures["dead_lettered"]) == (0, 0, 0)
    hops = figures["hops_ms"]
    assert hops["total"] == sum(value for name, value in hops.items() if name != "total")
    assert figures["seconds_to_page"] > 0
    assert children_of(folder) == []


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo = Process([KENG, "demo", "--device", "null", "--keep", folder], log=tmp_path / "log")
    demo.says("open this page", within=60)
    demo.signal(signal.SIGINT)
    assert demo.wait() == 0
    assert children_of(folder) == []
    assert "Traceback" not in demo.text()


def test_even_a_killed_demo_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo = Process([KENG, "demo", "--device", "null", "--keep", folder], log=tmp_path / "log")
    demo.says("open this page", within=60)
    demo.kill()
    eventually(lambda: not children_of(folder), within=30, what="all children have followed the demo")


def test_sirens_sound_with_ingest_store_and_console_down() -> None:
    done = subprocess.run(
        [KENG, "bench", "alert-latency", "--crossings", "2", "--load", "200", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["crossings"], figures["missed"], figures["doubled"]) == (2, 0, 0)
