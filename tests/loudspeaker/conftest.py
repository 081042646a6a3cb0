"""A loudspeaker node as a real process on a real broker, with its sound in a silent sink that tests listen to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keng_contracts.commands import Cause, Command, Play, Priority, Siren, Speech, Stop
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.receipts import Receipt, to_ranges
from keng_contracts.status import SpeakerStatus
from keng_contracts.topics import Channel, Kind, Topic
from keng_loudspeaker.playing.sound import Sound
from keng_loudspeaker.proving.meter import Ears, listen
from keng_runtime.mqtt import Link
from keng_runtime.signing import SigningKey, TrustStore
from tests.support.broker import COMMUNE, RunningBroker
from tests.support.processes import Process, until
from tests.support.registry import sample, signed

NODE = "loa-phuoc-yen"
SHORT = Siren(pattern="ngan", blasts=2, blast_s=0.3, gap_s=0.2)
LONG = Siren(pattern="dai", blasts=1, blast_s=60, gap_s=0)
CAUSE = Cause(alert="phu-oc-level", episode=1, level=3, measured_ms=1, made_ms=2, heard_ms=3, decided_ms=4)


def children_of(pid: int) -> dict[int, str]:
    """Process id → name of the children of a process."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            before, _, after = stat.read_text().rpartition(")")
            if int(after.split()[1]) == pid:
                found[int(stat.parent.name)] = before.partition("(")[2]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Signer:
    """Signs commands as an issuer does, each with the next number."""

    def __init__(self, key: SigningKey) -> None:
        self.key = key
        self.counter = time.time_ns() // 1_000_000  # as alerts does, so that it also grows over tests

    def command(self, action: Play | Stop, **changes: Any) -> bytes:
        self.counter += 1
        now = time.time()
        fields: dict[str, Any] = {
            "iss": self.key.issuer,
            "commune": COMMUNE,
            "aud": f"speaker/{NODE}",
            "jti": str(uuid.uuid4()),
            "ctr": self.counter,
            "iat": now,
            "nbf": now,
            "exp": now + 60,
            "action": action,
        }
        return self.key.sign(Command.model_validate({**fields, **changes}).model_dump_json().encode())


def play(*items: Siren | Speech, rank: int = 0, priority: Priority = Priority.EMERGENCY, name: str = "") -> Play:
    """A job with a name of its own, which sounds at whatever hour the tests run."""
    name = name or f"thu-{uuid.uuid4()}"
    return Play(play=name, priority=priority, rank=rank, items=list(items), cause=CAUSE, night="Trực ban")


class Village:
    """What the tests have at hand: a link as alerts, one as the console, all evidence so far, and the last status.

    ``deliveries`` counts how often each event came; while ``receipting`` the console answers each with its receipt.
    """

    def __init__(self, alerts: Link, console: Link, credentials: Path) -> None:
        self._alerts = alerts
        self._console = self.console_link = console
        self.alerts = Signer(SigningKey.load(credentials / "alerts" / "signing.jwk"))
        self.console = Signer(SigningKey.load(credentials / "console" / "signing.jwk"))
        self.events: list[PlaybackEvent] = []
        self.deliveries: Counter[tuple[str, int]] = Counter()
        self.receipting = True
        self.status = SpeakerStatus(state="offline")

    async def hear(self) -> None:
        async for message in self._console.messages():
            if message.topic.endswith("/playback"):
                event = PlaybackEvent.model_validate_json(message.payload)
                self.deliveries[event.boot, event.seq] += 1
                if self.deliveries[event.boot, event.seq] == 1:
                    self.events.append(event)
                if self.receipting:
                    await self.receipt([event])
            elif message.topic.endswith("/status"):
                self.status = SpeakerStatus.model_validate_json(message.payload)
            message.ack()

    async def order(self, token: bytes, to: str = f"speaker/{NODE}") -> None:
        kind, _, id_ = to.partition("/")
        await self._alerts.publish(str(Topic(COMMUNE, Kind(kind), id_, Channel.COMMAND)), token)

    async def receipt(self, events: list[PlaybackEvent]) -> None:
        topic = str(Topic(COMMUNE, Kind.SPEAKER, NODE, Channel.PLAYBACK_RECEIPT))
        for boot in {event.boot for event in events}:
            stored = to_ranges(event.seq for event in events if event.boot == boot)
            await self._console.publish(topic, Receipt(boot=boot, stored=stored).to_bytes())

    def steps(self, play: str) -> list[What]:
        """What was said of a job, in the order in which it happened."""
        return [e.what for e in sorted(self.events, key=lambda e: (e.at_ms, e.seq)) if e.play == play]

    async def event(self, play: str, what: What, item: int | None = None) -> PlaybackEvent:
        """The first such event; waits for it."""

        def found() -> PlaybackEvent | None:
            wanted = (e for e in self.events if (e.play, e.what) == (play, what) and item in (None, e.item))
            return next(wanted, None)

        event = await until(found, what=f"{what} of {play}")
        assert event is not None
        return event


