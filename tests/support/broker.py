"""A real mosquitto on a free loopback port, with the shipped configuration and provisioned identities.

>>> # with RunningBroker() as broker:
>>> #     async with Link(broker.settings("tram-phu-oc")) as link: ...
>>> #     broker.kill(); broker.start()      # SIGKILL and back, same port, same home
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from keng_broker.home import make_home
from keng_broker.provision import provision
from keng_runtime.settings import BrokerSettings
from tests.support.processes import Process, eventually, free_port, listens

COMMUNE = "quang-tho"
#: The nodes of the sample commune, and a second edge node.
NODES = ("tram-phu-oc", "tram-khac", "loa-phuoc-yen", "loa-niem-pho")


@functools.cache
def credentials() -> Path:
    """The folder that provision makes, with the services' identities (two replicas of ingest) and ``NODES``.

    Made once in a test run and shared: read it, don't write to it.
    """
    folder = Path(tempfile.mkdtemp(prefix="keng-credentials-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    provision(folder, commune=COMMUNE, nodes=NODES, replicas=2)
    return folder


class RunningBroker:
    """mosquitto as it ships. Its home is kept over :meth:`kill` and :meth:`start`, and removed at the end."""

    def __init__(self, credentials_folder: Path | None = None) -> None:
        self.credentials = credentials_folder or credentials()
        self.home = Path(tempfile.mkdtemp(prefix="keng-broker-"))
        self.log = self.home.with_suffix(".log")
        self.port = free_port()
        self._process: Process | None = None

    def settings(self, identity: str) -> BrokerSettings:
        """How ``identity`` (``ingest``, ``alerts``, ``console``, one of ``NODES`` …) connects to this broker."""
        return BrokerSettings(host="127.0.0.1", port=self.port, credentials=self.credentials / identity)

    @property
    def process(self) -> Process:
        assert self._process is not None, "the broker was not started"
        return self._process

    def start(self) -> None:
        """Start, or start again with the same port and home; returns when it answers."""
        command = make_home(self.home, self.credentials / "broker", port=self.port, bind="127.0.0.1")
        self._process = Process(command, log=self.log)
        eventually(self._answers, within=20, what="mosquitto answers")

    def _answers(self) -> bool:
        assert self.process.running, f"mosquitto ended with {self.process.status}:\n{self.process.text()}"
        return listens(self.port)

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        self.process.kill()

    def stop(self) -> None:
        """A graceful end: mosquitto saves what it holds."""
        self.process.stop()

    def text(self) -> str:
        """mosquitto's log."""
        return self.process.text()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._clear_away()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self.stop()
        if kind is not None:
            print(f"--- log of mosquitto ---\n{self.text()}")
        self._clear_away()

    def _clear_away(self) -> None:
        if self._process is not None:
            self._process.stop()
        shutil.rmtree(self.home, ignore_errors=True)
        self.log.unlink(missing_ok=True)
