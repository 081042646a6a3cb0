"""The keeper of the programme: what it had due goes on over new programmes, new keys, restarts and a full disk."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from keng_contracts.playback import PlaybackEvent, What
from keng_contracts.programme import Programme
from keng_contracts.telemetry import Clock
from keng_loudspeaker.alone.copy import ProgrammeCopy
from keng_loudspeaker.alone.diary import Diary
from keng_loudspeaker.alone.keeper import Keeper
from keng_loudspeaker.hours import Hours
from keng_loudspeaker.obeying.memory import Memory
from keng_loudspeaker.playing.jobs import Jobs
from keng_loudspeaker.playing.playlist import Why
from keng_loudspeaker.proving.evidence import Courier, Outbox
from keng_loudspeaker.proving.reports import Clockwork, Evidence
from keng_loudspeaker.sounding.media import Media, Unplayable
from keng_runtime.signing import SigningKey, TrustStore
from tests.loudspeaker.test_programme import MONDAY, NEWS, ms, week
from tests.support.disk import small_disk
from tests.support.processes import until

OLD, NEW = SigningKey.generate("console"), SigningKey.generate("console")
MAY = frozenset({"programme"})
FIVE = "ban-tin-20251117-0500"


def trusting(*keys: SigningKey, former: tuple[SigningKey, ...] = ()) -> TrustStore:
    now, before = ({key.kid: key.trusted(MAY) for key in some} for some in (keys, former))
    return TrustStore(now, before)


def signed(programme: Programme, key: SigningKey = OLD) -> bytes:
    return key.sign(programme.model_dump_json(by_alias=True).encode())


class Told(list[PlaybackEvent]):
    """In place of the courier."""

    def add(self, event: PlaybackEvent) -> None:
        self.append(event)

    def of(self, play: str) -> list[tuple[What, str]]:
        return [(event.what, event.reason) for event in self if event.play == play]


class NoMedia:
    """Media that take as long as they are told to, and can't be played."""

    def __init__(self) -> None:
        self.there = asyncio.Event()

    async def prepare(self, owner: str, items: Any) -> list[str]:
        await self.there.wait()
        return []

    async def part(self, item: Any, *, hurry: bool = False) -> Any:
        await self.there.wait()
        raise Unplayable("fetch-failed: nobody has it")


