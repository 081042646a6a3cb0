"""Each part is installed alone into an empty folder and started there: an undeclared dependency fails here."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.install

ROOT = Path(__file__).parents[2]
LIBS = ["libs/contracts", "libs/signals", "libs/runtime", "libs/store"]
PARTS = ["edge", "broker", "ingest", "alerts", "loudspeaker", "console", "dashboards", "firmware-sim"]
#: What a part must be able to do without: a Raspberry Pi gets no web framework and no database server's client.
NOT_WANTED = {
    "edge": ["fastapi", "sqlalchemy", "influxdb_client", "rich"],
    "alerts": ["fastapi", "sqlalchemy", "influxdb_client", "keng_store"],
    "loudspeaker": ["fastapi", "sqlalchemy", "influxdb_client", "keng_store", "pymodbus"],
}

#: Imports every module of a package, then runs its command; -S keeps what this interpreter has installed out of sight.
_START = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
package = importlib.import_module(sys.argv[2])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if ".migrations." not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in sys.argv[3].split(","):
    assert not name or name not in sys.modules, f"{name} was imported"
sys.argv = [sys.argv[2], "--help"]
importlib.import_module(package.__name__ + ".cli").main()
"""


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every part and all that they depend on, as wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    sources = [f"./{name}" for name in (*LIBS, *PARTS)]
    command = ("wheel", "--no-build-isolation", "-c", ROOT / "constraints.txt", "-w", folder)
    pip(*command, *(ROOT / source for source in sources))
    return folder


@pytest.mark.parametrize("part", PARTS)
def test_a_part_installs_and_starts_alone(part: str, wheels: Path, tmp_path: Path) -> None:
    package = "keng_" + part.replace("-", "_")
    pip("install", "--no-index", "--find-links", wheels, "--target", tmp_path, f"keng-{part}")
    unwanted = ",".join(NOT_WANTED.get(part, []))
    started = subprocess.run(
        [sys.executable, "-S", "-c", _START, str(tmp_path), package, unwanted],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert started.returncode == 0, started.stderr
    assert "Usage:" in started.stdout
