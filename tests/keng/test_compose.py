"""docker-compose.yml: images can't be pulled in a test, so each command, path and variable in it is checked."""

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml
from pydantic import BaseModel

from keng.cli import cli
from keng_alerts.notify.settings import NotifySettings
from keng_alerts.settings import AlertsSettings
from keng_broker.provision import provision
from keng_console.settings import ConsoleSettings
from keng_edge.settings import EdgeSettings
from keng_ingest.settings import IngestSettings
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_runtime.settings import load

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
SETTINGS_FILES = ("/etc/keng/edge.toml", "/etc/keng/notify.toml")
SETTINGS: dict[str, type[BaseModel]] = {
    "KENG_INGEST_": IngestSettings,
    "KENG_ALERTS_": AlertsSettings,
    "KENG_NOTIFY_": NotifySettings,
    "KENG_CONSOLE_": ConsoleSettings,
    "KENG_EDGE_": EdgeSettings,
    "KENG_LOUDSPEAKER_": LoudspeakerSettings,
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as docker-compose itself understands it, all profiles included."""
    profiles = [word for name in ("setup", "notify", "simulator") for word in ("--profile", name)]
    command = ["docker-compose", *profiles, "-f", str(FILE), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: s for name, s in compose["services"].items() if s["image"].startswith("keng:")}


def arguments(service: dict[str, Any]) -> list[str]:
    """What follows ``keng`` in a service's container."""
    command = service["command"]
    if service.get("entrypoint") == ["sh", "-c"]:
        return command[0].removeprefix("keng ").split()
    return command if isinstance(command, list) else command.split()


def test_every_part_of_a_server_is_there(compose: dict[str, Any]) -> None:
    wanted = {"setup", "broker", "influxdb", "grafana", "console", "ingest", "alerts", "notify", "simulator", "edge"}
    assert wanted <= set(compose["services"])


def test_every_command_and_option_exists(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        command: click.Command = cli
        words = arguments(service)
        context = click.Context(cli)
        while isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            assert found is not None, f"{name}: there is no command {words[0]!r}"
            command, words = found, words[1:]
        options = {flag for parameter in command.params for flag in parameter.opts}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= options, f"{name}: {used - options}"


def test_every_variable_is_a_setting_and_has_a_valid_value(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, service in ours(compose).items():
        variables = service.get("environment", {})
        for variable, value in variables.items():
            prefix = next(p for p in SETTINGS if variable.startswith(p))
            model: type[BaseModel] = SETTINGS[prefix]
            *tables, field = variable.removeprefix(prefix).lower().split("__")
            for table in tables:
                model = model.model_fields[table].annotation  # type: ignore[assignment]
            assert field in model.model_fields, f"{name}: {variable} is no setting"
            monkeypatch.setenv(variable, str(value))
        if variables:
            kind: Any = SETTINGS[prefix]
            file = next((Path(m.source) for m in files(service) if m.target in SETTINGS_FILES), None)
            assert load(kind, file)


class Mount(NamedTuple):
    """What is mounted, and where. docker-compose 1 prints ``source:target:ro``, docker compose 2 a table."""

    source: str
    target: str


def mounts(service: dict[str, Any]) -> list[Mount]:
    return [
        Mount(one["source"], one["target"]) if isinstance(one, dict) else Mount(*one.split(":")[:2])
        for one in service.get("volumes", [])
    ]


def files(service: dict[str, Any]) -> list[Mount]:
    """Mounts that are files or folders of this machine, not named volumes."""
    return [mount for mount in mounts(service) if mount.source.startswith("/")]


def listens_on(port: str | dict[str, Any]) -> str:
    """The address of a published port; empty: all."""
    if isinstance(port, dict):
        return str(port.get("host_ip", ""))
    return port.split(":")[0] if port.count(":") == 2 else ""


def test_every_file_that_is_mounted_exists_or_is_made_by_setup(compose: dict[str, Any], tmp_path: Path) -> None:
    words = arguments(compose["services"]["setup"])
    secrets = [words[i + 1] for i, word in enumerate(words) if word == "--secret"]
    nodes = ["tram-phu-oc", "loa-phuoc-yen", "loa-niem-pho"]
    provision(tmp_path / "secrets", commune="quang-tho", nodes=nodes, secrets=secrets)
    sources = [m.source for s in compose["services"].values() for m in files(s)]
    sources += [secret["file"] for secret in compose["secrets"].values()]
    for source in map(Path, sources):
        relative = source.relative_to(ROOT)
        place = tmp_path if relative.parts[0] == "secrets" else ROOT
        assert (place / relative).exists(), relative


def test_nobody_ships_a_secret(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search("PASSWORD|TOKEN|SECRET", variable)
            by_file = variable.endswith("_FILE") or "$__file{" in str(value) or "__FILE" in variable
            assert not secret or by_file, f"{name}: {variable} holds a secret"


def test_everything_that_runs_is_watched_and_keeps_its_data_in_a_named_volume(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name == "setup":
            continue
        assert "healthcheck" in service, name
        assert name == "simulator" or any(mount.source in compose["volumes"] for mount in mounts(service)), name


def test_only_the_broker_listens_beyond_this_machine(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert name == "broker" or listens_on(port) == "127.0.0.1", f"{name}: {port}"


def test_the_image_copies_every_part_and_the_programs_that_they_need() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for part in (ROOT / "pyproject.toml").parent.glob("*/pyproject.toml"):
        assert f"COPY {part.parent.name} {part.parent.name}" in dockerfile
        assert f"./{part.parent.name}" in dockerfile
    # Feeds, gateways and sound files are fetched by HTTPS, and the commune has its own time: a slim image has neither.
    for program in ("mosquitto", "mpv", "espeak-ng", "pulseaudio", "ca-certificates", "tzdata"):
        assert program in dockerfile
