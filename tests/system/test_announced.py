"""A person's announcement, from the command line to sound measured at a real loudspeaker, and to its stop."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import services
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.console import RunningConsole, running_console
from tests.support.processes import eventually
from tests.support.registry import SAMPLE

pytestmark = pytest.mark.system
NODE = "loa-phuoc-yen"
#: Without quiet hours: the test may run at night.
REGISTRY = 'quiet_hours = ["00:00:00", "00:00:00"]\n' + SAMPLE.read_text(encoding="utf-8")


def keng(console: RunningConsole, *words: str) -> subprocess.CompletedProcess[str]:
    line = [services.command("keng-console"), *words, "--settings", str(console.folder / "console.toml")]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=90)


def test_what_is_announced_is_heard_and_what_is_stopped_is_silent(broker: RunningBroker, tmp_path: Path) -> None:
    node = services.settings(
        broker, NODE, tmp_path / NODE, f'commune = "{COMMUNE}"\ndevice = "null"\nclock = "trusted"\n'
    )
    with (
        running_console(broker, tmp_path, registry=REGISTRY) as console,
        services.start("keng-loudspeaker", NODE, tmp_path, node),
    ):
        eventually(lambda: any(s["state"] == "online" for s in console.overview()["speakers"]), within=30)
        said = keng(console, "announce", "Mời bà con họp thôn.", "--to", "toan-xa", "--repeat", "2", "--json")
        assert said.returncode == 0, said.stderr
        [row] = [row for row in json.loads(said.stdout)["speakers"] if row["online"]]
        assert (row["id"], row["stands"]) == (NODE, "finished") and row["level_dbfs"] > -40 and row["sounded_s"] > 1
        line = [services.command("keng-console"), "announce", "Một câu dài. " * 60, "--to", "toan-xa", "--json"]
        with subprocess.Popen(
            [*line, "--settings", console.folder / "console.toml"], stdout=subprocess.PIPE, text=True
        ) as watching:
            eventually(
                lambda: any((s["playing"] or "").startswith("thong-bao") for s in console.overview()["speakers"]),
                within=30,
                what="it sounds",
            )
            stopped = keng(console, "stop", "--to", "toan-xa", "--json")
            assert stopped.returncode == 0, stopped.stderr
            rows = json.loads(watching.communicate(timeout=60)[0])["speakers"]
        assert [row["stands"] for row in rows if row["online"]] == ["cut"]
        listed = [json.loads(line) for line in keng(console, "announced", "--json").stdout.splitlines()]
        assert [order["action"]["do"] for order in listed] == ["play", "play", "stop"]
        assert [order["outcomes"][0]["stands"] for order in listed[:2]] == ["finished", "cut"]