class Rig:
    """A keeper and its jobs on a machine whose wall clock stands at ``wall``, and whose clock is kept or not."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, wall: datetime) -> None:
        self.told, self.media, self.state = Told(), NoMedia(), Clock.SYNCED
        self._wall_s = wall.timestamp() - time.monotonic()
        monkeypatch.setattr(time, "time_ns", lambda: round((self._wall_s + time.monotonic()) * 1e9))
        monkeypatch.setattr("keng_loudspeaker.proving.reports.clock_state", lambda: self.state)
        clock = Clockwork(False)
        evidence = Evidence("0" * 16, clock, cast(Courier, self.told))
        self.memory = Memory(folder / "obeyed.sqlite")
        stage, media = cast(Any, None), cast(Media, self.media)
        self.jobs = Jobs(stage, media, evidence, self.memory, Hours, lambda: None, cast(Any, None))
        self.keeper = Keeper(
            trusting(OLD, NEW), folder, "quang-tho", "loa-phuoc-yen", clock=clock, evidence=evidence, media=media,
            hours=Hours,
        )  # fmt: skip

    def set_clock(self, wall: datetime, state: Clock) -> None:
        self._wall_s, self.state = wall.timestamp() - time.monotonic(), state

    async def until(self, play: str, what: What) -> None:
        await until(lambda: what in [told for told, _ in self.told.of(play)], what=f"{what} of {play}")

    async def __aenter__(self) -> Rig:
        self._keeping = asyncio.create_task(self.keeper.keep(self.jobs))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        await self.jobs.close()
        self.keeper.close()
        self.memory.close()


async def test_what_the_programme_before_had_due_is_played_late_or_skipped_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_past = MONDAY.replace(hour=5, minute=2)
    rig = Rig(tmp_path, monkeypatch, half_past)
    rig.state = Clock.UNKNOWN
    rig.media.there.set()
    long_ago = NEWS.model_copy(update={"id": "dai", "late_within_s": 60})
    rig.keeper.offer(signed(week(MONDAY, 1, NEWS, long_ago)))
    later = week(MONDAY, 2).model_copy(
        update={"from_ms": ms(half_past), "until_ms": ms(half_past) + 3, "occurrences": []}
    )
    rig.keeper.offer(signed(later))
    rig.keeper.close()
    rig.memory.close()
    rig = Rig(tmp_path, monkeypatch, half_past)  # the node is started anew, and only then there is a time
    rig.media.there.set()
    async with rig:
        await rig.until(FIVE, What.FAILED)
        assert rig.told.of(FIVE)[0] == (What.ACCEPTED, "late: 120 s")
        assert rig.told.of("dai-20251117-0500") == [(What.SKIPPED, "too-late")]


@pytest.mark.parametrize("stopped", [False, True], ids=["failed", "stopped"])
async def test_what_became_of_an_occurrence_is_said_once_also_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    at = MONDAY.replace(hour=5, second=1)
    async with Rig(tmp_path, monkeypatch, at) as rig:
        rig.keeper.offer(signed(week()))
        await rig.until(FIVE, What.ACCEPTED)
        if stopped:
            await asyncio.sleep(0)
            await rig.jobs.leave(Why.NODE_STOPPED.value)
        else:
            rig.media.there.set()
        await rig.until(FIVE, What.CUT if stopped else What.FAILED)
    async with Rig(tmp_path, monkeypatch, at) as rig:
        await asyncio.sleep(0.05)
        assert rig.told.of(FIVE) == []


async def test_an_occurrence_of_the_day_is_played_though_the_wall_clock_jumped_into_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Rig(tmp_path, monkeypatch, MONDAY.replace(hour=4, minute=59, second=57)) as rig:
        await asyncio.sleep(0.05)
        rig.set_clock(MONDAY.replace(hour=2), Clock.UNKNOWN)
        rig.keeper.offer(signed(week()))
        rig.media.there.set()
        await rig.until(FIVE, What.FAILED)
        assert (What.CUT, "quiet-hours") not in rig.told.of(FIVE)


async def test_the_keeper_rests_while_files_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = Keeper._look
    monkeypatch.setattr(Keeper, "_look", lambda self, jobs: looks.append(1) or look(self, jobs))
    async with Rig(tmp_path, monkeypatch, MONDAY) as rig:
        rig.keeper.offer(signed(week(version=1)))
        await asyncio.sleep(0.02)
        rig.keeper.offer(signed(week(version=2)))  # while the files of the first are still on their way
        await asyncio.sleep(0.3)
    assert len(looks) <= 4


# -- the copy ---------------------------------------------------------------------------------------------------------


def test_a_kept_programme_outlives_its_key_until_any_other_comes(tmp_path: Path) -> None:
    def copy(trust: TrustStore) -> ProgrammeCopy:
        return ProgrammeCopy(trust, tmp_path / "programme.jws", "quang-tho", "loa-phuoc-yen")

    assert copy(trusting(OLD)).offer(signed(week(version=9))) is None
    after = copy(trusting(NEW, former=(OLD,)))  # its key was revoked, and the link is down
    assert after.current == week(version=9)
    assert (after.offer(signed(week(version=10))) or "").startswith("unknown-key")
    assert after.offer(signed(week(version=3), NEW)) is None, (
        "who had the key must not lock others out by a high version"
    )
    assert (after.offer(signed(week(version=2), NEW)) or "").startswith("replayed")
    assert copy(trusting(NEW)).current == week(version=3)


def test_a_programme_that_is_signed_anew_is_kept_with_the_new_signature(tmp_path: Path) -> None:
    file = tmp_path / "programme.jws"
    copy = ProgrammeCopy(trusting(OLD, NEW), file, "quang-tho", "loa-phuoc-yen")
    copy.offer(signed(week()))
    assert copy.offer(signed(week(), NEW)) == ""
    assert file.read_bytes() == signed(week(), NEW)


# -- a full disk ------------------------------------------------------------------------------------------------------


def test_on_a_full_disk_the_diary_and_the_counters_go_on_over_power_cuts_and_restarts(tmp_path: Path) -> None:
    def opened() -> tuple[Memory, Outbox, Diary]:
        """As a node opens them, and keeps them open."""
        folder = disk.path
        return (
            Memory(folder / "obeyed.sqlite"),
            Outbox(folder / "evidence.sqlite", 9),
            Diary(folder / "programme.sqlite"),
        )

    with small_disk(tmp_path / "disk", 4) as disk:
        memory, outbox, diary = opened()
        disk.fill()
        for number in range(600):
            memory.obey("alerts", number)
            diary.begin(f"ban-tin-{number}", number)
        outbox.close()
        for play in ("sau", "lai-sau", "cuoi"):  # the first time nobody closed memory and diary
            memory, outbox, diary = opened()
            assert memory.counters["alerts"] == 599 and "ban-tin-599" in diary.begun
            diary.begin(play, 100)
            for database in (memory, outbox, diary):
                database.close()
        disk.make_room()
        for database in opened():
            database.close()
        disk.fill()  # what was free once they were closed is taken
        for expected in ({"cuoi"}, {"cuoi", "mot"}):
            memory, outbox, diary = opened()
            assert expected <= diary.begun
            diary.begin("mot", 101)
            for database in (memory, outbox, diary):
                database.close()
        for room in disk.path.glob("*-room"):
            room.unlink()
        disk.make_room()
        disk.fill()  # and now there is nothing left for them
        memory, outbox, diary = opened()
        assert memory.counters["alerts"] == 599 and {"cuoi", "mot"} <= diary.begun
