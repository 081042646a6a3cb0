"""The two loops of ingest. One takes and sorts what comes; the other commits what is sorted, then acknowledges it and
sends the receipts, never in another order.

Batches find their size by themselves: what came while one was being committed is the next one. Idle, that is one
message, committed at once; under load it grows to the bounds in the settings, beyond which messages stay unread, and
the broker, bounded by Receive Maximum, sends no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from prometheus_client import Counter, Histogram

from keng_contracts.topics import Channel, Kind, pattern
from keng_ingest.canary import Canary
from keng_ingest.dead_letters import DeadLetters
from keng_ingest.derive import derive
from keng_ingest.memory import Windows
from keng_ingest.settings import IngestSettings
from keng_ingest.sort import DeadLetter, Rules, Sorted, sort
from keng_ingest.upkeep import keep_up
from keng_runtime.clock import now_ms
from keng_runtime.mqtt import Link, Message
from keng_runtime.registry import RegistryCopy
from keng_runtime.service import feed_watchdog_only_while, notify, until
from keng_signals.derived import Plan, plan_of
from keng_store.protocol import Row, Store, StoreUnavailable
from keng_store.settings import open_store
from keng_store.writing import write_all

log = logging.getLogger(__name__)

MESSAGES = Counter("keng_ingest_messages_total", "Telemetry messages committed and acknowledged")
ROWS = Counter("keng_ingest_readings_total", "Readings committed to the store")
DERIVED = Counter("keng_ingest_derived_points_total", "Points of derived series written")
DEAD = Counter("keng_ingest_dead_letters_total", "Packs or records put into the dead-letter table", ["reason"])
DROPPED = Counter("keng_ingest_dead_letters_dropped_total", "Dead letters dropped to keep the table in its bounds")
BATCH = Histogram(
    "keng_ingest_batch_messages", "Messages in one commit", buckets=(1, 2, 5, 10, 50, 100, 500, 1000, 2000)
)
COMMIT = Histogram("keng_ingest_commit_seconds", "Time to commit one batch")

#: At the broker our share of undelivered telemetry outlives an absence of this long; the edges keep theirs for ever.
SESSION_EXPIRY_S = 24 * 3600
#: A stop waits this long for the store, well within systemd's patience.
FINISH_S = 8.0
RETRY_MIN_S, RETRY_MAX_S = 0.5, 30.0
#: A store that asks for patience gets no more than this: quotas are counted in minutes, and a proxy that says "a day"
#: must not stop us for one.
PATIENCE_MAX_S = 300.0
#: Messages sorted before the loop looks at what else there is to do: a commit that is done is followed by the next.
SLICE = 50
#: While a commit runs there is no hurry: the last few are gathered, so that the threads don't wake each other for each.
GATHER_S = 0.005
#: How long a start waits for the retained registry, so that the first readings are judged by it.
REGISTRY_WAIT_S = 3.0


async def main(settings: IngestSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop``. Refuses to start without credentials or store; waits for a broker that is not there yet."""
    store = await asyncio.to_thread(open_store, settings.store)
    dead_letters = DeadLetters(settings.state / "dead-letters.sqlite", settings.dead_letters_mib << 20)
    link = Link(settings.broker, receive_maximum=settings.receive_maximum, session_expiry_s=SESSION_EXPIRY_S)
    registry = RegistryCopy(link.credentials.trust(), settings.state / "registry.jws")
    try:
        async with link:
            notify("READY=1")
            ingest = Ingest(link, store, dead_letters, registry, settings)
            _collect_seldom()
            feed_watchdog_only_while(ingest.canary.alive)
            upkeep = keep_up(settings.store, settings.rollup, settings.state, ingest.plan)
            await until(stop, ingest.take(), ingest.keep(), ingest.fly(), upkeep)
            await ingest.finish()
            ingest.remember()
    finally:
        dead_letters.close()
        store.close()


def _collect_seldom() -> None:
    """Readings make no cycles; looking for some every 700 objects is a quarter of the work on one."""
    gc.freeze()
    gc.set_threshold(50_000)


@dataclass(slots=True)
class Work:
    """Sorted, and not yet committed."""

    messages: list[Message] = field(default_factory=list)
    outcome: Sorted = field(default_factory=Sorted)


