"""The node: hears commands, decides, plays, and says what happened. The rim around the pure parts.

A command's way: broker → :mod:`obey` (may it?) → :mod:`playlist` (now, later, instead of what?) → :mod:`memory` (its
number on disk) → :mod:`jobs` and :mod:`performance` (sound) → :mod:`evidence` (what was heard) → broker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from keng_contracts.commands import Command, Live, Play, Prepare, Siren, Stop
from keng_contracts.errors import Problem
from keng_contracts.judging import Audience
from keng_contracts.registry import Registry
from keng_contracts.status import SpeakerStatus
from keng_contracts.topics import BadTopic, Channel, Kind, Topic, is_slug
from keng_loudspeaker.alone import button
from keng_loudspeaker.alone.keeper import BUTTON, Keeper, button_play
from keng_loudspeaker.hours import Hours, volumes
from keng_loudspeaker.obeying.allowance import Allowance
from keng_loudspeaker.obeying.keyring import Keyring
from keng_loudspeaker.obeying.memory import Memory
from keng_loudspeaker.obeying.obey import decide
from keng_loudspeaker.playing.jobs import Jobs
from keng_loudspeaker.playing.live import LiveVoice
from keng_loudspeaker.playing.playlist import Why
from keng_loudspeaker.playing.stage import Stage
from keng_loudspeaker.playing.wav import Recording
from keng_loudspeaker.proving import self_test
from keng_loudspeaker.proving.condition import Condition
from keng_loudspeaker.proving.evidence import Courier, Outbox
from keng_loudspeaker.proving.reports import VERSION, Clockwork, Evidence, Order, StatusBoard
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_loudspeaker.sounding.cache import Cache
from keng_loudspeaker.sounding.media import Media
from keng_loudspeaker.sounding.speech import Voice
from keng_runtime import mqtt
from keng_runtime.clock import new_boot_id, now_ms
from keng_runtime.credentials import Credentials
from keng_runtime.metrics import Metric
from keng_runtime.mqtt import Link, Message, Will
from keng_runtime.obeying import Refused
from keng_runtime.registry import RegistryCopy
from keng_runtime.service import notify, until

log = logging.getLogger(__name__)

ACCEPTED = Metric("Counter", "keng_loudspeaker_commands_accepted_total", "Commands obeyed", ["action"])
REFUSED = Metric("Counter", "keng_loudspeaker_commands_refused_total", "Commands not obeyed", ["reason"])

#: Commands wait at the broker for this long while the link is down.
SESSION_EXPIRY_S = 300
#: Refusals that are told one by one: so many at once, and one more each so many seconds. All are counted. Whoever
#: floods a node with forgeries must not fill its disk or push out true evidence.
TOLD_AT_ONCE, TOLD_EVERY_S = 20, 3.0


async def main(settings: LoudspeakerSettings, stop: asyncio.Event) -> None:
    """Serve until ``stop``. Refuses to start without credentials; waits for broker, sound server and player."""
    credentials = Credentials.open(settings.broker.credentials)
    me = credentials.identity
    if not is_slug(me):
        raise Problem(f"{me!r} is no name for a loudspeaker", where=str(credentials.folder), todo="provision it again")
    keyring = Keyring(credentials.trust(), settings.commune, settings.state / "keys.json")
    boot, clock = new_boot_id(), Clockwork(settings.clock == "trusted")
    run = run_folder(settings.state)

    def topic(channel: Channel) -> str:
        return str(Topic(settings.commune, Kind.SPEAKER, me, channel))

    gone = SpeakerStatus(state="offline", version=VERSION, boot=boot).model_dump_json().encode()
    link = Link(
        settings.broker,
        receive_maximum=50,
        session_expiry_s=SESSION_EXPIRY_S,
        will=Will(topic(Channel.STATUS), gone),
    )
    memory = Memory(settings.state / "obeyed.sqlite")
    outbox = Outbox(settings.state / "evidence.sqlite", settings.evidence_events)
    cache = Cache(settings.state / "sounds", run / "sounds", settings.cache_mb << 20)
    cache.prepare()
    async with link:
        courier = Courier(outbox, link, topic(Channel.PLAYBACK))
        status_file = settings.state / "status.json"
        board = StatusBoard(link, topic(Channel.STATUS), status_file, boot, clock, settings.volume)
        node = Node(
            me=Audience(settings.commune, me, frozenset()),
            link=link,
            keyring=keyring,
            registry=RegistryCopy(keyring.trust, settings.state / "registry.jws"),
            memory=memory,
            stage=Stage(
                me,
                settings.device,
                run,
                latency_ms=settings.latency_ms,
                volume=settings.volume,
                recording=Recording(settings.state / "sounded.wav", settings.recording_s),
            ),
            media=Media(
                cache,
                Voice(settings.words_per_minute, settings.piper_voice, settings.recorded_words),
                lufs=settings.loudness_lufs,
                ca=credentials.folder / "ca.crt",
            ),
            clock=clock,
            courier=courier,
            evidence=Evidence(boot, clock, courier),
            board=board,
            hours=Hours(volumes=volumes(settings.volumes)),
            state=settings.state,
        )
        condition = Condition(
            *(node.stage, node.jobs, node.keeper, node.evidence, courier, board),
            state=settings.state,
            microphone=settings.microphone,
            amplifier=settings.amplifier_current,
        )
        notify("READY=1")
        try:
            # The node leaves first and the device after it, so that what is cut is told as cut, with its level.
            jobs = [node.stage.run(), courier.run(), board.keep(), node.listen(), node.leave_when(stop)]
            jobs += [node.keeper.keep(node.jobs), *condition.watches()]
            if settings.test_at and settings.microphone:  # an amplifier's current shows nothing so soft
                jobs.append(
                    self_test.watch(settings.test_at, node.jobs, clock, lambda: node.hours, condition.checked_s)
                )
            if settings.button:
                jobs.append(button.watch(Path(settings.button), settings.button_hold_s, node.button_held))
            await until(asyncio.Event(), *jobs)
        finally:
            await node.close()


def run_folder(state: Path) -> Path:
    """Where sockets live: systemd's runtime directory, or a folder beside the state; raises :class:`Problem`."""
    run = Path(os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or state / "run")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"can't be made ({error.strerror})", where=str(run), todo="check its owner and mode") from None
    return run


