"""LoRaWAN through ChirpStack v4: the uplinks that it publishes on its own broker become samples.

One line is one broker; its sensors are devices, by their DevEUI. A device speaks when it likes, so nothing is asked:
one that was not heard for three of its intervals has failed. An uplink that comes twice (the broker delivers again, or
a second integration publishes) is one sample. The broker holds what comes while we are away, if ChirpStack publishes
with QoS 1 (``qos=1`` in its ``[integration.mqtt]``). It may forget an uplink once its readings are committed, and not
before: what a killed agent had in hand is delivered again, and gives the same readings, for their time is the event's.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from keng_contracts.errors import Problem
from keng_edge.pipeline.pipeline import Sample
from keng_edge.plan import PlannedLine
from keng_edge.sources.kinds import UNACKNOWLEDGED
from keng_edge.sources.lorawan import BadEvent, LorawanProfile, read_uplink
from keng_edge.sources.source import BadSetting, Failure, Health, Outcome, Sensor, Source
from keng_runtime.clock import now_ms
from keng_runtime.guest import Guest
from keng_runtime.mqtt import Link, Message, Refused

log = logging.getLogger(__name__)

#: A device that was not heard for so many of its intervals has failed.
MISSED = 3
#: How many uplinks are remembered, to know one that comes again.
REMEMBERED = 1000
#: A broker is missed when it was away for so long.
AWAY_S = 3.0
#: How long it is looked at why it is not there.
LOOK_S = 3.0
#: How long a person at the command line waits for devices that speak when they like.
READ_ONCE_S = 30.0
#: The broker holds what comes while we are away, so long.
SESSION_S = 7 * 86_400

Device = Sensor[LorawanProfile]


class Uplinks:
    """From an event to an outcome. Pure: the time of arrival is an argument."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = {str(device.address): device for device in devices}
        self._seen: deque[str] = deque(maxlen=REMEMBERED)
        self.strangers: set[str] = set()

    def outcome(self, payload: bytes, arrived_ms: int, eui: str = "") -> Outcome | None:
        """What an event says; None for one that was there already or is of no device of ours. ``eui``: as the topic has
        it, for an event that can't be read."""
        try:
            uplink = read_uplink(payload)
        except BadEvent as error:
            device = self._devices.get(eui)
            failure = Failure(f"a damaged event: {error}", todo="check ChirpStack's integration (JSON, not protobuf)")
            return Outcome(device.id, None, failure) if device else None
        device = self._devices.get(uplink.dev_eui)
        if device is None:
            if uplink.dev_eui not in self.strangers and len(self.strangers) < REMEMBERED:
                self.strangers.add(uplink.dev_eui)
                log.info("uplinks of %s are not asked for", uplink.dev_eui)
            return None
        if uplink.id:
            if uplink.id in self._seen:
                return None
            self._seen.append(uplink.id)
        values, faults = device.profile.decode(uplink)
        failed = Failure(f"damaged: {'; '.join(faults)}", todo="check the profile and the sensor") if faults else None
        time_ms = uplink.time_ms or arrived_ms
        return Outcome(device.id, Sample(device.id, time_ms, values) if values else None, failed)


