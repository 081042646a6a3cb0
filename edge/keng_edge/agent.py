"""The agent: sources, pipeline, keeper and uplink side by side, with settings that may be exchanged by command."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, NoReturn

from keng_contracts.errors import Problem
from keng_contracts.status import EdgeReply
from keng_contracts.telemetry import Flag
from keng_contracts.topics import Channel, Kind, Topic
from keng_edge import trial
from keng_edge.alone import alone
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
from keng_edge.status import Status
from keng_edge.uplink import Uplink
from keng_runtime.clock import machine_boot, new_boot_id, now_ms
from keng_runtime.credentials import Credentials
from keng_runtime.mqtt import Link
from keng_runtime.service import notify, until

log = logging.getLogger(__name__)

#: An outbox that takes longer to open is opened beside the reading.
OPENING_S = 0.5
#: What may still be sent at the end; systemd waits longer, a technician does not.
FAREWELL_S = 0.7


def sources_of(planned: Plan, health: Health) -> list[Source]:
    """Every source of the plan."""
    return [KINDS[line.kind].load().source(line, health) for line in planned.lines]


class Next(NamedTuple):
    """What runs next: settings, those to go back to if it does not reach the broker, and the answer to the command."""

    settings: EdgeSettings
    before: EdgeSettings | None = None
    reply: EdgeReply | None = None
    problem: str = ""

    def answer(self, ok: bool, detail: str) -> EdgeReply:
        """How it ended, for who ordered it."""
        jti = self.reply.jti if self.reply is not None else ""
        return EdgeReply(jti=jti, ok=ok, detail=detail[:500], at_ms=now_ms())


async def run(settings: EdgeSettings, stop: asyncio.Event, reread: Callable[[], EdgeSettings] | None = None) -> None:
    """Run until ``stop`` is set. Raises :class:`Problem` for what a person must mend before it can start.

    ``reread`` is for the command that settings be read anew. They are on trial for ``trial_s``: until then the broker
    and a receipt must have been reached, else what ran before runs again, now and at the next start (see ``trial``).
    """
    now: Next | None = _first(settings)
    while now is not None:
        try:
            then = await _Life(now, reread or (lambda: settings)).run(stop)
        except Problem as problem:
            if now.before is None:
                raise
            then = _back(now, now.before, str(problem))
        now = None if stop.is_set() else then


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
    return Next(before, None, now.answer(False, problem), problem)


class _Life:
    """The agent with one set of settings, from what they come to until it is stopped or others are to run."""

    def __init__(self, now: Next, reread: Callable[[], EdgeSettings]) -> None:
        self._now = now
        self._settings = settings = now.settings
        self._reread = reread
        self._plan = plan(settings)
        sensors = [source for source, _ in self._plan.channels]
        credentials = Credentials.open(settings.broker.credentials)
        self._boot = Boot(new_boot_id(), machine_boot())
        self._keeper = Keeper(
            settings.outbox,
            self._boot,
            max_bytes=int(settings.outbox_max_mb * 1_000_000),
            max_age_ms=int(settings.outbox_max_days * 86_400_000),
            every_s=settings.commit_every_s,
            readings=settings.commit_readings,
            sync_every_s=settings.sync_every_s,
        )
        self._pipeline = Pipeline(self._plan.channels)
        self._tally = Tally(Counters(rules(self._plan.lines)), settings.state / "edge-counters.json")
        lines = self._plan.lines
        self._own = {slave.id: slave.interval_s for line in lines for slave in line.slaves}
        unasked = {slave.id for line in lines for slave in line.slaves if KINDS[line.kind].unasked}
        self._orders = Orders(settings.orders, credentials, settings.commune, sorted(self._own), unasked)
        self._health = Health(sensors)
        self._fast: dict[str, float] = {}  # the interval that the last reading of a sensor asks for
        topic = str(Topic(settings.commune, Kind.EDGE, credentials.identity, Channel.STATUS))
        self._status = Status(topic, self._boot, self._health, self._keeper, self._orders)
        self._status.reply, self._status.problem = now.reply, now.problem
        self._health.changed = self._keeper.changed = self._status.changed.set
        self._leave = asyncio.Event()
        self._over = False  # by a command; ``_then`` is what runs next, if anything
        self._then: Next | None = None

    async def run(self, stop: asyncio.Event) -> Next | None:
        """Until ``stop``, or until something else is to run: that, or None for the end."""
        with alone(self._settings.state):
            opening = asyncio.create_task(self._keeper.open())  # checking a large outbox does not delay the reading
            await asyncio.wait({opening}, timeout=OPENING_S)
            async with Link(self._settings.broker, will=self._status.last_will()) as link:
                uplink = self._uplink = Uplink(
                    link, self._keeper, self._settings.commune, self._settings.receipt_timeout_s
                )
                self._link = link
                self._keeper.publish = uplink.publish_fresh
                self._keeper.linked = lambda: link.connected
                opening.add_done_callback(lambda _: uplink.look())
                link.at_every_connect(lambda: self._status.publish(link))
                sources = sources_of(self._plan, self._health)
                for sensor in self._orders.intervals:
                    self._set_pace(sensor)
                log.info("run %s: %d lines, %d series", self._boot.id, len(sources), len(self._plan.channels))
                notify("READY=1")
                try:
                    await until(
                        stop,
                        *(source.run(self._deliver) for source in sources),
                        self._keeper.run(),
                        uplink.send_backlog(),
                        uplink.take_receipts(),
                        self._status.keep_published(link),
                        self._take_orders(),
                        self._prove(),
                    )
                finally:
                    await opening
                    await self._keeper.flush()
                self._status.publish(link, "offline")
                if link.connected:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(FAREWELL_S):
                            await uplink.drained()
            await self._keeper.close()
        return self._then

    # -- readings -----------------------------------------------------------------------------------------------

    def _deliver(self, sample: Sample) -> None:
        readings = self._pipeline.readings(self._tally.apply(sample))
        self._keeper.add(readings, alarm=sample.source in self._plan.alarms, kept=sample.kept)
        paces = self._plan.paces
        good = [reading for reading in readings if reading.flag is not Flag.MISSING and reading.series in paces]
        fast = [s for r in good if (s := paces[r.series].after(r.time_ms, r.value)) < self._own[sample.source]]
        self._fast[sample.source] = min(fast, default=math.inf)
        self._set_pace(sample.source)

    def _set_pace(self, sensor: str) -> None:
        """What was ordered, or else its own interval; faster while its values ask for that."""
        calm = self._orders.intervals.get(sensor, self._own[sensor])
        self._health.pace(sensor, min(calm, self._fast.get(sensor, math.inf)))

    # -- commands and settings on trial -------------------------------------------------------------------------

    async def _take_orders(self) -> NoReturn:
        while True:
            token = await self._uplink.commands.get()
            reply = await asyncio.to_thread(self._orders.obey, token, reload=self._reload, restart=self._restart)
            for sensor in self._orders.sensors:
                self._set_pace(sensor)
            self._status.answer(reply)
            if self._over:
                self._then = self._then and self._then._replace(reply=reply)
                self._status.publish(self._link)
                self._leave.set()

    def _restart(self) -> None:
        self._over = True

    def _reload(self) -> str:
        new, settings = self._reread(), self._settings
        plan(new)
        if new == settings:
            return "the settings are the same: nothing is changed"
        trial.Trial(new, settings).save()
        self._then, self._over = Next(new, settings), True
        return f"the new settings are on trial for {settings.trial_s:g} s"

    async def _prove(self) -> None:
        """End with others to run, unless these settings reach the broker and ingest within their time."""
        if self._now.before is not None:
            try:
                async with asyncio.timeout(self._settings.trial_s):
                    await self._reached()
            except TimeoutError:
                why = f"neither the broker nor a receipt was reached within {self._settings.trial_s:g} s"
                self._then = _back(self._now, self._now.before, why)
                return
            log.info("the new settings are good: the broker was reached with them")
            await asyncio.to_thread(trial.forget, self._settings.state)
            self._status.answer(self._now.answer(True, "the new settings are good"))
        await self._leave.wait()

    async def _reached(self) -> None:
        """Return when the broker is there, and a receipt or nothing that waits for one."""
        await self._link.wait_connected()
        receipted = self._uplink.receipted
        while not receipted.is_set() and (self._keeper.depth.packs or self._keeper.held):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await receipted.wait()
