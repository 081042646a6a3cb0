"""Runs the demo: starts the parts, watches the page's own data, measures, and takes everything down again."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from typing import Any

from keng.demo.children import Children
from keng.demo.plan import NODE, Plan
from keng.demo.report import Heard, Tally, hops_ms, siren_as_json, sirens
from keng_contracts.errors import Problem
from keng_contracts.playback import PlaybackEvent
from keng_edge.outbox.outbox import inspect
from keng_ingest.dead_letters import DeadLetters
from keng_store.settings import StoreSettings, open_store

#: How long a part may take to come up, and how long readings may take to the store once the sensors are silent.
START_S = 40.0
DRAIN_S = 20.0
SETTLED_S = 2.0
_POLL_S = 0.1

Say = Callable[[str], None]


class Demo:
    """One run. ``say`` gets progress for people; ``stop`` ends it from outside."""

    def __init__(self, plan: Plan, say: Say, stop: threading.Event) -> None:
        self.plan = plan
        self.say = say
        self.stop = stop
        self.children = Children(plan.folder / "logs")
        self.began = time.monotonic()
        self.seconds_to_page = 0.0

    # -- up and down --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everything up and the page answering; raises Problem if a part does not come up."""
        self.plan.write()
        self.say(f"✓ danh tính và khóa ký · identities and signing keys ({self._age():.1f} s)")
        self.children.start("broker", self.plan.broker_command(), changes_user=True)
        self._wait(self._broker_answers, "the broker")
        self.say(f"✓ máy chủ MQTT (mosquitto) · broker ({self._age():.1f} s)")
        for part in self.plan.parts():
            self.children.start(part.name, part.command)
        self._wait(lambda: self.get("") is not None, "the page")
        self.seconds_to_page = self._age()
        self._wait(self._everyone_is_there, "the edge agent and the loudspeakers")
        self.say(f"✓ trạm đo, tiếp nhận, cảnh báo, loa · edge, ingest, alerts, loudspeakers ({self._age():.1f} s)")

    def take_down(self) -> None:
        self.children.stop_all()

    def _age(self) -> float:
        return time.monotonic() - self.began

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            self.children.check()
            if time.monotonic() > deadline:
                raise Problem(
                    f"{what} did not come up within {START_S:.0f} s",
                    where=str(self.plan.folder / "logs"),
                    todo="run with --keep and read the logs there",
                )
            if self.stop.wait(_POLL_S):
                raise KeyboardInterrupt

    def _broker_answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.plan.broker_port)) == 0

    def _everyone_is_there(self) -> bool:
        overview = self.overview()
        nodes = [*overview.get("nodes", []), *overview.get("speakers", [])]
        return len(nodes) >= 1 + len(self.plan.registry.speakers) and all(node["state"] == "online" for node in nodes)

    # -- watching -----------------------------------------------------------------------------------------------

    def get(self, path: str) -> bytes | None:
        """What the console answers; None while it does not."""
        try:
            with urllib.request.urlopen(self.plan.page + path, timeout=5) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, OSError):
            return None

    def overview(self) -> dict[str, Any]:
        body = self.get("api/overview")
        return json.loads(body) if body else {}

    def heard(self) -> list[Heard]:
        """All evidence that the loudspeakers have given so far, in the order in which the console got it."""
        rows = json.loads(self.get("api/playback?each=1000") or b"[]")
        return [Heard(row["speaker"], PlaybackEvent.model_validate(row["event"])) for row in rows]

    def watch(self, until_siren: bool, timeout_s: float) -> list[Heard]:
        """Tell what happens until the stop; with ``until_siren`` until every loudspeaker has sounded level 3 or, once
        one has, the others have had a few seconds. Returns the sirens of level 3."""
        told: set[str] = set()
        deadline = time.monotonic() + timeout_s
        grace: float | None = None
        speakers = {speaker.id: speaker.name for speaker in self.plan.registry.speakers}
        while not self.stop.wait(_POLL_S):
            self.children.check()
            for alert in self.overview().get("alerts", []):
                self._tell(told, self._alert_line(alert), f"{alert['id']} {alert['level']}")
            heard = self.heard()
            for one in heard:
                if one.event.what.value == "started" and one.event.level_dbfs is not None:
                    what = {"siren": "còi · siren", "speech": "lời nói · speech"}.get(one.event.kind, one.event.kind)
                    key = f"{one.speaker}{one.event.play}{one.event.item}"
                    self._tell(told, f"♪ {speakers[one.speaker]}: {what}, {one.event.level_dbfs:.1f} dBFS", key)
            sounded = sirens(heard, level=3)
            if until_siren:
                if len(sounded) == len(speakers) or (grace is not None and time.monotonic() > grace):
                    return sounded
                if sounded and grace is None:
                    grace = time.monotonic() + 5
                if time.monotonic() > deadline:
                    return sounded
        return sirens(self.heard(), level=3)

    def _alert_line(self, alert: dict[str, Any]) -> str:
        what = (
            f"báo động {alert['level']} · flood alarm level {alert['level']}"
            if alert["level"]
            else "hết báo động · over"
        )
        return f"{'▲' if alert['raised'] else '▽'} {alert['station']}: {alert['value']:.2f} {alert['unit']}, {what}"

    def _tell(self, told: set[str], line: str, key: str = "") -> None:
        if (key or line) not in told:
            told.add(key or line)
            self.say(line)

    # -- measuring ----------------------------------------------------------------------------------------------

    def measure(self, sounded: list[Heard]) -> dict[str, Any]:
        """Silence the sensors, let the last readings reach the store, and count."""
        heard = self.heard()
        self.children.stop("firmware-sim")
        tally = self._drained()
        return {
            "seconds_to_page": round(self.seconds_to_page, 2),
            "seconds": round(self._age(), 2),
            "lapse": self.plan.lapse,
            "hops_ms": hops_ms(sounded[0], heard) if sounded else {},
            **tally.as_json(),
            "sirens": [siren_as_json(one) for one in sounded],
        }

    def _drained(self) -> Tally:
        """The tally once nothing moves any more, or what it is when the patience is over. The edge commits what it has
        in memory within a second, so a count that stands still for longer is whole."""
        deadline = time.monotonic() + DRAIN_S
        before, since = self._count(), time.monotonic()
        while time.monotonic() < deadline:
            threading.Event().wait(_POLL_S)
            now = self._count()
            if now != before:
                before, since = now, time.monotonic()
            elif now.as_json()["lost"] == 0 and time.monotonic() - since > SETTLED_S:
                break
        return before

    def _count(self) -> Tally:
        _, sent = inspect(self.plan.state(NODE) / "edge-outbox.db")
        dead_letters = DeadLetters(self.plan.state("ingest") / "dead-letters.sqlite")
        with closing(open_store(StoreSettings(url=self.plan.store_url), read_only=True)) as store:
            stored = store.counts(self.plan.registry.commune.id)
        with closing(dead_letters):
            return Tally(sent, stored, dead_letters.readings())
