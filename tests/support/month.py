"""A month of a whole loudspeaker node: its own parts, files and signed documents in a world in which things fail.

:class:`Month` runs :func:`keng_loudspeaker.node.main` over its lives and deaths, signs what console and alerts send it,
and writes down what was true when. Faults are in :mod:`tests.support.faults`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import shutil
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import pytest
from joserfc import jws

from keng_contracts.commands import Command, Item, Media, Play, Siren, Speech, Stop
from keng_contracts.keys import Key, KeyDocument, PublicJwk
from keng_contracts.playback import PlaybackEvent
from keng_contracts.programme import Entry, Occurrence, Programme, name
from keng_contracts.receipts import Receipt
from keng_contracts.topics import Channel, Kind, Topic
from keng_loudspeaker import node
from keng_loudspeaker.playing.file_player import FILE
from keng_loudspeaker.proving import evidence
from keng_loudspeaker.settings import LoudspeakerSettings
from keng_loudspeaker.sounding import fetch, gong, loudness, media, siren, speech
from keng_loudspeaker.sounding.cache import named
from keng_runtime.settings import BrokerSettings
from keng_runtime.signing import SigningKey
from tests.support.broker import COMMUNE
from tests.support.disk import SmallDisk, copy_all
from tests.support.https import HttpsServer
from tests.support.planned import ROWS, SIREN, Due, Row, Sent, sound_file
from tests.support.pole import DAY, MONDAY, History, LeapingLoop, Machine, ms
from tests.support.registry import sample
from tests.support.wire import Wire, WireLink
from tests.support.witness import Witness

NODE = "loa-phuoc-yen"


class Month:
    """The world around the node. ``tmp`` is for what is not on the node's disk."""

    def __init__(
        self,
        loop: LeapingLoop,
        seed: int,
        days: int,
        disk: SmallDisk,
        server: HttpsServer,
        credentials: Path,
        tmp: Path,
    ) -> None:
        self.loop, self.days, self.disk, self.server, self.tmp = loop, days, disk, server, tmp
        self.chance = random.Random(seed)
        self.history = History(loop)
        self.machine = Machine(loop)
        self.wire = Wire(loop, self.chance)
        self.wire.published, self.wire.delivered = self._published, self._delivered
        self.witness = Witness()
        self.files: dict[str, bytes] = {}
        self.keys = {who: SigningKey.load(credentials / who / "signing.jwk") for who in ("console", "alerts", "root")}
        self.counter, self.version, self.registry, self.documents = 0, 0, 0, 0
        self.programmes: dict[int, Programme] = {}
        self.sent: list[Sent] = []
        self.told: dict[tuple[str, int], PlaybackEvent] = {}
        self.deliveries: Counter[tuple[str, int]] = Counter()
        self.added: list[tuple[float, int, PlaybackEvent]] = []
        self.ends: dict[int, float] = {}  # when each run of the node was killed
        self.deaths: list[str] = []
        self.moments: list[float] = []
        self.run, self._moved_s, self._down = 0, 0.0, Counter[str]()
        self._durable = 0
        self._revoked = False  # whether the node knows that the console has another key
        self.settings = LoudspeakerSettings(
            commune=COMMUNE,
            state=disk.path / "state",
            broker=BrokerSettings(host="127.0.0.1", port=1, credentials=credentials / NODE),
            cache_mb=10,
            device=FILE,
            recording_s=0,
        )
        for folder in (tmp / "run", self.settings.state):
            folder.mkdir()
        self.dues = [self._due(row, day) for day in range(days) for row in ROWS if not row.only or day in row.only]

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        add = evidence.Courier.add

        def added(courier: evidence.Courier, event: PlaybackEvent) -> None:
            if self.history.now("up"):
                self.added.append((self.loop.time(), self.run, event))
            add(courier, event)

        self.machine.patch(monkeypatch)
        self.witness.patch(monkeypatch)
        monkeypatch.setattr(media, "authorities", lru_cache(fetch.authorities))  # thousands of times the same
        self.loop.calm_until = self._calm_until
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(self.tmp / "run"))
        monkeypatch.setattr(node, "Link", self._link)
        monkeypatch.setattr(evidence.Courier, "add", added)
        for module, what in ((loudness, "_measure"), (speech.Voice, "write")):
            monkeypatch.setattr(module, what, self._in_real_time(getattr(module, what)))

    # -- time ---------------------------------------------------------------------------------------------------

    def moved(self) -> None:
        """Something has happened: time goes step by step for a while."""
        self._moved_s = self.loop.time()

    def _calm_until(self, now_s: float) -> float:
        i = bisect_right(self.moments, now_s)
        since_s = now_s - max(self._moved_s, self.moments[i - 1] if i else 0.0)
        if since_s < 5 or self.witness.playing():
            return now_s
        return (self.moments[i] if i < len(self.moments) else self.days * DAY) - 4

    def _in_real_time(self, work: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        """Time stands while a child of the node works."""

        async def working(*args: object, **more: object) -> object:
            self.loop.busy += 1
            try:
                return await work(*args, **more)
            finally:
                self.loop.busy -= 1

        return working

    # -- power --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The node's process begins."""
        self.run += 1
        self.moved()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._live())
        self.history.set("up", True)

    async def _live(self) -> None:
        try:
            await node.main(self.settings, self._stop)
        except Exception as error:  # systemd would start it again, or not
            self.deaths.append(f"{self.loop.time():.0f} s: {error!r}")
            self.history.set("up", False)

    async def kill(self) -> None:
        """It is gone between two steps. What lies on the disk at this moment is what the next run finds."""
        while self.loop.busy:  # noqa: ASYNC110 - its time stands meanwhile
            await asyncio.sleep(0)
        self.history.set("up", False)
        self.ends[self.run] = self.loop.time()
        self.witness.cut()
        self.link.die()
        state, left = self.settings.state, self.tmp / "left"
        copy_all(state, left)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        shutil.rmtree(state)
        copy_all(left, state)
        shutil.rmtree(left)
        self._holds(self._durable)

    async def end(self) -> None:
        """It is told to end, and does."""
        self._stop.set()
        await asyncio.gather(self._task)
        self.history.set("up", False)
        self._holds(self._durable)

    def switch_on(self, wrong_ms: int) -> None:
        """The power is back; the time comes later, if there is a link."""
        self.machine.start(wrong_ms)
        shutil.rmtree(self.tmp / "run", ignore_errors=True)
        (self.tmp / "run").mkdir()
        self.history.set("timed", False)
        self.start()
        self.sync_later()

    def sync_later(self) -> None:
        self.machine.synced = False
        self.loop.call_later(self.chance.uniform(20, 120), self._sync, self.machine.starts)

    def _sync(self, boot: int) -> None:
        if boot != self.machine.starts or self._down["jump"] or self.machine.synced or not self.wire.up:
            return
        self.moved()
        self.machine.synced, self.machine.wrong_ms = True, self.chance.randrange(-40, 40)
        self.history.set("timed", True)

    # -- link, disk, media --------------------------------------------------------------------------------------

    def _link(self, *args: object, **more: int) -> WireLink:
        self.link = WireLink(self.wire, *args, **more)
        return self.link

    @contextlib.contextmanager
    def without(self, what: str) -> Iterator[None]:
        """No ``link``, no room on the ``disk``, no ``served`` files; or a ``jump`` of the clock. They may overlap."""
        self._down[what] += 1
        if self._down[what] == 1:
            self.history.set(what, False)
            self._switch(what, False)
        try:
            yield
        finally:
            self._down[what] -= 1
            if not self._down[what]:
                self.history.set(what, True)
                self._switch(what, True)

    def _switch(self, what: str, there: bool) -> None:
        self.moved()
        if what == "link":
            self.server.reachable = there
            self.wire.restore() if there else self.wire.drop()
            if there and not self.machine.synced and self.history.now("up"):
                self.sync_later()
        elif what == "disk":
            self.disk.make_room() if there else self.disk.fill()
        elif what == "served":
            self.server.files = dict(self.files) if there else {}

    # -- the console --------------------------------------------------------------------------------------------

    def media(self, file: str) -> Media:
        """A file, made and put on the server."""
        content = sound_file(file)
        if file != "khong-co.wav":
            self.files[f"/{file}"] = content
            if not self._down["served"]:
                self.server.files = dict(self.files)
        return Media(url=f"{self.server.url}/{file}", sha256=hashlib.sha256(content).hexdigest(), size=len(content))

    def item(self, row: Row, day: int) -> Media | Speech:
        return self.media(row.name(day)) if row.file else Speech(text=row.text)

    def sound(self, row: Row, day: int) -> str:
        """The file in the cache that an occurrence begins with."""
        if row.gong:
            return named("gong", gong.KEY)
        return self.file_of(self.item(row, day))

    def file_of(self, item: Item) -> str:
        if isinstance(item, Media):
            return f"media-{item.sha256}"
        if isinstance(item, Siren):
            return named("siren", siren.key(item))
        assert isinstance(item, Speech)
        return named("speech", speech.Voice().key(item))

    def _due(self, row: Row, day: int) -> Due:
        at = self._at(row, day)
        return Due(name(row.entry_id(day), at), row, day, ms(at))

    def _at(self, row: Row, day: int) -> datetime:
        return MONDAY.replace(hour=row.at.hour, minute=row.at.minute) + timedelta(days=day)

    def publish_programme(self) -> None:
        """Of the seven days that begin now."""
        self.version += 1
        made_ms = self.machine.true_ms
        until_ms = made_ms + round(7 * DAY * 1000)
        first = int(self.loop.time() // DAY)
        entries, occurrences = {}, []
        for day in range(first, first + 8):
            for row in ROWS:
                at = self._at(row, day)
                if not made_ms <= ms(at) < until_ms or (row.only and day not in row.only):
                    continue
                entry = row.entry_id(day)
                entries[entry] = Entry(
                    id=entry,
                    items=[self.item(row, day)],
                    priority=row.priority,
                    gong=row.gong,
                    resume=row.resume,
                    night=row.night,
                    late_within_s=row.late_within_s,
                )
                occurrences.append(Occurrence(play=name(entry, at), entry=entry, local=at, at_ms=ms(at)))
        self.programmes[self.version] = Programme(
            schema="keng.programme/1",
            commune=COMMUNE,
            speaker=NODE,
            version=self.version,
            from_ms=made_ms,
            until_ms=until_ms,
            entries=list(entries.values()),
            occurrences=occurrences,
            emergency=[Siren(pattern="nut-bam", **SIREN)],
        )
        self._publish_signed(Channel.PROGRAMME, self.programmes[self.version].model_dump_json(by_alias=True))

    def publish_registry(self) -> None:
        self.registry += 1
        document = sample()
        short = [pattern.model_copy(update={**SIREN, "repeats": 1}) for pattern in document.sirens]
        document = document.model_copy(update={"version": self.registry, "sirens": short})
        self._publish_signed(Kind.REGISTRY, document.model_dump_json(by_alias=True))

    def rotate_keys(self) -> None:
        """The console's key is lost to somebody: it has another from now on, and signs everything anew."""
        self.documents += 1
        old, new = self.keys["console"], SigningKey.generate("console")
        x = str(new.trusted(frozenset()).key.as_dict(private=False)["x"])
        given = Key(
            kid=new.kid, iss="console", may=frozenset({"play", "stop", "programme", "registry"}), jwk=PublicJwk(x=x)
        )
        document = KeyDocument(commune=COMMUNE, version=self.documents, keys=[given], revoked=[old.kid])
        self.wire.publish(str(Topic(COMMUNE, Kind.KEYS)), self.keys["root"].sign(document.to_bytes()), retain=True)
        self.keys["console"] = new

    def sign_anew(self) -> None:
        self._publish_signed(Channel.PROGRAMME, self.programmes[self.version].model_dump_json(by_alias=True))
        self.registry -= 1
        self.publish_registry()

    def _publish_signed(self, what: Channel | Kind, document: str) -> None:
        topic = Topic(COMMUNE, what) if isinstance(what, Kind) else Topic(COMMUNE, Kind.SPEAKER, NODE, what)
        self.wire.publish(str(topic), self.keys["console"].sign(document.encode()), retain=True)

    def order(self, action: Play | Stop, play: str, by: str = "alerts", valid_s: float = 60.0) -> Sent:
        """A signed command to the zone along the river."""
        self.counter += 1
        now = self.machine.true_ms / 1000
        command = Command(
            iss=self.keys[by].issuer,
            commune=COMMUNE,
            aud="zone/ven-song",
            jti=str(uuid.UUID(int=self.chance.getrandbits(128))),
            ctr=self.counter,
            iat=now,
            nbf=now,
            exp=now + valid_s,
            action=action,
        )
        sent = Sent(
            play,
            self.keys[by].sign(command.model_dump_json().encode()),
            self.loop.time(),
            self.loop.time() + valid_s,
            "" if isinstance(action, Stop) else self.file_of(action.items[0]),
        )
        self.sent.append(sent)
        self.send(sent.token)
        return sent

    def send(self, token: bytes) -> None:
        self.moved()
        self.wire.publish(str(Topic(COMMUNE, Kind.ZONE, "ven-song", Channel.COMMAND)), token)

    def _published(self, topic: str, payload: bytes) -> None:
        if not topic.endswith("/playback"):
            return
        event = PlaybackEvent.model_validate_json(payload)
        self.deliveries[event.boot, event.seq] += 1
        self.told.setdefault((event.boot, event.seq), event)
        if self.chance.random() < 0.9:  # some receipts are lost
            receipt = Receipt(boot=event.boot, stored=[(event.seq, event.seq)])
            self.wire.publish(str(Topic(COMMUNE, Kind.SPEAKER, NODE, Channel.PLAYBACK_RECEIPT)), receipt.to_bytes())

    def _delivered(self, topic: str, payload: bytes) -> None:
        for sent in self.sent:
            if sent.token == payload:
                sent.had_s.append(self.loop.time())
        if topic.endswith("/keys"):
            self._revoked = True
        if topic.endswith("/programme"):
            document = jws.extract_compact(payload)
            if self._revoked and document.headers()["kid"] != self.keys["console"].kid:
                return  # it is refused
            version = json.loads(document.payload)["version"]
            self._holds(version)
            if self.history.now("disk"):
                self._durable = version

    def _holds(self, version: int) -> None:
        self.history.set("programme", version)
