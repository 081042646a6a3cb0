"""The programme: what is done at which time, and what time it is. A month of it all is in ``test_month``."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import ValidationError

from keng_contracts.commands import Priority, Siren, Speech
from keng_contracts.programme import Entry, Occurrence, Programme, name
from keng_contracts.telemetry import Clock
from keng_loudspeaker.alone.copy import ProgrammeCopy
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
