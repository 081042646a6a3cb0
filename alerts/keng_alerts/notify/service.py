"""The loop of the notifier: hear alerts, keep what they mean, plan pages, hand them to their child processes."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from keng_alerts.notify import addresses, texts
from keng_alerts.notify.occasions import DEFAULT_ZONE, occasions, unreadable
from keng_alerts.notify.outbox import Delivery, Outbox
from keng_alerts.notify.plan import HOUR_MS, Duty, Open, Told, plan
from keng_alerts.notify.settings import NotifySettings
from keng_contracts.alerts import AlertDocument
from keng_contracts.errors import Problem
from keng_contracts.status import NotifyStatus
from keng_contracts.topics import BadTopic, Channel, Kind, Topic, pattern
from keng_runtime.clock import new_boot_id, now_ms
from keng_runtime.mqtt import Link, Message, Will
from keng_runtime.registry import RegistryCopy
from keng_runtime.service import notify, until

log = logging.getLogger(__name__)

#: Alerts wait at the broker for this long while we are away.
SESSION_S = 24 * 3600
TURN_S, STATUS_S, FORGET_S = 0.5, 30.0, 3600.0
#: After a start nobody is told of what may be over by now: what the broker keeps for us comes first, and has come once
#: nothing came for the first time. Without a broker what was known holds after the second.
SETTLE_S, SETTLE_AT_MOST_S = 1.0, 60.0
#: Children at once, and how long after a child's own end its delivery counts as lost.
CHILDREN, MARGIN_S = 4, 10.0
#: How long a disk that takes nothing is left in peace.
DISK_S = 5.0


async def main(settings: NotifySettings, stop: asyncio.Event) -> None:
    """Serve until ``stop``. Refuses to start with an address that is missing or not understood."""
    urls = addresses.load(settings.broker.credentials)
    await require(settings, urls)
    boot = new_boot_id()
    topic = str(Topic(settings.commune, Kind.NOTIFY, "notify", Channel.STATUS))
    will = Will(topic, NotifyStatus(state="offline", boot=boot).to_bytes())
    outbox = Outbox(settings.state / "notify.sqlite")
    try:
        async with Link(settings.broker, session_expiry_s=SESSION_S, will=will) as link:
            registry = RegistryCopy(link.credentials.trust(), settings.state / "registry.jws")
            notifier = Notifier(settings, urls, link, registry, outbox, boot)
            notify("READY=1")
            await until(stop, notifier.listen(), notifier.work(), notifier.report())
            await notifier.leave()
    finally:
        outbox.close()


async def require(settings: NotifySettings, urls: dict[str, str]) -> None:
    """Raise :class:`Problem` if an address that is used is missing, or no URL that Apprise understands."""
    where = str(settings.broker.credentials / addresses.FILE)
    used = list(dict.fromkeys(name for person in settings.people for name in person.addresses))
    if missing := [name for name in used if name not in urls]:
        raise Problem(f"has no address {', '.join(missing)}", where=where, todo="add it, or mend 'people'")
    places = await _child({"check": [urls[name] for name in used], "limit_s": 60}, 70) if used else []
    if not isinstance(places, list):
        raise Problem("Apprise can't be loaded", where=where, todo="install keng-alerts[notify]")
    if places:
        names = ", ".join(used[place] for place in places)
        raise Problem(f"Apprise does not understand {names}", where=where, todo="see Apprise's list of services")


class Notifier:
    """The thin edge around :mod:`plan`."""

    def __init__(
        self,
        settings: NotifySettings,
        urls: dict[str, str],
        link: Link,
        registry: RegistryCopy,
        outbox: Outbox,
        boot: str,
    ) -> None:
        self._settings = settings
        self._urls = urls
        self._link = link
        self._registry = registry
        self._outbox = outbox
        self._boot = boot
        self._people = {person.name: person for person in settings.people}
        self._documents: dict[str, AlertDocument] = {}
        self._children: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._trouble = ""
        self._subscribed = asyncio.Event()
        self._coming = True
        self._unreadable: set[str] = set()
        self._dirty = True  # what is kept in memory of the outbox is older than it
        self._opens: list[Open] = []
        self._done: set[Duty] = set()
        self._told: dict[str, list[Told]] = {}

    # -- hearing ------------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Take alerts; each is acknowledged once what it means is on disk."""
        await self._link.subscribe(pattern(Kind.REGISTRY, commune=self._settings.commune))
        await self._link.subscribe(pattern(Kind.ALERT, commune=self._settings.commune))
        self._subscribed.set()
        log.info("listening")
        while True:
            batch = await self._link.batch(100)
            self._coming = True
            for message in batch:
                await self._keep(message)
            for message in batch:
                message.ack()

    async def _keep(self, message: Message) -> None:
        """Return once what a message means is on disk."""
        while True:
            try:
                return self._hear(message)
            except (sqlite3.Error, OSError) as error:
                self._disk(error)
            await asyncio.sleep(DISK_S)

    def _hear(self, message: Message) -> None:
        try:
            topic = Topic.parse(message.topic)
        except BadTopic:
            return
        name = topic.id or ""
        if topic.kind is Kind.REGISTRY:
            self._registry.offer(message.payload)
            return
        self._dirty = True
        try:
            document = AlertDocument.model_validate_json(message.payload) if message.payload else None
        except ValidationError:
            log.warning("%s: can't be read; people are told so", message.topic)
            if name not in self._unreadable:
                self._unreadable.add(name)
                self._outbox.hear(_odd(name), [unreadable(name, now_ms())], now_ms())
            return
        if name in self._unreadable:
            self._unreadable.remove(name)
            self._outbox.hear(_odd(name), [], now_ms())
        if document is None:
            self._documents.pop(name, None)
            self._outbox.hear(name, [], now_ms())
            return
        known = self._documents.get(name)
        if known and document.version < known.version and document.updated_ms <= known.updated_ms:
            return  # an older state, delivered late
        self._documents[name] = document
        self._outbox.hear(name, occasions(document, self._registry.current), now_ms())

    # -- telling ------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Plan and send, over and over. A disk that takes nothing is told and tried again: nothing is sent that is
        not written down."""
        await self._settle()
        while True:
            try:
                self._plan()
                self._deliver()
                self._trouble = ""
            except (sqlite3.Error, OSError) as error:
                self._disk(error)
            await asyncio.sleep(TURN_S)

    def _disk(self, error: Exception) -> None:
        if not self._trouble:
            log.error("pages can't be written down (%s), and none is sent: free the disk", error)
        self._trouble = f"pages can't be written down ({error})"

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_AT_MOST_S):
                await self._subscribed.wait()
                while self._coming:
                    self._coming = False
                    await asyncio.sleep(SETTLE_S)
        except TimeoutError:
            log.warning("no broker: going on with what was known; whoever has acknowledged since may be told again")

    def _plan(self) -> None:
        now = now_ms()
        if self._dirty:
            self._opens, self._done = self._outbox.opens(), self._outbox.done()
            self._told = self._outbox.told(now - HOUR_MS)
            self._dirty = False
        for page in plan(self._opens, self._done, self._told, self._settings, now, self._zone):
            self._dirty = True
            person = self._people[page.person]
            title, body = texts.compose(page, person.languages, self._registry.current, self._zone, self._documents)
            number = self._outbox.add(page, title, body, person.addresses, now)
            log.info("page %d to %s (step %d): %s", number, person.name, page.step, title)
            self._changed.set()

    def _deliver(self) -> None:
        free = CHILDREN - len(self._children)
        if free <= 0:
            return
        now = now_ms()
        deadline = now + round((self._settings.send_timeout_s + MARGIN_S) * 1000)
        for delivery in self._outbox.claim(now, deadline, round(self._settings.give_up_h * HOUR_MS), free):
            task = asyncio.create_task(self._send(delivery))
            self._children.add(task)
            task.add_done_callback(self._children.discard)

    async def _send(self, delivery: Delivery) -> None:
        url = self._urls.get(delivery.address)
        if url is None:
            self._outbox.ended(delivery.message, delivery.address, "there is no such address any more", now_ms())
            return
        task = {
            "url": url,
            "title": delivery.title,
            "body": f"{delivery.body} · {delivery.message}",
            "severity": delivery.severity,
            "limit_s": self._settings.send_timeout_s,
            "outbox": str(self._settings.state / "notify.sqlite"),
            "message": delivery.message,
            "address": delivery.address,
        }
        answer = await _child(task, self._settings.send_timeout_s + MARGIN_S / 2)
        error = answer["error"] if isinstance(answer, dict) else "the gateway gave no answer in time"
        if not isinstance(answer, dict):
            self._outbox.ended(delivery.message, delivery.address, error, now_ms())
        if error:
            log.warning(
                "page %d to %s by %s, attempt %d: %s; it is tried again, unless it is a test",
                delivery.message,
                delivery.person,
                delivery.address,
                delivery.attempts,
                error,
            )
        else:
            log.info("page %d to %s by %s is sent", delivery.message, delivery.person, delivery.address)
        self._changed.set()

    @property
    def _zone(self) -> ZoneInfo:
        registry = self._registry.current
        return ZoneInfo(registry.commune.timezone if registry else DEFAULT_ZONE)

    # -- reporting ----------------------------------------------------------------------------------------------

    async def report(self) -> None:
        """Say how it goes: at every connect, when it changes, and from time to time."""
        self._link.at_every_connect(self._changed.set)
        forgotten_ms = 0
        while True:
            self._changed.clear()
            if self._link.connected:
                self._say("online")
            if now_ms() - forgotten_ms > FORGET_S * 1000:
                forgotten_ms = now_ms()
                self._outbox.forget(forgotten_ms)
            try:
                async with asyncio.timeout(STATUS_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(TURN_S)

    async def leave(self) -> None:
        """Let out what is on its way (asyncio would kill the children), then say a last word."""
        if self._children:
            await asyncio.wait(self._children, timeout=self._settings.send_timeout_s + MARGIN_S)
        if self._link.connected:
            self._say("offline")

    def _say(self, state: str) -> None:
        try:
            figures = self._outbox.figures()
        except sqlite3.Error:
            return
        problems = [f"{name}: {error} ({attempts} attempts)" for name, attempts, error in figures.troubles]
        problems += [f"the alert {name} can't be read" for name in sorted(self._unreadable)]
        if self._trouble:
            problems.append(self._trouble)
        if not self._settings.chains:
            problems.append("no chain is set: nobody is told of anything")
        status = NotifyStatus(
            state="online" if state == "online" else "offline",
            version=version("keng-alerts"),
            boot=self._boot,
            at_ms=now_ms(),
            waiting=figures.waiting,
            oldest_ms=figures.oldest_ms,
            sent=figures.sent,
            dropped=figures.dropped,
            problems=problems,
        )
        topic = Topic(self._settings.commune, Kind.NOTIFY, "notify", Channel.STATUS)
        self._link.send(str(topic), status.to_bytes(), retain=True).add_done_callback(_log_refusal)


async def _child(task: dict[str, Any], within_s: float) -> Any:
    """What a :mod:`send` process answers to a task; None when it gave no answer in time or ended without one."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "keng_alerts.notify.send",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # a stack trace of a plug-in may have the URL in it
        start_new_session=True,
        cwd=Path("/"),
    )
    try:
        async with asyncio.timeout(within_s):
            out, _ = await child.communicate(json.dumps(task).encode())
        return json.loads(out)
    except (TimeoutError, ValueError):
        return None
    finally:
        if child.returncode is None:
            child.kill()


def _odd(alert: str) -> str:
    """Under which name the outbox keeps that an alert can't be read: beside what was known of it, which stays."""
    return f"{alert}#"


def _log_refusal(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.error("the status could not be published: %s; check the broker's acl", error)
