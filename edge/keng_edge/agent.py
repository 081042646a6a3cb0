"""The agent: sources, pipeline, keeper and uplink side by side, and what it says about itself."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NoReturn

from keng_contracts.errors import Problem
from keng_contracts.status import EdgeStatus
from keng_contracts.telemetry import Flag
from keng_contracts.topics import Channel, Kind, Topic
from keng_edge.keeper import Keeper
from keng_edge.kinds import KINDS
from keng_edge.outbox import Boot
from keng_edge.pipeline import Pipeline, Sample
from keng_edge.plan import Plan, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources import Health, Source
from keng_edge.uplink import Uplink
from keng_runtime.clock import clock_state, machine_boot, new_boot_id, now_ms
from keng_runtime.credentials import Credentials
from keng_runtime.mqtt import Link, Will
from keng_runtime.service import notify, until

log = logging.getLogger(__name__)

VERSION = version("keng-edge")
STATUS_EVERY_S = 10.0
#: A flickering line must not flood the link with status documents.
STATUS_PAUSE_S = 1.0
#: An outbox that takes longer to open is opened beside the reading.
OPENING_S = 0.5
#: What may still be sent at the end; systemd waits longer, a technician does not.
FAREWELL_S = 0.7


def sources_of(planned: Plan, health: Health) -> list[Source]:
    """Every source of the plan."""
    return [KINDS[line.kind].load().source(line, health) for line in planned.lines]


class Status:
    """The node's own word about itself, published retained: at every connect, on change, and every few seconds."""

    def __init__(self, boot: Boot, health: Health, keeper: Keeper) -> None:
        self._boot = boot
        self._health = health
        self._keeper = keeper
        self.changed = asyncio.Event()

    def document(self, state: Literal["online", "offline"]) -> bytes:
        depth, now = self._keeper.depth, now_ms()
        return (
            EdgeStatus(
                state=state,
                version=VERSION,
                boot=self._boot.id,
                at_ms=now,
                clock=clock_state(),
                outbox_readings=depth.readings + self._keeper.held,
                outbox_age_s=0.0 if depth.oldest_ms is None else max(0, now - depth.oldest_ms) / 1000,
                committed=depth.committed,
                dropped=self._keeper.dropped,
                problems=self._keeper.problems(),
                sources=self._health.report(),
            )
            .model_dump_json()
            .encode()
        )

    def last_will(self) -> bytes:
        """What the broker says when we vanish: no more than that."""
        will = EdgeStatus(state="offline", version=VERSION, boot=self._boot.id, at_ms=now_ms())
        return will.model_dump_json().encode()

    async def keep_published(self, publish: Callable[[bytes], None]) -> NoReturn:
        while True:
            self.changed.clear()
            publish(self.document("online"))
            await asyncio.sleep(STATUS_PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(STATUS_EVERY_S - STATUS_PAUSE_S):
                    await self.changed.wait()


async def run(settings: EdgeSettings, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set. Raises :class:`Problem` for what a person must mend before it can start."""
    planned = plan(settings)
    identity = Credentials.open(settings.broker.credentials).identity
    topic = str(Topic(settings.commune, Kind.EDGE, identity, Channel.STATUS))
    boot = Boot(new_boot_id(), machine_boot())
    keeper = Keeper(
        settings.outbox,
        boot,
        max_bytes=int(settings.outbox_max_mb * 1_000_000),
        max_age_ms=int(settings.outbox_max_days * 86_400_000),
        every_s=settings.commit_every_s,
        readings=settings.commit_readings,
        sync_every_s=settings.sync_every_s,
    )
    pipeline = Pipeline(planned.channels)

    def deliver(sample: Sample) -> None:
        readings = pipeline.readings(sample)
        keeper.add(readings, alarm=sample.source in planned.alarms)
        good = [reading for reading in readings if reading.flag is not Flag.MISSING]
        wanted = [planned.paces[r.series].after(r.time_ms, r.value) for r in good if r.series in planned.paces]
        if wanted:
            health.intervals[sample.source] = min(wanted)

    with _alone(settings.outbox.with_suffix(".lock")):
        opening = asyncio.create_task(keeper.open())  # the check of a large outbox does not delay the reading
        await asyncio.wait({opening}, timeout=OPENING_S)
        health = Health([source for source, _ in planned.channels])
        status = Status(boot, health, keeper)
        health.changed = status.changed.set
        link = Link(settings.broker, will=Will(topic, status.last_will()))

        def publish_status(document: bytes) -> None:
            if link.connected:
                link.send(topic, document, retain=True).add_done_callback(_look)

        async with link:
            uplink = Uplink(link, keeper, settings.commune, settings.receipt_timeout_s)
            keeper.publish = uplink.publish_fresh
            opening.add_done_callback(lambda _: uplink.look())
            link.at_every_connect(lambda: publish_status(status.document("online")))
            sources = sources_of(planned, health)
            log.info("run %s: %d lines, %d series", boot.id, len(sources), len(planned.channels))
            notify("READY=1")
            try:
                await until(
                    stop,
                    *(source.run(deliver) for source in sources),
                    keeper.run(),
                    uplink.send_backlog(),
                    uplink.take_receipts(),
                    status.keep_published(publish_status),
                )
            finally:
                await keeper.flush()
            publish_status(status.document("offline"))
            if link.connected:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FAREWELL_S):
                        await uplink.drained()
        await keeper.close()


def _look(future: asyncio.Future[None]) -> None:
    """A refused status is no reason to stop; the uplink says it of the telemetry."""
    if not future.cancelled():
        future.exception()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One agent an outbox: two would count and send each other's packs."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(
                "another agent uses this outbox", where=str(lock), todo="stop it, or set another 'state' folder"
            ) from None
        yield
    finally:
        os.close(descriptor)
