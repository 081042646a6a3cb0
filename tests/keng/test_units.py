"""The systemd units of all parts: judged by systemd itself, and held against the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from keng.bench.speaker import ALLOCATOR
from keng_alerts.notify.settings import NotifySettings
from keng_alerts.settings import AlertsSettings
from keng_console.settings import ConsoleSettings
from keng_edge.settings import EdgeSettings
from keng_ingest.settings import IngestSettings
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_runtime.settings import ServiceSettings, installed
from keng_store.settings import StoreSettings, sqlite_path
from tests.support.services import command

ROOT = Path(__file__).parents[2]
UNITS = {unit.stem: unit for unit in sorted(ROOT.glob("*/keng-*.service"))}
SETTINGS: dict[str, type[ServiceSettings]] = {
    "keng-edge": EdgeSettings,
    "keng-ingest": IngestSettings,
    "keng-alerts": AlertsSettings,
    "keng-notify": NotifySettings,
    "keng-console": ConsoleSettings,
    "keng-loudspeaker": LoudspeakerSettings,
}
#: The bound of those that need more than the others: serial ports; sound, and mpv, which writes code.
EXPOSURE = {"keng-loudspeaker": 2.3, "keng-edge": 2.0}

every_unit = pytest.mark.parametrize("name", UNITS)
every_part = pytest.mark.parametrize("name", SETTINGS)
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze (systemd)")


def directives(name: str) -> dict[str, list[str]]:
    """Every key of the unit with its values, in their order."""
    found: dict[str, list[str]] = {}
    for line in UNITS[name].read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_a_loudspeaker_is_measured_with_the_allocator_of_its_unit() -> None:
    assert ALLOCATOR in directives("keng-loudspeaker")["Environment"]


def test_every_service_has_its_unit() -> None:
    assert set(UNITS) == {*SETTINGS, "keng-broker"}


def test_operations_installs_each_part_and_starts_each_unit() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    started = {name for line in re.findall(r"systemctl enable --now ([^\n`]+)", text) for name in line.split()}
    assert started == set(UNITS)
    [server, pi] = (set(line.split()) for line in re.findall(r"/opt/keng/bin/pip install (.+)", text))
    assert {"./libs/*", *(f"./{project.parent.name}" for project in ROOT.glob("*/pyproject.toml"))} <= server
    assert {"./libs/contracts", "./libs/runtime", "./edge", "./loudspeaker"} <= pi


@needs_systemd
@every_unit
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    unit = tmp_path / UNITS[name].name
    ours = re.sub(r"/opt/keng/bin/(\S+)", lambda found: str(command(found[1])), UNITS[name].read_text(encoding="utf-8"))
    unit.write_text(ours, encoding="utf-8")
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


@needs_systemd
@every_unit
def test_little_is_exposed(name: str) -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", UNITS[name]], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found is not None, said.stderr
    assert float(found[1]) <= EXPOSURE.get(name, 1.5), said.stdout


@every_unit
def test_it_is_never_given_up_except_for_a_mistake_that_a_person_must_mend(name: str) -> None:
    unit = directives(name)
    assert (unit["Type"], unit["Restart"], unit["RestartPreventExitStatus"]) == (["notify"], ["always"], ["2"])
    assert unit["StartLimitIntervalSec"] == ["0"] and float(unit["RestartSec"][0]) >= 1
    # mosquitto says when it is ready, and feeds no watchdog.
    assert name == "keng-broker" or 30 <= float(unit["WatchdogSec"][0]) <= 60


@every_part
def test_unit_settings_and_command_line_mean_one_state_folder(name: str) -> None:
    unit, state = directives(name), SETTINGS[name].model_fields["state"].default
    assert state == Path("/var/lib", name)
    assert name in unit["StateDirectory"][0].split()
    assert not any("KENG_" in value for value in unit.get("Environment", [])), "the unit hides what the settings say"


@every_part
def test_a_command_without_settings_reads_the_file_with_which_the_unit_runs(name: str) -> None:
    [start] = directives(name)["ExecStart"]
    assert start.endswith(f"run --settings {installed(SETTINGS[name])}")


@every_unit
def test_the_group_may_read_and_others_may_not_and_who_needs_no_other_has_a_user_of_its_own(name: str) -> None:
    unit = directives(name)
    user = {"keng-broker": "mosquitto", "keng-notify": "keng-notify"}.get(name, "keng")
    modes = ("0750", "0027") if user == "keng" else ("0700", "0077")
    assert (unit["User"], unit["StateDirectoryMode"], unit["UMask"]) == ([user], [modes[0]], [modes[1]])


def test_writer_and_reader_of_the_history_may_both_make_the_files_that_sqlite_keeps_beside_it() -> None:
    history = sqlite_path(StoreSettings())
    assert history is not None
    for name in ("keng-ingest", "keng-console"):
        assert str(history.parent.relative_to("/var/lib")) in directives(name)["StateDirectory"][0].split()


@pytest.mark.parametrize("name", ["keng-edge", "keng-loudspeaker"])
def test_who_asks_whether_the_clock_is_kept_may_ask_the_kernel(name: str) -> None:
    unit = directives(name)
    assert "adjtimex clock_adjtime" in unit["SystemCallFilter"]
    assert "ProtectClock" not in unit, "it forbids to ask as well as to set"


def test_a_fault_of_the_agent_does_not_take_the_pi_with_it() -> None:
    unit = directives("keng-edge")
    assert (unit["MemoryMax"], unit["TasksMax"]) == (["128M"], ["64"])