class Deliveries:
    """What the broker delivered and may not forget yet. Acknowledged in the order in which it came, as MQTT 5 wants it
    (4.6); an event that came twice, when its readings are kept."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._unkept: set[bytes] = set()

    def add(self, message: Message) -> None:
        self._messages.append(message)

    def wait(self, event: bytes) -> None:
        """Of this event there are readings to keep."""
        self._unkept.add(event)

    def kept(self, event: bytes = b"") -> None:
        """This event needs nothing more."""
        self._unkept.discard(event)
        while self._messages and self._messages[0].payload not in self._unkept:
            self._messages.popleft().ack()


class ChirpStack:
    """The devices of one ChirpStack, as one source."""

    def __init__(
        self, broker: Guest, devices: Sequence[Device], health: Health, *, application: str = "+", read_once_s: float
    ) -> None:
        self._broker = broker
        self._devices = devices
        self._health = health
        self._topic = f"application/{application}/device/+/event/up"
        self._read_once_s = read_once_s
        self._uplinks = Uplinks(devices)

    async def run(self, deliver: Callable[[Sample], None]) -> None:
        heard = dict.fromkeys((device.id for device in self._devices), time.monotonic())
        deliveries = Deliveries()
        link = Link(self._broker, receive_maximum=UNACKNOWLEDGED, session_expiry_s=SESSION_S)
        async with link, asyncio.TaskGroup() as group:
            group.create_task(self._miss(link, heard))
            group.create_task(self._subscribe(link))
            async for message in link.messages():
                event = message.payload
                deliveries.add(message)
                outcome = self._uplinks.outcome(event, now_ms(), _eui(message.topic))
                if outcome is not None:
                    heard[outcome.source] = time.monotonic()
                    if outcome.sample is not None:
                        deliveries.wait(event)
                        deliver(outcome.sample._replace(kept=partial(deliveries.kept, event)))
                    self._health.note(outcome)
                deliveries.kept()

    async def _subscribe(self, link: Link) -> None:
        try:
            await link.subscribe(self._topic)
        except Refused as refused:  # devices that stay silent say it again
            log.warning("%s", Problem(str(refused), where=self._topic, todo="allow us to read there"))

    async def _miss(self, link: Link, heard: dict[str, float]) -> None:
        """Count as failed whoever is silent for too long, and all while the broker is not there."""
        pause = min(5.0, *(device.interval_s for device in self._devices))
        there = time.monotonic()
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            there = now if link.connected else there
            missed = await self._not_there() if now - there >= AWAY_S else None
            for device in self._devices:
                if not link.connected:
                    heard[device.id] = now  # it can't be heard
                    if missed is not None:
                        self._health.failed(device.id, missed)
                elif now - heard[device.id] >= MISSED * device.interval_s:
                    heard[device.id] = now
                    self._health.failed(device.id, _silent(MISSED * device.interval_s))

    async def read_once(self) -> list[Outcome]:
        found: dict[str, Outcome] = {}
        connected = False
        guest = replace(self._broker, client_id=f"{self._broker.client_id}-once")  # what waits for the agent stays
        async with Link(guest) as link:
            with suppress(TimeoutError, Refused):
                async with asyncio.timeout(self._read_once_s):
                    await link.subscribe(self._topic)
                    connected = True
                    async for message in link.messages():
                        outcome = self._uplinks.outcome(message.payload, now_ms(), _eui(message.topic))
                        message.ack()
                        if outcome is not None:
                            found[outcome.source] = outcome
                        if len(found) == len(self._devices):
                            break
        failure = _silent(self._read_once_s) if connected else await self._not_there()
        return [found.get(device.id, Outcome(device.id, None, failure)) for device in self._devices]

    async def _not_there(self) -> Failure:
        """Why we are not connected, as far as a second look tells."""
        host, port, where = self._broker.host, self._broker.port, f"{self._broker.host}:{self._broker.port}"
        try:
            async with asyncio.timeout(LOOK_S):
                _, writer = await asyncio.open_connection(host, port, ssl=self._broker.context())
            writer.close()
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            todo = f"check 'ca', whether its certificate is for {host}, and whether it speaks TLS on that port"
            return Failure(f"the broker is not there over TLS: {reason}", todo=todo, where=where)
        except (OSError, TimeoutError):
            return Failure("the broker is not there", todo="check that it runs, and 'port'", where=where)
        todo = "check 'username' and 'password_file', and whether it is mqtt:// or mqtts://"
        return Failure("the broker has not let us in", todo=todo, where=where)


def _silent(seconds: float) -> Failure:
    return Failure(f"no answer: nothing heard for {seconds:g} s", todo="check battery, gateway and DevEUI")


def _eui(topic: str) -> str:
    parts = topic.split("/")
    return parts[3].lower() if len(parts) > 3 else ""


PROFILE = LorawanProfile


def source(line: PlannedLine, health: Health) -> Source:
    """The source of a planned line of this kind. Raises :class:`BadSetting`."""
    one = line.settings
    url = urlsplit(line.port)
    tls = url.scheme == "mqtts"
    guest = Guest(
        host=url.hostname or "localhost",
        port=url.port or (8883 if tls else 1883),
        client_id=f"keng-edge-{socket.gethostname()}-{line.id}",
        username=one.username or "",
        password=_secret(one.password_file, line.id),
        tls=tls,
        ca=one.ca,
    )
    try:
        guest.context()
    except Problem as problem:
        raise BadSetting(problem.what, setting="ca", line=line.id, where=problem.where, todo=problem.todo) from None
    patience = one.timeout_s or READ_ONCE_S
    return ChirpStack(guest, line.slaves, health, application=one.application or "+", read_once_s=patience)


def _secret(file: Path | None, line: str) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        todo = "check 'password_file'"
        raise BadSetting(
            f"can't be read ({why})", setting="password_file", line=line, where=str(file), todo=todo
        ) from None
