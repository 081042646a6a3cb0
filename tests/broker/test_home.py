"""mosquitto's home folder, and the broker as a person starts it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keng_broker.home import check_mosquitto, make_home, shipped
from keng_contracts.errors import Problem
from keng_runtime.mqtt import Link
from keng_runtime.settings import BrokerSettings
from tests.support.broker import RunningBroker, credentials
from tests.support.processes import Process, eventually, free_port, listens

BROKER = Path(__file__).parents[2] / "broker"
STATUS = "keng/v1/quang-tho/edge/tram-phu-oc/status"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="keng-home-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_the_shipped_configuration_runs_with_its_listener_alone_replaced(tmp_path: Path) -> None:
    make_home(tmp_path / "home", credentials() / "broker", port=18883, bind="127.0.0.1")
    ours = (tmp_path / "home/mosquitto.conf").read_text().splitlines()
    shipped_lines = (BROKER / "mosquitto.conf").read_text().splitlines()
    changed = [(old, new) for old, new in zip(shipped_lines, ours, strict=True) if old != new]
    assert changed == [("listener 8883", "listener 18883 127.0.0.1")]
    assert (tmp_path / "home/acl").read_bytes() == (BROKER / "acl").read_bytes()


def test_what_is_shipped_is_in_the_wheel_and_found_there(tmp_path: Path) -> None:
    """A wheel is unpacked and imported: without the source tree around it."""
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(hatchling, cwd=BROKER, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    find = "from keng_broker.home import shipped; print(shipped('mosquitto.conf'), shipped('acl'))"
    found = subprocess.run(
        [sys.executable, "-c", find],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    package = tmp_path / "site/keng_broker"
    assert found == [str(package / "mosquitto.conf"), str(package / "acl")]
    for name in ("mosquitto.conf", "acl"):
        assert (package / name).read_bytes() == (BROKER / name).read_bytes()


def test_in_the_source_tree_the_files_beside_the_package_are_used() -> None:
    assert (shipped("mosquitto.conf"), shipped("acl")) == (BROKER / "mosquitto.conf", BROKER / "acl")


def test_making_a_home_again_keeps_its_data_and_takes_new_certificates(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "broker"
    shutil.copytree(credentials() / "broker", folder)
    make_home(home, folder)
    (home / "data/mosquitto.db").write_bytes(b"kept")
    (folder / "server.crt").write_bytes(b"renewed")
    make_home(home, folder)
    assert (home / "data/mosquitto.db").read_bytes() == b"kept"
    assert (home / "certificates/server.crt").read_bytes() == b"renewed"


def test_nobody_else_can_look_into_a_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_home(home, credentials() / "broker")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "certificates/server.key").stat().st_mode) == 0o600


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root")
    owner = tmp_path.stat().st_uid
    with pytest.raises(Problem, match="holds something else; give mosquitto a folder of its own"):
        make_home(tmp_path, credentials() / "broker")
    assert [path.name for path in tmp_path.iterdir()] == ["passwd"]
    assert tmp_path.stat().st_uid == owner


def test_a_folder_without_the_brokers_certificate_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"server\.crt: is missing; give the folder broker/"):
        make_home(tmp_path / "home", credentials() / "ingest")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("mosquitto version 2.0.11", "is version 2.0.11, and 2.0.13 is needed"),
        ("mosquitto version 1.6.9", "is version 1.6.9"),
        ("hello", "doesn't say its version"),
    ],
)
def test_a_mosquitto_that_is_too_old_is_told_with_how_to_get_one(
    answer: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "mosquitto"
    old.write_text(f"#!/bin/sh\necho '{answer}'\nexit 3\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Problem) as problem:
        check_mosquitto()
    assert says in str(problem.value)
    assert "bookworm-backports" in str(problem.value)


def test_a_newer_mosquitto_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = tmp_path / "mosquitto"
    new.write_text("#!/bin/sh\necho 'mosquitto version 2.1.0'\nexit 3\n")
    new.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert check_mosquitto() == str(new)


def client(port: int) -> BrokerSettings:
    return BrokerSettings(host="127.0.0.1", port=port, credentials=credentials() / "tram-phu-oc")


def keng_broker(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from keng_broker.cli import main; main()", *map(str, arguments)]


async def test_the_command_becomes_a_broker_and_ends_when_told(tmp_path: Path) -> None:
    port, home = free_port(), tmp_path / "home"
    command = keng_broker(
        *("run", "--credentials", credentials() / "broker", "--home", home, "--port", port, "--bind", "127.0.0.1")
    )
    with Process(command, log=tmp_path / "log") as broker:
        eventually(lambda: listens(port), what="mosquitto listens")
        async with Link(client(port)) as link:
            await link.publish(STATUS, b"online", retain=True)
        assert broker.stop() == 0
    assert (home / "data/mosquitto.db").is_file()


async def test_a_home_serves_an_ordinary_user_as_well_as_root(open_folder: Path) -> None:
    """Root's mosquitto drops to a user of its own; started by an ordinary user it stays who it is."""
    port, home = free_port(), open_folder / "home"
    command = make_home(home, credentials() / "broker", port=port, bind="127.0.0.1")
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        for path in (home, *home.rglob("*")):
            os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    with Process(command, log=open_folder / "log", user=user) as broker:
        eventually(lambda: listens(port), what="mosquitto listens")
        async with Link(client(port)) as link:
            await link.publish(STATUS, b"online", retain=True)
        assert broker.stop() == 0
    assert (home / "data/mosquitto.db").stat().st_uid == home.stat().st_uid


def test_a_port_in_use_is_told_in_one_line(broker: RunningBroker, tmp_path: Path) -> None:
    command = keng_broker(
        "run", "--credentials", credentials() / "broker", "--home", tmp_path / "home", "--port", broker.port
    )
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"keng: *:{broker.port}: can't listen there (Address already in use); "
        "stop what uses that port, or choose another --port or --bind\n"
    )


def test_a_home_that_can_not_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = keng_broker(
        *("run", "--credentials", credentials() / "broker", "--home", tmp_path / "file/home", "--port", free_port())
    )
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"keng: {tmp_path / 'file'}") and ended.stderr.count("\n") == 1
