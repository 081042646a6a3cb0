"""A person at the console speaks, and a real loudspeaker says it: the way of every frame, end to end."""

from __future__ import annotations

import math
import os
import re
import subprocess
import time
from array import array
from collections.abc import Iterator

import pytest

from keng_runtime.live_voice import RATE
from tests.support import services
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.console import RunningConsole, running_console
from tests.support.processes import eventually
from tests.support.registry import SAMPLE
from tests.support.services import command

pytestmark = pytest.mark.system
NODE = "loa-phuoc-yen"
TONE = array("h", [round(9000 * math.sin(2 * math.pi * 500 * i / RATE)) for i in range(RATE)]).tobytes()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """With one loudspeaker that is there, and one that is not, at an hour at which nobody sleeps."""
    folder = tmp_path_factory.mktemp("village")
    with RunningBroker() as broker:
        node = services.settings(
            broker, NODE, folder / NODE, f'commune = "{COMMUNE}"\ndevice = "null"\nclock = "trusted"\n'
        )
        with (
            running_console(broker, folder, registry=with_quiet_hours(night=False)) as running,
            services.start("keng-loudspeaker", NODE, folder, node),
        ):
            eventually(lambda: [s["state"] for s in running.overview()["speakers"]].count("online") == 1, within=30)
            yield running


def with_quiet_hours(night: bool) -> str:
    """The sample commune in which it is always, or never, time to sleep."""
    hours = '["00:00", "23:59:59"]' if night else '["00:00", "00:00"]'
    version = 2 if night else 1
    return SAMPLE.read_text(encoding="utf-8").replace(
        "version = 1\n", f"version = {version}\nquiet_hours = {hours}\n", 1
    )


def speak(console: RunningConsole, sound: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
    line = [command("keng-console"), "speak", "--raw", *more, "--settings", console.folder / "console.toml"]
    return subprocess.run(line, input=sound, capture_output=True, timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"})


def test_what_is_piped_in_is_said_at_its_own_pace_and_reported(console: RunningConsole) -> None:
    began_s = time.monotonic()
    ran = speak(console, 3 * TONE, "--to", NODE)
    said = ran.stdout.decode()
    assert ran.returncode == 0, said + ran.stderr.decode()
    assert said.index("Tiếng kẻng") < said.index("Nói đi")
    [sounded] = re.findall(r"Loa thôn Phước Yên +đã phát xong, .*, (\d),\d giây", said)
    assert int(sounded) in (2, 3), said
    assert time.monotonic() - began_s > 3.0


def test_a_loudspeaker_that_is_not_there_is_named(console: RunningConsole) -> None:
    ran = speak(console, 2 * TONE, "--to", "toan-xa", "--no-gong")
    said = ran.stdout.decode()
    assert ran.returncode == 0, "those that are online have sounded"
    assert "Loa thôn Phước Yên       đã phát xong" in said
    assert "Loa thôn Niêm Phò        mất liên lạc, không phát (offline, it does not sound)" in said


def test_a_place_that_there_is_not_is_said_before_anything_sounds(console: RunningConsole) -> None:
    ran = speak(console, TONE, "--to", "xa-khac")
    assert ran.returncode == 2
    assert "no such zone or loudspeaker" in ran.stderr.decode()


def test_by_night_a_second_person_must_agree(console: RunningConsole) -> None:
    def by_night() -> bool:
        ran = speak(console, TONE, "--to", NODE, "--no-gong")
        return ran.returncode == 2 and "--night" in ran.stderr.decode()

    console.registry_file.write_text(with_quiet_hours(night=True), encoding="utf-8")
    eventually(by_night, within=30)
    assert speak(console, TONE, "--to", NODE, "--no-gong", "--night", "Trần Thị Lan").returncode == 0