class Ingest:
    """The thin edge around :func:`keng_ingest.sort.sort`."""

    def __init__(
        self, link: Link, store: Store, dead_letters: DeadLetters, registry: RegistryCopy, settings: IngestSettings
    ) -> None:
        self._link = link
        self._store = store
        self._dead_letters = dead_letters
        self._registry = registry
        self._settings = settings
        self._rules = Rules.of(registry.current)
        self._plan = Plan() if registry.current is None else plan_of(registry.current)
        self._windows = Windows(settings.state / "quality.json", now_ms())
        self._work = Work()
        # One thread for all commits: each thread that allocates gets a heap of its own, which it hardly gives back.
        self._committer = ThreadPoolExecutor(1, "commit")
        self._committing: asyncio.Task[None] | None = None
        self._sorted = asyncio.Event()  # there is work
        self._taken = asyncio.Event()  # there is room for more
        self._known = asyncio.Event()  # there is a registry
        if registry.current is not None:
            self._known.set()
        self.canary = Canary(link)

    async def take(self) -> None:
        """Subscribe, and sort what comes as long as there is room."""
        commune = self._settings.commune or "+"
        await self._link.subscribe(pattern(Kind.REGISTRY, commune=commune))
        if self._registry.current is None:
            await self._await_registry()
        await self._link.subscribe(pattern(Kind.EDGE, Channel.TELEMETRY, commune=commune, share="ingest"))
        log.info("taking telemetry")
        while True:
            while self._is_full():
                self._taken.clear()
                await self._taken.wait()
            batch = await self._link.batch(SLICE)
            self._sort(batch)
            await asyncio.sleep(GATHER_S if self._committing and len(batch) < SLICE else 0)

    async def keep(self) -> None:
        """Commit, acknowledge and receipt what is sorted."""
        while True:
            await self._sorted.wait()
            self._sorted.clear()
            work, self._work = self._work, Work()
            self._taken.set()
            self._committing = asyncio.create_task(self._complete(work))
            await asyncio.shield(self._committing)
            self._committing = None

    async def finish(self) -> None:
        """Commit, acknowledge and receipt what is in hand, after the loops were stopped; gives up on a store that is
        away, for then it is the broker that keeps it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_S):
                if self._committing is not None:
                    await self._committing
                if self._work.messages:
                    await self._complete(self._work)

    async def _complete(self, work: Work) -> None:
        await self._commit(work.outcome)
        self._confirm(work)

    def plan(self) -> Plan:
        """The derived series of today's registry."""
        return self._plan

    async def fly(self) -> None:
        """The canary, as soon as it is known of which commune we are."""
        await self._known.wait()
        registry = self._registry.current
        await self.canary.fly(self._settings.commune or (registry.commune.id if registry else ""))

    def _is_full(self) -> bool:
        settings, work = self._settings, self._work
        return len(work.messages) >= settings.batch or len(work.outcome.rows) >= settings.batch_readings

    def remember(self) -> None:
        """Keep what quality control knows of each series for the next start."""
        self._windows.save(now_ms())

    async def _await_registry(self) -> None:
        try:
            async with asyncio.timeout(REGISTRY_WAIT_S):
                while self._registry.current is None:
                    self._sort(await self._link.batch(1))
        except TimeoutError:
            log.warning("no registry yet: readings are stored without quality checks until the console sends it")

    def _sort(self, batch: list[Message]) -> None:
        telemetry = []
        for message in batch:
            if message.topic.endswith("/registry"):
                if self._registry.offer(message.payload) and (registry := self._registry.current) is not None:
                    self._rules = Rules.of(registry)
                    self._plan = plan_of(registry)
                    self._windows.keep_only(self._rules.limits)
                    self._known.set()
                message.ack()
            else:
                telemetry.append(message)
        if not telemetry:
            return
        work = self._work
        sort(((m.topic, m.payload) for m in telemetry), self._rules, self._windows, now_ms(), work.outcome)
        work.messages += telemetry
        self._sorted.set()

    def _confirm(self, work: Work) -> None:
        outcome = work.outcome
        for topic, receipt in outcome.receipts():
            self._link.send(str(topic), receipt.to_bytes()).add_done_callback(_log_refusal)
        self._link.acknowledge(work.messages)  # last: killed before it, we get them again, and with them the receipts
        self._windows.save_if_due(now_ms())
        MESSAGES.inc(len(work.messages))
        BATCH.observe(len(work.messages))
        ROWS.inc(len(outcome.rows))
        for letter in outcome.dead:
            log.warning("%s: dead-lettered: %s", letter.topic, letter.reason)

    async def _commit(self, outcome: Sorted) -> None:
        """Store rows and dead letters durably; while the store is away the batch waits here, unacknowledged."""
        wait = RETRY_MIN_S
        while True:
            try:
                with COMMIT.time():
                    await asyncio.get_running_loop().run_in_executor(self._committer, self._write, outcome)
                return
            except StoreUnavailable as error:
                pause = max(wait, min(error.retry_after_s or 0.0, PATIENCE_MAX_S))
                log.error("the store can't take readings now (%s); nothing is lost, next try in %.1f s", error, pause)
                await asyncio.sleep(pause)
                wait = min(wait * 2, RETRY_MAX_S)

    def _write(self, outcome: Sorted) -> None:
        refused = write_all(self._store, outcome.rows)
        DERIVED.inc(derive(self._store, self._plan, outcome.rows))
        letters = outcome.dead + [_refused_by_store(row, why) for row, why in refused]
        before = self._dead_letters.dropped
        self._dead_letters.keep(letters, now_ms())
        DROPPED.inc(self._dead_letters.dropped - before)
        for letter in letters:
            DEAD.labels(letter.kind).inc()


def _refused_by_store(row: Row, why: str) -> DeadLetter:
    return DeadLetter(row.series, f"{row.time_ms} {row.value!r} {int(row.flag)}".encode(), f"store: {why}", 1)


def _log_refusal(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.error("a receipt could not be sent: %s; the edge will send the pack again", error)