@dataclass(kw_only=True)
class Node:
    """One loudspeaker. ``me`` has its zones once there is a registry."""

    me: Audience
    link: Link
    keyring: Keyring
    registry: RegistryCopy
    memory: Memory
    stage: Stage
    media: Media
    clock: Clockwork
    courier: Courier
    evidence: Evidence
    board: StatusBoard
    hours: Hours
    state: Path

    def __post_init__(self) -> None:
        self.jobs = Jobs(
            self.stage, self.media, self.evidence, self.memory, lambda: self.hours, self._show, self._live_voice
        )
        self.keeper = Keeper(
            self.keyring.trust,
            self.state,
            self.me.commune,
            self.me.node,
            clock=self.clock,
            evidence=self.evidence,
            media=self.media,
            hours=lambda: self.hours,
        )
        self._tell_refusals = Allowance(TOLD_AT_ONCE, TOLD_EVERY_S)
        self._leaving = False
        self._background: set[asyncio.Task[None]] = set()
        self.stage.changed = self._show

    # -- hearing ------------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Hear and obey."""
        self.link.at_every_connect(self._connected)
        self._subscribe(Topic(self.me.commune, Kind.KEYS))
        self._subscribe(Topic(self.me.commune, Kind.REGISTRY))
        self._subscribe(Topic(self.me.commune, Kind.SPEAKER, self.me.node, Channel.COMMAND))
        self._subscribe(Topic(self.me.commune, Kind.SPEAKER, self.me.node, Channel.PLAYBACK_RECEIPT))
        self._subscribe(Topic(self.me.commune, Kind.SPEAKER, self.me.node, Channel.PROGRAMME))
        self._follow(self.registry.current)
        async for message in self.link.messages():
            if self._leaving:
                return  # not acknowledged: the broker keeps it for our next run
            self._hear(message)
            message.ack()

    def _hear(self, message: Message) -> None:
        try:
            topic = Topic.parse(message.topic)
        except BadTopic:
            return
        if topic.kind is Kind.KEYS:
            self._take_keys(message.payload)
        elif topic.kind is Kind.REGISTRY:
            if self.registry.offer(message.payload):
                self._follow(self.registry.current)
        elif topic.channel is Channel.PLAYBACK_RECEIPT:
            self.courier.receipted(message.payload)
        elif topic.channel is Channel.PROGRAMME:
            if message.payload:
                self.keeper.offer(message.payload)
        elif topic.kind is Kind.SPEAKER or topic.id in self.me.zones:
            self._command(message.payload)

    def _take_keys(self, token: bytes) -> None:
        refused = self.keyring.offer(token)
        if refused is None:
            log.info("key document %d is in force: %s", self.keyring.version, ", ".join(self.keyring.trust.keys))
            self.evidence.keys(f"version {self.keyring.version}", taken=True)
        elif refused and self._tell_refusals.take(time.monotonic()):
            log.warning("a key document is not taken: %s; the keys in force stay", refused)
            self.evidence.keys(refused, taken=False)

    def _connected(self) -> None:
        self.board.publish()
        self.courier.connected()

    def _follow(self, registry: Registry | None) -> None:
        """Take what concerns us from the registry: our zones, and the sirens that may be ordered."""
        if registry is None:
            log.info("no registry yet: obeying commands to this loudspeaker and to the whole commune only")
            return
        if registry.commune.id != self.me.commune:
            log.error("the registry is that of %s, not of our commune; left aside", registry.commune.id)
            return
        here = next((speaker for speaker in registry.speakers if speaker.id == self.me.node), None)
        if here is None:
            log.error("the registry of %s knows no loudspeaker %s", registry.commune.name, self.me.node)
        zones = frozenset(here.zones if here else ())
        self.me = Audience(self.me.commune, self.me.node, zones)
        self.hours = replace(self.hours, quiet=registry.quiet_hours, zone=registry.commune.timezone)
        for zone in sorted(zones):
            self._subscribe(Topic(self.me.commune, Kind.ZONE, zone, Channel.COMMAND))
        sirens = [
            Siren(pattern=s.id, blasts=s.blasts, blast_s=s.blast_s, gap_s=s.gap_s, repeats=s.repeats)
            for s in registry.sirens
        ]
        self._in_background(self.media.make_ready(sirens))
        self._show()

    def _subscribe(self, topic: Topic) -> None:
        self._in_background(self._subscribed(str(topic)))

    async def _subscribed(self, topic: str) -> None:
        try:
            await self.link.subscribe(topic)
        except mqtt.Refused as error:
            log.error("%s can't be heard: %s; check the broker's acl", topic, error)

    # -- deciding -----------------------------------------------------------------------------------------------

    def _command(self, token: bytes) -> None:
        came_s = time.monotonic()
        verdict = decide(
            token,
            trust=self.keyring.trust,
            me=self.me,
            counters=self.memory.counters,
            now_s=now_ms() / 1000,
            clock=self.clock.state(),
            hours=self.hours,
        )
        if isinstance(verdict, Refused):
            self._refuse(verdict, came_s)
        else:
            self._obey(verdict, came_s)

    def _refuse(self, verdict: Refused[Command], now_s: float) -> None:
        self.memory.refused += 1
        REFUSED.labels(verdict.reason.value).inc()
        if self._tell_refusals.take(now_s):
            log.warning(
                "refused a command: %s%s", verdict.reason.value, f" ({verdict.detail})" if verdict.detail else ""
            )
            self.evidence.refused(verdict)
            self.memory.keep_refused()
        self._show()

    def _obey(self, command: Command, came_s: float) -> None:
        ACCEPTED.labels(command.action.do).inc()
        log.info("%s orders: %s", command.iss, command.action.do)
        remember = partial(self.memory.obey, command.iss, command.ctr)  # on disk before anything sounds
        match command.action:
            case Play() as play:
                self.jobs.play(Order(play, command.jti, came_s), remember)
            case Stop(play=name):
                self.evidence.stop_accepted(name, command.jti)
                self.jobs.stop(name, came_s, remember)
            case Prepare() as prepare:
                self.evidence.preparing(command.jti)
                remember([])
                self._in_background(self._prepare(prepare, command.jti))

    def _live_voice(self, item: Live) -> LiveVoice:
        return LiveVoice(item, self.link, self.me.commune, run_folder(self.state))

    async def _prepare(self, prepare: Prepare, command: str) -> None:
        failed = await self.media.prepare("emergency" if prepare.emergency else "", prepare.items)
        for reason in failed:
            log.error("a sound can't be made ready: %s", reason)
        self.evidence.prepared(command, failed)

    def button_held(self) -> None:
        """The button at the loudspeaker: start the emergency set, or end it."""
        came_s, playing = time.monotonic(), self.jobs.playing
        if playing.startswith(BUTTON):
            log.warning("the button ends %s", playing)
            self.evidence.stop_accepted(playing, "button")
            self.jobs.stop(playing, came_s, self.jobs.keep_ended)
            return
        log.warning("the button starts the emergency set")
        play = button_play(self.keeper.emergency, self.registry.current, now_ms())
        self.jobs.play(Order(play, "button", came_s), self.jobs.keep_ended)

    def _show(self) -> None:
        self.board.set(
            device=self.stage.device,
            playing=self.jobs.playing,
            refused=self.memory.refused,
            zones=self.me.zones,
        )

    # -- going --------------------------------------------------------------------------------------------------

    async def leave_when(self, stop: asyncio.Event) -> None:
        """Once told to stop: obey nothing more, silence what sounds, and say so."""
        await stop.wait()
        self._leaving = True
        await self.jobs.leave(Why.NODE_STOPPED.value)

    async def close(self) -> None:
        """Leave nothing behind."""
        self.stage.changed = lambda: None
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.jobs.close()
        await self.courier.work()
        await self.board.offline()
        self.courier.close()
        self.memory.close()
        self.keeper.close()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
