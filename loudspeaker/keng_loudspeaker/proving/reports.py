"""What the node says about itself: evidence of every step, and its status."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from keng_contracts.commands import Command, Play, Prepare, Priority
from keng_contracts.judging import Refusal
from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.status import SpeakerStatus
from keng_contracts.telemetry import Clock
from keng_loudspeaker.playing.sound import RATE
from keng_loudspeaker.proving.amplifier import Draw
from keng_loudspeaker.proving.evidence import Courier
from keng_loudspeaker.proving.health import Health, problems
from keng_loudspeaker.proving.loopback import Match
from keng_loudspeaker.proving.meter import Hearing
from keng_runtime.clock import clock_state, now_ms
from keng_runtime.files import write_atomically
from keng_runtime.metrics import Metric
from keng_runtime.mqtt import Link
from keng_runtime.obeying import Refused

log = logging.getLogger(__name__)

VERSION = version("keng-loudspeaker")
STEPS = Metric("Counter", "keng_loudspeaker_playback_steps_total", "Steps of playback", ["what"])
START = Metric(
    "Histogram",
    "keng_loudspeaker_start_seconds",
    "From a command's arrival to its first sample",
    buckets=(0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 15),
)

#: The status is published again after this time even if nothing has changed.
STATUS_S = 30.0
#: What changes all the time, and alone is no reason to write the file again.
_RESTLESS = ("evidence", "temperature_c", "disk_free_mb", "clock_error_ms", "amplifier_ma")


@dataclass(frozen=True, slots=True)
class Order:
    """A job that was accepted: what to play, whose command it was, and when it came (monotonic seconds). ``due_ms`` is
    when it should begin, if that was known before; ``note`` is what there is to say of it when it is accepted."""

    play: Play
    command: str
    came_s: float
    due_ms: int | None = None
    note: str = ""


class Clockwork:
    """How far this machine's clock is trusted; ``trusted`` is the operator's word for it."""

    def __init__(self, trusted: bool) -> None:
        self._trusted = trusted

    def trusted(self) -> bool:
        return self.state() is not Clock.UNKNOWN

    def state(self) -> Clock:
        state = clock_state()
        return Clock.HOLDOVER if self._trusted and state is Clock.UNKNOWN else state


class Evidence:
    """Gives each step its number and hands it to the courier."""

    def __init__(self, boot: str, clock: Clockwork, courier: Courier) -> None:
        self._boot = boot
        self._clock = clock
        self._courier = courier
        self._seq = 0

    @property
    def clock(self) -> Clock:
        return self._clock.state()

    def accepted(self, order: Order, reason: str) -> None:
        due_ms = order.due_ms or order.play.start_ms
        self._of(order, What.ACCEPTED, reason=reason or order.note, due_ms=due_ms)

    def programme(self, name: str, occurrences: int) -> None:
        """A programme was taken."""
        self._say(What.ACCEPTED, kind="programme", command=name, reason=f"{occurrences} occurrences")

    def programme_refused(self, refusal: Refusal, detail: str) -> None:
        self._say(What.REFUSED, kind="programme", reason=f"{refusal.value}: {detail}"[:300])

    def skipped(self, play: str, name: str, priority: Priority, reason: str, due_ms: int) -> None:
        """An occurrence of the programme that is not played."""
        self._say(What.SKIPPED, play=play, command=name, priority=priority, reason=reason, due_ms=due_ms)

    def broken_off(self, play: str) -> None:
        """An occurrence that had begun when the node, or its power, went."""
        self._say(What.CUT, play=play, reason="broken-off: the node ended before it had")

    def stop_accepted(self, play: str, command: str) -> None:
        self._say(What.ACCEPTED, play=play, command=command, reason="stop")

    def keys(self, reason: str, *, taken: bool) -> None:
        """A key document was taken, or why not."""
        self._say(What.ACCEPTED if taken else What.REFUSED, kind="keys", reason=reason)

    def preparing(self, command: str) -> None:
        self._say(What.ACCEPTED, command=command, kind="prepare", reason="prepare")

    def prepared(self, command: str, failed: list[str]) -> None:
        """Sounds that were to be made ready are, but for those that failed."""
        for reason in failed:
            self._say(What.FAILED, command=command, kind="prepare", reason=reason)
        if not failed:
            self._say(What.FINISHED, command=command, kind="prepare")

    def refused(self, verdict: Refused[Command]) -> None:
        command = verdict.command
        play = command.action if command is not None and isinstance(command.action, Play) else None
        # What a key may not sign says nothing about an alert either.
        cause = play.cause if play is not None and verdict.reason is not Refusal.NOT_ALLOWED else None
        self._say(
            What.REFUSED,
            reason=verdict.reason.value,
            command=command.jti if command else "",
            play=command.action.play if command and not isinstance(command.action, Prepare) else "",
            priority=play.priority if play else None,
            exercise=play.exercise if play else False,
            cause=cause,
        )

    def dropped(self, order: Order, reason: str) -> None:
        """A job that never began."""
        self._of(order, What.CUT, reason=reason)

    def broken(self, order: Order, reason: str) -> None:
        """A job that ended by a fault of ours."""
        self._of(order, What.FAILED, reason=reason)

    def step(self, order: Order, what: What, item: int, reason: str, hearing: Hearing | None) -> None:
        """A step of one item, with what was heard of it."""
        first_s = hearing.first_s if hearing is not None else None
        started = what is What.STARTED
        level = None if hearing is None else hearing.onset_dbfs if started else hearing.level_dbfs
        due_ms = (order.due_ms or order.play.start_ms) if started and item == 0 else None
        if started and item == 0 and first_s is not None and due_ms is None:
            START.observe(max(0.0, first_s - order.came_s))
        told = "" if hearing is None or level is None else f", {hearing.sounded_s:.1f} s of sound at {level} dBFS"
        log.info("%s: item %d %s%s%s", order.play.play, item, what.value, f" ({reason})" if reason else "", told)
        self._of(
            order,
            what,
            item=item,
            kind=order.play.items[item].kind,
            reason=reason,
            due_ms=due_ms,
            first_sample_ms=None if first_s is None else now_ms() - round((time.monotonic() - first_s) * 1000),
            level_dbfs=level,
            sounded_s=None if hearing is None or started else hearing.sounded_s,
            **_curve(hearing, what),
        )

    def outside(self, order: Order, item: int, match: Match) -> None:
        """What the microphone has heard of an item."""
        what = What.HEARD if match.heard else What.UNHEARD
        log.log(
            logging.INFO if match.heard else logging.ERROR, "%s: item %d %s outside", order.play.play, item, what.value
        )
        kind = order.play.items[item].kind
        self._of(order, what, item=item, kind=kind, level_dbfs=match.level_dbfs, match=match.correlation)

    def undriven(self, order: Order, item: int, draw: Draw) -> None:
        """Sound was sent to the amplifier, and it drew no more than at rest."""
        reason = f"amplifier: {draw.sounding_ma} mA while it sounded, {draw.rest_ma} mA at rest"
        log.error("%s: item %d unheard outside (%s)", order.play.play, item, reason)
        self._of(order, What.UNHEARD, item=item, kind=order.play.items[item].kind, reason=reason)

    def _of(self, order: Order, what: What, **more: object) -> None:
        play = order.play
        about = {"play": play.play, "priority": play.priority, "exercise": play.exercise, "cause": play.cause}
        self._say(what, command=order.command, **about, **more)

    def _say(self, what: What, **more: object) -> None:
        STEPS.labels(what.value).inc()
        event = PlaybackEvent.model_validate(
            {
                "boot": self._boot,
                "seq": self._seq,
                "at_ms": now_ms(),
                "clock": self._clock.state(),
                "what": what,
                **more,
            }
        )
        self._seq += 1
        self._courier.add(event)


def _curve(hearing: Hearing | None, what: What) -> dict[str, object]:
    if hearing is None or what not in (What.FINISHED, What.CUT) or not hearing.sounded:
        return {}
    return {"curve_dbfs": hearing.curve.levels, "curve_step_s": hearing.curve.samples / RATE}


class StatusBoard:
    """The retained status: published when something changed and from time to time, and written into a file for
    ``keng loudspeaker status``."""

    def __init__(self, link: Link, topic: str, file: Path, boot: str, clock: Clockwork, volume: int) -> None:
        self._link = link
        self._topic = topic
        self._file = file
        self._clock = clock
        self._now = SpeakerStatus(state="online", version=VERSION, boot=boot, volume=volume)
        self._zones: list[str] = []
        self._due_s = 0.0
        self._written = ""

    def set_health(
        self, health: Health, *, evidence: int, programme: int, programme_waits: bool, unheard: bool, undriven: bool
    ) -> None:
        """How the machine is. What is known first, a new problem, and one that is over, are published at once."""
        found = problems(
            health,
            device=self._now.device,
            waiting=evidence,
            programme_waits=programme_waits,
            unheard=unheard,
            undriven=undriven,
        )
        told = found != self._now.problems or (self._now.disk_free_mb is None and health.disk_free_mb is not None)
        for problem in set(found) - set(self._now.problems):
            log.warning("%s", problem)
        about = {**asdict(health), "evidence": evidence, "programme": programme, "problems": found}
        self._now = self._now.model_copy(update=about)
        if told:
            self.publish()

    def set(self, *, device: str, playing: str, refused: int, zones: frozenset[str]) -> None:
        """What is now. A change of what sounds is published at once, a count within a second."""
        now = self._now.model_copy(update={"device": device, "playing": playing, "refused": refused})
        audible = (now.device, now.playing) != (self._now.device, self._now.playing)
        counted = now.refused != self._now.refused
        self._now, self._zones = now, sorted(zones)
        if audible:
            self.publish()
        elif counted:
            self._due_s = min(self._due_s, time.monotonic() + 1.0)

    def publish(self) -> None:
        if self._link.connected:
            self._send("online")

    async def offline(self) -> None:
        """The last word; waits until the broker has it, though not for long."""
        if self._link.connected:
            await asyncio.wait([self._send("offline")], timeout=1.0)

    async def keep(self) -> None:
        """Publish what is due, and keep the file up to date, until cancelled."""
        while True:
            await asyncio.sleep(0.5)
            if time.monotonic() >= self._due_s:
                self.publish()
            await self._write()

    def _send(self, state: str) -> asyncio.Future[None]:
        said = self._now.model_copy(update={"state": state, "at_ms": now_ms(), "clock": self._clock.state()})
        sent = self._link.send(self._topic, said.model_dump_json().encode(), retain=True)
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._due_s = time.monotonic() + STATUS_S
        return sent

    async def _write(self) -> None:
        known = self._now.model_dump(mode="json", exclude={"at_ms", *_RESTLESS})
        known |= {
            "clock": self._clock.state(),
            "connected": self._link.connected,
            "zones": self._zones,
            "pid": os.getpid(),
        }
        if (text := json.dumps(known)) == self._written:
            return
        self._written = text
        try:
            await asyncio.to_thread(write_atomically, self._file, json.dumps({**known, "at_ms": now_ms()}).encode())
        except OSError as error:
            log.warning("the status can't be written down (%s)", error.strerror)