class RunningNode:
    """A node as an operator runs it."""

    def __init__(self, broker: RunningBroker, credentials: Path | None = None, more: str = "") -> None:
        self.state = Path(tempfile.mkdtemp(prefix="keng-loa-"))
        settings = broker.settings(NODE)
        self.file = self.state / "loudspeaker.toml"
        self.file.write_text(
            f'commune = "{COMMUNE}"\nstate = "{self.state}"\ndevice = "null"\nclock = "trusted"\n{more}'
            f'[broker]\nhost = "{settings.host}"\nport = {settings.port}\n'
            f'credentials = "{credentials or settings.credentials}"\n'
        )
        self.process = self.start()

    def start(self) -> Process:
        self.process = Process(
            [sys.executable, "-m", "keng_loudspeaker", "run", "--settings", self.file], log=self.state / "log"
        )
        return self.process

    def pactl(self, *words: str) -> None:
        """Change the node's own sound server."""
        env = {**os.environ, "PULSE_SERVER": f"unix:{self.state}/run/pulse/native"}
        subprocess.run(["pactl", *words], env=env, check=True, stdout=subprocess.DEVNULL, timeout=10)

    @contextlib.asynccontextmanager
    async def ears(self) -> AsyncIterator[Ears]:
        """Ears of our own on what the node plays."""
        env = {**os.environ, "PULSE_SERVER": f"unix:{self.state}/run/pulse/native"}
        async with listen(Sound(f"keng_{NODE}", "null", env)) as ears:
            yield ears

    def stop(self) -> None:
        self.process.stop()
        shutil.rmtree(self.state, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for a socket's path has little room."""
    path = Path(tempfile.mkdtemp(prefix="keng-stage-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def village_broker() -> Iterator[RunningBroker]:
    with RunningBroker() as broker:
        yield broker


@pytest.fixture(scope="module")
def guard() -> Signer:
    """Somebody whose key may stop and nothing else."""
    return Signer(SigningKey.generate("truc-ban"))


@pytest.fixture(scope="module")
def node(village_broker: RunningBroker, guard: Signer) -> Iterator[RunningNode]:
    """One node for the tests of a module; its trusted keys have the guard's among them."""
    folder = Path(tempfile.mkdtemp(prefix="keng-credentials-"))
    credentials = folder / NODE
    shutil.copytree(village_broker.credentials / NODE, credentials)
    keys = [*TrustStore.load(credentials / "trust.json").keys.values(), guard.key.trusted(frozenset({"stop"}))]
    (credentials / "trust.json").write_bytes(TrustStore.document(keys))
    running = RunningNode(village_broker, credentials)
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def connected(broker: RunningBroker) -> AsyncIterator[Village]:
    async with Link(broker.settings("alerts")) as alerts, Link(broker.settings("console")) as console:
        here = Village(alerts, console, broker.credentials)
        await console.subscribe(str(Topic(COMMUNE, Kind.SPEAKER, NODE, Channel.PLAYBACK)))
        await console.subscribe(str(Topic(COMMUNE, Kind.SPEAKER, NODE, Channel.STATUS)))
        await console.publish(str(Topic(COMMUNE, Kind.REGISTRY)), signed(sample(), broker.credentials), retain=True)
        hearing = asyncio.create_task(here.hear())
        yield here
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


@pytest.fixture
async def village(village_broker: RunningBroker) -> AsyncIterator[Village]:
    async with connected(village_broker) as here:
        yield here


def zones_of(node: RunningNode) -> Callable[[], bool]:
    """Whether the node has its zones from the registry."""

    def known() -> bool:
        with contextlib.suppress(OSError, ValueError):
            return bool(json.loads((node.state / "status.json").read_text())["zones"])
        return False

    return known
