"""The programme: what is done at which time, over thirty days in which clocks jump, power fails and links are down."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from keng_contracts.commands import Priority, Siren, Speech
from keng_contracts.programme import Entry, Occurrence, Programme, name
from keng_contracts.telemetry import Clock
from keng_loudspeaker.alone.copy import ProgrammeCopy
from keng_loudspeaker.alone.diary import Diary
from keng_loudspeaker.alone.programme import Begin, Skip, decide, next_ms
from keng_loudspeaker.alone.timeline import BELIEVED_MS, Sight, Timeline
from keng_loudspeaker.hours import Hours
from keng_runtime.signing import SigningKey, TrustStore

HANOI = timezone(timedelta(hours=7))
MONDAY = datetime(2025, 11, 17, tzinfo=HANOI)
DAY_MS = 86_400_000
NEWS = Entry(id="ban-tin", items=[Speech(text="Bản tin sáng")], late_within_s=300)


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def occurrence(at: datetime, entry: str = "ban-tin") -> Occurrence:
    return Occurrence(play=name(entry, at), entry=entry, local=at, at_ms=ms(at))


def week(
    first: datetime = MONDAY, version: int = 1, *entries: Entry, times: tuple[time, ...] = (time(5),)
) -> Programme:
    """Seven days of every entry at these times of day."""
    rows = entries or (NEWS,)
    at = [datetime.combine(first + timedelta(days=d), t, HANOI) for d in range(7) for t in times]
    return Programme(
        schema="keng.programme/1",
        commune="quang-tho",
        speaker="loa-phuoc-yen",
        version=version,
        from_ms=ms(first),
        until_ms=ms(first) + 7 * DAY_MS,
        entries=list(rows),
        occurrences=[occurrence(when, entry.id) for when in at for entry in rows],
    )


FIVE = ms(MONDAY.replace(hour=5))


@pytest.mark.parametrize(
    ("after_ms", "expected"),
    [
        (-2501, None),
        (-2500, 0),
        (0, 0),
        (1000, 0),
        (1001, 1001),
        (300_000, 300_000),
        (300_001, "too-late"),
        (5 * 3_600_000, "too-late"),
    ],
)
def test_an_occurrence_is_played_in_time_or_late_or_skipped_and_that_is_said(
    after_ms: int, expected: int | str | None
) -> None:
    steps = decide(week(), set(), set(), FIVE + after_ms, Hours())
    if expected is None:
        assert steps == []
        return
    [step] = steps
    assert step.occurrence.play == "ban-tin-20251117-0500"
    assert (step.late_ms if isinstance(step, Begin) else step.reason) == expected


def test_what_has_begun_never_begins_again_and_what_was_skipped_is_said_once_but_played_if_its_time_comes() -> None:
    play = "ban-tin-20251117-0500"
    assert decide(week(), {play}, set(), FIVE, Hours()) == []
    assert decide(week(), set(), {play}, FIVE + 3_600_000, Hours()) == []
    assert isinstance(decide(week(), set(), {play}, FIVE, Hours())[0], Begin)


def test_in_quiet_hours_only_what_a_second_person_agreed_to_is_played() -> None:
    at = (time(3, 15),)
    [step] = decide(week(times=at), set(), set(), ms(MONDAY.replace(hour=3, minute=15)), Hours())
    assert isinstance(step, Skip) and step.reason == "quiet-hours"
    agreed = NEWS.model_copy(update={"night": "Trần Thị Lan"})
    [step] = decide(week(MONDAY, 1, agreed, times=at), set(), set(), ms(MONDAY.replace(hour=3, minute=15)), Hours())
    assert isinstance(step, Begin)


def test_what_would_begin_late_into_quiet_hours_is_skipped() -> None:
    evening = ms(MONDAY.replace(hour=21, minute=29))
    [step] = decide(week(times=(time(21, 29),)), set(), set(), evening + 120_000, Hours())
    assert isinstance(step, Skip) and step.reason == "quiet-hours"


def test_the_next_occurrence_is_known() -> None:
    assert next_ms(week(), set(), FIVE - 1) == FIVE
    assert next_ms(week(), set(), FIVE) == FIVE + DAY_MS
    assert next_ms(week(), set(), FIVE + 7 * DAY_MS) is None


# -- the document -----------------------------------------------------------------------------------------------------


def test_a_local_time_that_is_not_its_instant_is_not_taken() -> None:
    with pytest.raises(ValidationError, match="is not"):
        Occurrence(play="x", entry="x", local=MONDAY, at_ms=ms(MONDAY) + 7 * 3_600_000)


def test_an_emergency_can_not_be_scheduled() -> None:
    with pytest.raises(ValidationError, match="can't be scheduled"):
        Entry(id="coi", priority=Priority.EMERGENCY, items=[Siren(pattern="x", blasts=1, blast_s=1, gap_s=0)])


def test_only_a_newer_programme_for_this_loudspeaker_by_a_key_that_may_is_taken(tmp_path: Path) -> None:
    console, alerts = SigningKey.generate("console"), SigningKey.generate("alerts")
    keys = [console.trusted(frozenset({"programme"})), alerts.trusted(frozenset({"play"}))]
    trust = TrustStore({key.kid: key for key in keys})

    def signed(programme: Programme, key: SigningKey = console) -> bytes:
        return key.sign(programme.model_dump_json(by_alias=True).encode())

    copy = ProgrammeCopy(trust, tmp_path / "programme.jws", "quang-tho", "loa-phuoc-yen")
    stranger = SigningKey.generate("console")
    other = week(version=9).model_copy(update={"speaker": "loa-niem-pho"})
    for token, reason in (
        (b"\x00", "unreadable"),
        (signed(week(version=9), stranger), "unknown-key"),
        (signed(week(version=9), alerts), "not-allowed"),
        (signed(other), "not-for-me"),
        (console.sign(b"{}"), "unreadable"),
    ):
        assert (copy.offer(token) or "").startswith(reason) and copy.current is None
    assert copy.offer(signed(week(version=2))) is None
    assert copy.offer(signed(week(version=2))) == ""  # retained: it comes at every connect
    assert (copy.offer(signed(week(version=1))) or "").startswith("replayed")
    again = ProgrammeCopy(trust, tmp_path / "programme.jws", "quang-tho", "loa-phuoc-yen")
    assert again.current == week(version=2)


# -- the time ---------------------------------------------------------------------------------------------------------

NOW = ms(MONDAY)


def sight(wall_ms: int, up_ms: int, clock: Clock, boot: str = "a") -> Sight:
    return Sight(wall_ms, up_ms, boot, clock)


def test_a_clock_that_nobody_keeps_gives_no_time_and_one_that_was_kept_is_carried_on() -> None:
    line = Timeline()
    assert line.now_ms(sight(NOW, 1000, Clock.UNKNOWN)) is None
    assert line.now_ms(sight(NOW, 2000, Clock.SYNCED)) == NOW
    assert line.now_ms(sight(NOW + 20 * 365 * DAY_MS, 3000, Clock.UNKNOWN)) == NOW + 1000
    assert line.now_ms(sight(NOW, 1000, Clock.UNKNOWN, boot="b")) is None


def test_a_step_of_a_trusted_clock_is_believed_once_it_has_stood() -> None:
    line = Timeline()
    line.now_ms(sight(NOW, 0, Clock.HOLDOVER))
    wrong = NOW + 3_600_000
    assert line.now_ms(sight(wrong + 1000, 1000, Clock.HOLDOVER)) == NOW + 1000
    assert line.now_ms(sight(NOW + 2000, 2000, Clock.HOLDOVER)) == NOW + 2000
    assert line.now_ms(sight(wrong + 3000, 3000, Clock.HOLDOVER)) == NOW + 3000
    stood = 3000 + BELIEVED_MS
    assert line.now_ms(sight(wrong + stood, stood, Clock.HOLDOVER)) == wrong + stood


# -- thirty days ------------------------------------------------------------------------------------------------------

STEP_MS = 500
SLOTS = (time(5), time(11, 30), time(17), time(17, 1))


@dataclass
class Machine:
    """A machine with a clock that jumps: its wall clock is ``error_ms`` wrong."""

    true_ms: int
    started_ms: int
    boot: int = 0
    error_ms: int = 0
    clock: Clock = Clock.SYNCED
    off_until_ms: int = 0

    def sight(self) -> Sight:
        return Sight(self.true_ms + self.error_ms, self.true_ms - self.started_ms, str(self.boot), self.clock)


@dataclass
class Month:
    """What happened in a simulated month: when each occurrence was played (true time), and which were skipped."""

    path: Path
    chance: random.Random
    played: Counter[str] = field(default_factory=Counter)
    error_ms: dict[str, int] = field(default_factory=dict)
    said_late: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    down: list[tuple[int, int]] = field(default_factory=list)

    def run(self, days: int) -> list[Occurrence]:
        """Each week's programme reaches the node within two days before it begins, when the link lets it. Time moves in
        steps near an occurrence or a fault and in leaps between."""
        start = ms(MONDAY)
        machine = Machine(start, start - 3_600_000)
        faults = self._faults(start, days)
        weeks = [week(MONDAY + timedelta(days=7 * w), w + 1, times=SLOTS) for w in range((days + 6) // 7)]
        every = [o for programme in weeks for o in programme.occurrences if o.at_ms < start + days * DAY_MS]
        near = sorted({o.at_ms for o in every} | {at for at, *_ in faults})
        diary, line = Diary(self.path), Timeline()
        while machine.true_ms < start + days * DAY_MS:
            while faults and faults[0][0] <= machine.true_ms:
                _, what, size_ms, lasts_ms = faults.pop(0)
                if what == "power":
                    self.down.append((machine.true_ms, machine.true_ms + lasts_ms))
                    machine.off_until_ms = machine.true_ms + lasts_ms
                    faults.append((machine.off_until_ms, "boot", 0, lasts_ms))
                elif what == "boot":  # no NTP at first, and a clock from before the power went
                    machine.boot, machine.started_ms = machine.boot + 1, machine.true_ms
                    machine.clock, machine.error_ms = Clock.UNKNOWN, -size_ms
                    self.down.append((machine.true_ms, machine.true_ms + 90_000))
                    faults.append((machine.true_ms + 90_000, "kept", 0, 0))
                    diary.close()
                    diary = Diary(self.path)
                    line = Timeline(*diary.started)
                elif what == "jump":  # somebody sets the clock: the kernel no longer calls it kept
                    machine.error_ms, machine.clock = size_ms, Clock.UNKNOWN
                    faults.append((machine.true_ms + lasts_ms, "kept", 0, 0))
                elif machine.true_ms >= machine.off_until_ms:
                    machine.error_ms, machine.clock = 0, Clock.SYNCED
                faults.sort()
            if machine.true_ms >= machine.off_until_ms:
                self._look(machine, line, diary, weeks[min(len(weeks) - 1, (machine.true_ms - start) // (7 * DAY_MS))])
            i = bisect_right(near, machine.true_ms)
            ahead = [*near[i : i + 1], *(at for at, *_ in faults[:1])]
            leap = min(ahead, default=machine.true_ms + 30_000) - 3000 - machine.true_ms
            recent = i > 0 and machine.true_ms - near[i - 1] < 6000
            machine.true_ms += STEP_MS if recent or leap < STEP_MS else min(leap, 30_000)
        diary.close()
        return every

    def _look(self, machine: Machine, line: Timeline, diary: Diary, programme: Programme) -> None:
        now_ms = line.now_ms(machine.sight())
        if line.started_ms is not None and (line.boot, line.started_ms) != diary.started:
            diary.keep_start(line.boot, line.started_ms)
        if now_ms is None:
            return
        for step in decide(programme, diary.begun, diary.skipped, now_ms, Hours(), ahead_ms=0):
            play, at_ms = step.occurrence.play, step.occurrence.at_ms
            if isinstance(step, Begin):
                diary.begin(play, at_ms)
                self.played[play] += 1
                self.error_ms[play] = machine.true_ms - at_ms
                if step.late_ms:
                    self.said_late.add(play)
            else:
                diary.skip(play, at_ms)
                self.skipped[play] += 1

    def _faults(self, start: int, days: int) -> list[tuple[int, str, int, int]]:
        """(true time, what, size in ms, how long in ms), of three a day; some just before an occurrence."""
        faults = []
        for day in range(days):
            for _ in range(3):
                at = start + day * DAY_MS + self.chance.randrange(DAY_MS)
                if self.chance.random() < 0.5:
                    slot = self.chance.choice(SLOTS)
                    at = ms(datetime.combine(MONDAY + timedelta(days=day), slot, HANOI)) - self.chance.randrange(
                        120_000
                    )
                lasts = self.chance.choice([3000, 60_000, 400_000, 3_600_000])
                size = self.chance.choice([-1, 1]) * self.chance.choice(
                    [5000, 600_000, 4 * 3_600_000, 9 * 365 * DAY_MS]
                )
                faults.append((max(start, at), self.chance.choice(["power", "jump", "jump"]), size, lasts))
        return sorted(faults)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_thirty_days_of_jumping_clocks_and_power_cuts_miss_nothing_and_double_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    month = Month(tmp_path_factory.mktemp("month") / "programme.sqlite", random.Random(seed))
    for occurrence_ in month.run(30):
        play, at_ms = occurrence_.play, occurrence_.at_ms
        assert month.played[play] <= 1, f"{play} was played {month.played[play]} times"
        assert month.skipped[play] <= 1, f"{play} was said to be skipped more than once"
        assert month.played[play] or month.skipped[play] or at_ms > ms(MONDAY) + 30 * DAY_MS - 7_200_000, play
        up = all(not first <= at_ms < last for first, last in month.down)
        if up:
            assert month.played[play] == 1 and 0 <= month.error_ms[play] <= 1000, f"{play}: {month.error_ms.get(play)}"
        elif month.played[play] and month.error_ms[play] > 1500:
            assert play in month.said_late
            assert month.error_ms[play] <= NEWS.late_within_s * 1000 + STEP_MS
