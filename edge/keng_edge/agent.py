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
from typing import Literal, NamedTuple, NoReturn

from keng_contracts.errors import Problem
from keng_contracts.status import EdgeReply, EdgeStatus
from keng_contracts.telemetry import Flag
from keng_contracts.topics import Channel, Kind, Topic
from keng_edge import trial
from keng_edge.orders import Orders
from keng_edge.outbox.keeper import Keeper
from keng_edge.outbox.outbox import Boot
from keng_edge.pipeline.counters import Counters
from keng_edge.pipeline.pipeline import Pipeline, Sample
from keng_edge.pipeline.tally import Tally, rules
from keng_edge.plan import Plan, plan
from keng_edge.settings import EdgeSettings
from keng_edge.sources.kinds import KINDS
from keng_edge.sources.source import Health, Source
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
        self.reply: EdgeReply | None = None
        self.problem = ""

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
                problems=[*([self.problem] if self.problem else []), *self._keeper.problems()],
                reply=self.reply,
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


class Next(NamedTuple):
    """What runs next: settings, those to go back to if it does not reach the broker, and the answer to the command."""

    settings: EdgeSettings
    before: EdgeSettings | None = None
    reply: EdgeReply | None = None
    problem: str = ""


async def run(settings: EdgeSettings, stop: asyncio.Event, reread: Callable[[], EdgeSettings] | None = None) -> None:
    """Run until ``stop`` is set. Raises :class:`Problem` for what a person must mend before it can start.

    ``reread`` is for the command that settings be read anew. They are on trial for ``trial_s``: until then the broker
    and a receipt must have been reached, else what ran before runs again, now and at the next start (see ``trial``).
    """
    now: Next | None = _first(settings)
    while now is not None:
        try:
            now = await _live(now, stop, reread or (lambda: settings))
        except Problem as problem:
            if now is None or now.before is None:
                raise
            now = _back(now, now.before, str(problem))


def _first(settings: EdgeSettings) -> Next:
    """What runs first: these settings, on trial if they are there to replace others that were taken back, or, if they
    are those, the last good ones."""
    last = trial.read(settings.state)
    if last is None:
        return Next(settings)
    if last.good == settings:
        trial.forget(settings.state)
        return Next(settings)
    if last.tried != settings or not last.why:
        log.info("these settings are on trial for %g s", settings.trial_s)
        return Next(settings, last.good)
    log.error("%s", last.problem)
    return Next(last.good, problem=last.problem)


def _back(now: Next, before: EdgeSettings, why: str) -> Next:
    trial.Trial(now.settings, before, why).save()
    problem = f"the new settings were taken back: {why}"
    log.error("%s", problem)
    jti = now.reply.jti if now.reply is not None else ""
    return Next(before, None, EdgeReply(jti=jti, ok=False, detail=problem[:500], at_ms=now_ms()), problem)


async def _live(now: Next, stop: asyncio.Event, reread: Callable[[], EdgeSettings]) -> Next | None:
    """Run with these settings until ``stop`` (None) or until others are to run."""
    settings = now.settings
    planned = plan(settings)
    credentials = Credentials.open(settings.broker.credentials)
    identity = credentials.identity
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
    tally = Tally(Counters(rules(planned.lines)), settings.state / "edge-counters.json")

    orders = Orders(settings.orders, credentials, settings.commune, sorted({source for source, _ in planned.channels}))
    then: list[Next | None] = []
    leave = asyncio.Event()

    def deliver(sample: Sample) -> None:
        readings = pipeline.readings(tally.apply(sample))
        keeper.add(readings, alarm=sample.source in planned.alarms, kept=sample.kept)
        good = [reading for reading in readings if reading.flag is not Flag.MISSING]
        wanted = [planned.paces[r.series].after(r.time_ms, r.value) for r in good if r.series in planned.paces]
        if sample.source in orders.intervals:
            wanted.append(orders.intervals[sample.source])
        if wanted:
            health.intervals[sample.source] = min(wanted)
        else:
            health.intervals.pop(sample.source, None)

    def reload() -> str:
        new = reread()
        plan(new)
        if new == settings:
            return "the settings are the same: nothing is changed"
        trial.Trial(new, settings).save()
        then.append(Next(new, settings))
        return f"the new settings are on trial for {settings.trial_s:g} s"

    async def take_orders() -> NoReturn:
        while True:
            token = await uplink.commands.get()
            reply = await asyncio.to_thread(orders.obey, token, reload=reload, restart=lambda: then.append(None))
            status.reply = reply
            status.changed.set()
            if then:
                then[:] = [then[-1] and then[-1]._replace(reply=reply)]
                publish_status(status.document("online"))
                leave.set()

    async def on_trial() -> NoReturn:
        """Wait for the proof that these settings reach the broker and ingest."""
        if now.before is not None:
            try:
                async with asyncio.timeout(settings.trial_s):
                    await link.wait_connected()
                    while not uplink.receipted.is_set() and (keeper.depth.packs or keeper.held):
                        with suppress(TimeoutError):
                            async with asyncio.timeout(0.5):
                                await uplink.receipted.wait()
            except TimeoutError:
                why = f"neither the broker nor a receipt was reached within {settings.trial_s:g} s"
                then[:] = [_back(now, now.before, why)]
                leave.set()
            else:
                log.info("the new settings are good: the broker was reached with them")
                await asyncio.to_thread(trial.forget, settings.state)
                jti = now.reply.jti if now.reply is not None else ""
                status.reply = EdgeReply(jti=jti, ok=True, detail="the new settings are good", at_ms=now_ms())
                status.changed.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def leaving() -> None:
        await leave.wait()

    with _alone(settings.outbox.with_suffix(".lock")):
        opening = asyncio.create_task(keeper.open())  # the check of a large outbox does not delay the reading
        await asyncio.wait({opening}, timeout=OPENING_S)
        health = Health([source for source, _ in planned.channels])
        status = Status(boot, health, keeper)
        status.reply, status.problem = now.reply, now.problem
        health.changed = keeper.changed = status.changed.set
        link = Link(settings.broker, will=Will(topic, status.last_will()))

        def publish_status(document: bytes) -> None:
            if link.connected:
                link.send(topic, document, retain=True).add_done_callback(_look)

        async with link:
            uplink = Uplink(link, keeper, settings.commune, settings.receipt_timeout_s)
            keeper.publish = uplink.publish_fresh
            keeper.linked = lambda: link.connected
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
                    take_orders(),
                    on_trial(),
                    leaving(),
                )
            finally:
                await opening
                await keeper.flush()
            publish_status(status.document("offline"))
            if link.connected:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FAREWELL_S):
                        await uplink.drained()
        await keeper.close()
    return then[-1] if then and not stop.is_set() else None


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
